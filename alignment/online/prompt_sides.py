"""The prompts of a run that learns from its own samples: to train on, and held out."""

from __future__ import annotations

from dataclasses import dataclass

from alignment.config.online import OnlineConfig
from rewardkit.data.prompts import PromptRow, distinct_rows, read_prompt_rows
from rewardkit.data.splitting import split_by_prompt


@dataclass(frozen=True, kw_only=True)
class PromptSides:
    """Prompts to train on and held out."""

    train: list[PromptRow]
    held_out: list[PromptRow]
    bad: list[str]


def read_prompt_sides(config: OnlineConfig) -> PromptSides:
    """The prompts that a configuration names, each once.

    Raises:
        ValueError: naming file and line, if a row is bad; if a side has no prompt.
        FileNotFoundError: if there is no such source.
    """
    read = read_prompt_rows(config.prompts, on_bad_row=config.on_bad_row)
    bad = [f"{each.place}: {each.problem}" for each in read.bad_rows]
    rows = distinct_rows(read.rows)
    if config.eval_prompts:
        others = read_prompt_rows(config.eval_prompts, on_bad_row=config.on_bad_row)
        bad += [f"{each.place}: {each.problem}" for each in others.bad_rows]
        train, held_out = rows, distinct_rows(others.rows)
    else:
        train, held_out = split_by_prompt(rows, eval_share=config.eval_share, seed=config.seed)
    for name, side in (("to train on", train), ("held out", held_out)):
        if not side:
            raise ValueError(f"{config.prompts}: {len(rows)} different prompts, none of them {name}")
    return PromptSides(train=train, held_out=held_out, bad=bad)
