"""`exercises` does exercises of textbooks in worlds of features, beside the answers that are expected."""

from __future__ import annotations

import json
from dataclasses import asdict

from alignment.config.lab import ExercisesConfig


def exercises(config: ExercisesConfig) -> int:
    """Runs `alignment exercises`; returns the exit code."""
    from alignment.exercises.answers import solve

    answers = solve(config.chosen, config.numbers)
    if config.json:
        print(json.dumps([asdict(answer) for answer in answers], indent=1))
    else:
        print("\n\n".join("\n".join(answer.lines) for answer in answers))
    return 0
