"""The shipped protocols, and the mistakes a protocol file can have."""

from __future__ import annotations

import pytest

from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import Reported, list_protocols, load_protocol, parse_protocol
from annotate_app.protocol.rubric import parse_rubric, rubric_text

NAMES = (
    "general",
    "helpsteer2",
    "helpsteer3",
    "hh_harmless",
    "hh_helpful",
    "instructgpt",
    "llama2",
    "multipref",
    "support_desk",
)


def test_the_protocols_are_these() -> None:
    assert list_protocols() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_is_whole(name: str) -> None:
    protocol = load_protocol(name)
    assert (protocol.name, protocol.rubric.protocol) == (name, name)
    assert parse_rubric(protocol.rubric_text) == protocol.rubric
    assert parse_rubric(rubric_text(protocol.rubric)) == protocol.rubric
    assert len(protocol.rubric.scale.labels) == protocol.rubric.scale.degrees
    assert "### Worked examples" in protocol.rubric.guidelines
    assert protocol.rubric.guidelines.count("\n\n") >= 5, "guidelines of several paragraphs"
    assert protocol.design.votes_wanted >= protocol.design.min_votes
    assert protocol.design.qualification_items == 0, "a new project has no qualification items yet"


@pytest.mark.parametrize(
    ("name", "steps", "tie"),
    [
        ("general", 7, True),
        ("instructgpt", 3, True),
        ("hh_helpful", 8, False),
        ("hh_harmless", 8, False),
        ("llama2", 8, False),
        ("helpsteer2", 7, True),
        ("helpsteer3", 7, True),
        ("multipref", 5, True),
        ("support_desk", 7, True),
    ],
)
def test_scales_are_those_of_the_sources(name: str, steps: int, tie: bool) -> None:
    scale = load_protocol(name).rubric.scale
    assert (scale.steps, scale.tie) == (steps, tie)


def test_what_makes_each_protocol_itself() -> None:
    assert len(load_protocol("instructgpt").rubric.flags) == 11
    assert [(each.kind, each.low, each.high) for each in load_protocol("helpsteer2").rubric.criteria] == [
        ("rate", 0, 4)
    ] * 5
    assert load_protocol("llama2").rubric.scale.labels[0] == "negligibly better or unsure"
    assert [each.name for each in load_protocol("llama2").rubric.criteria] == ["safe"]
    assert load_protocol("helpsteer3").rubric.rationale == "required"
    assert load_protocol("helpsteer3").design.rule == "most_agreeing_3"
    assert load_protocol("multipref").design.groups == {"crowd": 2, "expert": 2}
    assert [each.name for each in load_protocol("multipref").rubric.criteria] == ["helpful", "truthful", "harmless"]
    assert load_protocol("support_desk").rubric.both_bad


def test_reported_figures_are_those_of_the_sources() -> None:
    figures = {
        (name, item.measure, item.value, item.low, item.high) for name in NAMES for item in load_protocol(name).reported
    }
    assert figures == {
        ("instructgpt", "percent", 0.726, 0.711, 0.741),
        ("instructgpt", "percent", 0.773, 0.760, 0.786),
        ("hh_helpful", "percent", 0.63, None, None),
        ("hh_harmless", "percent", 0.63, None, None),
        ("llama2", "ac2", None, 0.37, 0.55),
        ("llama2", "ac2", 0.92, 0.70, 0.95),
        ("helpsteer2", "kappa_quadratic", 0.465, None, None),
        ("helpsteer2", "kappa_quadratic", None, 0.706, 0.79),
    }


GOOD = """\
title: T
source: S
summary: >-
  Two
  lines.
rubric:
  title: R
  # a remark
  protocol: mine
  guidelines: |
    One.

      indented
  scale: {steps: 2}
design:
  groups: {crowd: 2}
  policy: random
  rule: mace
  gold_rate: 0.1
  gold_feedback: true
  lease_s: 60
reported:
  - {measure: percent, value: 0.7, low: 0.6, high: 0.8, population: all, source: here}
  - {measure: ac2, population: not published, source: nowhere}
"""


def test_a_protocol_file_is_read() -> None:
    protocol = parse_protocol(GOOD, "mine", "mine.yaml")
    assert protocol.summary == "Two lines."
    assert protocol.rubric_text.startswith("title: R\n# a remark\nprotocol: mine\n")
    assert protocol.rubric.guidelines == "One.\n\n  indented\n"
    assert protocol.design == Design(
        groups={"crowd": 2}, policy="random", rule="mace", gold_rate=0.1, gold_feedback=True, lease_s=60
    )
    assert protocol.reported[0] == Reported(
        measure="percent", value=0.7, low=0.6, high=0.8, population="all", source="here"
    )
    assert (protocol.reported[1].value, protocol.reported[1].low) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: S", "sauce: S", "p.yaml:2: unknown key 'sauce', did you mean 'source'?"),
        ("protocol: mine", "protocol: other", "p.yaml:7: rubric.protocol is 'other', allowed is 'mine'"),
        ("rule: mace", "rule: dice", "p.yaml:18: design.rule is dice, allowed are majority"),
        ("gold_rate: 0.1", "gold_rate: 1.5", "p.yaml:16: design: gold_rate is 1.5, allowed is 0 to 1"),
        ("gold_rate: 0.1", "gold_rate: a", "p.yaml:19: design.gold_rate is a, allowed is a number"),
        ("{crowd: 2}", "{crowd: 0}", "p.yaml:16: design.groups.crowd is 0, allowed is 1 to 100"),
        ("measure: percent", "measure: luck", "p.yaml:23: reported[1].measure is luck, allowed are percent"),
        ("value: 0.7", "value: ~", "p.yaml:23: reported[1].value is empty, allowed is a number"),
        ("{steps: 2}", "{steps: 9}", "p.yaml:14: scale.steps is 9"),
    ],
)
def test_mistakes_in_a_protocol_are_named_at_their_line(old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^p\.yaml") as caught:
        parse_protocol(GOOD.replace(old, new), "mine", "p.yaml")
    assert str(caught.value).startswith(message)


def test_an_unknown_protocol_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"protocol is '\.\./demo', allowed are general, helpsteer2, helpsteer3"):
        load_protocol("../demo")
