"""The judge report: a judge's agreement with people beside people's own, where it errs, and what it is good for.

Votes of people and of the judge in, frozen results out. Agreement is `annotate_app.agreement.reports.beside_people`,
biases `annotate_app.judges.biases`, the rules behind the advice `annotate_app.judges.advice`. Comparisons that the
judge was shown with people's answers as examples are left out: nothing is measured on what it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import TypedDict

import numpy as np

from annotate_app.agreement.reports.beside_people import Beside, MedianPerson, beside_people, median_person
from annotate_app.agreement.reports.report import source_items
from annotate_app.agreement.vote_categories import NOMINAL_CODES, criterion_ballots
from annotate_app.consensus.judge_readings import Readings, read_judge
from annotate_app.consensus.rules import NUM_CHOICES, choice_counts
from annotate_app.judges.advice import Advice, Finding, advise, find
from annotate_app.judges.biases import Leanings, PositionBias, leanings, position_bias
from annotate_app.store.loop.judge_votes import VoteTable
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.data.records import CHOICES
from rewardkit.stats.calibration import CalibrationBin, CalibrationFigures, calibration_bins, calibration_figures
from rewardkit.stats.metrics import quantile_groups

NUM_GROUPS = 3  # of length
MOST_ERRORS = 500
SUREST = 0.5


class _Draws(TypedDict):
    num_resamples: int
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class JudgeError:
    """A comparison on which a judge takes the side that fewer people took.

    Attributes:
        choice: the judge's, a or b; p: its probability for that side, 0.5 to 1.
        people_share: share of people's votes for that side, ties as half; num_votes of them.
    """

    comparison_id: str
    choice: str
    p: float
    people_share: float
    num_votes: int


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a judge's answers took; None where no answer says.

    Attributes:
        cost: in the currency of its prices.
        seconds: of an answer, median; tokens of all.
    """

    cost: float | None
    seconds: float | None
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """Everything that the page and the command show.

    Attributes:
        num_items: comparisons it judged; num_answers: its answers, both orders and samples counted apart.
        num_examples: comparisons left out: it was told people's answers, as examples or by what its model learned.
        overall: on all comparisons that somebody judged; median: beside the median person.
        surest: on the surest half, None where it is as sure of all; surest_share: its share.
        criteria, sources, lengths, length_gaps, versions: by criterion; by what wrote the answers; by characters of
            both answers; by how far their lengths lie apart; by version of the rubric.
        calibration: of its probability against people's shares; None where it told none, and gave one answer an order.
        bins: of the same, each pair counted in both directions.
        confidence, hit_rate: mean probability for its own side, and how often a person's vote is on it.
        errors: surest first, MOST_ERRORS at most; num_errors of them in all.
    """

    judge: str
    num_items: int
    num_answers: int
    num_refused: int
    num_unreadable: int
    num_examples: int
    overall: Beside
    median: MedianPerson
    surest: Beside | None
    surest_share: float
    criteria: tuple[Beside, ...]
    sources: tuple[Beside, ...]
    lengths: tuple[Beside, ...]
    length_gaps: tuple[Beside, ...]
    versions: tuple[Beside, ...]
    position: PositionBias
    leanings: Leanings
    calibration: CalibrationFigures | None
    bins: tuple[CalibrationBin, ...]
    confidence: float
    hit_rate: float
    spent: Spent
    errors: tuple[JudgeError, ...]
    num_errors: int
    findings: tuple[Finding, ...]
    advice: Advice
    num_resamples: int

    @property
    def other_findings(self) -> tuple[Finding, ...]:
        """Findings that the advice does not tell already."""
        return tuple(finding for finding in self.findings if finding.sentence not in self.advice.why)

    def as_dict(self) -> dict[str, object]:
        """As plain values."""
        return {**asdict(self), "advice_words": self.advice.sentence()}


