"""What the stages write, choose and check do as jobs; learn and align are trainings, judge is people and judges.

Each works in its job's folder, goes on there where it was cut short, and leaves what it found in

result.json    the stage's result
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import ImportOptions, import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.jobs.jobs import report_progress
from annotate_app.jobs.processes import run_module
from annotate_app.store.loop.turns import Stage, Turn
from annotate_app.store.store import Store
from annotate_app.trainings.options import DATA, TEST_PROMPTS
from annotate_app.trainings.runs import get_run
from annotate_app.turns.blind_rounds import TOP, RoundPlan, make_round
from annotate_app.turns.chain import (
    first_policy,
    model_before,
    model_of,
    need_folder,
    policy_before,
    policy_of,
    ref_values,
)
from annotate_app.turns.plan import PRESENT, PREVIOUS, TurnPlan, read_plan
from annotate_app.turns.policies import PolicyRef, find_policy, write_prompts
from annotate_app.turns.stages.policy_figures import measure_policy
from rewardkit.data.export_formats import turn as turn_row
from rewardkit.data.export_formats import turns as turn_rows
from rewardkit.data.files import read_rows, write_rows
from rewardkit.run.directory import read_status, write_text

RESULT, CANDIDATES, PAIRS = "result.json", "candidates.jsonl", "pairs.jsonl"
FIRST = "turn-0"
LEAST_CHOSEN = 20
"""Answers that people chose, from which on a new policy learns from these alone."""
ANEW = ("--learning-rate=3e-3", "--batch-size=16", "--sample-every=0")
ANEW_ANSWERS, MOST_EPOCHS = 6000, 20
"""Answers that a policy made here sees in all, in passes over those that are there."""


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """What a stage's job works with."""

    store: Store
    actor: Actor
    project_id: int
    turns: Sequence[Turn]
    turn: Turn
    plan: TurnPlan
    folder: Path

    @property
    def seed(self) -> int:
        return self.plan.seed + self.turn.number


def carry_out(
    store: Store, actor: Actor, project_id: int, number: int, stage: Stage, folder: Path
) -> Mapping[str, Any]:
    """Does what a stage is to do, in a folder; its result, which also lies there.

    Raises:
        ValueError: if the stage is no such job, or cannot be done.
    """
    does = {"write": _write, "choose": _choose, "check": _check}
    if stage not in does:
        raise ValueError(f"stage is {stage}, which is no job of its own: allowed are {', '.join(does)}")
    turns = store.turns.list(actor, project_id)
    turn = store.turns.get(actor, project_id, number)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    work = StageWork(
        store=store,
        actor=actor,
        project_id=project_id,
        turns=turns,
        turn=turn,
        plan=read_plan(turn.plan),
        folder=folder,
    )
    result = does[stage](work)
    result = {**result, "folder": str(folder), "seconds": round(time.time() - began, 2)}
    write_text(folder / RESULT, json.dumps(result, ensure_ascii=False, indent=1))
    return result


def read_result(folder: str | Path) -> dict[str, Any]:
    """The result that a stage's job left in its folder; empty where there is none."""
    path = Path(folder) / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(work: StageWork) -> dict[str, Any]:
    plan, folder = work.plan.write, work.folder
    report_progress(0, 3, "prompts")
    prompts = folder / "prompts.jsonl"
    if not prompts.is_file():
        write_prompts(
            work.store,
            work.actor,
            work.project_id,
            prompts,
            source=plan.prompts,
            num_prompts=plan.num_prompts,
            seed=work.seed,
        )
    report_progress(1, 3, "policy")
    first = first_policy(work.turns, work.turn) or _turn_zero(work)
    policies = [_writer(work, name, first) for name in plan.policies]
    if len({policy.model for policy in policies}) < len(policies):
        policies = list({policy.model: policy for policy in policies}.values())  # the first turn has no previous one
    report_progress(2, 3, "answering")
    drawn = folder / "sampled.jsonl"
    words = [f"--model={need_folder('policy', policy.model)}" for policy in policies]
    words += [f"--prompts={prompts}", f"--out={drawn}", f"--n={plan.candidates}", f"--temperature={plan.temperature}"]
    words += [f"--max_new_tokens={plan.max_new_tokens}", f"--seed={work.seed}", "--resume"]
    _run("alignment", "sample", *words)
    num_prompts, num_candidates = name_candidates(drawn, folder / CANDIDATES, [policy.name for policy in policies])
    report_progress(3, 3, "done")
    return {
        "file": str(folder / CANDIDATES),
        "num_prompts": num_prompts,
        "num_candidates": num_candidates,
        "policies": [ref_values(policy) for policy in policies],
        "first": ref_values(first),
    }


