"""The judges of a project, read from the store as votes that a consensus can weigh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.consensus.judge_readings import Readings, read_judge
from annotate_app.store.loop.judges import JudgeRow
from annotate_app.store.store import Store
from annotate_app.votes import Votes
from rewardkit.reward.learned_from import learned_prompts, prompt_hash


def read_judges(store: Store, actor: Actor, project_id: int, votes: Votes, judges: Sequence[str]) -> list[Readings]:
    """The votes of judges on the items of `votes`, without what each was shown as examples. Lead or above.

    Raises:
        ValueError: if there is no such judge, or one is named twice.
    """
    if repeated := [name for name in judges if judges.count(name) > 1]:
        raise ValueError(f"the judge {repeated[0]!r} is named twice")
    readings = []
    for name in judges:
        row = store.judges.get(actor, project_id, name)
        table = store.judges.vote_table(actor, project_id, row.id)
        readings.append(read_judge(table, name, votes.items, leave_out=told_answers(store, actor, project_id, row)))
    return readings


def judge_names(words: str) -> tuple[str, ...]:
    """Reads NAME[,NAME]."""
    return tuple(name.strip() for name in words.split(",") if name.strip())


def own_names(row: JudgeRow) -> tuple[str, ...]:
    """Names that a source has if it is the judge's own model."""
    folder = Path(row.spec.target).name if row.spec.kind == "local" else ""
    return tuple(name for name in (row.spec.model, folder) if name)


def told_answers(store: Store, actor: Actor, project_id: int, row: JudgeRow) -> frozenset[str]:
    """Ids of the comparisons to which a judge was told people's answers: nothing can be measured on them.

    All that it was ever shown as examples, and those whose prompts stand among what its own model learned from.
    """
    shown = frozenset(key for one in row.example_sets.values() for key in one.keys)
    prompts = learned_prompts(Path(row.spec.target)) if row.spec.kind in ("local", "reward") else set()
    if not prompts:
        return shown
    comparisons = store.comparisons.iterate(actor, project_id)
    return shown | {comparison.id for comparison in comparisons if prompt_hash(comparison.prompt) in prompts}