def judge_report(
    votes: Votes,
    table: VoteTable,
    judge: str,
    *,
    own: Collection[str] = (),
    examples: Collection[str] = (),
    num_resamples: int = 500,
    seed: int = 0,
) -> JudgeReport:
    """The whole report of one judge.

    Args:
        votes: of the project, people's.
        table: votes of the judge, or of others too.
        own: names of sources that count as the judge's own model, whatever their case.
        examples: ids of comparisons that it was shown with people's answers.
        num_resamples: of items behind the intervals; 0 leaves most of them out.

    Raises:
        ValueError: if the table knows no such judge.
    """
    rng = np.random.default_rng(seed)
    draws: _Draws = {"num_resamples": num_resamples, "rng": rng}
    readings = read_judge(table, judge, votes.items, leave_out=examples)
    counted = votes.counted()
    counts, choice = choice_counts(counted), readings.choice
    overall = beside_people("all", choice, counts, **draws)
    median = median_person(
        choice, counted.item, counted.annotator, counted.choice, votes.annotators, num_codes=NUM_CHOICES, **draws
    )
    sure = _surest(readings, counts)
    surest = None if sure is None else beside_people("surest", choice[sure], counts[sure], **draws)
    surest_share = 0.0 if sure is None else len(sure) / max(overall.num_items, 1)
    log_lengths = np.log2(np.maximum(votes.item_length_b, 1) / np.maximum(votes.item_length_a, 1))
    lean = leanings(readings.p_b, counts, log_lengths, own_sides(votes, own), **draws)
    position = position_bias(readings.by_order)
    calibration, bins, confidence, hit_rate = _calibration(readings, counts)
    errors = _errors(readings, counts)
    rows = table.judge == table.judges.index(judge)
    num_answers, num_none = int(rows.sum()), readings.num_refused + readings.num_unreadable
    findings = find(overall, position, lean, calibration, confidence, hit_rate, num_none / max(num_answers, 1))
    return JudgeReport(
        judge=judge,
        num_items=int(readings.answered.sum()),
        num_answers=num_answers,
        num_refused=readings.num_refused,
        num_unreadable=readings.num_unreadable,
        num_examples=len(set(examples) & set(votes.items)),
        overall=overall,
        median=median,
        surest=surest,
        surest_share=surest_share,
        criteria=tuple(_criterion(counted, readings, name, **draws) for name in sorted(readings.criteria)),
        **_groups(votes, choice, counts, draws),
        versions=tuple(_versions(votes, table, judge, examples, counts, draws)),
        position=position,
        leanings=lean,
        calibration=calibration,
        bins=bins,
        confidence=confidence,
        hit_rate=hit_rate,
        spent=_spent(table, rows),
        errors=errors[:MOST_ERRORS],
        num_errors=len(errors),
        findings=findings,
        advice=advise(overall, median, surest, surest_share, findings),
        num_resamples=num_resamples,
    )


def _versions(
    votes: Votes, table: VoteTable, judge: str, examples: Collection[str], counts: np.ndarray, draws: _Draws
) -> Iterator[Beside]:
    """The judge under each version of the rubric that it was asked by."""
    for version in np.unique(table.rubric_version[table.judge == table.judges.index(judge)]).tolist():
        readings = read_judge(table, judge, votes.items, version=version, leave_out=examples)
        yield beside_people(f"version {version}", readings.choice, counts, **draws)


def _groups(votes: Votes, choice: np.ndarray, counts: np.ndarray, draws: _Draws) -> dict[str, tuple[Beside, ...]]:
    """The groups of items by source and by length."""

    def group(name: str, members: np.ndarray) -> Beside:
        return beside_people(name, choice[members], counts[members], **draws)

    both = overall_of(choice, counts)
    ratio = np.maximum(votes.item_length_b, 1) / np.maximum(votes.item_length_a, 1)
    return {
        "sources": tuple(group(name, members) for name, members in source_items(votes).items()),
        "lengths": tuple(_by_length("characters", votes.item_length_a + votes.item_length_b, both, group)),
        "length_gaps": tuple(_by_length("times as long", np.maximum(ratio, 1 / ratio), both, group)),
    }


def own_sides(votes: Votes, own: Collection[str]) -> np.ndarray:
    """(I,) 1 where b alone is of a source named in `own`, -1 where a alone is, else 0."""
    names = {name.casefold() for name in own if name}
    mine = np.array([name.casefold() in names for name in votes.sources] or [False])
    return mine[votes.item_source_b].astype(int) - mine[votes.item_source_a].astype(int)


