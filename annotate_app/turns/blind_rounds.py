"""Makes blind rounds: two policies answer the same prompts, and the pairs go to people without names.

round.jsonl    in the folder of the job: the answers, as `alignment sample` writes them
round.json     the number of the round once it is recorded
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.jobs.jobs import report_progress
from annotate_app.jobs.processes import run_module
from annotate_app.store.jobs import Job
from annotate_app.store.loop.rounds import Round
from annotate_app.store.store import Store
from annotate_app.turns.policies import PolicyRef, find_policy, write_prompts
from rewardkit.data.conversations import read_messages
from rewardkit.data.files import read_rows
from rewardkit.data.records import Comparison, content_id
from rewardkit.run.directory import write_text

KIND = "round"
TOP = 1_000_000.0
"""Priority of pairs that somebody waits for: before all that a model ranks."""


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """How a blind round is made.

    Attributes:
        prompts: file with prompts; empty for the project's.
        num_prompts: pairs to make, one a prompt.
        temperature, max_new_tokens: how both answer.
        overlap: judgments wanted of each pair; 0 for what the project's design asks.
    """

    prompts: str = ""
    num_prompts: int = 100
    temperature: float = 0.7
    max_new_tokens: int = 128
    overlap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_prompts < 1:
            raise ValueError(f"num_prompts is {self.num_prompts}, allowed is 1 or more")
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}, allowed is 0 or more")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, allowed is 1 or more")
        if self.overlap < 0:
            raise ValueError(f"overlap is {self.overlap}, allowed is 0 or more")


def hold_against(
    store: Store,
    actor: Actor,
    project_id: int,
    one: str,
    other: str,
    *,
    prompts: str = "",
    num_prompts: int = 100,
    temperature: float = 0.7,
    seed: int = 0,
) -> Job:
    """Queues a blind round of two policies; the round is there when the job is done. Lead or above.

    Raises:
        ValueError: if there is no such policy, or both are the same.
        AccessError: below admin, where prompts are a file of the server.
    """
    if prompts:
        actor.require("admin", "prompts of a file on the server")
    RoundPlan(prompts=prompts, num_prompts=num_prompts, temperature=temperature, seed=seed)
    first, second = both_policies(store, actor, project_id, one, other)
    project = store.projects.get(actor, project_id)
    command = ["annotate_app", "round", "make", project.number, f"--one={one}", f"--other={other}"]
    command += [f"--prompts={prompts}", f"--num={num_prompts}"]
    command += [f"--temperature={temperature}", f"--seed={seed}"]
    title = f"Blind round: {first.name} against {second.name}"
    return jobs.start(store, actor, kind=KIND, title=title[:200], command=command, project_id=project_id)


def make_round(
    store: Store,
    actor: Actor,
    project_id: int,
    policies: tuple[PolicyRef, PolicyRef],
    plan: RoundPlan,
    folder: Path,
    *,
    turn_id: int | None = None,
) -> Round:
    """Lets both policies answer, imports their pairs and records the round. Goes on where it was cut short.

    Pairs in which both say the same, or neither says anything, are left out and counted in the round's `detail`.

    Raises:
        ValueError: if a policy cannot answer, or no pair is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "round.json"
    if done.is_file():
        return store.rounds.get(actor, project_id, json.loads(done.read_text(encoding="utf-8"))["id"])
    one, other = policies
    prompts, answers = folder / "prompts.jsonl", folder / "round.jsonl"
    report_progress(0, 2, "answering")
    if not prompts.is_file():
        write_prompts(
            store, actor, project_id, prompts, source=plan.prompts, num_prompts=plan.num_prompts, seed=plan.seed
        )
    words = [f"--model={one.model}", f"--model={other.model}", f"--prompts={prompts}", f"--out={answers}", "--resume"]
    words += [f"--temperature={plan.temperature}", f"--max_new_tokens={plan.max_new_tokens}", f"--seed={plan.seed}"]
    if code := run_module("alignment", "sample", *words):
        raise ValueError(f"the policies did not answer: alignment sample ended with exit code {code}")
    report_progress(1, 2, "importing")
    comparisons = list(_comparisons(answers, one, other, plan.seed))
    detail = {"prompts": plan.prompts or "the project's", "num_prompts": plan.num_prompts, "seed": plan.seed}
    detail |= {"temperature": plan.temperature, "max_new_tokens": plan.max_new_tokens}
    detail |= {"one_model": one.model, "other_model": other.model}
    detail["num_left_out"] = sum(1 for _ in read_rows(str(answers))) - len(comparisons)
    if not comparisons:
        raise ValueError(f"{one.name} and {other.name} say the same to all {detail['num_left_out']} prompts")
    with store.together():
        store.comparisons.add(actor, project_id, comparisons, overlap=plan.overlap or None)
        store.comparisons.set_priorities(actor, project_id, {comparison.id: TOP for comparison in comparisons})
        keys = [comparison.id for comparison in comparisons]
        made = store.rounds.add(
            actor, project_id, one=one.name, other=other.name, comparisons=keys, turn_id=turn_id, detail=detail
        )
        write_text(done, json.dumps({"id": made.id}))
    report_progress(2, 2, "done")
    return made


def both_policies(store: Store, actor: Actor, project_id: int, one: str, other: str) -> tuple[PolicyRef, PolicyRef]:
    """The two policies of a round, by the names that people give.

    Raises:
        ValueError: if one is not there or cannot write, or both are the same.
    """
    first, second = (find_policy(store, actor, project_id, text) for text in (one, other))
    for policy in (first, second):
        if policy.is_preset:
            raise ValueError(f"{policy.name} is random weights and writes no answers: train it first, or name a folder")
    if first.model == second.model:
        raise ValueError(f"a round holds {first.name} against itself, allowed are two policies")
    if first.name == second.name:
        second = PolicyRef(name=f"{second.name} (2)", model=second.model)
    return first, second


def _comparisons(answers: Path, one: PolicyRef, other: PolicyRef, seed: int) -> Iterator[Comparison]:
    """Pairs of answers that can be judged; which one is a is drawn from the seed."""
    for number, row in read_rows(str(answers)):
        texts = [response["text"] for response in row["responses"]]
        if texts[0].strip() == texts[1].strip():
            continue
        named = list(zip((one.name, other.name), texts, strict=True))
        if np.random.default_rng([seed, number]).random() < 0.5:
            named.reverse()
        (source_a, a), (source_b, b) = named
        yield Comparison(
            id=f"round-{content_id(row['prompt'], a, b, source_a, source_b)}",
            prompt=tuple(read_messages(row["prompt"], "prompt")),
            completion_a=a,
            completion_b=b,
            source_a=source_a,
            source_b=source_b,
        )
