"""Agreement beyond chance: the same share of equal answers may be much or nothing."""

from __future__ import annotations

import math

import numpy as np

from annotate_app.agreement.coefficients import (
    Totals,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    percent_agreement,
)
from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

ITEMS = 1000
MEASURES = {
    "percent agreement": percent_agreement,
    "Fleiss' kappa": fleiss_kappa,
    "Krippendorff's alpha": krippendorff_alpha,
    "Gwet's AC1": gwet_ac,
}


def totals_of(both_a: int, both_b: int, differ: int) -> Totals:
    """Two people's answers a or b on so many items."""
    return Totals.of(np.repeat([[2, 0], [0, 2], [1, 1]], [both_a, both_b, differ], axis=0))


def totals_at(agreed: float, share_a: float) -> Totals:
    """The same by the share of items answered alike, and the share of a among these."""
    alike = round(ITEMS * agreed)
    both_a = round(alike * share_a)
    return totals_of(both_a, alike - both_a, ITEMS - alike)


def move(values: Values) -> Picture:
    """Four measures of one table, and how they change with the share of A alone."""
    agreed = values["agreed"] / 100
    totals = totals_at(agreed, values["share_a"] / 100)
    figures = [{"measure": name, "value": float(measure(totals))} for name, measure in MEASURES.items()]
    rows = [
        {"at": share, "value": float(measure(totals_at(agreed, share / 100))), "series": name}
        for name, measure in MEASURES.items()
        for share in range(50, 100)
    ]
    place = [{"at": values["share_a"], "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="agreement", across="percent of A among equal answers", marks=place),
        words="The more the answers lean to one side, the more two people agree by chance. Kappa and alpha subtract "
        "that; AC1 takes chance to be small where one answer is rare.",
    )


def kappa_of_rare_answers() -> float:
    """Fleiss' kappa of 900 items both called a, and 100 on which the two differ."""
    return float(fleiss_kappa(totals_of(900, 0, 100)))


def ninety_percent() -> Finding:
    """Ninety percent of equal answers, the sides even and one-sided."""
    cases = {"half of them A": totals_of(450, 450, 100), "all of them A": totals_of(900, 0, 100)}
    figures = [
        {"equal answers": name, **{label: float(measure(totals)) for label, measure in MEASURES.items()}}
        for name, totals in cases.items()
    ]
    kappas = [float(fleiss_kappa(totals)) for totals in cases.values()]
    return Finding(figures=figures, is_wrong=kappas[0] > 0.75 and kappas[1] < 0.0)


def always_the_same() -> Finding:
    """Two people who say A and nothing else."""
    totals = totals_of(ITEMS, 0, 0)
    kappa = float(fleiss_kappa(totals))
    return Finding(
        figures=[{"measure": name, "value": float(measure(totals))} for name, measure in MEASURES.items()],
        is_wrong=math.isnan(kappa),
    )


AGREEMENT = Lesson(
    key="agreement",
    title="Agreement beyond chance",
    text="""Two people judge the same pairs. How often they give the same answer says little by itself: two who throw
coins agree on half of the pairs, and two who nearly always say A agree nearly always.

    agreement beyond chance = (observed - expected) / (1 - expected)

The measures differ in what they expect by chance. Fleiss' kappa takes the answers' own shares; Krippendorff's alpha the
same, corrected for few votes; Gwet's AC1 a quantity that is small when one answer dominates. None of them is right for
every question: report which it is, and the percentage beside it.""",
    sliders=(
        Slider(name="share_a", label="A among equal answers, percent", low=50, high=99, step=1, default=50),
        Slider(name="agreed", label="Pairs answered alike, percent", low=50, high=99, step=1, default=90),
    ),
    move=move,
    question=Question(
        text="On 900 of 1,000 pairs two people both say A; on the other 100 they differ. What is Fleiss' kappa? "
        "(Two decimals.)",
        answer=kappa_of_rare_answers,
        tolerance=0.006,
        why="95 % of all votes are A, so chance alone gives .95² + .05² = .905 of equal answers: more than the .90.",
    ),
    mistakes=(
        Mistake(
            claim="Ninety percent of equal answers is good agreement.",
            run=ninety_percent,
            instead="With even sides it is a kappa of .8; with one side alone it is less than chance would give.",
        ),
        Mistake(
            claim="Two people who always give the same answer have a kappa of 1.",
            run=always_the_same,
            instead="Where there is one answer only, kappa is 0/0: it says nothing.",
        ),
    ),
    papers=(
        Paper(
            title="Fleiss 1971, Measuring nominal scale agreement among many raters",
            link="https://doi.org/10.1037/h0031619",
        ),
        Paper(title="Gwet 2008, Computing inter-rater reliability", link="https://doi.org/10.1348/000711006X126600"),
        Paper(
            title="Krippendorff 2011, Computing Krippendorff's alpha-reliability",
            link="https://repository.upenn.edu/handle/20.500.14332/2089",
        ),
    ),
)
