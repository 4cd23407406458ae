"""Completions of prompts by one or more policies, written as rows that can be read, trained on, or judged blindly.

One policy and one completion a prompt: rows of `prompt`, `completion` and `model`. Otherwise rows of `prompt` and
`responses`, each with its `model` and `text`: of several policies one row for each of their n completions, so that
every pair is of two policies; of one policy one row with all its n completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alignment.config.sampling import DrawConfig, SampleConfig
from alignment.generation.completion_sampler import Completion, Sampler, Told
from rewardkit.data.export_formats import turn, turns
from rewardkit.data.files import ResumableFile, check_output
from rewardkit.data.prompts import Prompt, distinct, read_prompts
from rewardkit.data.records import content_id

if TYPE_CHECKING:
    from rewardkit.network.template_check import TemplateCheck

_NO_MATTER = ("out", "resume", "json", "window", "token_budget")  # what may change when a run goes on


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The different prompts of a file; `num_rows` and `num_bad` say how many rows they came from, and were unusable."""

    prompts: list[Prompt]
    num_rows: int
    bad: list[str]


def read_different_prompts(config: DrawConfig, check: TemplateCheck | None = None) -> Prompts:
    """Reads the prompts that a configuration names.

    Args:
        check: asked for every prompt.

    Raises:
        ValueError: naming file and line, if a row is bad or there is no prompt.
        FileNotFoundError: if there is no such source.
    """
    read = read_prompts(
        config.prompts, on_bad_row=config.on_bad_row, check=check and (lambda prompt, _place: check(prompt, ()))
    )
    prompts = distinct(read.rows)[: config.max_prompts or None]
    if not prompts:
        raise ValueError(f"{config.prompts}: no row has a prompt")
    return Prompts(
        prompts=prompts, num_rows=len(read.rows), bad=[f"{row.place}: {row.problem}" for row in read.bad_rows]
    )


@dataclass(frozen=True, kw_only=True)
class SampledFile:
    """Counts of a finished `alignment sample`.

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


def sample_file(
    config: SampleConfig, prompts: Sequence[Prompt], samplers: Sequence[Sampler], *, told: Told
) -> SampledFile:
    """Draws completions of all prompts into the output; see the module.

    Args:
        told: called after every batch with the completions drawn and all there are.

    Raises:
        ValueError: if an unfinished run is there that is not to go on, or was drawn otherwise; if a prompt is too long.
    """
    check_output("--out", config.out, resume=config.resume)
    kind = "completions" if len(samplers) == 1 and config.n == 1 else "comparisons"
    rows_per_prompt = config.n if len(samplers) > 1 else 1
    file = ResumableFile(config.out, _header(config, prompts), block=rows_per_prompt)
    num_continued = file.num_rows // rows_per_prompt
    total = len(prompts) * len(samplers) * config.n
    for start in range(num_continued, len(prompts), config.window):
        window = prompts[start : start + config.window]
        completions = []
        for index, sampler in enumerate(samplers):
            before = (start * len(samplers) + index * len(window)) * config.n

            def tell(part: int, _of: int, before: int = before) -> None:
                told(before + part * config.n, total)

            keys = range(start, start + len(window))
            completions.append(sampler.draw(window, config, n=config.n, keys=keys, told=tell))
        answered = zip(window, zip(*completions, strict=True), strict=True)
        file.append([row for prompt, answers in answered for row in _rows(prompt, answers, samplers)])
    return _finish(file, kind=kind, num_prompts=len(prompts), num_continued=num_continued)


def _rows(
    prompt: Prompt, answers: Sequence[Sequence[Completion]], samplers: Sequence[Sampler]
) -> Iterator[dict[str, Any]]:
    """Returns the rows to write for one prompt, from each policy's completions."""
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


def _header(config: SampleConfig, prompts: Sequence[Prompt]) -> dict[str, Any]:
    values = {name: value for name, value in asdict(config).items() if name not in _NO_MATTER}
    return {**values, "prompts_hash": content_id([turns(prompt) for prompt in prompts])}


def _finish(file: ResumableFile, *, kind: str, num_prompts: int, num_continued: int) -> SampledFile:
    num_rows = num_cut = num_identical = 0
    with file.finish() as write:
        for row in file:
            write(row)
            answers = row.get("responses", [row])
            num_rows += 1
            num_cut += sum(not answer["finished"] for answer in answers)
            texts = [answer["text"].strip() for answer in row.get("responses", [])]
            num_identical += len(set(texts)) < len(texts)
    return SampledFile(
        num_prompts=num_prompts,
        num_continued=num_continued,
        num_rows=num_rows,
        num_cut=num_cut,
        num_identical=num_identical,
        kind=kind,
    )