def name_candidates(drawn: Path, path: Path, names: Sequence[str]) -> tuple[int, int]:
    """Writes the rows of `alignment sample` with the policies' names in place of their folders'.

    Returns:
        Different prompts, and answers.
    """
    prompts: set[str] = set()
    num_answers = 0
    rows = []
    for _, row in read_rows(str(drawn)):
        answers = row["responses"]
        writers = names if len(names) > 1 else list(names) * len(answers)
        rows.append(row | {"responses": [one | {"model": name} for one, name in zip(answers, writers, strict=True)]})
        prompts.add(json.dumps(row["prompt"]))
        num_answers += len(answers)
    write_rows(path, rows)
    return len(prompts), num_answers


def _writer(work: StageWork, name: str, first: PolicyRef) -> PolicyRef:
    if name == PRESENT:
        return policy_before(work.turns, work.turn) or first
    if name == PREVIOUS:
        return policy_before(work.turns, work.turn, back=1) or first
    return find_policy(work.store, work.actor, work.project_id, name)


def _turn_zero(work: StageWork) -> PolicyRef:
    """The policy that the plan names; one of random weights learns to write from the project's answers first."""
    policy = find_policy(work.store, work.actor, work.project_id, work.plan.policy)
    if not policy.is_preset:
        return policy
    out = work.folder / "policy"
    state = read_status(out).get("state")
    if state != "done":
        answers = work.folder / "answers.jsonl"
        num_answers = _write_answers(work, answers)
        epochs = min(MOST_EPOCHS, max(1, round(ANEW_ANSWERS / num_answers)))
        words = [f"--model={policy.model}", f"--data={answers}", f"--out={out}", f"--epochs={epochs}", *ANEW]
        _run("alignment", "sft", *words, f"--seed={work.plan.seed}", *(["--resume"] if state else []))
    return PolicyRef(name=FIRST, model=str(out))


def _write_answers(work: StageWork, path: Path) -> int:
    """Answers to learn to write from: those that people chose, or all where nobody has judged enough yet."""
    draft = path.with_name("chosen.jsonl")
    options = ExportOptions(form="sft", overwrite=True)
    exported = export_rows(work.store, work.actor, work.project_id, draft, options)
    if (num_chosen := sum(exported.num_rows.values())) >= LEAST_CHOSEN:
        draft.rename(path)
        return num_chosen
    seen: set[tuple[str, str]] = set()
    rows = []
    for comparison in work.store.comparisons.iterate(work.actor, work.project_id):
        for text in (response.text for response in comparison.responses):
            key = (repr(comparison.prompt), text)
            if text.strip() and key not in seen:
                seen.add(key)
                rows.append({"prompt": turn_rows(comparison.prompt), "completion": [turn_row("assistant", text)]})
    if not rows:
        raise ValueError("policy is made anew, and the project has no answers to learn to write from: import some")
    return write_rows(path, rows)


def _choose(work: StageWork) -> dict[str, Any]:
    plan, folder = work.plan.choose, work.folder
    candidates = str(work.turn.stage("write").result.get("file", ""))
    if not Path(candidates).is_file():
        raise ValueError(f"candidates {candidates!r} are gone: redo write, or adopt a file")
    model = model_before(work.turns, work.turn)
    rule, why = plan.rule, ""
    if rule in ("uncertainty", "epig", "disagreement") and not model:
        rule, why = "random", f"{plan.rule} asks a reward model and there is none yet: chosen by chance"
    judged, num_judged = folder / "judged.jsonl", 0
    options = ExportOptions(ties="keep", overwrite=True)
    num_judged = sum(export_rows(work.store, work.actor, work.project_id, judged, options).num_rows.values())
    report_progress(0, 2, "choosing")
    pairs = folder / PAIRS
    if not pairs.is_file():
        words = [f"--input={candidates}", f"--out={pairs}", f"--num_pairs={plan.num_pairs}", f"--rule={rule}"]
        words += [f"--random_share={plan.random_share}", f"--cut={plan.cut}", f"--seed={work.seed}", "--json"]
        words += [f"--judged={judged}"] if num_judged else []
        words += [f"--model={need_folder('reward model', model)}"] if rule != "random" and model else []
        _run("rewardkit", "choose", *words, out=folder / "chosen.json")
    summary = json.loads((folder / "chosen.json").read_text(encoding="utf-8"))
    report_progress(1, 2, "importing")
    result = import_pairs(work, pairs)
    report_progress(2, 2, "done")
    return {**result, "rule": rule, "why": why, "left_out": summary["left_out"]}


