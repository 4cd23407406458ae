"""Decoding step by step gives the logits of whole forward passes, whoever has left, and computes nothing twice."""

from __future__ import annotations

import pytest
import torch
from toy_models import config_of, llama_config
from transformers import AutoModelForCausalLM

from alignment.generation import generate as generation
from alignment.generation.engine import PlainDecoding
from alignment.generation.generate import Sampling, generate
from alignment.generation.llama_decoding import PREFILL_TOKENS, LlamaDecoding, _similar
from alignment.generation.llama_weights import Map, read_weights

END = 2
SMALL = {"initializer_range": 0.3, "pad_token_id": None}
CONFIGS = {
    "llama": lambda: llama_config(**SMALL),
    "qwen3": lambda: config_of("qwen3", **SMALL, head_dim=16),
}
# Three caches: lengths 11 and 9, then 4 and 3, then 1.
PROMPTS = [tuple(range(5, 16)), tuple(range(20, 29)), (30, 31, 32, 33), (40, 41, 42), (50,)]


def make_policy(name: str = "llama"):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation="sdpa").eval()


def last_logits(policy, ids) -> torch.Tensor:
    return policy(input_ids=torch.tensor([ids])).logits[0, -1]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_samples", [1, 3])
@torch.no_grad()
def test_logits_are_those_of_whole_forward_passes_while_rows_leave(name: str, num_samples: int) -> None:
    policy = make_policy(name)
    decoding = LlamaDecoding(read_weights(policy, torch.float32), PROMPTS, num_samples, 6)
    rows = [list(prompt) for prompt in PROMPTS for _ in range(num_samples)]
    found = decoding.start()
    assert len(decoding.caches) == 3
    for step in range(6):
        torch.testing.assert_close(found, torch.stack([last_logits(policy, ids) for ids in rows]), atol=1e-4, rtol=1e-4)
        if step in (2, 4):
            # First the whole second prompt's samples and some others, then all but the rows of the last prompt.
            kept = [
                place for place, ids in enumerate(rows) if (ids[0] != 20 and place != 1 if step == 2 else ids[0] == 50)
            ]
            rows = [rows[place] for place in kept]
            decoding.keep(torch.tensor(kept))
        new = [(7 * place + step) % 60 for place in range(len(rows))]
        for ids, token in zip(rows, new, strict=True):
            ids.append(token)
        found = decoding.step(torch.tensor(new))
    assert len(decoding.caches) == 1


@torch.no_grad()
def test_maps_give_the_same_for_the_rows_they_are_packed_for_and_for_others() -> None:
    torch.manual_seed(0)
    for bias in (None, torch.randn(24)):
        plain = Map(weight=torch.randn(24, 16), bias=bias)
        packed = plain.for_rows(5)
        assert (packed.packed is not None) == torch.backends.mkl.is_available()
        for num_rows in (5, 7):
            x = torch.randn(num_rows, 16)
            torch.testing.assert_close(packed(x), plain(x))
            torch.testing.assert_close(plain(x), x @ plain.weight.T + (0 if bias is None else bias))
    halves = Map(weight=torch.randn(24, 16).bfloat16(), bias=None)
    assert halves.for_rows(5) is halves


@torch.no_grad()
def test_reading_the_whole_cache_under_a_mask_gives_the_same_and_harms_nothing() -> None:
    # How a GPU steps, without the graph.
    weights = read_weights(make_policy(), torch.float32)
    plain, masked = (LlamaDecoding(weights, PROMPTS, 2, 5) for _ in range(2))
    plain.start(), masked.start()
    for step in range(3):
        tokens = torch.arange(10) + step
        expected = plain.step(tokens)
        masked.step(tokens)
        masked.on_gpu = True
        for _ in range(2):  # as for the warm-up before the capture
            torch.testing.assert_close(masked._advance(5), expected)
        masked.on_gpu = False


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_replayed_graph_samples_what_a_cpu_does() -> None:
    sampling = Sampling(max_new_tokens=12, end_ids=tuple(range(2, 60, 9)))
    expected = generate(make_policy(), PROMPTS, sampling, num_samples=4)
    found = generate(make_policy().cuda(), PROMPTS, sampling, num_samples=4)
    assert [[one.completion for one in group] for group in found] == [
        [one.completion for one in group] for group in expected
    ]


def test_prompts_are_computed_once_and_unpadded(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = read_weights(make_policy(), torch.float32)
    sizes = []
    project = LlamaDecoding._project
    monkeypatch.setattr(
        LlamaDecoding, "_project", lambda self, layer, x, *rest: sizes.append(len(x)) or project(self, layer, x, *rest)
    )
    with torch.no_grad():
        decoding = LlamaDecoding(weights, PROMPTS, 8, 2)
        decoding.start()
        decoding.step(torch.arange(40))
    # Two layers each: prompts of 11 + 9, 4 + 3 and 1 tokens, then one token for each of 40 rows.
    assert sizes == [20, 20, 7, 7, 1, 1, 40, 40]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_samples_are_those_of_the_plain_loop(name: str, top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(name)
    # A third of the vocabulary ends a row: most leave, at different steps.
    sampling = Sampling(max_new_tokens=12, end_ids=tuple(range(2, 60, 9)), top_p=top_p, temperature=0.8)
    found = generate(policy, PROMPTS, sampling, num_samples=4)
    monkeypatch.setattr(
        generation,
        "engine_of",
        lambda policy, precision, may_copy: (
            lambda prompts, num_samples, most: PlainDecoding(policy, policy, prompts, num_samples, most, "fp32")
        ),
    )
    expected = generate(policy, PROMPTS, sampling, num_samples=4)
    assert len({len(one.completion) for group in found for one in group}) > 3
    for one, other in zip((s for group in found for s in group), (s for group in expected for s in group), strict=True):
        assert one.completion == other.completion
        assert one.finished == other.finished
        assert one.logps == pytest.approx(other.logps, abs=1e-4)


def test_similar_prompts_stand_together() -> None:
    lengths = [8, 6, 5, 5, 3, 9, PREFILL_TOKENS + 1, PREFILL_TOKENS // 2, PREFILL_TOKENS // 2, PREFILL_TOKENS // 2]
    runs = [[len(prompt) for prompt in run] for run in _similar([[0] * length for length in lengths])]
    # 5 is less than three quarters of 8, 3 of 5; 9 is longer than what stands before it; two halves are enough.
    half = PREFILL_TOKENS // 2
    assert runs == [[8, 6], [5, 5], [3], [9], [PREFILL_TOKENS + 1], [half, half], [half]]
