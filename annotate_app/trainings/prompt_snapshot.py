"""The prompts of a run that draws answers, as files of it: the project's, or those of a file; some held out."""

from __future__ import annotations

from pathlib import Path

from annotate_app.access import Actor
from annotate_app.store.store import Store
from annotate_app.trainings.sampling_plans import TEST_PROMPTS, TRAIN_PROMPTS, SamplingPlan
from rewardkit.data.prompts import PromptRow, distinct_rows, prompt_row, read_prompt_rows
from rewardkit.data.splitting import split_by_prompt
from rewardkit.data.writing import write_rows


def take_prompts(store: Store, actor: Actor, plan: SamplingPlan, run_dir: Path, folder: Path) -> None:
    """Writes each prompt once, with the columns of its row that a reward may read; whole or not at all.

    Args:
        run_dir: where an uploaded file of prompts lies.
        folder: to write; of a project the columns are what its import kept beside the comparisons.

    Raises:
        ValueError: if a row of the file is bad, or a side stays empty.
    """
    if plan.prompts:
        on_bad_row = plan.advanced.get("on_bad_row", "error")
        read = read_prompt_rows(str(run_dir / plan.prompts), on_bad_row=on_bad_row)
        for bad in read.bad_rows[:20]:
            print(f"left out {bad.place}: {bad.problem}")
        if read.bad_rows:
            print(f"{len(read.bad_rows):,} rows left out")
        rows, where = read.rows, "the file"
    else:
        project = store.projects.get(actor, plan.project)
        found = store.comparisons.iterate(actor, project.id)
        rows, where = [PromptRow(prompt=each.prompt, columns=each.meta) for each in found], project.name
    different = distinct_rows(rows)
    train, test = different, []
    if plan.held_out:
        train, test = split_by_prompt(different, eval_share=plan.held_out, seed=int(plan.advanced.get("seed", 0)))
    print(f"{len(train):,} prompts to answer, {len(test):,} held out, of {len(rows):,} rows")
    if not train or (plan.held_out and not test):
        what = "held out" if train else "to answer"
        raise ValueError(f"{where} has {len(different):,} different prompts, none of them {what}")
    draft = folder.with_name(f"{folder.name}.draft")
    write_rows(draft / TRAIN_PROMPTS, map(prompt_row, train))
    if plan.held_out:
        write_rows(draft / TEST_PROMPTS, map(prompt_row, test))
    draft.rename(folder)
