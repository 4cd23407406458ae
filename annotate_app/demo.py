"""The demo project: a coffee shop's support desk, whose texts are written and whose annotators are simulated.

`demo_project/desk.jsonl` holds messages and replies, each reply with marks from 0 to 4 for what it solves, whether it
is correct, and its tone. From them follows the gold reward, in logits:

    gold = 0.9 (solves - 2) + 0.7 (correct - 2) + 0.3 (tone - 2)

Everything is drawn from one seed; only the clock is of today.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Literal

import numpy as np

from annotate_app.access import Actor
from annotate_app.desk_marks import MARKS, desk_rows, gold_of
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.judgments.simulated import SimulatedAnswer
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message
from rewardkit.simulation.annotators import GoldComparison, ScaleOf, SimulatedAnnotator

NAME = "Ottersby support desk (demo)"
DESCRIPTION = (
    "A made-up coffee shop's support desk. The replies were written for this demo under the names of three made-up "
    "models; five simulated annotators have judged them. Judge a few pairs yourself and see the figures change."
)
SEED = 7
DAY_S = 86_400.0
NUM_DAYS = 21
NUM_GOLD = 12
SHARE_FINISHED, SHARE_BEGUN = 0.82, 0.90  # of the comparisons, in order: judged by all, by at least one
REPEAT_RATE = 0.06
NUM_DECISIONS = 5
ANNOTATORS = (
    SimulatedAnnotator(name="sim-ada", reliability=0.98, sharpness=1.6, both_bad_below=0.1, chars_per_s=18),
    SimulatedAnnotator(
        name="sim-ben", reliability=0.94, sharpness=1.1, tie_width=0.6, both_bad_below=0.1, skip_rate=0.01
    ),
    SimulatedAnnotator(name="sim-cleo", reliability=0.9, sharpness=1.0, left_bias=2.2, both_bad_below=-0.3),
    SimulatedAnnotator(name="sim-dov", reliability=0.5, sharpness=1.0, tie_width=0.2, chars_per_s=70),
    SimulatedAnnotator(name="sim-eva", reliability=0.95, sharpness=0.9, tie_width=1.0, length_bias=0.9, chars_per_s=22),
)
ADJUDICATOR = "sim-zoe"
SHARE_OF_REMARKS = {"sim-ada": 0.6, "sim-ben": 0.3, "sim-cleo": 0.15, "sim-dov": 0.0, "sim-eva": 0.35}


@dataclass(frozen=True, kw_only=True)
class DeskComparison:
    """A comparison of the support desk with its gold rewards and the flags that its replies deserve."""

    gold: GoldComparison
    flags: Mapping[Literal["a", "b"], tuple[str, ...]]


def create_demo(store: Store, *, now: float | None = None) -> Project:
    """Makes the demo project; where it is there already, returns it as it is.

    A call that was cut short is taken up by the next: the judgments come last and all at once.

    Args:
        now: unix seconds up to which the judgments reach back three weeks.
    """
    actor = Actor.command_line()
    moment = time.time() if now is None else now
    project = next((project for project in store.projects.list(actor) if project.name == NAME), None)
    if project is None:
        protocol = load_protocol("support_desk")
        project = store.projects.create(
            actor,
            NAME,
            rubric_text=protocol.rubric_text,
            design=replace(protocol.design, seed=SEED),
            description=DESCRIPTION,
            simulated=True,
        )
    elif any(store.projects.progress(actor, project.id).judgments_by_day):
        return project
    desk = desk_comparisons()
    store.comparisons.add(actor, project.id, [item.gold.comparison for item in desk])
    checks = choose_checks(desk)
    for item in checks:
        gold = Gold(choice=item.gold.choice, explanation="The marks of the two replies are far apart.")
        store.comparisons.set_gold(actor, project.id, item.gold.comparison.id, gold)
    for name in (*(annotator.name for annotator in ANNOTATORS), ADJUDICATOR):
        user = store.people.by_name(actor, name)
        if user is None:
            role = "adjudicator" if name == ADJUDICATOR else "annotator"
            user = store.people.add(actor, name, role=role, origin="simulated")
        store.projects.add_member(actor, project.id, user.id)
    answers = simulate_answers(desk, checks, moment)
    expert = store.people.by_name(actor, ADJUDICATOR)
    assert expert is not None
    for key, decision in decide(desk, answers).items():
        store.judgments.adjudicate(store.people.actor_of(expert), project.id, key, decision)
    store.judgments.add_simulated(actor, project.id, answers)
    return project


@cache
def desk_comparisons() -> tuple[DeskComparison, ...]:
    """All pairs of replies to each message; which reply is a is drawn from the seed."""
    rng = np.random.default_rng(SEED)
    comparisons = []
    for row in desk_rows():
        for pair in combinations(row["responses"], 2):
            a, b = pair if rng.random() < 0.5 else pair[::-1]
            comparison = Comparison(
                id=f"{row['id']}-{a['source'].removeprefix('desk-')}-{b['source'].removeprefix('desk-')}",
                prompt=tuple(Message(**message) for message in row["messages"]),
                completion_a=a["text"],
                completion_b=b["text"],
                source_a=a["source"],
                source_b=b["source"],
                meta={"topic": row["topic"]},
            )
            aspects = tuple((mark, float(a[mark] - 2), float(b[mark] - 2)) for mark in MARKS)
            gold = GoldComparison(comparison=comparison, gold_a=gold_of(a), gold_b=gold_of(b), aspects=aspects)
            flags = {"a": tuple(a.get("flags", ())), "b": tuple(b.get("flags", ()))}
            comparisons.append(DeskComparison(gold=gold, flags=flags))  # type: ignore[arg-type]
    return tuple(comparisons)


def choose_checks(desk: Sequence[DeskComparison]) -> list[DeskComparison]:
    """The comparisons whose answer is known to all: clear ones, spread over the desk."""
    clear = [item for item in desk if abs(item.gold.gold_a - item.gold.gold_b) > 4]
    return [clear[number * len(clear) // NUM_GOLD] for number in range(NUM_GOLD)]


def simulate_answers(
    desk: Sequence[DeskComparison], checks: Sequence[DeskComparison], now: float
) -> list[SimulatedAnswer]:
    """What the annotators answered: work on most comparisons, every check, and some pairs a second time."""
    rubric = load_protocol("support_desk").rubric
    scale = ScaleOf(degrees=rubric.scale.degrees, tie=rubric.scale.tie)
    criteria = [
        (criterion.name, ScaleOf(degrees=criterion.scale.degrees, tie=criterion.scale.tie))
        for criterion in rubric.criteria
    ]
    rng = np.random.default_rng([SEED, 1])
    answers = []
    for item, kind, annotator, share in _plan(desk, checks, rng):
        side = "a" if rng.random() < 0.5 else "b"
        moment = now - DAY_S * NUM_DAYS + share * DAY_S * (NUM_DAYS - 0.2)
        for number, at in enumerate((moment, min(now - 60, moment + 2 * DAY_S))):
            if number and (kind != "work" or rng.random() >= REPEAT_RATE):
                break
            left = side if number == 0 else ("b" if side == "a" else "a")
            judgment = annotator.judge(
                item.gold, left, rng, scale=scale, criteria=criteria, created_at=at, rubric_version=1
            )
            judgment = _with_words(judgment, item, rng)
            answers.append(SimulatedAnswer(judgment=judgment, kind="repeat" if number else kind))
            if judgment.choice == "skip":
                break
    return sorted(answers, key=lambda answer: answer.judgment.created_at)


def _plan(
    desk: Sequence[DeskComparison], checks: Sequence[DeskComparison], rng: np.random.Generator
) -> Iterator[tuple[DeskComparison, Literal["work", "gold"], SimulatedAnnotator, float]]:
    """Chooses who answers what, and when as a share of the three weeks; the last comparisons are left open."""
    chosen = {item.gold.comparison.id for item in checks}
    work = [item for item in desk if item.gold.comparison.id not in chosen]
    overlap = load_protocol("support_desk").design.overlap
    finished, begun = int(SHARE_FINISHED * len(work)), int(SHARE_BEGUN * len(work))
    for number, item in enumerate(work[:begun]):
        people = rng.permutation(len(ANNOTATORS))[: overlap if number < finished else int(rng.integers(1, overlap))]
        for who in people:
            yield item, "work", ANNOTATORS[who], float(np.clip(number / begun + rng.normal(0, 0.03), 0, 1))
    for annotator in ANNOTATORS:
        for number, item in enumerate(checks):
            yield item, "gold", annotator, float(np.clip((number + rng.random()) / len(checks), 0, 1))


def _with_words(judgment: Judgment, item: DeskComparison, rng: np.random.Generator) -> Judgment:
    """The judgment with a remark, more often by some than by others, and the flags that an attentive reader sets."""
    flags = {}
    if judgment.annotator != "sim-dov" and judgment.choice != "skip":
        flags = {side: names for side, names in item.flags.items() if names and rng.random() < 0.7}
    remark = ""
    if judgment.choice != "skip" and rng.random() < SHARE_OF_REMARKS[judgment.annotator]:
        remark = str(rng.choice(remarks()[_subject(judgment)]))
    return replace(judgment, rationale=remark, flags=flags)


def _subject(judgment: Judgment) -> str:
    """Chooses the subject of a remark: the criterion that favours the chosen reply most."""
    match judgment.choice:
        case "a" | "b":
            sign = -1 if judgment.choice == "a" else 1
            support = {name: sign * int(str(value)) for name, value in judgment.criteria.items()}
            return max(MARKS, key=lambda name: support.get(name, 0))
        case "tie" | "both_bad":
            return judgment.choice
        case "skip":
            raise ValueError("a skipped judgment takes no remark")


@cache
def remarks() -> dict[str, list[str]]:
    """The remarks that simulated people make, by subject."""
    text = resources.files("annotate_app").joinpath("demo_project", "remarks.json").read_text(encoding="utf-8")
    return json.loads(text)


def decide(desk: Sequence[DeskComparison], answers: Sequence[SimulatedAnswer]) -> dict[str, Decision]:
    """Makes the adjudicator's decisions by comparison: the first few with split votes, decided by the gold rewards."""
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        if answer.kind == "work" and answer.judgment.choice != "skip":
            votes[answer.judgment.comparison_id][answer.judgment.choice] += 1
    rng = np.random.default_rng([SEED, 2])
    decisions: dict[str, Decision] = {}
    for item in desk:
        counted = votes[item.gold.comparison.id]
        split = counted.total() >= 3 and max(counted.values()) * 2 <= counted.total()
        if split and item.gold.choice in ("a", "b"):
            remark = str(rng.choice(remarks()["decision"]))
            decisions[item.gold.comparison.id] = Decision(choice=item.gold.choice, strength=1, rationale=remark)
        if len(decisions) == NUM_DECISIONS:
            break
    return decisions
