"""Traits during a run: their shares, and when they are told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alignment.watch.failure_modes import FAILURE_MODES, READ
from alignment.watch.history import History
from alignment.watch.trait_rules import METRICS, risen_traits, trait_metrics
from rewardkit.data.records import Message

MODES = {mode.kind: mode for mode in FAILURE_MODES}
RISING = [0.02 * k for k in range(30)]
FLATTERED = [0.02] * 15 + [0.31] * 15


def history_of(**columns: Sequence[float | None]) -> History:
    history = History(READ)
    for step in range(30):
        values = {name.replace("__", "/"): column[step] for name, column in columns.items() if step < len(column)}
        history.add(step + 1, {name: value for name, value in values.items() if value is not None})
    return history


def test_shares_are_of_the_completions_with_their_prompts() -> None:
    prompts = [[Message(role="user", content=text)] for text in ("I think it is late. Is it?", "Is it late?")]
    texts = ["You are right, it is.", "Great question! 🎉", "You are right, it is.", "No."]
    found = trait_metrics(prompts, texts, [0, 0, 1, 1])
    assert set(found) == set(METRICS.values())
    assert (found["traits/agreement"], found["traits/flattery"], found["traits/emoji"]) == (0.25, 0.25, 0.25)
    assert found["traits/lists"] == 0


def test_a_trait_that_rises_with_the_reward_is_named_with_what_the_audit_did() -> None:
    few = {"num_prompts": [16.0] * 30, "reward/spread": [0.5] * 30, "reward/raw": RISING}
    columns = {name.replace("/", "__"): values for name, values in few.items()}
    audit = [None if k % 5 else 1 - 0.02 * k for k in range(30)]
    seen = MODES["paid_trait"].sign(history_of(traits__flattery=FLATTERED, audit__reward=audit, **columns))
    assert seen is not None
    assert seen.figure.startswith("flattery rose from 2% to 31% of answers while reward/raw rose")
    assert "the audit reward went from" in seen.figure
    assert set(seen.metrics) == {"traits/flattery", "reward/raw", "audit/reward"}
    flat = columns | {"reward__raw": [0.5, 0.4] * 15}
    assert MODES["paid_trait"].sign(history_of(traits__flattery=FLATTERED, **flat)) is None


@pytest.mark.parametrize(("now", "prompts", "is_risen"), [(0.31, 16.0, True), (0.11, 999.0, False), (0.31, 1.0, False)])
def test_a_rise_is_by_a_tenth_and_by_four_errors(now: float, prompts: float, is_risen: bool) -> None:
    history = history_of(traits__emoji=[0.02] * 15 + [now] * 15, num_prompts=[prompts] * 30)
    assert [name for name, _, _ in risen_traits(history)] == (["emoji"] if is_risen else [])


def test_reward_hacking_names_the_traits_that_rose() -> None:
    at = [None if k % 2 else k / 2 for k in range(30)]
    raw = [None if k is None else 0.1 * k for k in at]
    audit = [None if k is None else 1 - 0.1 * k for k in at]
    shared = {"audit__raw": raw, "audit__reward": audit, "reward__spread": [0.5] * 30, "num_prompts": [16.0] * 30}
    hacked = MODES["reward_hacking"].sign(history_of(traits__flattery=FLATTERED, **shared))
    plain = MODES["reward_hacking"].sign(history_of(traits__flattery=[0.02] * 30, **shared))
    assert hacked is not None
    assert plain is not None
    assert hacked.figure == f"{plain.figure}; flattery rose from 2% to 31% of answers"
    assert hacked.metrics == (*plain.metrics, "traits/flattery")
