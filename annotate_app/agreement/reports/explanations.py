"""The measures of agreement as people meet them: a title, one sentence, and what published work reports of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.protocol.protocol import Protocol, Reported, list_protocols, load_protocol


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of the agreement page.

    Attributes:
        name: as in `agreement.FIGURES`.
        title, short: its name in a list and on an axis.
        meaning: one sentence.
        percent: whether it is a share of 1; the others are corrected for chance.
        graded: whether it looks at degrees of preference, not at the answer alone.
        reported: what `protocol.Reported.measure` calls it; empty where no source reports it.
    """

    name: str
    title: str
    short: str
    meaning: str
    percent: bool = False
    graded: bool = False
    reported: str = ""

    def say(self, value: float) -> str:
        """Formats a value for the page."""
        if math.isnan(value):
            return "–"
        return f"{value:.1%}" if self.percent else f"{value:.2f}"


_LISTED = (
    Measure(
        name="percent",
        title="Percent agreement, ties count",
        short="agreement",
        meaning="How often two people give the same answer to the same pair; a tie is an answer like any other.",
        percent=True,
        reported="percent",
    ),
    Measure(
        name="percent_ties_out",
        title="Percent agreement, ties left out",
        short="agreement",
        meaning="How often two people who both chose a side chose the same side.",
        percent=True,
        reported="percent_ties_out",
    ),
    Measure(
        name="percent_ties_half",
        title="Percent agreement, ties count half",
        short="agreement",
        meaning="As above, and a tie against a choice counts as half an agreement.",
        percent=True,
    ),
    Measure(
        name="fleiss_kappa",
        title="Fleiss' kappa",
        short="kappa",
        meaning="Agreement beyond what the same answering habits would give by chance: 0 is chance, 1 is total.",
        reported="fleiss_kappa",
    ),
    Measure(
        name="alpha_nominal",
        title="Krippendorff's alpha, nominal",
        short="alpha",
        meaning="Like kappa for any number of people and missing votes; answers are the same or they are not.",
        reported="alpha_nominal",
    ),
    Measure(
        name="alpha_ordinal",
        title="Krippendorff's alpha, ordinal",
        short="alpha",
        meaning="Degrees of preference in their order: slightly against much better is a small disagreement.",
        graded=True,
        reported="alpha_ordinal",
    ),
    Measure(
        name="alpha_interval",
        title="Krippendorff's alpha, interval",
        short="alpha",
        meaning="Degrees of preference as numbers: twice the distance weighs four times as much.",
        graded=True,
        reported="alpha_interval",
    ),
    Measure(
        name="ac1",
        title="Gwet's AC1",
        short="AC1",
        meaning="Beyond chance like kappa, but steady where nearly everybody gives the same answer.",
        reported="ac1",
    ),
    Measure(
        name="ac2_ordinal",
        title="Gwet's AC2, ordinal",
        short="AC2",
        meaning="AC1 over the degrees of preference: a near miss is part of an agreement.",
        graded=True,
        reported="ac2",
    ),
    Measure(
        name="ac2_quadratic",
        title="Gwet's AC2, quadratic",
        short="AC2",
        meaning="AC2 in which only answers far apart weigh much.",
        graded=True,
        reported="ac2",
    ),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _LISTED}


def references(measure: Measure, protocol_name: str) -> tuple[list[dict[str, object]], str]:
    """Lists published values of a measure as rows for `charts.intervals`, with a sentence that names their sources.

    The project's own protocol where it reports this measure, else all shipped protocols that do.
    """
    protocols = {name: load_protocol(name) for name in list_protocols()}
    own_protocol = protocols.get(protocol_name)
    rows = [] if own_protocol is None else _rows(measure, own_protocol)
    if own_protocol is not None and rows:
        return rows, f"Diamonds: what this project's protocol reports ({own_protocol.source})."
    elsewhere = [row for protocol in protocols.values() for row in _rows(measure, protocol)]
    why = "This project follows no published protocol" if own_protocol is None else _instead(own_protocol)
    if not elsewhere:
        return [], f"{why}; none of the shipped protocols reports this measure."
    return elsewhere, f"{why}; diamonds show what others report. Theirs were other texts and other people."


def _instead(protocol: Protocol) -> str:
    """What a protocol reports where it does not report the measure in question."""
    if not protocol.reported:
        return "This project's protocol reports no agreement"
    item = protocol.reported[0]
    figure = f"{item.low} to {item.high}" if item.value is None else f"{item.value}"
    return f"This project's protocol reports {item.measure.replace('_', ' ')} {figure} instead ({item.population})"


def _rows(measure: Measure, protocol: Protocol) -> list[dict[str, object]]:
    return [_row(protocol, item) for item in protocol.reported if measure.reported and item.measure == measure.reported]


def _row(protocol: Protocol, item: Reported) -> dict[str, object]:
    value = item.value
    if value is None and item.low is not None and item.high is not None:
        value = (item.low + item.high) / 2
    who = item.population.partition(",")[0]
    label = f"{protocol.title}: {who}"
    return {"label": label, "value": value, "low": item.low, "high": item.high, "num": None, "kind": "published"}


def interval_row(label: str, figure: Estimate, num_items: int) -> dict[str, object]:
    """Makes a row for `charts.intervals`; undefined values are None."""
    return {
        "label": label,
        "value": none_if_nan(figure.value),
        "low": none_if_nan(figure.low),
        "high": none_if_nan(figure.high),
        "num": num_items,
    }


def none_if_nan(value: float) -> float | None:
    """Turns NaN into None."""
    return None if math.isnan(value) else value
