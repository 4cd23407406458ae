"""`edits` lets a judge add or remove a trait of answers, as `rewardkit audit --edits` takes them."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from alignment.config.edits import EditsConfig
from rewardkit.report.table import text_table
from rewardkit.run.progress import Progress


def edits(config: EditsConfig) -> int:
    """Runs `alignment edits`; returns the exit code."""
    from alignment.judges.edits import edit_answers, edit_questions
    from alignment.judges.opening import open_chat
    from alignment.judges.spec_file import named_writer
    from rewardkit.audit.answers import draw_answers
    from rewardkit.data.files import check_output
    from rewardkit.data.preferences import count_reasons
    from rewardkit.scoring.candidates import read_candidates

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    spec = named_writer(config.judge, config.judge_model, config.judge_key_variable, writes="edits")
    if spec.debate_rounds:
        raise ValueError(f"--judge {config.judge}: debate_rounds is for two answers, an edit is of one")
    read = read_candidates([config.data], on_bad_row=config.on_bad_row)
    answers = draw_answers(
        [(row.prompt, one.text) for row in read.prompts for one in row.candidates],
        num=config.num_answers,
        seed=config.seed,
    )
    questions = edit_questions(answers, config.trait_names)
    if not questions:
        raise ValueError(f"{config.data}: no answer that a judge could edit")
    with closing(open_chat(spec)) as chat:
        done = edit_answers(config, questions, spec, chat, told=Progress("edits asked for").count)
    if config.json:
        summary = {"out": config.out, "judge": spec.about, "num_answers": len(answers), **asdict(done)}
        print(json.dumps({**summary, "num_bad_rows": len(read.bad_rows)}, ensure_ascii=False, indent=2))
        return 0
    print(text_table(("trait", "asked", "edits"), [[name, *map(str, pair)] for name, pair in done.by_trait.items()]))
    if read.bad_rows:
        print(f"{len(read.bad_rows):,} bad rows left out ({count_reasons(read.bad_rows)}).")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.left_out.items())
    print(
        f"{config.out}: {done.num_edits:,} edits of {len(answers):,} answers by {spec.about}"
        + (f"; left out: {reasons}" if reasons else "")
    )
    return 0
