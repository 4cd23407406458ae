"""`sample` lets policies answer prompts; `bon` makes a dataset of a policy's best completions.

`bon` keeps the best of n, all above a threshold (rejection sampling), or pairs of best and worst.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.config.sampling import BonConfig, SampleConfig
from rewardkit.report.table import number_text, text_table
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption

if TYPE_CHECKING:
    from alignment.best_of_n.run import BonResult
    from alignment.generation.sample_to_file import Prompts, SampledFile

SHOWN_BAD_ROWS = 20
TABLE_KS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # k of the table, and n; the summary in JSON has every k


def sample(config: SampleConfig) -> int:
    """Runs `alignment sample`; returns the exit code."""
    from alignment.generation.completion_sampler import load_samplers, template_check
    from alignment.generation.sample_to_file import read_different_prompts, sample_file
    from rewardkit.data.files import check_output
    from rewardkit.network.models import check_policy_folder

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    for model in config.model:
        check_policy_folder(model)
    prompt_set = read_different_prompts(config, template_check(config.model))
    say_bad_rows("alignment sample", prompt_set.bad)
    done = sample_file(
        config, prompt_set.prompts, load_samplers(config.model), told=Progress("completions drawn").count
    )
    if config.json:
        summary = {"out": config.out, **asdict(done), "num_bad_rows": len(prompt_set.bad)}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    print(f"{config.out}: {_summary_of_samples(config, prompt_set, done)}")
    return 0


def say_bad_rows(command: str, bad: Sequence[str]) -> None:
    """One line for each row that is left out, up to a number, then how many more there are."""
    for problem in bad[:SHOWN_BAD_ROWS]:
        print(f"{command}: left out {problem}", file=sys.stderr)
    if len(bad) > SHOWN_BAD_ROWS:
        print(f"{command}: left out {len(bad) - SHOWN_BAD_ROWS} more", file=sys.stderr)


def _summary_of_samples(config: SampleConfig, prompt_set: Prompts, done: SampledFile) -> str:
    total = done.num_prompts * len(config.model) * config.n
    parts = [f"{total:,} completions of {done.num_prompts:,} different prompts ({prompt_set.num_rows:,} rows)"]
    if done.num_cut:
        parts.append(f"{done.num_cut:,} cut at {config.max_new_tokens} tokens")
    if done.num_identical:
        parts.append(f"{done.num_identical:,} of {done.num_rows:,} rows hold the same response twice, which is a tie")
    if prompt_set.bad:
        parts.append(f"{len(prompt_set.bad):,} bad rows left out")
    return "; ".join(parts)


def bon(config: BonConfig) -> int:
    """Runs `alignment bon`; returns the exit code."""
    from alignment.best_of_n.run import choose_best, in_world, read_different_rows
    from alignment.generation.completion_sampler import load_samplers, template_check
    from rewardkit.data.files import check_output
    from rewardkit.network.models import check_policy_folder

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    with Interruption().listening() as interruption:
        config = in_world(config, interruption, Progress())
    check_policy_folder(config.model)
    prompt_set = read_different_rows(config, template_check([config.model]))
    say_bad_rows("alignment bon", prompt_set.bad)
    (sampler,) = load_samplers([config.model])
    done = choose_best(config, prompt_set.rows, sampler, told=Progress("completions drawn").count)
    if config.json:
        summary = {"out": config.out, **done.values(), "num_bad_rows": len(prompt_set.bad)}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    print(_table(done, config.n))
    print(f"{config.out}: {_summary_of_rows(config, done)}")
    return 0


def _table(done: BonResult, n: int) -> str:
    """Best of k in columns: KL bound, expected reward, and where there is one the audit reward."""
    rows = [
        [f"{best.k}", f"{best.kl:.3f}", number_text(best.reward, 3), number_text(best.audit, 3) if best.audit else ""]
        for best in done.curve
        if best.k in TABLE_KS or best.k == n
    ]
    audit = "audit reward" if done.curve[0].audit else ""
    return text_table(("best of", "KL, nats, at most", "reward", audit), rows, num_left=0)


def _summary_of_rows(config: BonConfig, done: BonResult) -> str:
    what = {"best": "best completions", "above": "completions that reach the threshold", "pairs": "pairs"}[config.keep]
    parts = [f"{done.num_rows:,} {what} of {done.num_prompts:,} prompts, {config.n} drawn of each"]
    if done.num_without:
        parts.append(f"{done.num_without:,} prompts gave none")
    if done.num_cut:
        parts.append(f"{done.num_cut:,} completions cut at {config.max_new_tokens} tokens")
    return "; ".join(parts)
