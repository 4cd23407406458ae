"""Bytes of a network of two layers, counted by hand; what the options of memory change; what people's models take."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from transformers import LlamaConfig

from alignment.config.plan import PlanConfig
from alignment.memory.advice import advise
from alignment.memory.network_counts import Held, NetworkCounts, count_network
from alignment.memory.plan import GIB, plan_memory
from alignment.memory.standing_parts import Networks, standing_parts

# Two tables of 20 x 8, a norm of 8; in a layer four matrices of 8 x 8, three of 8 x 12, two norms of 8.
MATRICES, TABLES, NORMS = 2 * (4 * 64 + 3 * 96), 2 * 160, 8 + 2 * 16
# Of rank 2: 2 (8 + 8) for each of four, 2 (8 + 12) for each of three.
ADAPTERS = 2 * (4 * 32 + 3 * 40)


def config_of(num_layers: int = 2) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=num_layers, num_attention_heads=2
    )


def counts_of(num_layers: int = 2, **more: Any) -> NetworkCounts:
    return count_network(config_of(num_layers), Held(**{"precision": "fp32"} | more))


def test_weights_and_gradients_in_fp32() -> None:
    counts = counts_of()
    assert counts.num_parameters == MATRICES + TABLES + NORMS == 1448
    assert counts.weights == counts.gradients == 4 * 1448


@pytest.mark.parametrize(
    ("options", "matrices", "tables"),
    [
        ({}, 4 * MATRICES, 4 * TABLES),
        ({"frozen_in_bf16": True}, 2 * MATRICES, 2 * TABLES),
        # Half a byte of each number, and four of every 64 that are begun: one of 8 x 8, two of 8 x 12.
        ({"load_in_4bit": True}, MATRICES // 2 + 2 * 4 * (4 * 1 + 3 * 2), 4 * TABLES),
        ({"load_in_4bit": True, "frozen_in_bf16": True}, MATRICES // 2 + 2 * 4 * (4 * 1 + 3 * 2), 2 * TABLES),
    ],
)
def test_weights_below_adapters(options: dict[str, bool], matrices: int, tables: int) -> None:
    counts = counts_of(lora_rank=2, **options)
    assert counts.num_trained == ADAPTERS
    assert counts.weights == matrices + tables + 4 * NORMS + 4 * ADAPTERS
    assert counts.gradients == 4 * ADAPTERS


def test_trained_weights_in_bf16_have_such_gradients() -> None:
    counts = counts_of(trained_in_bf16=True)
    assert counts.weights == counts.gradients == 2 * (MATRICES + TABLES) + 4 * NORMS


def test_adapters_of_members_are_each_their_own() -> None:
    counts = counts_of(task="reward", lora_rank=2, members=3)
    assert counts.num_trained == 3 * ADAPTERS
    assert counts.num_parameters == MATRICES + TABLES // 2 + NORMS + 8 + 3 * ADAPTERS


def test_what_a_layer_keeps_of_a_token() -> None:
    """Of our own steps, in numbers: two sums and their norms with a scale each (4 h + 2), queries, keys, values, what
    was attended and what the output reads of it (5 h), a sum for each of two heads, gates, what they gate and the
    product (3 i): 9 * 8 + 4 + 3 * 12."""
    one_more = counts_of(4).passes.kept.per_token - counts_of(3).passes.kept.per_token
    assert one_more == 4 * (9 * 8 + 4 + 3 * 12)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"lora_rank": 2}, {"gradient_checkpointing": True}, {"by_modules": True}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_many_layers_are_extrapolated_from_few(more: dict[str, Any], precision: str, monkeypatch: Any) -> None:
    few = counts_of(8, precision=precision, **more).passes
    monkeypatch.setattr("alignment.memory.network_counts.FEW", (8, 8))
    whole = counts_of(8, precision=precision, **more).passes
    for tokens, read in ((64, 32), (4096, 100), (4096, 4096)):
        assert few.kept(tokens, read) == pytest.approx(whole.kept(tokens, read), rel=1e-6)
        highest = [max(line(tokens, read) for line in passes.steps) for passes in (few, whole)]
        assert highest[0] == pytest.approx(highest[1], rel=0.01)
        highest = [max(line(tokens, read) for line in passes.scoring) for passes in (few, whole)]
        assert highest[0] == pytest.approx(highest[1], rel=0.01)


def parts_of(**more: Any) -> dict[str, int]:
    config = PlanConfig(**{"method": "sft", "precision": "fp32"} | more)
    counts = counts_of(trained_in_bf16=config.trained_weights != "fp32")
    reward = counts_of(task="reward", is_trained=False, frozen_in_bf16=config.holds_bf16)
    networks = Networks(policy=counts, value=None, rewards=tuple((name, reward) for name in config.reward_model))
    return {part.name: part.num_bytes for part in standing_parts(config, networks)}


def test_optimizers() -> None:
    assert parts_of()["AdamW, two moments"] == 8 * 1448
    eight = parts_of(optimizer="adamw_8bit")  # with a scale of four bytes for every 256 numbers
    assert eight["AdamW, two moments in 8 bits"] == 2 * (1448 + 4 * 6)
    assert set(parts_of(optimizer="paged_adamw_8bit")) == {"policy, weights", "gradients"}
    kahan = parts_of(trained_weights="bf16_kahan")
    assert kahan["AdamW, two moments"] == 8 * 1448
    assert kahan["what rounding took"] == 2 * 1448
    assert kahan["gradients"] == kahan["policy, weights"] == 2 * (MATRICES + TABLES) + 4 * NORMS


def test_frozen_models() -> None:
    fp32 = parts_of(method="grpo", reward_model=["a", "b"])
    assert fp32["reference, weights"] == 4 * 1448
    assert fp32["reward model a, weights"] == fp32["reward model b, weights"] == 4 * (1448 - 160 + 8)
    bf16 = parts_of(method="grpo", reward_model=["a"], frozen_weights="bf16")
    assert bf16["reference, weights"] == 2 * 1448
    assert bf16["reward model a, weights"] == 2 * (MATRICES + TABLES // 2) + 4 * (NORMS + 8)


def plan_of(**more: Any) -> Any:
    return plan_memory(PlanConfig(**more))


def test_frozen_models_that_lie_on_the_cpu_take_memory_only_when_asked() -> None:
    options: dict[str, Any] = {"model": "small", "method": "grpo", "memory": 2.0, "token_budget": 1280}
    here = plan_of(**options, draw_budget=6144, reward_model=["tiny"])
    away = plan_of(**options, draw_budget=6144, reward_model=["tiny"], offload_frozen=True)
    names = {part.name: part.num_bytes for part in here.standing}
    gone = names["reference, weights"] + names["reward model tiny, weights"]
    assert sum(part.num_bytes for part in away.standing) == sum(names.values()) - gone
    assert {part.name for part in away.scoring} >= {"reference, weights"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model": "7B", "method": "dpo", "lora": True, "memory": 24},
        {"model": "7B", "method": "dpo", "lora": True, "load_in_4bit": True, "memory": 16},
        {"model": "13B", "method": "grpo", "lora": True, "memory": 80},
        {"model": "7B", "method": "grpo", "gpus": 8, "memory": 80, "split": "fsdp2"},
        {"model": "7B", "method": "ppo", "gpus": 8, "memory": 80, "split": "fsdp2"},
        {"model": "7B", "method": "reward", "gpus": 8, "memory": 80, "split": "fsdp2"},
    ],
)
def test_models_that_people_have_fit(options: dict[str, Any]) -> None:
    plan = plan_of(**options)
    assert plan.fits
    assert plan.peak <= plan.limit == int(0.9 * options["memory"] * GIB)


@pytest.mark.slow
def test_adapters_of_a_7b_in_fp32_do_not_fit_and_bf16_is_the_advice() -> None:
    config = PlanConfig(model="7B", method="dpo", lora=True, memory=24, frozen_weights="fp32")
    assert not plan_memory(config).fits
    options, plan = advise(config)
    assert options == {"frozen_weights": "bf16"}
    assert plan is not None
    assert plan.fits


@pytest.mark.slow
def test_advice_leaves_out_what_is_not_needed() -> None:
    options, plan = advise(PlanConfig(model="small", method="grpo", gpus=8, memory=0.4))
    assert options == {"split": "fsdp2"}
    assert plan is not None
    assert plan.fits
    assert advise(PlanConfig(model="tiny", method="sft", memory=0.001))[1] is None
