"""Splits by prompt, and prompts that stand on both sides of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from rewardkit.data.export_formats import normal_prompt, plain_prompt, prompt_position
from rewardkit.data.records import Message


class Prompted(Protocol):
    """A row that goes with a prompt."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation up to the answer."""
        ...


Row = TypeVar("Row", bound=Prompted)


def split_by_prompt(rows: Sequence[Row], *, eval_share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows, each in the given order; all rows of a prompt fall on one side.

    A prompt is held out if a hash of seed and normalised prompt, as a number in [0, 1), lies under `eval_share`. Which
    side it falls on does not depend on the other rows, so that adding some moves none.

    Args:
        rows: all of them.
        eval_share: expected share of prompts held out, between 0 and 1.
        seed: another one holds out other prompts.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < eval_share < 1:
        raise ValueError(f"eval_share is {eval_share}, allowed is between 0 and 1")
    train: list[Row] = []
    held_out: list[Row] = []
    for row in rows:
        # A key of its own: the splits of an export with the same seed say nothing about these.
        side = held_out if prompt_position(row.prompt, f"held_out {seed}") < eval_share else train
        side.append(row)
    return train, held_out


def find_leakage(train: Iterable[Prompted], held_out: Iterable[Prompted]) -> list[str]:
    """The held-out prompts that are training prompts too, each once, as texts; case and white space do not count."""
    train_prompts = {normal_prompt(row.prompt) for row in train}
    shared = {}
    for row in held_out:
        normal = normal_prompt(row.prompt)
        if normal in train_prompts:
            shared.setdefault(normal, plain_prompt(row.prompt))
    return list(shared.values())


def num_prompts(rows: Iterable[Prompted]) -> int:
    """How many different prompts there are, normalised."""
    return len({normal_prompt(row.prompt) for row in rows})
