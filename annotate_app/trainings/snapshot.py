"""Writes the data of a training as files of its run, so that a model can be traced to its data.

That is the project's released preferences or rows of best of n, split by prompt, and for what draws answers the
project's prompts or those of a file, some held out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.store.store import Store
from annotate_app.trainings.options import TEST_PROMPTS, TRAIN_PROMPTS
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.sampling_plans import SamplingPlan
from rewardkit.data.conversations import read_messages
from rewardkit.data.export_formats import preference_row, split_of
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.prompts import PromptRow, distinct_rows, prompt_row, read_prompt_rows
from rewardkit.data.records import Preference, content_id
from rewardkit.data.splitting import split_by_prompt
from rewardkit.reward.reward import criterion_targets

logger = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
ANSWERS = ("chosen", "rejected", "completion")
ON_POLICY_ROWS = "on_policy.jsonl"
"""Rows of a turn of the loop that its reward model is measured on and does not learn from."""


def take_snapshot(store: Store, actor: Actor, plan: TrainingPlan, folder: Path) -> None:
    """Writes the project's released preferences, split by prompt, with their card.

    Raises:
        ValueError: if a split stays empty.
    """
    options = ExportOptions(
        min_votes=plan.min_votes,
        min_agreement=plan.min_agreement,
        adjudicated_only=plan.adjudicated_only,
        ties="keep",
        splits=shares_of(plan),
        sources=True,
        judges=plan.judges,
    )
    draft = folder.with_name(f"{folder.name}.draft")
    project = store.projects.get(actor, plan.project)
    exported = export_rows(store, actor, project.id, draft, replace(options, overwrite=True))
    logger.info(", ".join(f"{count:,} {split}" for split, count in exported.num_rows.items()))
    for why, count in sorted(exported.left_out.items(), key=lambda item: -item[1]):
        logger.info(f"left out {count:,}: {why}")
    for note in exported.notes:
        logger.info(note)
    if num_empty := _drop_empty(draft):
        logger.info(f"left out {num_empty:,}: an answer without a text, from which nothing is learned")
    if plan.on_policy or plan.replay < 1:
        _set_apart(draft, plan)
    for split in SPLITS:
        if plan.criterion:
            file = draft / f"{split}.jsonl"
            released = read_preferences(str(file), empty="keep").rows if file.stat().st_size else []
            rows = list(criterion_rows(released, plan.criterion))
            file.unlink()
            write_rows(file, (preference_row(row, sources=True) for row in rows))
            logger.info(f"{len(rows):,} {split} judged by {plan.criterion}")
        if not (draft / f"{split}.jsonl").stat().st_size:
            raise ValueError(f"there is nothing for {split}: too few items have been judged, or the rule is too strict")
    draft.rename(folder)


def _drop_empty(draft: Path) -> int:
    """Leaves out rows of which an answer says nothing, as a policy's may in a blind round; their number."""
    num_empty = 0
    for split in SPLITS:
        file = draft / f"{split}.jsonl"
        rows = [row for _, row in read_rows(str(file))] if file.stat().st_size else []
        full = [row for row in rows if all(_says_something(row[name]) for name in ANSWERS if name in row)]
        if len(full) < len(rows):
            num_empty += len(rows) - len(full)
            file.unlink()
            write_rows(file, full)
    return num_empty


