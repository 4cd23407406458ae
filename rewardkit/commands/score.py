"""`score` adds rewards to the rows of a file."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rewardkit.commands.command import Command
from rewardkit.config import ScoreConfig

SHOWN_BAD_ROWS = 20
REDRAW_S, LOG_S = 0.2, 30.0


class _Teller:
    """Says how far it is: one line that redraws itself on a terminal, plain lines now and then in a log."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.started, self.shown_at, self.first = time.monotonic(), 0.0, -1

    def __call__(self, done: int, total: int) -> None:
        from rewardkit.progress import duration

        now = time.monotonic()
        if self.first < 0:
            self.first, self.started = done, now
            return
        if now - self.shown_at < (REDRAW_S if self.terminal else LOG_S) and done < total:
            return
        self.shown_at = now
        pace = (done - self.first) / max(now - self.started, 1e-9)
        left = duration((total - done) / pace)
        line = f"{done:,} of {total:,} rows scored, {pace:,.1f} a second, {left} left"
        end = "" if self.terminal and done < total else "\n"
        print(f"\r\x1b[K{line}" if self.terminal else line, end=end, file=sys.stderr, flush=True)


def _precision(config: ScoreConfig) -> AbstractContextManager[object]:
    if config.precision == "fp32":
        return nullcontext()  # without torch: a TF-IDF model knows nothing of it
    import torch

    from rewardkit.optimization import autocast

    return autocast(config.precision, torch.device("cpu"))  # where models are loaded


def _score(config: ScoreConfig) -> int:
    from rewardkit.score_file import check_output, read_input, score_file

    if config.resume and Path(config.output).exists():
        print(f"{config.output}: complete already")
        return 0
    check_output(config)
    given = read_input(config)
    for bad in given.bad_rows[:SHOWN_BAD_ROWS]:
        print(f"rewardkit score: no reward for {bad.place}: {bad.problem}", file=sys.stderr)
    if len(given.bad_rows) > SHOWN_BAD_ROWS:
        print(f"rewardkit score: no reward for {len(given.bad_rows) - SHOWN_BAD_ROWS} more", file=sys.stderr)
    from rewardkit.loading import load_reward_fn  # heavy, so after the input has been read

    reward_fn = load_reward_fn(config.model)
    with _precision(config):
        scored = score_file(config, given, reward_fn, tell=_Teller())
    if config.json:
        summary = {
            "output": config.output,
            "num_rows": scored.num_rows,
            "num_continued": scored.num_continued,
            "num_bad_rows": len(scored.bad_rows),
            "columns": given.how.added,
        }
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    bad = f", {len(scored.bad_rows)} bad rows without a reward" if scored.bad_rows else ""
    print(f"{config.output}: {scored.num_rows} rows with {', '.join(given.how.added)}{bad}")
    return 0


COMMAND = Command(help="add rewards to the rows of a file", config=ScoreConfig, run=_score)