def import_pairs(work: StageWork, pairs: Path) -> dict[str, Any]:
    """Imports chosen pairs into the project as the turn's, before all others in its queue; its result.

    Raises:
        ValueError: if the file holds none, or one cannot be judged.
    """
    store, actor, project_id, number = work.store, work.actor, work.project_id, work.turn.number
    named, rules, priorities = work.folder / "import.jsonl", {}, {}
    rows = []
    for place, row in read_rows(str(pairs)):
        meta = row.get("metadata") or {}
        if "id" not in row:
            raise ValueError(f"{pairs}:{place}: no id, allowed are rows as `rewardkit choose` writes them")
        rows.append(row | {"metadata": {**meta, "turn": number}})
        rules[str(row["id"])] = str(meta.get("rule", "by hand"))
        priorities[str(row["id"])] = TOP + float(meta.get("score") or 0.0)
    if not rows:
        raise ValueError(f"{pairs} holds no pairs: candidates are nearly the same, or cut; draw more of them")
    write_rows(named, rows)
    done = import_comparisons(
        store, actor, project_id, [named], ImportOptions(overlap=work.plan.judge.overlap or None, on_bad_row="skip")
    )
    there = store.comparisons.sources(actor, project_id)
    rules = {key: rule for key, rule in rules.items() if key in there}
    with nullcontext() if store.database.is_joined else store.together():
        store.turns.add_pairs(actor, work.turn.id, rules)
        if work.plan.judge.people:
            store.comparisons.set_priorities(actor, project_id, {key: priorities[key] for key in rules})
    design = store.projects.get(actor, project_id).design
    by_rule = {rule: list(rules.values()).count(rule) for rule in sorted(set(rules.values()))}
    note = "" if design.policy == "priority" else f"the project hands out pairs by {design.policy}, not these first"
    return {"num_pairs": len(rules), "by_rule": by_rule, "num_bad": len(done.bad), "note": note, "file": str(pairs)}


def _check(work: StageWork) -> dict[str, Any]:
    plan = work.plan.check
    policy, first = policy_of(work.turns, work.turn), first_policy(work.turns, work.turn)
    before = policy_before(work.turns, work.turn)
    if policy is None or first is None or before is None:
        raise ValueError("there is no policy to check: write first")
    prompts = plan.prompts or _held_out(work)
    against = {"previous": before, "first": first}
    rounds: dict[str, int] = {}
    made: dict[str, int] = {}
    for name in plan.against:
        other = against[name]
        if other.model == policy.model:
            raise ValueError(f"the turn left the policy that it began with, {policy.name}: there is nothing to check")
        if other.model not in made:
            asked = RoundPlan(
                prompts=prompts,
                num_prompts=plan.num_prompts,
                temperature=plan.temperature,
                max_new_tokens=work.plan.write.max_new_tokens,
                overlap=plan.overlap,
                seed=work.seed,
            )
            both = (policy, other)
            folder = work.folder / f"against-{name}"
            one = make_round(work.store, work.actor, work.project_id, both, asked, folder, turn_id=work.turn.id)
            made[other.model] = one.id
        rounds[name] = made[other.model]
    figures = measure_policy(
        work.store,
        work.actor,
        work.project_id,
        policy=policy,
        first=first,
        reward_model=model_of(work.turns, work.turn),
        prompts=next(work.folder.glob("against-*/prompts.jsonl")),
        folder=work.folder / "figures",
        temperature=plan.temperature,
        max_new_tokens=work.plan.write.max_new_tokens,
    )
    return {"rounds": rounds, "figures": figures, "policy": ref_values(policy)}


def _held_out(work: StageWork) -> str:
    """The prompts that the turn's alignment held out; empty for those of the project where there are too few."""
    run_id = work.turn.stage("align").result.get("run")
    if run_id is None:
        return ""
    path = get_run(work.store, work.actor, int(run_id)).folder / DATA / TEST_PROMPTS
    enough = path.is_file() and sum(1 for _ in read_rows(str(path))) >= work.plan.check.num_prompts
    return str(path) if enough else ""


def _run(*words: str, out: Path | None = None) -> None:
    """Runs a command.

    Raises:
        ValueError: if it fails; what it said is in the log.
    """
    if code := run_module(*words, out=out):
        raise ValueError(f"{' '.join(words[:2])} ended with exit code {code}, its own words stand above")
