"""Completions of prompts by one or more policies, written as rows that can be read, trained on, or judged blindly.

One policy and one completion a prompt: rows of `prompt`, `completion` and `model`. Otherwise rows of `prompt` and
`responses`, each with its `model` and `text`: of several policies one row for each of their n completions, so that
every pair is of two policies; of one policy one row with all its n completions.

Finished rows stand in OUT.partial behind a first line that says how they were drawn; a run that goes on draws the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from alignment.evaluation_config import DrawConfig, SampleConfig
from alignment.sampler import Completion, Sampler, Told
from rewardkit.data import content_id
from rewardkit.files import SUFFIXES
from rewardkit.preference_rows import turn, turns
from rewardkit.prompts import Prompt, distinct, read_prompts
from rewardkit.writing import open_rows

_NO_MATTER = ("out", "resume", "json", "window", "token_budget")  # what may change when a run goes on


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The different prompts of a file; `num_rows` and `num_bad` say how many rows they came from, and were unusable."""

    prompts: list[Prompt]
    num_rows: int
    bad: list[str]


def read_different_prompts(config: DrawConfig) -> Prompts:
    """Reads the prompts that a configuration names.

    Raises:
        ValueError: naming file and line, if a row is bad or there is no prompt.
        FileNotFoundError: if there is no such source.
    """
    read = read_prompts(config.prompts, on_bad_row=config.on_bad_row)
    prompts = distinct(read.rows)[: config.max_prompts or None]
    if not prompts:
        raise ValueError(f"{config.prompts}: no row has a prompt")
    return Prompts(
        prompts=prompts, num_rows=len(read.rows), bad=[f"{each.place}: {each.problem}" for each in read.bad_rows]
    )


@dataclass(frozen=True, kw_only=True)
class SampledFile:
    """How it ended.

    Attributes:
        num_continued: of the prompts, those answered by an earlier run.
        num_cut: completions that did not end by themselves.
        num_identical: rows in which two responses are the same text, which the app does not take to judge.
    """

    num_prompts: int
    num_continued: int
    num_rows: int
    num_cut: int
    num_identical: int
    kind: str


def check_output(config: SampleConfig) -> None:
    """Checks the output's name.

    Raises:
        ValueError: if it says no format, the file is there already, or an unfinished run is and is not to go on.
    """
    out = Path(config.out)
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: the name's end says the format, allowed are {', '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"--out {out} is there already")
    if _partial(out).exists() and not config.resume:
        raise ValueError(f"--out {out}: {_partial(out).name} is of an unfinished run: --resume continues it")


def sample_file(
    config: SampleConfig, prompts: Sequence[Prompt], samplers: Sequence[Sampler], *, told: Told
) -> SampledFile:
    """Draws completions of all prompts into the output; see the module.

    Args:
        told: called after every batch with the completions drawn and all there are.

    Raises:
        ValueError: if an unfinished run is there that is not to go on, or was drawn otherwise; if a prompt is too long.
    """
    check_output(config)
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    kind = "completions" if len(samplers) == 1 and config.n == 1 else "comparisons"
    per_prompt = config.n if len(samplers) > 1 else 1
    header = _header(config, prompts)
    done = _continue(_partial(out), header, per_prompt) if _partial(out).exists() else 0
    total = len(prompts) * len(samplers) * config.n
    with _partial(out).open("ab") as file:
        if not done:
            file.truncate(0)
            file.write(json.dumps(header).encode() + b"\n")
        for start in range(done, len(prompts), config.window):
            window = prompts[start : start + config.window]
            drawn = []
            for place, sampler in enumerate(samplers):
                before = (start * len(samplers) + place * len(window)) * config.n

                def tell(part: int, _of: int, before: int = before) -> None:
                    told(before + part * config.n, total)

                keys = range(start, start + len(window))
                drawn.append(sampler.draw(window, config, n=config.n, keys=keys, told=tell))
            for prompt, answers in zip(window, zip(*drawn, strict=True), strict=True):
                for row in _rows(prompt, answers, samplers):
                    file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return _finish(out, kind=kind, num_prompts=len(prompts), num_continued=done)


def _rows(
    prompt: Prompt, answers: Sequence[Sequence[Completion]], samplers: Sequence[Sampler]
) -> Iterator[dict[str, Any]]:
    """What is written of one prompt, given each policy's completions."""
    if len(samplers) == 1 and len(answers[0]) == 1:
        (one,) = answers[0]
        completion = [turn("assistant", one.text)]
        yield {"prompt": turns(prompt), "completion": completion, "model": samplers[0].name, **one.columns}
        return
    named = [[(sampler.name, one) for one in group] for sampler, group in zip(samplers, answers, strict=True)]
    for responses in named if len(samplers) == 1 else zip(*named, strict=True):
        yield {
            "prompt": turns(prompt),
            "responses": [{"model": name, "text": one.text, **one.columns} for name, one in responses],
        }


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def _header(config: SampleConfig, prompts: Sequence[Prompt]) -> dict[str, Any]:
    how = {name: value for name, value in asdict(config).items() if name not in _NO_MATTER}
    return {**how, "prompts_hash": content_id([turns(prompt) for prompt in prompts])}


def _continue(partial: Path, header: dict[str, Any], per_prompt: int) -> int:
    """Cuts an unfinished run back to its last whole prompt and returns how many are answered."""
    with partial.open("r+b") as file:
        line = file.readline()
        if not line.endswith(b"\n"):
            return 0  # killed before anything was drawn
        before = json.loads(line)
        if differing := next((name for name in header if before.get(name) != header[name]), ""):
            was = f"{differing} was {before.get(differing)!r} and is {header[differing]!r}"
            raise ValueError(f"--resume {partial}: {was}; remove it to start anew")
        ends = [file.tell()]
        for line in file:
            if not line.endswith(b"\n"):
                break
            ends.append(ends[-1] + len(line))
        done = (len(ends) - 1) // per_prompt
        file.truncate(ends[done * per_prompt])
    return done


def _finish(out: Path, *, kind: str, num_prompts: int, num_continued: int) -> SampledFile:
    num_rows = num_cut = num_identical = 0
    with _partial(out).open("rb") as file, open_rows(out) as write:
        for line in islice(file, 1, None):
            row = json.loads(line)
            write(row)
            answers = row.get("responses", [row])
            num_rows += 1
            num_cut += sum(not answer["finished"] for answer in answers)
            texts = [answer["text"].strip() for answer in row.get("responses", [])]
            num_identical += len(set(texts)) < len(texts)
    _partial(out).unlink()
    return SampledFile(
        num_prompts=num_prompts,
        num_continued=num_continued,
        num_rows=num_rows,
        num_cut=num_cut,
        num_identical=num_identical,
        kind=kind,
    )
