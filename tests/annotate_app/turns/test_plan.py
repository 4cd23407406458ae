"""The plan of a turn: defaults, what a turn takes over from the one before, and every mistake in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from annotate_app.turns.plan import CheckPlan, TurnPlan, plan_values, read_plan, read_plan_text


def test_a_policy_is_all_that_a_plan_needs() -> None:
    plan = read_plan({"policy": "run-3"})
    assert plan == TurnPlan(policy="run-3")
    assert plan.choose.random_share == 0.2
    assert plan.write.policies == ("present",)
    assert plan.check.against == ("previous", "first")
    assert plan.auto is False


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    values = {
        "policy": "/models/sft",
        "auto": True,
        "write": {"policies": ["present", "previous"], "candidates": 2},
        "judge": {"people": False, "judges": ["gpt"]},
        "learn": {"config": {"model": "tiny", "ensemble": 3}, "replay": 0.5},
        "align": {"trains": "dpo", "config": {"loss": "ipo"}, "base": "first"},
        "check": {"against": ["first"], "num_prompts": 7},
    }
    plan = read_plan(values)
    assert read_plan(json.loads(json.dumps(plan_values(plan)))) == plan
    assert plan.check == CheckPlan(against=("first",), num_prompts=7)


def test_what_is_left_out_is_as_in_the_turn_before() -> None:
    before = read_plan({"policy": "run-3", "choose": {"num_pairs": 50}, "align": {"trains": "sft"}})
    after = read_plan({"choose": {"rule": "coverage"}, "seed": 4}, before)
    assert (after.policy, after.seed, after.align.trains) == ("run-3", 4, "sft")
    assert (after.choose.num_pairs, after.choose.rule) == (50, "coverage")
    assert read_plan({}, before) == before


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "policy is missing"),
        ({"policy": " "}, "policy is empty"),
        ({"policy": "p", "colour": 1}, "plan has a field 'colour', allowed are policy, auto"),
        ({"policy": "p", "write": 3}, "write is 3, allowed are its fields policies"),
        ({"policy": "p", "write": {"candidate": 3}}, "write has a field 'candidate'"),
        ({"policy": "p", "write": {"candidates": 1}}, "write.candidates is 1 of one policy"),
        ({"policy": "p", "write": {"candidates": "4"}}, "write.candidates is '4'"),
        ({"policy": "p", "write": {"policies": []}}, "write.policies is empty"),
        ({"policy": "p", "write": {"temperature": 0}}, "write.temperature is 0"),
        ({"policy": "p", "choose": {"rule": "best"}}, "choose.rule is 'best', allowed are epig, log_det"),
        ({"policy": "p", "choose": {"random_share": 0}}, "choose.random_share is 0, allowed is above 0"),
        ({"policy": "p", "judge": {"people": False}}, "somebody has to judge"),
        ({"policy": "p", "judge": {"overlap": -1}}, "judge.overlap is -1"),
        ({"policy": "p", "learn": {"config": {}}}, "learn.config has no model"),
        ({"policy": "p", "learn": {"config": {"model": "tiny", "data": "x"}}}, "learn.config: data is set by the app"),
        ({"policy": "p", "learn": {"replay": 2}}, "learn.replay is 2"),
        ({"policy": "p", "learn": {"from_previous": True}}, "fitted anew in seconds"),
        ({"policy": "p", "align": {"trains": "rl"}}, "align.trains is 'rl', allowed are sft"),
        ({"policy": "p", "align": {"config": {"model": "x"}}}, "align.config has model, which the turn sets"),
        ({"policy": "p", "align": {"config": {"betas": 1}}}, "align.config: betas is no option"),
        ({"policy": "p", "check": {"against": ["best"]}}, "check.against is 'best'"),
        ({"policy": "p", "auto": "yes"}, "auto is 'yes', allowed is a bool"),
        ({"policy": "p", "seed": -1}, "seed is -1"),
    ],
)
def test_a_mistake_is_named_with_its_place(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        read_plan(values)
    assert "\n" not in str(error.value)


def test_a_text_that_is_no_plan_is_refused() -> None:
    assert read_plan_text("") == {}
    assert read_plan_text("policy: run-3\nwrite: {candidates: 2}") == {"policy": "run-3", "write": {"candidates": 2}}
    with pytest.raises(ValueError, match="this is a list"):
        read_plan_text("- a")
    with pytest.raises(ValueError, match="plan: "):
        read_plan_text("a: [")


def test_numbers_of_a_plan_may_have_an_exponent_and_have_to_be_numbers():
    text = "policy: tiny\nalign: {trains: sft, config: {learning_rate: 3e-3}}"
    assert read_plan(read_plan_text(text)).align.config == {"learning_rate": 0.003}
    with pytest.raises(ValueError, match=r"align.config.learning_rate is 'much', allowed is a number"):
        read_plan({"policy": "tiny", "align": {"trains": "sft", "config": {"learning_rate": "much"}}})
    with pytest.raises(ValueError, match=r"learn.config.epochs is True, allowed is a number"):
        read_plan({"policy": "tiny", "learn": {"config": {"model": "tiny", "epochs": True}}})
