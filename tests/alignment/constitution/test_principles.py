"""A constitution's file: what it says, where it is wrong, how often a principle is drawn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alignment.constitution.principles import parse_constitution, read_constitution
from rewardkit.data.records import Message
from rewardkit.data.tables.yaml_nodes import YamlError

TWO = """\
title: Two
version: 3
principles:
  - {id: kind, critique: Say where it is rude, revision: Be kind., comparison: Take the kinder, weight: 3}
  - id: money
    critique: Name wrong amounts
    revision: Mend the amounts.
    applies_to: [Refund, invoice]
"""


def asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def test_a_constitution_is_read() -> None:
    constitution = parse_constitution(TWO)
    kind, money = constitution.principles
    assert (constitution.title, constitution.version) == ("Two", 3)
    assert (kind.id, kind.critique, kind.revision) == ("kind", "Say where it is rude", "Be kind.")
    assert (kind.comparison, kind.weight, kind.applies_to) == ("Take the kinder", 3.0, ())
    assert (money.weight, money.applies_to) == (1.0, ("Refund", "invoice"))
    assert money.comparison == "Which answer gives less to say here? Name wrong amounts"


def test_the_shipped_constitution_reads_and_names_its_principles() -> None:
    names = [principle.id for principle in read_constitution().principles]
    assert names == ["helpful", "honest", "harmless", "concise", "on_topic"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("weight: 3", "weight: 0", "c.yaml:4: principles[1].weight is 0, allowed is a number above 0"),
        ("weight: 3", "weihgt: 3", "c.yaml:4: unknown key 'weihgt' in principles[1], did you mean 'weight'?"),
        ("id: money", "id: kind", "c.yaml:5: the principle kind is there twice, first at line 4"),
        ("id: money", "id: Money!", "c.yaml:5: principles[2].id is Money!, allowed is a lower-case letter"),
        ("    revision: Mend the amounts.\n", "", "c.yaml:5: revision is missing in principles[2]"),
        ("[Refund, invoice]", "[]", "c.yaml:8: principles[2].applies_to is an empty list"),
        ("version: 3", "version: new", "c.yaml:2: version is new, allowed is a whole number"),
        ("title: Two\n", "", "c.yaml:1: title is missing"),
        ("Say where it is rude", "''", "c.yaml:4: principles[1].critique is empty"),
    ],
)
def test_a_mistake_is_named_at_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(YamlError) as error:
        parse_constitution(TWO.replace(old, new), "c.yaml")
    assert str(error.value).startswith(problem)
    assert "\n" not in str(error.value)


def test_a_constitution_without_principles_is_refused() -> None:
    with pytest.raises(ValueError, match=r"c\.yaml:2: principles is an empty list"):
        parse_constitution("title: None\nprinciples: []\n", "c.yaml")


def test_the_hash_is_of_the_content_alone() -> None:
    constitution = parse_constitution(TWO)
    assert parse_constitution("# a comment\n" + TWO.replace("{id: kind, ", "{ id: 'kind',  ")).hash == constitution.hash
    kind, money = constitution.principles
    changed = replace(constitution, principles=(kind, replace(money, weight=2.0)))
    assert changed.hash != constitution.hash
    assert replace(constitution, version=4).hash != constitution.hash


def test_principles_are_drawn_by_their_weights() -> None:
    """kind weighs 3, money 1: of 4,000 draws 3,000 are kind, give or take 4 x sqrt(4000 x 3/16), about 110."""
    constitution, rng = parse_constitution(TWO), np.random.default_rng(0)
    drawn = [constitution.sample(asked("The invoice is wrong."), rng) for _ in range(4000)]
    assert sum(principle is constitution.principles[0] for principle in drawn) == pytest.approx(3000, abs=110)
    assert set(drawn) == set(constitution.principles)


def test_a_principle_is_drawn_only_where_it_applies() -> None:
    constitution, rng = parse_constitution(TWO), np.random.default_rng(0)
    kind, money = constitution.principles
    assert {constitution.sample(asked("Hello"), rng) for _ in range(50)} == {kind}
    assert money.applies(asked("where is my REFUND"))
    only_money = replace(constitution, principles=(money,))
    assert only_money.sample(asked("Hello"), rng) is None


def test_it_is_read_without_torch_and_without_the_app() -> None:
    code = (
        "import sys, alignment.constitution.principles as principles; principles.read_constitution(); "
        "print({'torch', 'transformers', 'annotate_app'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "set()"


def test_the_example_of_the_docs_reads() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "constitution.md"
    example = page.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    concise, money = parse_constitution(example, "docs").principles
    assert (concise.weight, money.applies_to) == (2.0, ("refund", "invoice"))
