"""`constitution` lets a judge criticise, revise and compare a policy's answers by principles, as rows to train on.

`feedback-lab` holds labels of people and of such a judge side by side, where gold is known.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from alignment.config.constitution import ConstitutionConfig, FeedbackLabConfig
from rewardkit.run.directory import write_text
from rewardkit.run.training_command import Results, RunContext, execute

TABLE = "table.txt"


def constitution(config: ConstitutionConfig) -> int:
    """Runs `alignment constitution`; returns the exit code."""
    from alignment.constitution.principles import DEFAULT, read_constitution
    from alignment.constitution.run import SUMMARY, read_judge, run_constitution
    from alignment.constitution.training_rows import said_of

    read_constitution(config.constitution or DEFAULT)  # before a folder is made
    read_judge(config)
    with redirect_stdout(sys.stderr):
        code = execute("alignment constitution", config, run_constitution)
    if code == 0:
        summary = json.loads((Path(config.out) / SUMMARY).read_text(encoding="utf-8"))
        print(json.dumps(summary, ensure_ascii=False, indent=2) if config.json else "\n".join(said_of(summary)))
    return code


def feedback_lab(config: FeedbackLabConfig) -> int:
    """Runs `alignment feedback-lab`; returns the exit code."""
    from alignment.constitution.principles import DEFAULT, read_constitution
    from alignment.lab.feedback_report import check_principles, run_seeds, screen_lines

    check_principles(read_constitution(config.constitution or DEFAULT))  # before a folder is made

    def run_lab(context: RunContext[FeedbackLabConfig]) -> Results:
        assert context.run is not None
        results = run_seeds(config, context.run.dir, context.progress.say)
        write_text(context.run.dir / TABLE, "\n".join(screen_lines(results)) + "\n")
        return {"num_results": len(results)}

    with redirect_stdout(sys.stderr):
        code = execute("alignment feedback-lab", config, run_lab)
    if code == 0:
        name = "feedback-lab.json" if config.json else TABLE
        print((Path(config.out) / name).read_text(encoding="utf-8").rstrip())
    return code
