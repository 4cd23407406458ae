"""What each way computes, what data it needs and how it fails."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from alignment.advisor.failures import WATCHED, failures
from alignment.advisor.fit import tiers
from alignment.advisor.needs import fit_learning_curve, needs, read_learning_curve
from alignment.advisor.ways import WAYS, Stage, WayName, group_size, stages
from alignment.advisor.work import Draws, Network, Passes, Rates, Setup, seconds
from alignment.config.advisor import AdvisorConfig
from alignment.config.plan import PlanConfig
from alignment.watch.failure_modes import FAILURE_MODES

NETWORK = Network(num_layer_weights=1000, num_head_weights=100, num_layers=2, width=5, cache_per_token=40)


def asked(**more: object) -> AdvisorConfig:
    options = {"pairs": 100, "gpus": "2xA100-80", "prompt_tokens": 10, "completion_tokens": 6, "prompts": 40}
    return AdvisorConfig(**options | more)  # pyright: ignore


def parts(way: WayName, *, lora: bool = False, **more: object) -> tuple[Stage, ...]:
    return stages(way, asked(**more), NETWORK, NETWORK, lora=lora, recomputes=False)


def counted(stage: Stage) -> list[tuple[str, float, float]]:
    """Kind, tokens, and those of the head."""
    return [
        (part.kind, part.tokens, part.head_tokens) if isinstance(part, Passes) else ("draw", part.tokens, 0)
        for part in stage.work
    ]


def test_sft_and_dpo_by_hand() -> None:
    sft, dpo = parts("sft+dpo")
    assert counted(sft) == [("train", 100 * 16, 100 * 6)]
    # the prompt once for both answers: 10 + 2 6
    assert counted(dpo) == [("forward", 2200, 1200), ("train", 2200, 1200)]
    assert [kind for kind, _, _ in counted(parts("sft+dpo", lora=True)[1])] == ["forward", "train_adapters"]
    assert len(parts("sft+dpo", tuned=True)) == 1


def test_grpo_by_hand() -> None:
    names = [stage.name for stage in parts("grpo")]
    assert names[1:] == [
        "reward model on the pairs, adapters",
        "drawing 8 of each prompt",
        "their rewards",
        "reference and learning",
    ]
    _, reward, drawing, scored, learned = (counted(stage) for stage in parts("grpo"))
    assert reward == [("train_adapters", 2200, 1200)]
    assert drawing == [("draw", 40 * 8 * 6, 0)]
    assert scored == [("forward", 40 * 58, 40 * 48)]
    assert learned == [("forward", 40 * 58, 40 * 48), ("train", 40 * 58, 40 * 48)]


def test_ppo_passes_four_times_over_its_samples_and_computes_values_before() -> None:
    learned = counted(parts("ppo", new_tokens=20)[-1])
    assert learned == [("forward", 40 * 30, 40 * 20)] * 2 + [("train", 4 * 40 * 30, 4 * 40 * 20)]


def test_online_dpo_learns_from_two_of_the_group() -> None:
    *_, scored, learned = (counted(stage) for stage in parts("online-dpo"))
    assert scored == [("forward", 40 * 58, 40 * 48)]
    assert learned == [("forward", 40 * 22, 40 * 12), ("train", 40 * 22, 40 * 12)]


def test_best_of_n_trains_no_policy_and_a_program_needs_no_reward_model() -> None:
    assert [stage.name for stage in parts("best-of-n", tuned=True, n=4)] == [
        "reward model on the pairs, adapters",
        "drawing 4 of each prompt",
        "their rewards",
    ]
    assert [stage.name for stage in parts("best-of-n", tuned=True, verifiable=True)] == ["drawing 16 of each prompt"]
    assert parts("best-of-n", tuned=True, reward_model=["tiny"])[0].name.startswith("drawing")


@pytest.mark.parametrize("way", WAYS)
def test_hours_grow_with_prompts_and_halve_with_twice_the_gpus(way: WayName) -> None:
    rates = Rates(flops=1e4, bandwidth=1e4, link=1, low=1, high=1, source="")

    def time(gpus: int, prompts: int) -> float:
        return sum(seconds(stage.work, rates, Setup(gpus=gpus, rows_drawn=4)) for stage in parts(way, prompts=prompts))

    assert time(2, 40) == pytest.approx(time(1, 40) / 2)
    assert (time(1, 80) > time(1, 40)) == (group_size(way, asked()) > 0)


def test_every_draw_has_the_length_that_was_asked() -> None:
    drawn = [
        part for way in WAYS for stage in parts(way, new_tokens=20) for part in stage.work if isinstance(part, Draws)
    ]
    assert {draw.new_tokens for draw in drawn} == {20}
    assert len(drawn) == 4


def test_a_learning_curve_by_hand() -> None:
    # 2^10, 2^11, 2^12 pairs: slope (0.66 - 0.60) / 2 = 0.03, mean 0.62; the middle point lies 0.02 below, of errors
    # 0.0066667, -0.0133333, 0.0066667: sum of squares 0.00026667, over one degree and a spread of 2: sqrt 0.00013333
    curve = fit_learning_curve([(1024, 0.60), (2048, 0.61), (4096, 0.66)])
    assert curve.per_doubling == pytest.approx(0.03)
    assert curve.error == pytest.approx(math.sqrt(0.00026666667 / 2))
    assert curve.accuracy(2048) == pytest.approx(0.37 / 3 + 0.5)  # 0.62333, the mean
    assert curve.pairs_for(0.06, 1000) == pytest.approx(4000)
    assert curve.accuracy(10**9) == curve.accuracy(4 * 4096)


def test_a_curve_is_read_from_a_file_and_decides(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text("".join(json.dumps({"pairs": 2**k, "accuracy": 0.5 + 0.01 * k}) + "\n" for k in (6, 8, 10)))
    curve = read_learning_curve(str(path))
    assert curve.per_doubling == pytest.approx(0.01)
    config = asked(pairs=2048)
    need = needs("grpo", config, curve)[0]
    assert need.verdict == "thin"
    assert "61.0% accurate with 2,048, and doubling them adds 1.0 ± 0.0 points" in need.words
    assert needs("grpo", asked(pairs=64), curve)[0].verdict == "too few"  # 56 %
    flat = fit_learning_curve([(64, 0.7), (128, 0.701)])
    assert needs("grpo", config, flat)[0].verdict == "enough"
    path.write_text('{"pairs": 3}\n')
    with pytest.raises(ValueError, match=r"curve\.jsonl:1 has no numbers `pairs` and `accuracy`"):
        read_learning_curve(str(path))
    with pytest.raises(ValueError, match=r"two numbers of pairs or more"):
        fit_learning_curve([(64, 0.7), (64, 0.8)])


def test_needs_without_a_curve_are_held_against_published_runs() -> None:
    assert [(need.what, need.verdict) for need in needs("sft+dpo", asked(pairs=100_000), None)] == [("pairs", "enough")]
    assert needs("sft+dpo", asked(pairs=10_000), None)[0].verdict == "thin"
    assert needs("sft+dpo", asked(pairs=1_000), None)[0].verdict == "too few"
    names = [need.what for need in needs("ppo", asked(verifiable=True, tuned=True), None)]
    assert names == ["prompts"]
    assert not needs("best-of-n", asked(reward_model=["tiny"], tuned=True), None)


def test_every_way_has_failures_of_its_own_with_signs() -> None:
    kinds = {mode.kind for mode in FAILURE_MODES}
    assert {kind for own in WATCHED.values() for kind in own} <= kinds
    titles = [failure.title for way in WAYS for failure in failures(way)]
    assert len(titles) == len(set(titles))  # unique to each
    for way in WAYS:
        assert len(failures(way)) >= 2
        assert all(failure.sign and failure.advice for failure in failures(way))
    assert failures("ppo")[0].sign.startswith("After 40 steps the value head still explains less than nothing")


@pytest.mark.parametrize("num_gpus", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_every_configuration_that_is_tried_is_one_that_trainings_take(way: WayName, num_gpus: int) -> None:
    tried = [options for tier in tiers(way, num_gpus) for ladder in tier for options in ladder]
    assert any(options.get("split") for options in tried) == (num_gpus > 1)
    for options in tried:
        assert PlanConfig(gpus=num_gpus, **options)  # pyright: ignore[reportArgumentType]
