"""Sampling on a GPU: the decode loop is the fast one, its graphs give what a CPU gives, and it is what is trained."""

from __future__ import annotations

from functools import partial

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import gpt2_config

from alignment.generation.engine import PlainDecoding, engine_of
from alignment.generation.generate import Sampling, generate, plain_attention
from alignment.generation.llama_decoding import LlamaDecoding
from alignment.policy.policy import make_network
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import adapt, load_network
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import load_tokenizer

pytestmark = pytest.mark.gpu
PROMPTS = [tuple(range(5, 5 + length)) for length in (40, 33, 12, 3, 1)]


def policy_of(files, *, rank: int = 0):
    policy = load_network(files.policy, load_tokenizer(files.policy, own_pad=False)).eval()
    if rank:
        adapt(policy, rank=rank, num_layers=0, seed=0, task="CAUSAL_LM")
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.02)
    return policy


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fast_decode_loop_passes_its_trial(precision, files, device: torch.device) -> None:
    policy = policy_of(files).to(device)
    with torch.no_grad(), plain_attention(policy):
        engine = engine_of(policy, precision)
    assert isinstance(engine, partial)
    assert engine.func is LlamaDecoding


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("num_samples", [1, 4])
def test_samples_are_those_of_a_cpu(num_samples: int, rank: int, files, device: torch.device) -> None:
    # A quarter of the vocabulary ends a row: rows leave, and graphs are captured anew.
    vocabulary = policy_of(files).config.vocab_size
    sampling = Sampling(max_new_tokens=24, end_ids=tuple(range(2, vocabulary, 16)), temperature=0.8, top_p=0.9)
    drawn = [
        generate(policy_of(files, rank=rank).to(place), PROMPTS, sampling, num_samples=num_samples)
        for place in (torch.device("cpu"), device)
    ]
    of_cpu, of_device = ([one for group in groups for one in group] for groups in drawn)
    assert len({len(one.completion) for one in of_cpu}) > 2
    for one, other in zip(of_cpu, of_device, strict=True):
        assert one.completion == other.completion
        assert one.logps == pytest.approx(other.logps, abs=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logps_of_the_sampler_are_those_of_the_trainer(precision, files, device: torch.device) -> None:
    policy = policy_of(files).to(device)
    packed = can_pack_policy(policy)
    groups = generate(policy, PROMPTS, Sampling(max_new_tokens=24), num_samples=4, precision=precision)
    rows = [Branched(prompt=group[0].prompt, branches=tuple(one.completion for one in group)) for group in groups]
    sampled = torch.tensor([logp for group in groups for one in group for logp in one.logps])
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        trained = completion_logps(policy, rows, packed=packed).token_logps.cpu()
    assert (sampled - trained).abs().mean() < (1e-4 if precision == "fp32" else 0.05)


def test_another_architecture_decodes_by_transformers(device: torch.device) -> None:
    config, sampling = gpt2_config(initializer_range=0.3), Sampling(max_new_tokens=12, end_ids=tuple(range(2, 60, 9)))
    drawn = []
    for place in (torch.device("cpu"), device):
        policy = make_network(config, seed=0).eval().to(place)
        with torch.no_grad(), plain_attention(policy):
            assert isinstance(engine_of(policy, "fp32")(PROMPTS, 1, 1), PlainDecoding)
        drawn.append(generate(policy, PROMPTS, sampling, num_samples=3))
    of_cpu, of_device = ([one.completion for group in groups for one in group] for groups in drawn)
    assert of_cpu == of_device