def overall_of(choice: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices of the items that the judge and somebody judged."""
    return np.flatnonzero((choice >= 0) & counts.any(axis=1))


def _surest(readings: Readings, counts: np.ndarray) -> np.ndarray | None:
    """Indices of the SUREST share of items that people judged too; None where it is as sure of all."""
    both = overall_of(readings.choice, counts)
    sureness = np.abs(readings.p_b[both] - 0.5)
    if len(both) < 2 or np.ptp(sureness) < 1e-9:
        return None
    bound = np.quantile(sureness, 1 - SUREST)
    return both[sureness >= bound] if (sureness < bound).any() else both[sureness > bound - 1e-9]


def _by_length(
    unit: str, values: np.ndarray, members: np.ndarray, group: Callable[[str, np.ndarray], Beside]
) -> list[Beside]:
    """Groups of equal count by a quantity, named by what it runs from and to."""
    parts = []
    for part in quantile_groups(values[members], NUM_GROUPS):
        inside = members[part]
        low, high = values[inside].min(), values[inside].max()
        name = f"{low:,.0f} to {high:,.0f} {unit}" if unit == "characters" else f"{low:.1f} to {high:.1f} {unit}"
        parts.append(group(name, inside))
    return parts


def _criterion(
    counted: Votes, readings: Readings, name: str, *, num_resamples: int, rng: np.random.Generator
) -> Beside:
    """Agreement on one criterion: the sides taken, or even."""
    degrees = readings.criteria[name]
    choice = np.where(np.isnan(degrees), -1, np.sign(np.nan_to_num(degrees)).astype(int) + 1)
    counts = np.zeros((len(counted.items), len(NOMINAL_CODES)), dtype=np.int64)
    if name in counted.criteria:
        ballots = criterion_ballots(counted, name)
        np.add.at(counts, (ballots.item, ballots.nominal), 1)
    return beside_people(name, choice, counts, num_resamples=num_resamples, rng=rng)


def people_share_b(counts: np.ndarray) -> np.ndarray:
    """(I,) share of people's votes for b, ties and both bad as half; NaN without votes."""
    votes = counts.sum(axis=1)
    half = counts[:, CHOICE_CODES["tie"]] + counts[:, CHOICE_CODES["both_bad"]]
    share = (counts[:, CHOICE_CODES["b"]] + half / 2) / np.maximum(votes, 1)
    return np.where(votes > 0, share, np.nan)


def _calibration(
    readings: Readings, counts: np.ndarray
) -> tuple[CalibrationFigures | None, tuple[CalibrationBin, ...], float, float]:
    votes = counts.sum(axis=1)
    graded = readings.told | (readings.num_answers >= 4)  # both orders of two samples, or more
    used = graded & (votes > 0) & readings.answered
    if not used.any():
        return None, (), float("nan"), float("nan")
    p, share, num_votes = readings.p_b[used], people_share_b(counts)[used], votes[used]
    side = np.where(p >= 0.5, share, 1 - share)
    figures = calibration_figures(np.clip(p, 1e-6, 1 - 1e-6), share, num_votes=num_votes)
    return figures, tuple(calibration_bins(p, share)), float(np.maximum(p, 1 - p).mean()), float(side.mean())


def _errors(readings: Readings, counts: np.ndarray) -> tuple[JudgeError, ...]:
    share, p_b = people_share_b(counts), readings.p_b
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero((p_b - 0.5) * (share - 0.5) < -1e-9)
    sureness = np.abs(p_b[wrong] - 0.5)
    order = wrong[np.lexsort((-np.abs(share[wrong] - 0.5), -sureness))]
    return tuple(
        JudgeError(
            comparison_id=readings.items[index],
            choice=CHOICES[CHOICE_CODES["b"] if p_b[index] > 0.5 else CHOICE_CODES["a"]],
            p=float(max(p_b[index], 1 - p_b[index])),
            people_share=float(share[index] if p_b[index] > 0.5 else 1 - share[index]),
            num_votes=int(counts[index].sum()),
        )
        for index in order.tolist()
    )


def _spent(table: VoteTable, rows: np.ndarray) -> Spent:
    def known(name: str) -> np.ndarray:
        values = table.spent[name][rows]
        return values[~np.isnan(values)]

    def total(name: str) -> int | None:
        return int(known(name).sum()) if len(known(name)) else None

    return Spent(
        cost=float(known("cost").sum()) if len(known("cost")) else None,
        seconds=float(np.median(known("seconds"))) if len(known("seconds")) else None,
        prompt_tokens=total("prompt_tokens"),
        completion_tokens=total("completion_tokens"),
    )