def _says_something(answer: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the turns of an answer hold more than one without a word."""
    return len(answer) != 1 or bool(set(answer[0]) - {"role", "content"}) or bool(str(answer[0]["content"]).strip())


def _set_apart(draft: Path, plan: TrainingPlan) -> None:
    """Moves the rows that a turn measures on into a file of their own, and thins out what is older than the turn.

    Whether an older row takes part depends on its id and the seed alone, and the share: a larger one adds rows.
    """
    measured, newest = frozenset(plan.on_policy), frozenset((*plan.newest, *plan.on_policy))
    apart: list[Mapping[str, Any]] = []
    num_older = num_kept = 0
    for split in SPLITS:
        file, kept = draft / f"{split}.jsonl", []
        for _, row in read_rows(str(file)) if file.stat().st_size else ():
            key = row["comparison_id"]
            if key in measured:
                apart.append(row)
                continue
            is_older = key not in newest
            stays = not is_older or int(content_id(plan.config.seed, key), 16) < plan.replay * 16**16
            num_older += is_older
            num_kept += is_older and stays
            if stays:
                kept.append(row)
        file.unlink()
        write_rows(file, kept)
    if apart:
        write_rows(draft / ON_POLICY_ROWS, apart)
    logger.info(
        f"{len(apart):,} pairs of the turn kept apart to measure on, {num_kept:,} of {num_older:,} older ones used"
    )


def criterion_rows(rows: Iterable[Preference], criterion: str) -> Iterator[Preference]:
    """The rows judged by a criterion, turned so that chosen is the better one by it; equal by it is a tie.

    Items are those released by the overall choice; votes, which are overall, are left out.
    """
    for row in rows:
        (p_chosen,), (weight,) = (values[:, 0] for values in criterion_targets([row], [criterion]))
        if not weight:
            continue
        degree = row.criteria[criterion]
        turned = replace(row, p_chosen=max(p_chosen, 1 - p_chosen), margin=abs(degree), criteria={}, votes={})
        if p_chosen < 0.5:
            turned = replace(
                turned,
                chosen=row.rejected,
                rejected=row.chosen,
                source_chosen=row.source_rejected,
                source_rejected=row.source_chosen,
            )
        yield turned


def take_rows(file: Path, plan: TrainingPlan, folder: Path) -> None:
    """Writes the rows that a run of best of n made, split by prompt; DPO takes pairs, SFT any.

    Raises:
        ValueError: if they are no pairs and DPO is to learn from them, or a split stays empty.
    """
    by_split: dict[str, list[Mapping[str, Any]]] = {split: [] for split in SPLITS}
    for _, row in read_rows(str(file)):
        if plan.trains == "dpo" and "rejected" not in row:
            raise ValueError(f"{file}: DPO learns from pairs, these rows are single answers: they are for SFT")
        by_split[split_of(read_messages(row["prompt"], "prompt"), shares_of(plan), plan.config.seed)].append(row)
    logger.info(", ".join(f"{len(rows):,} {split}" for split, rows in by_split.items()))
    if empty := next((split for split, rows in by_split.items() if not rows), ""):
        total = sum(map(len, by_split.values()))
        raise ValueError(f"there is nothing for {empty}: best of n gave {total:,} rows, too few to hold some out")
    draft = folder.with_name(f"{folder.name}.draft")
    for split, rows in by_split.items():
        write_rows(draft / f"{split}.jsonl", rows)
    draft.rename(folder)


def shares_of(plan: TrainingPlan) -> dict[str, float]:
    """How large each split is."""
    return {"train": round(1 - 2 * plan.held_out, 6), "validation": plan.held_out, "test": plan.held_out}


def take_prompts(store: Store, actor: Actor, plan: SamplingPlan, run_dir: Path, folder: Path) -> None:
    """Writes each prompt once, with the columns of its row that a reward may read; whole or not at all.

    Args:
        run_dir: where an uploaded file of prompts lies.
        folder: to write; of a project the columns are what its import kept beside the comparisons.

    Raises:
        ValueError: if a row of the file is bad, or a side stays empty.
    """
    if plan.prompts:
        read = read_prompt_rows(str(run_dir / plan.prompts), on_bad_row=plan.config.on_bad_row)
        for bad in read.bad_rows[:20]:
            logger.info(f"left out {bad.place}: {bad.problem}")
        if read.bad_rows:
            logger.info(f"{len(read.bad_rows):,} rows left out")
        rows, where = read.rows, "the file"
    else:
        project = store.projects.get(actor, plan.project)
        comparisons = store.comparisons.iterate(actor, project.id)
        rows, where = [PromptRow(prompt=one.prompt, columns=one.meta) for one in comparisons], project.name
    different = distinct_rows(rows)
    train, test = different, []
    if plan.held_out:
        train, test = split_by_prompt(different, eval_share=plan.held_out, seed=plan.config.seed)
    logger.info(f"{len(train):,} prompts to answer, {len(test):,} held out, of {len(rows):,} rows")
    if not train or (plan.held_out and not test):
        what = "held out" if train else "to answer"
        raise ValueError(f"{where} has {len(different):,} different prompts, none of them {what}")
    draft = folder.with_name(f"{folder.name}.draft")
    write_rows(draft / TRAIN_PROMPTS, map(prompt_row, train))
    if plan.held_out:
        write_rows(draft / TEST_PROMPTS, map(prompt_row, test))
    draft.rename(folder)
