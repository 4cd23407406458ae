"""`score` adds rewards to the rows of a file; `rank` orders comparisons by how much their labels would tell."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

from rewardkit.commands.joint import fit_joint, read_labels
from rewardkit.config import RankConfig, ScoreConfig
from rewardkit.run.progress import Progress

SHOWN_BAD_ROWS = 20


def _precision(config: ScoreConfig) -> AbstractContextManager[object]:
    if config.precision == "fp32":
        return nullcontext()  # without torch: a TF-IDF model knows nothing of it
    from rewardkit.distributed.collectives import default_device
    from rewardkit.distributed.optimization import autocast

    return autocast(config.precision, default_device())


def _say(command: str, warning: str) -> None:
    if warning:
        print(f"{command}: {warning}", file=sys.stderr)


def score(config: ScoreConfig) -> int:
    """Runs `rewardkit score`; returns the exit code."""
    from rewardkit.data.files import check_output
    from rewardkit.scoring.file import read_input, score_file

    if config.resume and Path(config.output).exists():
        print(f"{config.output}: complete already")
        return 0
    check_output("--output", config.output, resume=config.resume)
    from rewardkit.reward.load import (
        cut_warning,
        is_process_reward,
        load_reward_fn,
        read_criterion_weights,
        template_check,
    )

    criterion_weights = read_criterion_weights(config.criterion_weights, config.model)
    of_steps = is_process_reward(config.model)
    if not of_steps and (config.steps_by, config.aggregation) != ("line", "min"):
        raise ValueError(f"steps_by and aggregation are of a process reward model, {config.model} is none")
    source = read_input(config, template_check(config.model), of_steps=of_steps)
    for bad in source.bad_rows[:SHOWN_BAD_ROWS]:
        print(f"rewardkit score: no reward for {bad.place}: {bad.problem}", file=sys.stderr)
    if len(source.bad_rows) > SHOWN_BAD_ROWS:
        print(f"rewardkit score: no reward for {len(source.bad_rows) - SHOWN_BAD_ROWS} more", file=sys.stderr)
    reward_fn = load_reward_fn(  # heavy, so after the input
        config.model,
        criterion_weights=criterion_weights,
        aggregation=config.aggregation,
        steps_by=config.steps_by,
    )
    with _precision(config):
        scored = score_file(config, source, reward_fn, tell=Progress("rows scored").count)
    _say("rewardkit score", cut_warning(reward_fn))
    if config.json:
        summary = {
            "output": config.output,
            "num_rows": scored.num_rows,
            "num_continued": scored.num_continued,
            "num_bad_rows": len(scored.bad_rows),
            "columns": source.how.added,
        }
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    bad = f", {len(scored.bad_rows)} bad rows without a reward" if scored.bad_rows else ""
    print(f"{config.output}: {scored.num_rows} rows with {', '.join(source.how.added)}{bad}")
    return 0


def rank(config: RankConfig) -> int:
    """Runs `rewardkit rank`; returns the exit code."""
    from rewardkit.data.files import check_new_file, write_rows
    from rewardkit.reward.load import cut_warning, load_reward_fn, read_criterion_weights, template_check
    from rewardkit.scoring.ranking import answers_of, rank_comparisons, read_comparisons, without_label

    out = Path(config.out)
    check_new_file("--out", out)
    folder = config.model_folder
    criterion_weights = read_criterion_weights(config.criterion_weights, folder) if folder else {}
    check = template_check(folder) if folder else None
    read = read_comparisons(config.input, on_bad_row=config.on_bad_row, check=check)
    labelled = read_comparisons(config.labelled, on_bad_row=config.on_bad_row) if config.labelled else None
    headroom, comparisons = None, read.comparisons
    if config.features == "joint":
        rows = read_labels(config.labelled, on_bad_row=config.on_bad_row)
        comparisons = without_label(read.comparisons, labelled.comparisons if labelled else ())
        reward_fn, headroom = fit_joint(rows, answers_of(comparisons), len(comparisons), config)
    else:
        reward_fn = load_reward_fn(config.model, criterion_weights=criterion_weights)  # heavy, so after the input
    ranked = rank_comparisons(
        comparisons,
        reward_fn,
        config.rule,
        seed=config.seed,
        labelled=labelled.comparisons if labelled else (),
        top=config.top,
    )
    _say("rewardkit rank", cut_warning(reward_fn) if config.features == "model" else "")
    write_rows(out, (asdict(row) for row in ranked))
    bad_rows = [*read.bad_rows, *(labelled.bad_rows if labelled else ())]
    for bad in bad_rows[:20]:
        print(f"rewardkit rank: left out {bad.place}: {bad.problem}", file=sys.stderr)
    if len(bad_rows) > 20:
        print(f"rewardkit rank: left out {len(bad_rows) - 20} more", file=sys.stderr)
    num_labelled = len(read.comparisons) - len(comparisons)
    if config.json:
        summary = {
            "out": str(out),
            "rule": config.rule,
            "num_comparisons": len(comparisons),
            "num_labelled": num_labelled,
            "num_written": len(ranked),
            "num_bad_rows": len(bad_rows),
            **({"headroom": headroom.summary()} if headroom else {}),
            "first": [asdict(row) for row in ranked[:10]],
        }
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    left_out = f", {num_labelled} that have a label already left out" if num_labelled else ""
    left_out += f", {len(bad_rows)} bad rows left out" if bad_rows else ""
    if headroom:
        print(headroom)
    print(f"{out}: {len(ranked)} of {len(comparisons)} comparisons by {config.rule}{left_out}")
    return 0
