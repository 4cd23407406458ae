"""`train` carries out a training that the app has planned: snapshot, model, report, in one run directory."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from annotate_app.commands.command import ACTOR, Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", default="", help="run directory with a training.yaml (default: the running job's)")


def _train(options: argparse.Namespace) -> int:
    from pathlib import Path

    from annotate_app.store.store import Store
    from annotate_app.trainings.training_jobs import PLAN, carry_out

    folder = options.dir or os.environ.get("TIEBREAK_RUN_DIR", "")
    if not folder or not (Path(folder) / PLAN).is_file():
        raise ValueError(f"--dir is {folder!r}, allowed is a folder with a {PLAN}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs within hears of it, and is waited for
    logging.basicConfig(format="%(message)s", stream=sys.stdout)  # the job's log
    logging.getLogger("annotate_app").setLevel(logging.INFO)
    store = Store.open(options.db)
    try:
        return carry_out(store, ACTOR, Path(folder))
    finally:
        store.close()


COMMANDS = (
    Command(
        name="train", help="carry out a planned training: snapshot, model, report", arguments=_arguments, run=_train
    ),
)
