"""`constitution` lets a judge criticise, revise and compare a policy's answers by principles, as rows to train on."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from alignment.config.constitution import ConstitutionConfig
from rewardkit.run.training_command import execute


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
