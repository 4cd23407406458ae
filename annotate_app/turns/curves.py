"""Figures of turns as rows for charts: one curve a figure, one point a turn, with its interval where it has one.

Pure; what is drawn with is `annotate_app.pages.charts.turn_charts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval

Read = Callable[[TurnFigures], Interval | float | None]
Rows = tuple[Mapping[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class TurnCurve:
    """A figure over turns.

    Attributes:
        name: of the figure, for keys and files.
        title: for people.
        axis: what the vertical axis counts.
        rows: `at` (the turn's number), `series`, `value`, `low`, `high` (None where there are no bounds).
        percent: whether values count in percent of 1.
        reference: where a dashed line lies, None without one; `reference_label` are its words.
        help: what the figure means, a sentence.
    """

    name: str
    title: str
    axis: str
    rows: Rows
    percent: bool = False
    reference: float | None = None
    reference_label: str = ""
    help: str = ""


def turn_curves(turns: Sequence[TurnFigures]) -> tuple[TurnCurve, ...]:
    """Every curve that has a point, in the order in which a reader asks: is it better, is it true, what did it cost.

    Args:
        turns: by number, oldest first. A figure that a turn lacks leaves a gap.
    """
    curves = (*_quality(turns), *_measures(turns), *_distances(turns), *_costs(turns))
    return tuple(curve for curve in curves if curve.rows)


def _quality(turns: Sequence[TurnFigures]) -> tuple[TurnCurve, ...]:
    """Whether the policy is better."""
    return (
        TurnCurve(
            name="win_rate",
            title="Blind win rate",
            axis="share of votes won",
            rows=_rows(
                turns,
                {
                    "against turn 0": lambda turn: turn.against_first,
                    "against the turn before": lambda turn: turn.against_previous,
                },
            ),
            percent=True,
            reference=0.5,
            reference_label="even",
            help="People judged both policies' answers without knowing whose is whose; a tie counts as half.",
        ),
        TurnCurve(
            name="gold",
            title="Gold reward",
            axis="mean gold reward",
            rows=_rows(turns, {"gold": lambda turn: turn.gold}),
            help="What the simulated world holds the answers to be worth. Outside a simulation nobody knows it.",
        ),
        TurnCurve(
            name="proxy",
            title="Reward by the turn's own model",
            axis="spreads above turn 0",
            rows=_rows(turns, {"reward": lambda turn: turn.proxy}),
            reference=0.0,
            reference_label="turn 0's answers",
            help="What the policy was trained to raise. It should rise with the blind win rate, not in its place.",
        ),
    )


def _measures(turns: Sequence[TurnFigures]) -> tuple[TurnCurve, ...]:
    """How far the reward model and people can be trusted."""
    return (
        TurnCurve(
            name="accuracy",
            title="Reward model on the turn's own pairs",
            axis="pairs it is right on",
            rows=_rows(
                turns,
                {
                    "before": lambda turn: turn.accuracy_before,
                    "after": lambda turn: turn.accuracy_after,
                },
            ),
            percent=True,
            reference=0.5,
            reference_label="a coin",
            help="Share of pairs ordered as people do, before the model learned from the turn and after, on pairs that "
            "were chosen by chance and that it did not learn from: those chosen by a rule are harder than the rest.",
        ),
        TurnCurve(
            name="calibration",
            title="Calibration error on the same pairs",
            axis="ECE",
            rows=_rows(turns, {"before": lambda turn: turn.ece_before, "after": lambda turn: turn.ece_after}),
            percent=True,
            help="How far what it predicts lies from how often people agree; 0 is best, few pairs alone raise it.",
        ),
        TurnCurve(
            name="agreement",
            title="Agreement of people",
            axis="Krippendorff's alpha",
            rows=_rows(turns, {"agreement": lambda turn: turn.agreement}),
            help="On the turn's pairs. It falls as answers grow alike: then votes tell less.",
        ),
    )


def _distances(turns: Sequence[TurnFigures]) -> tuple[TurnCurve, ...]:
    """How far the policy moved."""
    return (
        TurnCurve(
            name="kl",
            title="Distance from turn 0's policy",
            axis="KL, nats a reply",
            rows=_rows(turns, {"KL": lambda turn: turn.kl}),
            help="How far the policy moved from where the loop began.",
        ),
        TurnCurve(
            name="words",
            title="Length of a reply",
            axis="words",
            rows=_rows(turns, {"words": lambda turn: turn.words}),
            help="Longer is no better by itself; a reward model may think it is.",
        ),
    )


def _costs(turns: Sequence[TurnFigures]) -> tuple[TurnCurve, ...]:
    """What the turns took."""
    return (
        TurnCurve(
            name="labels",
            title="Judgments bought so far",
            axis="judgments, all turns",
            rows=_spent(
                turns,
                {"by people": lambda turn: turn.num_people_votes, "by judges": lambda turn: turn.num_judge_votes},
            ),
            help="Of the turns' pairs, summed over turns; those of blind rounds come on top.",
        ),
        TurnCurve(
            name="minutes",
            title="Time spent",
            axis="minutes a turn",
            rows=_rows(
                turns,
                {
                    "people judging": lambda turn: turn.people_seconds / 60 or None,
                    "machines": lambda turn: turn.seconds / 60 or None,
                },
            ),
            help="People's time on the turn's pairs and blind rounds, and the wall clock of its jobs.",
        ),
    )


def table_row(turn: TurnFigures) -> Mapping[str, object]:
    """A turn as a row of a table; figures without their bounds, None where they are not known."""
    shares = {
        "won against the turn before": turn.against_previous,
        "won against turn 0": turn.against_first,
        "reward model, before": turn.accuracy_before,
        "reward model, after": turn.accuracy_after,
    }
    plain = {"gold": turn.gold, "proxy": turn.proxy, "KL": turn.kl, "words": turn.words, "agreement": turn.agreement}
    return {
        "turn": turn.number,
        "state": turn.state,
        "policy": turn.policy,
        "pairs": turn.num_pairs,
        "judgments": turn.num_people_votes,
        "of judges": turn.num_judge_votes,
        "people, min": turn.people_seconds / 60,
        "machines, min": turn.seconds / 60,
        **{name: None if share is None else 100 * share.value for name, share in shares.items()},
        **{name: None if figure is None else figure.value for name, figure in plain.items()},
    }


def _rows(turns: Sequence[TurnFigures], series: Mapping[str, Read]) -> Rows:
    """Points that are known, series after series."""
    return tuple(
        _point(turn.number, name, value)
        for name, read in series.items()
        for turn in turns
        if (value := read(turn)) is not None and math.isfinite(_value(value))
    )


def _spent(turns: Sequence[TurnFigures], series: Mapping[str, Callable[[TurnFigures], int]]) -> Rows:
    """Running totals; a series that never begins is left out."""
    rows: list[Mapping[str, object]] = []
    for name, read in series.items():
        totals = list(accumulate(read(turn) for turn in turns))
        if totals and totals[-1]:
            rows.extend(_point(turn.number, name, float(total)) for turn, total in zip(turns, totals, strict=True))
    return tuple(rows)


def _value(value: Interval | float) -> float:
    return value.value if isinstance(value, Interval) else value


def _point(number: int, name: str, value: Interval | float) -> Mapping[str, object]:
    known = isinstance(value, Interval) and value.is_known
    low, high = (value.low, value.high) if isinstance(value, Interval) and known else (None, None)
    return {"at": number, "series": name, "value": _value(value), "low": low, "high": high}
