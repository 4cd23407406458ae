"""What a stage will take before it begins: tokens, seconds, judgments of people and their minutes, money for judges."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from annotate_app.access import Actor
from annotate_app.store.loop.turns import Stage, Turn
from annotate_app.store.store import Store
from annotate_app.trainings.options import TRAININGS, Trains
from annotate_app.trainings.runs import list_runs
from annotate_app.turns.plan import TurnPlan, read_plan

SECONDS_A_JUDGMENT = 30.0
"""Taken where nobody has judged in the project yet."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage will take; 0 and None where it takes none, or it is not known.

    Attributes:
        words: all of it, for people, with what it is estimated from.
        seconds: wall clock of its jobs; None where no such stage was done in this project yet.
        seconds_from: what `seconds` is estimated from.
        tokens: at most, that policies write.
        judgments: of people; they take `people_minutes`.
        judge_answers: of judges that are no people; they cost `judge_money`, in the currency of their prices.
    """

    words: str
    seconds: float | None = None
    seconds_from: str = ""
    tokens: int = 0
    judgments: int = 0
    people_minutes: float = 0.0
    judge_answers: int = 0
    judge_money: float | None = None


def estimate(store: Store, actor: Actor, turn: Turn, stage: Stage) -> StageCost:
    """Estimates a stage from its plan and from the same stage of earlier turns of the project."""
    plan = read_plan(turn.plan)
    project = store.projects.get(actor, turn.project_id)
    num_prompts = store.comparisons.count(actor, project.id)
    seconds, seconds_from = _seconds(store, actor, turn, stage)
    tokens, judgments, answers, money = 0, 0, 0, None
    match stage:
        case "write":
            write = plan.write
            prompts = min(write.num_prompts or num_prompts, num_prompts or write.num_prompts)
            tokens = prompts * write.candidates * len(write.policies) * write.max_new_tokens
        case "choose" | "learn" | "align":
            pass
        case "judge":
            num_pairs = sum(1 for pair in store.turns.pairs(actor, turn.id)) or plan.choose.num_pairs
            wanted = sum(pair.num_wanted for pair in store.turns.pairs(actor, turn.id))
            judgments = (wanted or num_pairs * (plan.judge.overlap or project.design.overlap)) * plan.judge.people
            answers, money = _judges(store, actor, turn, plan, num_pairs)
        case "check":
            check = plan.check
            num_rounds = len(check.against) if turn.parent is not None else 1
            judgments = num_rounds * check.num_prompts * (check.overlap or project.design.overlap)
            tokens = (2 * num_rounds + 2) * check.num_prompts * plan.write.max_new_tokens
    pace, pace_from = _pace(store, actor, turn.project_id) if judgments else (0.0, "")
    cost = StageCost(
        words="",
        seconds=seconds,
        seconds_from=seconds_from,
        tokens=tokens,
        judgments=judgments,
        people_minutes=judgments * pace / 60,
        judge_answers=answers,
        judge_money=money,
    )
    return StageCost(**{**vars(cost), "words": _words(cost, pace, pace_from)})


def _seconds(store: Store, actor: Actor, turn: Turn, stage: Stage) -> tuple[float | None, str]:
    """The median of what the stage's jobs took in the turns before, or of trainings of its kind in the project."""
    took: list[float] = []
    for other in store.turns.list(actor, turn.project_id):
        record = other.stage(stage)
        if record.state not in ("done", "people") or record.adopted or record.job_id is None:
            continue
        job = store.jobs.get(actor, record.job_id)
        if job.started_at is not None and job.ended_at is not None:
            took.append(job.ended_at - job.started_at)
    if took:
        return float(median(took)), f"{len(took)} earlier turn{'s' if len(took) > 1 else ''}"
    by_stage: dict[str, Trains] = {"learn": "reward", "align": read_plan(turn.plan).align.trains}
    trains = by_stage.get(stage)
    if trains is None:
        return None, "no turn of this project has done it yet"
    for run in list_runs(store, actor, turn.project_id):
        if run.trains == trains and run.has_model and run.job.started_at and run.job.ended_at:
            took.append(run.job.ended_at - run.job.started_at)
    if took:
        return float(median(took)), f"{len(took)} earlier {TRAININGS[trains].words} run{'s' if len(took) > 1 else ''}"
    return None, "no turn of this project has done it yet"


def _pace(store: Store, actor: Actor, project_id: int) -> tuple[float, str]:
    """Median seconds of a judgment."""
    spent = store.turn_votes.newest_seconds(actor, project_id)
    if not spent:
        return SECONDS_A_JUDGMENT, "a guess: nobody has judged here yet"
    return float(median(spent)), "the project's median"


def _judges(store: Store, actor: Actor, turn: Turn, plan: TurnPlan, num_pairs: int) -> tuple[int, float | None]:
    """Answers of judges, and what they cost by what their answers in the project have cost so far."""
    answers, money, known = 0, 0.0, True
    prices = store.turn_votes.judge_prices(actor, turn.project_id) if plan.judge.judges else {}
    for name in plan.judge.judges:
        row = store.judges.get(actor, turn.project_id, name)
        asked = num_pairs * row.spec.samples * (2 if row.spec.both_orders else 1)
        answers += asked
        known = known and row.id in prices
        money += asked * prices.get(row.id, 0.0)
    return answers, money if answers and known else None


def _words(cost: StageCost, pace: float, pace_from: str) -> str:
    parts = []
    if cost.judgments:
        parts.append(f"{cost.judgments:,} judgments, about {cost.people_minutes:,.0f} minutes of people ")
        parts[-1] += f"at {pace:.0f} s each ({pace_from})"
    if cost.judge_answers:
        money = "at a price not known yet" if cost.judge_money is None else f"for about {cost.judge_money:,.2f}"
        parts.append(f"{cost.judge_answers:,} answers of judges {money}")
    if cost.tokens:
        parts.append(f"at most {cost.tokens:,} tokens written")
    if cost.seconds is not None:
        parts.append(f"about {cost.seconds:,.0f} s of computing (from {cost.seconds_from})")
    else:
        parts.append(f"computing time not known: {cost.seconds_from}")
    return "; ".join(parts)
