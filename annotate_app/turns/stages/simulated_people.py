"""Simulated annotators who judge what a turn asks, where it is known what an answer is worth.

That is so for messages of the support-desk world (`rewardkit.simulation.support_desk_world`) and of the demo's desk
(`annotate_app.desk_marks`), and only in projects that say that they are simulated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from annotate_app.access import Actor
from annotate_app.desk_marks import gold_of, read_marks
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.judgments.simulated import SimulatedAnswer
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Message
from rewardkit.simulation.annotators import GoldComparison, ScaleOf, SimulatedAnnotator
from rewardkit.simulation.support_desk_world import World

Gold = Callable[[Sequence[Message], str], float]
ANNOTATORS = tuple(
    SimulatedAnnotator(name=f"sim-{name}", reliability=reliability, sharpness=sharpness)
    for name, reliability, sharpness in (("pia", 0.97, 1.5), ("quy", 0.95, 1.2), ("ria", 0.93, 1.0), ("sol", 0.9, 1.0))
)
WORLD_REPLIES = 2
SIMULATED_PLAN: Mapping[str, Any] = {
    "policy": "tiny",
    "write": {"candidates": 4, "max_new_tokens": 96},
    "choose": {"num_pairs": 200, "cut": "keep"},
    "judge": {"overlap": 1},
    "learn": {"config": {"model": "tfidf"}},
    "align": {"trains": "grpo", "config": {"max_steps": 20, "learning_rate": 1e-4, "sample_every": 0}},
    "check": {"num_prompts": 100, "overlap": 1},
}
"""The first turn of a simulated project where nobody says otherwise: small enough for some minutes on two cores."""


def gold_of_project(store: Store, actor: Actor, project_id: int) -> Gold | None:
    """What an answer to a message of the project is worth, in logits; None where nobody knows.

    Asked is its first comparison: all of a simulated project are of one world.
    """
    if not store.projects.get(actor, project_id).simulated:
        return None
    first = next(store.comparisons.iterate(actor, project_id), None)
    if first is None:
        return None
    worlds: tuple[Gold, ...] = (
        World(seed=0, num_prompts=1).gold,
        lambda prompt, reply: gold_of(read_marks(prompt, reply)),
    )
    for gold in worlds:
        try:
            gold(first.prompt, first.completion_a)
        except ValueError:
            continue
        return gold
    return None


def known_gold(store: Store, actor: Actor, project_id: int) -> Gold:
    """What `gold_of_project` says, where it is known.

    Raises:
        ValueError: if nobody knows what an answer is worth.
    """
    gold = gold_of_project(store, actor, project_id)
    if gold is None:
        raise ValueError(
            "simulated annotators judge simulated projects of the support-desk world or of the demo's desk only"
        )
    return gold


def create_world(store: Store, actor: Actor, name: str, *, num_prompts: int, seed: int = 0) -> Project:
    """Makes a simulated project of the support-desk world: messages with two replies each, one judgment wanted."""
    protocol = load_protocol("support_desk")
    project = store.projects.create(
        actor,
        name,
        rubric_text=protocol.rubric_text,
        design=Design(overlap=1, policy="priority", seed=seed),
        description="Messages of the simulated support-desk world. Its annotators are simulated.",
        simulated=True,
    )
    items = World(seed=seed, num_prompts=num_prompts, num_responses=WORLD_REPLIES).comparisons()
    store.comparisons.add(actor, project.id, [item.comparison for item in items])
    return project


def judge_open(store: Store, actor: Actor, project_id: int, keys: Collection[str], *, seed: int) -> int:
    """Lets simulated annotators fill the open slots of comparisons; the number of judgments.

    Each judges a pair once. What they say of a pair follows from the seed and its id, whatever else is judged.

    Raises:
        ValueError: if it is not known what the answers are worth, or a pair wants more annotators than there are.
    """
    gold = known_gold(store, actor, project_id)
    _join(store, actor, project_id)
    wanted, votes = set(keys), store.judgments.votes(actor, project_id)
    judged: dict[str, set[str]] = {}
    for item, annotator in zip(votes.item, votes.annotator, strict=True):
        judged.setdefault(votes.items[item], set()).add(votes.annotators[annotator])
    num_open = store.turns.open_slots(actor, project_id, wanted)
    newest = store.projects.rubric(actor, project_id)
    asked = newest.rubric.scale
    scale = ScaleOf(degrees=asked.degrees, tie=asked.tie)
    answers: list[SimulatedAnswer] = []
    for comparison in store.comparisons.iterate(actor, project_id):
        missing = num_open.get(comparison.id, 0) if comparison.id in wanted else 0
        if not missing:
            continue
        free = [one for one in ANNOTATORS if one.name not in judged.get(comparison.id, ())]
        if len(free) < missing:
            raise ValueError(f"{comparison.id} wants {missing} judgments more, there are {len(free)} annotators for it")
        rng = np.random.default_rng([seed, *comparison.id.encode()])
        a, b = (gold(comparison.prompt, text) for text in (comparison.completion_a, comparison.completion_b))
        item = GoldComparison(comparison=comparison, gold_a=a, gold_b=b)
        for number in rng.permutation(len(free))[:missing]:
            side: Literal["a", "b"] = "a" if rng.random() < 0.5 else "b"
            judgment = free[number].judge(
                item, side, rng, scale=scale, created_at=time.time(), rubric_version=newest.version
            )
            answers.append(SimulatedAnswer(judgment=judgment))
    return store.judgments.add_simulated(actor, project_id, answers) if answers else 0


def _join(store: Store, actor: Actor, project_id: int) -> None:
    members = {member.name for member in store.projects.members(actor, project_id)}
    for annotator in ANNOTATORS:
        if annotator.name in members:
            continue
        user = store.people.by_name(actor, annotator.name)
        user = user or store.people.add(actor, annotator.name, role="annotator", origin="simulated")
        store.projects.add_member(actor, project_id, user.id)
