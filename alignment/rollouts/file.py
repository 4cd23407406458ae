"""Rollouts on disk: what a run drew and how it was rewarded, a line per prompt, from which another run can learn again.

A line holds step, draw (the number of the draw within the step), the prompt's number, its messages and token ids, and
its completions, each with token ids, log-probabilities under the sampler, text, whether it finished, and its reward;
where steps are credited, step_rewards holds (tokens up to the step's end, reward) of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.export_formats import turns
from rewardkit.data.prompts import PromptRow
from rewardkit.network.packed_rows import Branched
from rewardkit.run.directory import write_text

FILE = "rollouts.jsonl"


def append_rollouts(file: Path, step: int, draw: int, collected: Collected) -> None:
    """Writes a line per prompt."""
    rollouts, scored = collected.rollouts, collected.scored
    size = rollouts.group_size
    lines = []
    for index, row in enumerate(rollouts.rows):
        completions = []
        for number, ids in enumerate(row.branches, start=index * size):
            logps = rollouts.logps[rollouts.places([number])]
            completion = {
                "ids": list(ids),
                "logps": [round(float(logp), 7) for logp in logps],
                "text": rollouts.texts[number],
                "finished": bool(rollouts.finished[number]),
                "reward": float(scored.total[number]),
                "raw": float(scored.raw.mean[number]),
            }
            if scored.credits is not None:
                steps = scored.credits.take([number])
                completion["step_rewards"] = list(zip(steps.ends.tolist(), steps.rewards.tolist(), strict=True))
            completions.append(completion)
        line = {"step": step, "draw": draw, "number": rollouts.numbers[index], "prompt": turns(rollouts.prompts[index])}
        lines.append(json.dumps(line | {"prompt_ids": list(row.prompt), "completions": completions}))
    with file.open("a", encoding="utf-8") as rollouts_file:
        rollouts_file.write("".join(f"{line}\n" for line in lines))


def truncate_rollouts(run_dir: Path, step: int) -> None:
    """Drops what was drawn after a step, which a resumed run draws again."""
    file = run_dir / FILE
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        remaining = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_text(file, "".join(remaining))


class Replay:
    """The draws of a stored run, by step and draw.

    Args:
        file: as `append_rollouts` writes it.
        rows: the prompts of the run that learns from it, by number.

    Raises:
        ValueError: naming file and line, if a line cannot be read, or is of another prompt than the one of its number.
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, file: Path, rows: Sequence[PromptRow]) -> None:
        self.file, self.rows = file, rows
        self.draws: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    key = (row["step"], row["draw"])
                    same = row["number"] < len(rows) and row["prompt"] == turns(rows[row["number"]].prompt)
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{file}:{number}: no line of rollouts: {error}") from error
                if not same:
                    raise ValueError(f"{file}:{number}: the prompt is not number {row['number']} of this run's prompts")
                self.draws.setdefault(key, []).append(row)

    def rollouts(self, step: int, draw: int) -> Rollouts:
        """What was drawn there.

        Raises:
            ValueError: if the file holds no such draw.
        """
        lines = self.draws.get((step, draw))
        if not lines:
            raise ValueError(f"{self.file} holds no draw {draw} of step {step}")
        completions = [one for line in lines for one in line["completions"]]
        return Rollouts(
            numbers=tuple(line["number"] for line in lines),
            prompts=tuple(self.rows[line["number"]].prompt for line in lines),
            columns=tuple(self.rows[line["number"]].columns for line in lines),
            rows=tuple(
                Branched(
                    prompt=tuple(line["prompt_ids"]), branches=tuple(tuple(one["ids"]) for one in line["completions"])
                )
                for line in lines
            ),
            texts=tuple(one["text"] for one in completions),
            finished=torch.tensor([one["finished"] for one in completions]),
            logps=torch.tensor([logp for one in completions for logp in one["logps"]]),
        )
