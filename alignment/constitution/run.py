"""A run of critique, revision and comparison: from prompts or answers to files to train on.

    answers.jsonl    what the policy answered, where a policy was named
    steps.jsonl      a record a prompt: rounds, votes, what failed and why, what it took
    sft.jsonl        last revisions
    pairs.jsonl      revisions over first answers, and answers by the judge's preference
    constitution.yaml, summary.json

A prompt whose record is written is not asked again: steps.jsonl.partial holds the finished ones of a run that stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from alignment.config.constitution import ConstitutionConfig
from alignment.config.sampling import SampleConfig
from alignment.constitution.answers import Answered, read_answered
from alignment.constitution.critique import Asking, criticise
from alignment.constitution.principles import DEFAULT, read_constitution
from alignment.constitution.training_rows import Origin, Tally, demonstration_of, feedback_pair, revision_pair
from alignment.constitution.votes import Voter
from alignment.judges.opening import open_chat
from alignment.judges.spec import JudgeSpec
from alignment.judges.spec_file import named_writer
from rewardkit.data.export_formats import turns
from rewardkit.data.files import ResumableFile, open_rows, partial_path
from rewardkit.data.records import content_id
from rewardkit.run.directory import write_text
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import RunContext

STEPS, ANSWERS, SFT, PAIRS, SUMMARY = "steps.jsonl", "answers.jsonl", "sft.jsonl", "pairs.jsonl", "summary.json"


def read_judge(config: ConstitutionConfig) -> JudgeSpec:
    """The judge that a configuration names, see `alignment.judges.spec_file.named_writer`."""
    return named_writer(config.judge, config.judge_model, config.judge_key_variable, writes="critiques")


def run_constitution(context: RunContext[ConstitutionConfig]) -> Mapping[str, Any]:
    """Asks for every prompt that has no record yet, then writes the files; returns the summary.

    Raises:
        ValueError: if an input cannot be read, or an unfinished run was made otherwise.
        JudgeError: if the judge cannot be asked, or stopped answering.
    """
    config, run = context.config, context.run
    assert run is not None
    constitution = read_constitution(config.constitution or DEFAULT)
    spec = read_judge(config)
    source = config.input or _draw(config, run.dir, context.progress)
    read = read_answered(source, on_bad_row=config.on_bad_row, max_rows=config.max_prompts)
    for problem in read.bad:
        context.progress.say(f"left out {problem}")
    header = _header(config, constitution.hash, spec, read.rows)
    file = ResumableFile(run.dir / STEPS, header)
    shutil.copyfile(config.constitution or DEFAULT, run.dir / "constitution.yaml")
    if not (run.dir / STEPS).exists():
        progress = Progress("prompts")
        with ExitStack() as opened:
            chat = opened.enter_context(closing(open_chat(spec)))
            debaters = opened.enter_context(closing(open_chat(spec.debater))) if spec.debater else None
            asking = Asking(
                chat=chat,
                voter=Voter(spec, chat, debaters),
                constitution=constitution,
                rounds=config.rounds,
                feedback=config.feedback,
                seed=config.seed,
                max_new_tokens=spec.max_new_tokens,
                temperature=spec.temperature,
            )
            for start in range(file.num_rows, len(read.rows), config.window):
                run.status(step=start, num_steps=len(read.rows))
                progress.count(start, len(read.rows))
                file.append(criticise(read.rows[start : start + config.window], start, asking))
        progress.count(len(read.rows), len(read.rows))
        run.status(step=len(read.rows), num_steps=len(read.rows))
        with file.finish() as write:
            for record in file:
                write(record)
    origin = Origin(constitution=constitution, judge=spec.described, seed=config.seed)
    summary = {
        "out": str(run.dir),
        "constitution": constitution.hash,
        "judge": spec.described,
        "num_bad_rows": len(read.bad),
    }
    summary |= _write_rows(run.dir, origin)
    write_text(run.dir / SUMMARY, json.dumps(summary, ensure_ascii=False, indent=1))
    return summary


def _draw(config: ConstitutionConfig, out_dir: Path, progress: Progress) -> str:
    """Lets the policy answer the prompts, or goes on with it; the file of answers."""
    out = out_dir / ANSWERS
    if out.exists():
        return str(out)
    from alignment.generation.completion_sampler import load_samplers, template_check
    from alignment.generation.sample_to_file import read_different_prompts, sample_file
    from rewardkit.network.models import check_policy_folder

    check_policy_folder(config.model)
    prompts = read_different_prompts(config, template_check([config.model]))
    for problem in prompts.bad:
        progress.say(f"left out {problem}")
    options = {name: getattr(config, name) for name in SampleConfig.__dataclass_fields__ if hasattr(config, name)}
    options |= {"model": [config.model], "out": str(out), "resume": partial_path(out).exists(), "json": False}
    sample_file(
        SampleConfig(**options), prompts.prompts, load_samplers([config.model]), told=Progress("answers drawn").count
    )
    return str(out)


def _header(config: ConstitutionConfig, constitution: str, spec: JudgeSpec, rows: Sequence[Answered]) -> dict[str, Any]:
    """What decides the records."""
    return {
        "constitution": constitution,
        "judge": spec.identity(),
        "rounds": config.rounds,
        "feedback": config.feedback,
        "seed": config.seed,
        "answers": content_id([[turns(row.prompt), row.answers] for row in rows]),
    }


def _write_rows(out_dir: Path, origin: Origin) -> dict[str, Any]:
    """Writes sft.jsonl and pairs.jsonl from the records; the figures of the run."""
    tally = Tally()
    with (
        open_rows(out_dir / SFT) as write_demonstration,
        open_rows(out_dir / PAIRS) as write_pair,
        (out_dir / STEPS).open(encoding="utf-8") as lines,
    ):
        for record in map(json.loads, lines):
            tally.add(record)
            if row := demonstration_of(record, origin):
                write_demonstration(row)
            for pair in (revision_pair(record, origin), feedback_pair(record, origin)):
                if pair:
                    write_pair(pair)
    return tally.values()
