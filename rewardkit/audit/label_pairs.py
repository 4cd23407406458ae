"""Pairs that would tell whether the model is right: what the audit asks people, as rows of comparisons.

edit          the same answer with and without a trait of the list: their votes differ by the trait alone
policy        the policy's answer after, which has a trait of the list, beside its answer before, which has not
disagreement  the answers after on which the model's members differ most, beside those before

Turns are taken between traits, and between the kinds of pairs. Once voted on, the pairs are votes as all others: the
next reward model is trained on them, and its audit says whether the hole is closed. Both answers of an edit carry the
source EDITS, by which an audit knows the votes that pay for a trait alone (`rewardkit.audit.effects`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np

from rewardkit.audit.answers import EDITS, Edited, PolicyAnswers, Prompt
from rewardkit.audit.shifts import PolicyRewards
from rewardkit.audit.worries import Worry
from rewardkit.data.export_formats import turns
from rewardkit.data.records import content_id, message_lists
from rewardkit.traits.traits import TRAITS, user_text

RULE = "audit"


def pairs_to_label(
    worries: Sequence[Worry],
    edited: Edited | None,
    policy: PolicyAnswers | None,
    rewards: PolicyRewards | None,
    *,
    num: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Up to `num` rows of two responses, as an import of comparisons takes them; each pair once."""
    queues: list[Iterator[dict[str, Any]]] = []
    for number, worry in enumerate(worries):
        if edited is not None:
            queues.append(_edits(edited, worry.trait, np.random.default_rng([seed, number])))
        if policy is not None:
            queues.append(_flagged(policy, worry.trait))
    if policy is not None and rewards is not None and rewards.std.max() > 0:
        queues.append(_disputed(policy, rewards))
    in_turn = (row for row in chain.from_iterable(zip_longest(*queues)) if row is not None)
    rows: dict[str, dict[str, Any]] = {}
    for row in in_turn:
        rows.setdefault(row["id"], row)
        if len(rows) >= num:
            break
    return list(islice(rows.values(), num))


def _edits(edited: Edited, trait: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    numbers = [number for number, one in enumerate(edited.edits) if one.trait == trait]
    for number in rng.permutation(numbers):
        one = edited.edits[number]
        yield _row(one.prompt, (one.having, EDITS), (one.without, EDITS), {"kind": "edit", "trait": trait})


def _flagged(policy: PolicyAnswers, trait: str) -> Iterator[dict[str, Any]]:
    measure, names = TRAITS[trait].measure, policy.names
    for prompt, before, after in zip(policy.prompts, policy.before, policy.after, strict=True):
        asked = user_text(prompt)
        plain = min(before, key=lambda text: measure(asked, text))
        styled = max(after, key=lambda text: measure(asked, text))
        if measure(asked, styled) > measure(asked, plain) and styled.strip() and plain.strip():
            yield _row(prompt, (styled, names[1]), (plain, names[0]), {"kind": "policy", "trait": trait})


def _disputed(policy: PolicyAnswers, rewards: PolicyRewards) -> Iterator[dict[str, Any]]:
    for number in np.argsort(-rewards.std, kind="stable"):
        at = int(number)
        other, text = policy.before[at][0], policy.after[at][int(rewards.widest[at])]
        if text.strip() and other.strip() and text != other:
            before, after = policy.names
            yield _row(policy.prompts[at], (text, after), (other, before), {"kind": "disagreement"})


def _row(prompt: Prompt, one: tuple[str, str], other: tuple[str, str], about: dict[str, object]) -> dict[str, Any]:
    """The pair, each answer with its source, in an order that its content alone decides."""
    words = message_lists(prompt)
    (a, source_a), (b, source_b) = sorted((one, other), key=lambda answer: content_id(words, answer[0]))
    return {
        "id": content_id(words, RULE, a, b),
        "prompt": turns(prompt),
        "response_a": a,
        "response_b": b,
        "source_a": source_a,
        "source_b": source_b,
        "metadata": {"rule": RULE, **about},
    }
