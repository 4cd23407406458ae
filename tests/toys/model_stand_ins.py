"""Finished runs without a model, and processes that answer as models do: for what asks, not for what is said.

A policy writes the number of its answer behind its prompt, with the seed and its folder's name; a reward model values
an answer by its length, its second member twice as much. Words of a prompt make them do what processes do on bad days.
"""

from __future__ import annotations

import json
from pathlib import Path

from toy_plans import training_plan

from annotate_app.access import Actor
from annotate_app.store.store import Store
from annotate_app.trainings.training_jobs import start

ADMIN = Actor.command_line()
COMMON = """
import json, os, signal, sys, time
folder = os.path.basename(os.path.dirname(sys.argv[1]))
if "broken" in sys.argv[1]:
    print(json.dumps({"error": "no model"}), flush=True); sys.exit(2)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    said = asked["prompt"][-1]["content"]
    if "be killed" in said: os.kill(os.getpid(), signal.SIGKILL)
    if "end yourself" in said: sys.exit(1)
    if "slow" in sys.argv[1]: time.sleep(1.0)
    if "refuse" in said: print(json.dumps({"id": asked["id"], "error": "the prompt is too long"}), flush=True); continue
"""
POLICY = """
    answers = [
        {"text": f"{said} {n} of {folder}, seed {asked['seed']}", "finished": n == 1, "num_tokens": 4, "logp": -2.0 * n}
        for n in range(1, asked["n"] + 1)
    ]
    print(json.dumps({"id": asked["id"], "answers": answers}), flush=True)
"""
REWARD = """
    members = [[len(text) * weight for text in asked["completions"]] for weight in (1, 2)]
    print(json.dumps({"id": asked["id"], "members": members}), flush=True)
"""


def write_stand_ins(folder: Path) -> Path:
    """Writes both as the modules that are run, below a folder; to be the PYTHONPATH of the processes."""
    for package, module, text in (
        ("alignment", "generation", COMMON + POLICY),
        ("rewardkit", "scoring", COMMON + REWARD),
    ):
        inner = folder / package / module
        inner.mkdir(parents=True)
        (inner.parent / "__init__.py").touch()
        (inner / "__init__.py").touch()
        (inner / "lines.py").write_text(text)
    return folder


def finish_run(store: Store, trains: str = "sft", *, project: str = "desk", **values: object) -> int:
    """A run of a project that ended well, with the files by which its model is known; its number."""
    job = start(store, ADMIN, training_plan(trains, project=project, **values))  # type: ignore[arg-type]
    store.jobs.claim(100)
    store.jobs.finish(job.id, "done")
    model = Path(job.run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(json.dumps({"state": "done", "step": 2, "num_steps": 2}))
    (model / ("rewardkit.json" if trains == "reward" else "config.json")).write_text("{}")
    return job.id
