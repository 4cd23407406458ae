"""Pairs that people have settled, as examples for a judge: its own mistakes first, the same ones for the same seed.

A judge is never asked about its examples: they are left out of the run, and its votes carry the hash of the examples,
so that what was shown and what was tested stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.judges.prompt import examples_hash
from alignment.judges.questions import Example, JudgeRubric
from annotate_app.access import Actor
from annotate_app.consensus.release import release
from annotate_app.protocol.assignment import fraction
from annotate_app.store.loop.judge_votes import JUDGE_CHOICE_CODES
from annotate_app.store.loop.judges import ExampleSet, JudgeRow
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import CHOICES

LONGEST_RATIONALE = 500


def choose_examples(
    store: Store, actor: Actor, project: Project, judge: JudgeRow, rubric: JudgeRubric, *, number: int, seed: int
) -> tuple[Example, ...]:
    """Chooses examples, or takes those that an earlier run of the same number and seed has shown.

    Raises:
        ValueError: if fewer pairs are settled.
    """
    if number < 0:
        raise ValueError(f"examples is {number}, allowed is 0 or more")
    if not number:
        return ()
    if judge.spec.kind not in ("endpoint", "local"):
        raise ValueError(f"examples is {number}, but a judge of the kind {judge.spec.kind} reads none")
    consensus = release(
        store.judgments.votes(actor, project.id), project.design, store.judgments.adjudications(actor, project.id)
    )
    allowed = [CHOICES.index(name) for name in ("a", "b", *rubric.tie * ["tie"], *rubric.both_bad * ["both_bad"])]
    released = consensus.indices("released")
    settled = {consensus.items[place]: place for place in released if consensus.choice[place] in allowed}
    keys = _shown_before(judge, rubric.version, number, seed)
    if not keys or any(key not in settled for key in keys):
        wrong = _mistakes(store, actor, project.id, judge, dict(zip(consensus.items, consensus.choice, strict=True)))
        keys = sorted(settled, key=lambda key: (key not in wrong, fraction("example", seed, key)))[:number]
    if len(keys) < number:
        raise ValueError(f"examples is {number}, but only {len(keys)} comparisons are settled by people")
    decisions = store.judgments.adjudications(actor, project.id)
    examples, num_decided = [], 0
    for key in keys:
        place = settled[key]
        choice = CHOICES[consensus.choice[place]]
        decided = choice in ("a", "b")
        # The right answer stands first as often as second, so that no position is taught.
        first = choice if num_decided % 2 == 0 else {"a": "b", "b": "a"}.get(choice, "a")
        num_decided += decided
        rationale = decisions[key].rationale if key in decisions else ""
        examples.append(
            Example(
                comparison=store.comparisons.get(actor, project.id, key),
                shown_first=first if decided else "a",  # type: ignore[arg-type]
                choice=choice,  # type: ignore[arg-type]
                strength=max(1, round(abs(float(consensus.margin[place])))) if decided else 0,
                rationale=rationale[:LONGEST_RATIONALE],
            )
        )
    return tuple(examples)


def note_examples(store: Store, judge: JudgeRow, examples: Sequence[Example], seed: int, rubric_version: int) -> str:
    """Keeps which examples a judge is shown; returns their hash, empty for none."""
    name = examples_hash(examples)
    if examples and name not in judge.example_sets:
        keys = tuple(example.comparison.id for example in examples)
        chosen = ExampleSet(keys=keys, number=len(keys), seed=seed, rubric_version=rubric_version)
        store.judges.note_examples(judge.id, name, chosen)
    return name


def _shown_before(judge: JudgeRow, rubric_version: int, number: int, seed: int) -> list[str]:
    for one in reversed(judge.example_sets.values()):
        if (one.number, one.seed, one.rubric_version) == (number, seed, rubric_version):
            return list(one.keys)
    return []


def _mistakes(store: Store, actor: Actor, project_id: int, judge: JudgeRow, settled: dict[str, int]) -> set[str]:
    """Comparisons at which the judge, without examples, said something else than people."""
    table = store.judges.vote_table(actor, project_id, judge.id)
    plain = table.examples == table.example_hashes.index("")
    answered = plain & np.isin(table.choice, [JUDGE_CHOICE_CODES[name] for name in ("a", "b", "tie", "both_bad")])
    pairs = zip(table.item[answered], table.choice[answered], strict=True)
    return {table.items[item] for item, choice in pairs if settled.get(table.items[item], choice) != choice}
