"""Protocols: published ways to collect preferences, each one file with rubric, design and the agreement it reported.

The rubrics are in our own words; the figures are those of the sources named beside them.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from importlib import resources
from typing import cast

from annotate_app.protocol.collection_design import POLICIES, RULES, Design, Policy, Rule
from annotate_app.protocol.rubric import Rubric, read_rubric
from rewardkit.data.tables.yaml_nodes import Entry, read_yaml

# What a reported figure may measure; the names are those of the agreement page.
MEASURES = (
    *("percent", "percent_ties_out", "kappa", "kappa_quadratic", "fleiss_kappa"),
    *("alpha_nominal", "alpha_ordinal", "alpha_interval", "ac1", "ac2"),
)


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A figure of agreement as its source gives it.

    Attributes:
        measure: one of MEASURES.
        value: the figure, 0 to 1 for percent; None where the source gives only a range, or no figure is known to us.
        low, high: bounds as the source gives them (an interval, or the range over annotators or rounds), else None.
        population: who agreed with whom, on what; says so where no figure is known.
        source: where it is written.
    """

    measure: str
    value: float | None
    low: float | None
    high: float | None
    population: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way to collect preferences that a project can start from."""

    name: str
    title: str
    source: str
    summary: str
    rubric_text: str
    rubric: Rubric
    design: Design
    reported: tuple[Reported, ...]


def list_protocols() -> tuple[str, ...]:
    """The names of the shipped protocols, sorted."""
    folder = resources.files("annotate_app").joinpath("protocols")
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def load_protocol(name: str) -> Protocol:
    """The shipped protocol called `name`.

    Raises:
        ValueError: if there is none.
    """
    if name not in list_protocols():
        raise ValueError(f"protocol is {name!r}, allowed are {', '.join(list_protocols())}")
    text = resources.files("annotate_app").joinpath("protocols", f"{name}.yaml").read_text(encoding="utf-8")
    return parse_protocol(text, name, f"{name}.yaml")


def parse_protocol(text: str, name: str, source: str) -> Protocol:
    """Reads a protocol's YAML: title, source, summary, rubric, design and reported."""
    keys = ("title", "source", "summary", "rubric", "design", "reported")
    values = read_yaml(text, source).fields(keys, required=keys)
    rubric = read_rubric(values["rubric"])
    if rubric.protocol != name:
        raise values["rubric"].error(f"rubric.protocol is {rubric.protocol!r}, allowed is {name!r}")
    return Protocol(
        name=name,
        title=values["title"].text(),
        source=values["source"].text().strip(),
        summary=values["summary"].text().strip(),
        rubric_text=_section(text, values["rubric"]),
        rubric=rubric,
        design=read_design(values["design"]),
        reported=tuple(_reported(item) for item in values["reported"].items()),
    )


def _section(text: str, entry: Entry) -> str:
    """The lines of a nested block as a text of its own, comments kept."""
    lines = text.splitlines(keepends=True)
    return textwrap.dedent("".join(lines[entry.node.start_mark.line : entry.node.end_mark.line])).rstrip("\n") + "\n"


def read_design(entry: Entry) -> Design:
    """The settings of a collection, from a mapping in YAML; what is left out stands at its default."""
    settings: dict[str, object] = {}
    for key, value in entry.fields(tuple(Design.__dataclass_fields__)).items():
        match key:
            case "policy":
                settings[key] = cast(Policy, value.word(POLICIES))
            case "rule":
                settings[key] = cast(Rule, value.word(RULES))
            case "groups":
                settings[key] = {group.text(): count.integer(1, 100) for group, count in value.pairs()}
            case "gold_feedback":
                settings[key] = value.boolean()
            case "gold_rate" | "repeat_rate" | "qualification_pass" | "pause_below" | "min_agreement" | "hourly_rate":
                settings[key] = value.number()
            case "currency":
                settings[key] = value.text()
            case _:
                settings[key] = value.integer(0, 1_000_000)
    try:
        return Design(**settings)  # type: ignore[arg-type]
    except ValueError as error:
        raise entry.error(f"design: {error}") from error


def _reported(entry: Entry) -> Reported:
    values = entry.fields(
        ("measure", "value", "low", "high", "population", "source"), required=("measure", "population", "source")
    )

    def figure(key: str) -> float | None:
        return values[key].number() if key in values else None

    return Reported(
        measure=values["measure"].word(MEASURES),
        value=figure("value"),
        low=figure("low"),
        high=figure("high"),
        population=values["population"].text(),
        source=values["source"].text(),
    )
