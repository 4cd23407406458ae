"""Sampling: what transformers would say, whatever the batches; log-probabilities are those of a whole forward pass."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import asdict, replace
from itertools import chain

import numpy as np
import pytest
import torch
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForCausalLM, BloomConfig

from alignment.generation.generate import Sampled, Sampling, draw, generate, plain_attention, uniforms
from rewardkit.network import attention
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.packed_rows import Branched

END = 2
SMALL = {"initializer_range": 0.3, "pad_token_id": None, "eos_token_id": END}
CONFIGS = {
    "llama": lambda: llama_config(**SMALL),
    "qwen2": lambda: config_of("qwen2", **SMALL),
    "gpt2": lambda: gpt2_config(**SMALL),
    "bloom": lambda: BloomConfig(
        vocab_size=60, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3, bos_token_id=1, eos_token_id=END
    ),
}
PROMPTS = [(5, 6, 7, 8, 9, 10, 11), (12,), (13, 14, 15), (16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26), (27, 28)]


def make_policy(name: str = "llama", implementation: str = attention.NAME, seed: int = 0):
    attention.register()
    torch.manual_seed(seed)
    chosen = "eager" if name == "bloom" else implementation  # it knows no other
    return AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation=chosen)


def recomputed(policy, prompt, completion, temperature: float = 1.0) -> list[float]:
    """Log-probabilities of a completion by one whole forward pass."""
    ids = torch.tensor([[*prompt, *completion]])
    with plain_attention(policy), torch.no_grad():
        logits = policy(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / temperature
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(completion)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_is_that_of_transformers(name: str) -> None:
    policy = make_policy(name, "sdpa").eval()
    drawn = generate(policy, PROMPTS, Sampling(temperature=0, max_new_tokens=8, end_ids=(END,)))
    for prompt, (sampled,) in zip(PROMPTS, drawn, strict=True):
        expected = policy.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            max_new_tokens=8,
            pad_token_id=0,
        )
        assert list(sampled.completion) == expected[0, len(prompt) :].tolist()
        assert sampled.prompt == prompt


@pytest.mark.parametrize("name", CONFIGS)
def test_the_split_into_batches_does_not_change_the_samples(name: str) -> None:
    policy = make_policy(name, "sdpa")
    sampling = Sampling(max_new_tokens=8, end_ids=(END,), seed=3)
    whole = generate(policy, PROMPTS, sampling, num_samples=3)
    split = generate(policy, PROMPTS, sampling, num_samples=3, token_budget=1)
    for one, other in zip(chain(*whole), chain(*split), strict=True):
        assert one == replace(other, logps=one.logps)
        assert one.logps == pytest.approx(other.logps, abs=1e-4)
    (alone,) = generate(policy, PROMPTS[3:4], sampling, num_samples=2, keys=[3])
    assert [one.completion for one in alone] == [one.completion for one in whole[3][:2]]


def test_samples_of_a_prompt_and_seeds_differ() -> None:
    policy = make_policy()
    first = generate(policy, PROMPTS, Sampling(max_new_tokens=8), num_samples=4)
    again = generate(policy, PROMPTS, Sampling(max_new_tokens=8), num_samples=4)
    other = generate(policy, PROMPTS, Sampling(max_new_tokens=8, seed=1), num_samples=4)
    assert first == again
    assert all(len({one.completion for one in group}) == 4 for group in first)
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8), (0, 1.0)])
def test_logps_are_those_of_a_whole_forward_pass(name: str, temperature: float, top_p: float) -> None:
    policy = make_policy(name, "sdpa")
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=6, end_ids=(END,))
    for group in generate(policy, PROMPTS, sampling, num_samples=2):
        for one in group:
            expected = recomputed(policy, one.prompt, one.completion, temperature or 1.0)
            assert one.logps == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_logps_are_those_that_training_computes(name: str) -> None:
    policy = make_policy(name, "sdpa").eval()
    groups = generate(policy, PROMPTS, Sampling(temperature=0.7, max_new_tokens=6, end_ids=(END,)), num_samples=2)
    rows = [Branched(prompt=group[0].prompt, branches=tuple(one.completion for one in group)) for group in groups]
    found = completion_logps(policy, rows, temperature=0.7, packed=can_pack_policy(policy))
    expected = [logp for group in groups for one in group for logp in one.logps]
    assert found.token_logps.tolist() == pytest.approx(expected, abs=2e-4)


def test_the_plain_loop_computes_a_prompt_once_for_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy("gpt2", "sdpa")
    shapes = []
    forward = type(policy).forward

    def watched(self, *args, **kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(self, *args, **kwargs)

    watched.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(type(policy), "forward", watched)
    generate(policy, PROMPTS[:2], Sampling(max_new_tokens=3), num_samples=5)
    assert shapes[-3:] == [(2, 7), (10, 1), (10, 1)]


def test_a_sample_is_read_back_from_json() -> None:
    (group,) = generate(make_policy(), PROMPTS[:1], Sampling(max_new_tokens=4), num_samples=2)
    for sampled in group:
        assert Sampled.from_json(json.loads(json.dumps(asdict(sampled)))) == sampled


# Of a third of the vocabulary any ends a row: most leave at once. Of a few, rows that have ended stay for some steps.
@pytest.mark.parametrize(("every", "num_samples"), [(3, 6), (12, 40)])
def test_a_row_ends_with_its_end_token_and_leaves_the_batch(every: int, num_samples: int) -> None:
    policy = make_policy(implementation="sdpa")
    ends = tuple(range(2, 60, every))
    groups = generate(policy, PROMPTS, Sampling(max_new_tokens=9, end_ids=ends), num_samples=num_samples)
    plain = generate(policy, PROMPTS, Sampling(max_new_tokens=9), num_samples=num_samples)
    samples = [one for group in groups for one in group]
    assert len({len(one.completion) for one in samples}) > 3
    for one, free in zip(samples, (one for group in plain for one in group), strict=True):
        cut = next((place for place, token in enumerate(free.completion, 1) if token in ends), 9)
        assert one.completion == free.completion[:cut]
        assert one.finished == (one.completion[-1] in ends)
        assert len(one.logps) == len(one.completion)


class Letters:
    """A tokenizer of which only decoding is asked: token n is the n-th letter, over and over."""

    def batch_decode(self, rows) -> list[str]:
        return ["".join(chr(97 + int(token) % 26) for token in row) for row in rows]


def test_a_stop_text_ends_a_row_where_its_last_token_stands() -> None:
    policy = make_policy()
    letters = Letters()
    (free,) = generate(policy, PROMPTS[:1], Sampling(max_new_tokens=20))
    (text,) = letters.batch_decode([free[0].completion])
    stop = text[6:9]  # runs over three tokens
    (found,) = generate(policy, PROMPTS[:1], Sampling(max_new_tokens=20, stop=(stop,)), tokenizer=letters)  # type: ignore[arg-type]
    assert found[0].finished
    assert found[0].completion == free[0].completion[: text.index(stop) + 3]


def test_packed_attention_and_training_are_restored() -> None:
    policy = make_policy().train()
    with plain_attention(policy):
        assert policy.config._attn_implementation == "sdpa"
        assert not policy.training
    assert policy.config._attn_implementation == attention.NAME
    assert policy.training


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT's own making
def test_an_adapter_samples_too() -> None:
    from peft import LoraConfig, get_peft_model

    plain = generate(make_policy(), PROMPTS, Sampling(max_new_tokens=5))
    wrapped = get_peft_model(make_policy(), LoraConfig(r=2, target_modules=["q_proj"]))  # starts as the identity
    assert [one.completion for (one,) in generate(wrapped, PROMPTS, Sampling(max_new_tokens=5))] == [  # type: ignore[arg-type]
        one.completion for (one,) in plain
    ]


def test_draw_inverts_the_cumulative_distribution() -> None:
    # probabilities 0.1, 0.6, 0.3, cumulative 0.1, 0.7, 1
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(5, -1)
    uniform = torch.tensor([0.0, 0.09, 0.11, 0.69, 0.71], dtype=torch.float64)
    tokens, logps = draw(logits, uniform, temperature=1.0, top_p=1.0)
    assert tokens.tolist() == [0, 0, 1, 1, 2]
    assert logps.tolist() == pytest.approx([math.log(p) for p in (0.1, 0.1, 0.6, 0.6, 0.3)], abs=1e-6)


@pytest.mark.parametrize("num_tokens", [1, 2, 9, 10, 300])
def test_draw_equals_a_loop_over_the_vocabulary(num_tokens: int) -> None:
    generator = np.random.default_rng(0)
    weights = generator.gamma(0.2, size=(50, num_tokens)).astype(np.float32) + 1e-9
    weights[:, 1:][generator.random((50, num_tokens - 1)) < 0.4] = 0.0  # tokens of no probability
    uniform = generator.random(50)
    uniform[:3] = 0.0, 1 - 2**-53, 0.5
    tokens, logps = draw(torch.from_numpy(weights).log(), torch.from_numpy(uniform), temperature=1.0, top_p=1.0)
    for row in range(50):
        probabilities = weights[row].astype(np.float64) / weights[row].astype(np.float64).sum()
        token = int(tokens[row])
        assert probabilities[token] > 0
        assert logps[row] == pytest.approx(math.log(probabilities[token]), abs=1e-4)
        # Exactly that token but for rounding where u meets a sum.
        assert probabilities[:token].sum() <= uniform[row] + 1e-6
        assert probabilities[: token + 1].sum() >= uniform[row] - 1e-6


def test_top_p_keeps_the_smallest_set_and_logps_of_all() -> None:
    # 0.6 alone has less than 0.65, with 0.3 more: these two stay, 2/3 and 1/3
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(3, -1)
    uniform = torch.tensor([0.0, 0.66, 0.67], dtype=torch.float64)
    tokens, logps = draw(logits, uniform, temperature=1.0, top_p=0.65)
    assert tokens.tolist() == [1, 1, 2]
    assert logps.tolist() == pytest.approx([math.log(0.6), math.log(0.6), math.log(0.3)], abs=1e-6)


def test_temperature_divides_logits() -> None:
    # weights 1 and 4 at temperature 1/2: squared, 1/17 and 16/17
    _, logps = draw(
        torch.tensor([[1.0, 4.0]]).log(), torch.tensor([0.5], dtype=torch.float64), temperature=0.5, top_p=1.0
    )
    assert logps.item() == pytest.approx(math.log(16 / 17), abs=1e-6)


def test_drawn_shares_are_the_probabilities() -> None:
    probabilities = torch.tensor([0.05, 0.2, 0.4, 0.35])
    uniform = torch.from_numpy(np.concatenate([uniforms(Sampling(), key, 0) for key in range(200)]))
    tokens, _ = draw(probabilities.log().expand(len(uniform), -1), uniform, temperature=1.0, top_p=1.0)
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert torch.allclose(shares, probabilities, atol=0.01)  # four standard errors: 0.009


@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ([()], {}, "prompt 0 has no tokens"),
        ([(3,), (3,) * 2040], {"max_new_tokens": 9}, "prompt 1 has 2040 tokens, with max_new_tokens 9 .* 2048"),
        ([(3,)], {"stop": ("x",)}, "stop texts need the tokenizer"),
    ],
)  # fmt: skip
def test_what_cannot_be_sampled_is_said(prompts, options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generate(make_policy(), prompts, Sampling(**options))


@pytest.mark.parametrize("options", [{"temperature": -1}, {"top_p": 0}, {"max_new_tokens": 0}, {"stop": ("",)}])
def test_sampling_is_checked(options) -> None:
    with pytest.raises(ValueError, match=r"allowed|empty"):
        Sampling(**options)
