"""`sample` lets policies answer prompts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.config.sampling import SampleConfig
from rewardkit.run.progress import Progress

if TYPE_CHECKING:
    from alignment.generation.sample_to_file import Prompts, SampledFile

SHOWN_BAD_ROWS = 20


def sample(config: SampleConfig) -> int:
    """Runs `alignment sample`; returns the exit code."""
    from alignment.generation.completion_sampler import load_samplers
    from alignment.generation.sample_to_file import read_different_prompts, sample_file
    from rewardkit.data.resumable_file import check_output
    from rewardkit.network.models import check_policy_folder

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    for model in config.model:
        check_policy_folder(model)
    given = read_different_prompts(config)
    say_bad_rows("alignment sample", given.bad)
    done = sample_file(config, given.prompts, load_samplers(config.model), told=Progress("completions drawn").count)
    if config.json:
        summary = {"out": config.out, **asdict(done), "num_bad_rows": len(given.bad)}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    print(f"{config.out}: {_said(config, given, done)}")
    return 0


def say_bad_rows(command: str, bad: Sequence[str]) -> None:
    """One line for each row that is left out, up to a number, then how many more there are."""
    for each in bad[:SHOWN_BAD_ROWS]:
        print(f"{command}: left out {each}", file=sys.stderr)
    if len(bad) > SHOWN_BAD_ROWS:
        print(f"{command}: left out {len(bad) - SHOWN_BAD_ROWS} more", file=sys.stderr)


def _said(config: SampleConfig, given: Prompts, done: SampledFile) -> str:
    total = done.num_prompts * len(config.model) * config.n
    said = [f"{total:,} completions of {done.num_prompts:,} different prompts ({given.num_rows:,} rows)"]
    if done.num_cut:
        said.append(f"{done.num_cut:,} cut at {config.max_new_tokens} tokens")
    if done.num_identical:
        said.append(f"{done.num_identical:,} of {done.num_rows:,} rows hold the same response twice, which is a tie")
    if given.bad:
        said.append(f"{len(given.bad):,} bad rows left out")
    return "; ".join(said)
