"""`bon` makes a dataset of a policy's best completions: best-of-n, rejection sampling, or pairs of best and worst."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.commands.sample import say_bad_rows
from alignment.config.sampling import BonConfig
from rewardkit.report.table import text_table
from rewardkit.report.wording import number_text
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption

if TYPE_CHECKING:
    from alignment.best_of_n.run import BonResult

SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # k of the table, and n; the summary in JSON has every k


def bon(config: BonConfig) -> int:
    """Runs `alignment bon`; returns the exit code."""
    from alignment.best_of_n.run import choose_best, in_world, read_bon_prompts
    from alignment.generation.completion_sampler import load_samplers
    from rewardkit.data.resumable_file import check_output
    from rewardkit.network.models import check_policy_folder

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    with Interruption().listening() as interruption:
        config = in_world(config, interruption, Progress())
    check_policy_folder(config.model)
    given = read_bon_prompts(config)
    say_bad_rows("alignment bon", given.bad)
    (sampler,) = load_samplers([config.model])
    done = choose_best(config, given.rows, sampler, told=Progress("completions drawn").count)
    if config.json:
        summary = {"out": config.out, **done.values(), "num_bad_rows": len(given.bad)}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    print(_table(done, config.n))
    print(f"{config.out}: {_said(config, done)}")
    return 0


def _table(done: BonResult, n: int) -> str:
    """Best of k in columns: KL bound, expected reward, and where there is one the audit reward."""
    rows = [
        [f"{best.k}", f"{best.kl:.3f}", number_text(best.reward, 3), number_text(best.audit, 3) if best.audit else ""]
        for best in done.curve
        if best.k in SHOWN or best.k == n
    ]
    audit = "audit reward" if done.curve[0].audit else ""
    return text_table(("best of", "KL, nats, at most", "reward", audit), rows, num_left=0)


def _said(config: BonConfig, done: BonResult) -> str:
    what = {"best": "best completions", "above": "completions that reach the threshold", "pairs": "pairs"}[config.keep]
    said = [f"{done.num_rows:,} {what} of {done.num_prompts:,} prompts, {config.n} drawn of each"]
    if done.num_without:
        said.append(f"{done.num_without:,} prompts gave none")
    if done.num_cut:
        said.append(f"{done.num_cut:,} completions cut at {config.max_new_tokens} tokens")
    return "; ".join(said)
