"""What was done by hand and becomes the result of a stage: a file, a run, a folder, a round."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.store.loop.turns import Stage, Turn
from annotate_app.store.store import Store
from annotate_app.trainings.runs import get_run
from annotate_app.turns.chain import first_policy, ref_values
from annotate_app.turns.plan import read_plan
from annotate_app.turns.policies import find_policy
from annotate_app.turns.stages.stage_jobs import StageWork, import_pairs
from annotate_app.turns.stages.trainings import on_policy_figures
from rewardkit.data.files import read_rows
from rewardkit.reward.metadata import CARD_FILE


def adopted_result(store: Store, actor: Actor, turn: Turn, stage: Stage, what: str) -> dict[str, Any]:
    """The result of a stage that was done by hand.

    Args:
        what: for write a file of candidates as `alignment sample` writes it; for choose a file of pairs as
            `rewardkit choose` writes it, which is imported; for judge nothing: the votes that are there; for learn the
            number of a run or the folder of a reward model; for align a policy, as for a turn; for check the number of
            a blind round.

    Raises:
        ValueError: if it is nothing of that kind.
        AccessError: below admin, where it is a file of the server.
    """
    what = what.strip()
    match stage:
        case "write":
            return _candidates(store, actor, turn, what)
        case "choose":
            return _pairs(store, actor, turn, what)
        case "judge":
            pairs = store.turns.pairs(actor, turn.id)
            return {"num_pairs": len(pairs), "num_judged": sum(pair.num_judged for pair in pairs)}
        case "learn":
            return _reward_model(store, actor, turn, what)
        case "align":
            policy = find_policy(store, actor, turn.project_id, what)
            if policy.is_preset:
                raise ValueError(f"{what} is random weights, no aligned policy: name a run, a folder or a hub id")
            run = policy.name.removeprefix("run-")
            return {"policy": ref_values(policy)} | ({"run": int(run)} if run.isdecimal() else {})
        case "check":
            return _round(store, actor, turn, what)


def _candidates(store: Store, actor: Actor, turn: Turn, what: str) -> dict[str, Any]:
    path = _server_file(actor, what)
    prompts: set[str] = set()
    writers: set[str] = set()
    num_candidates = 0
    for place, row in read_rows(str(path)):
        answers = row.get("responses")
        if not isinstance(answers, list) or not all(isinstance(one, dict) and "text" in one for one in answers):
            raise ValueError(
                f"{path}:{place}: no responses with texts, allowed are rows as `alignment sample` writes them"
            )
        prompts.add(json.dumps(row["prompt"]))
        writers |= {str(one.get("model", "")) for one in answers}
        num_candidates += len(answers)
    if not prompts:
        raise ValueError(f"{path}: the file holds no rows")
    plan, turns = read_plan(turn.plan), store.turns.list(actor, turn.project_id)
    first = first_policy(turns, turn) or find_policy(store, actor, turn.project_id, plan.policy)
    if first.is_preset:
        raise ValueError(f"turn 0's policy is {first.name}, random weights: begin the turn with the policy that wrote")
    return {
        "file": str(path),
        "num_prompts": len(prompts),
        "num_candidates": num_candidates,
        "policies": [{"name": name, "model": ""} for name in sorted(writers)],
        "first": ref_values(first),
    }


def _pairs(store: Store, actor: Actor, turn: Turn, what: str) -> dict[str, Any]:
    path = _server_file(actor, what)
    with tempfile.TemporaryDirectory() as scratch:
        work = StageWork(
            store=store,
            actor=actor,
            project_id=turn.project_id,
            turns=store.turns.list(actor, turn.project_id),
            turn=turn,
            plan=read_plan(turn.plan),
            folder=Path(scratch),
        )
        return import_pairs(work, path)


def _reward_model(store: Store, actor: Actor, turn: Turn, what: str) -> dict[str, Any]:
    number = what.removeprefix("run-")
    if number.isdecimal():
        run = get_run(store, actor, int(number))
        if run.job.project_id != turn.project_id or not run.is_scorer:
            raise ValueError(f"run {number} has no reward model of this project")
        return {"run": run.job.id, "model": str(run.model), **on_policy_figures(run.folder)}
    folder = Path(what).expanduser().resolve()
    if not (folder / CARD_FILE).is_file():
        raise ValueError(f"{what!r} is no reward model, allowed are a run's number and a folder with a {CARD_FILE}")
    return {"model": str(folder)}


def _round(store: Store, actor: Actor, turn: Turn, what: str) -> dict[str, Any]:
    number = what.removeprefix("round-")
    if not number.isdecimal():
        raise ValueError(f"round is {what!r}, allowed is the number of a blind round")
    round = store.rounds.get(actor, turn.project_id, int(number))
    plan = read_plan(turn.plan)
    return {"rounds": {plan.check.against[0]: round.id}, "policy": {"name": round.one, "model": ""}}


def _server_file(actor: Actor, what: str) -> Path:
    actor.require("admin", "a file on the server")
    path = Path(what).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {what!r}")
    return path
