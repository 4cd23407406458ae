"""The constitution: a list of principles in YAML, versioned like a rubric; a mistake is named at its line.

    title: Helpful and brief
    version: 1                                    # a number of your own; the hash of the content tells versions apart
    principles:
      - id: concise
        critique: Point at what could go.         # asked of an answer
        revision: Rewrite the answer without it.  # asked after the critique
        comparison: Which answer is briefer?      # asked of two answers; without it the critique's request serves
        weight: 2                                 # how often it is drawn beside the others; 1 where it is left out
        applies_to: [refund, invoice]             # texts, one of which the prompt holds; everywhere where left out

Nothing heavy is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rewardkit.data.records import Message, content_id
from rewardkit.data.tables.yaml_nodes import Entry, read_yaml

DEFAULT = Path(__file__).with_name("default.yaml")
MAX_VERSION = 999_999
_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Principle:
    """What an answer is measured by.

    Attributes:
        id: a lower-case identifier, unique in the constitution.
        critique: request to say what is wrong with an answer.
        revision: request to write the answer anew after the critique.
        comparison: question which of two answers is better.
        weight: how often it is drawn, beside the other principles', above 0.
        applies_to: texts of which the prompt has to hold one, case aside; none is every prompt.
    """

    id: str
    critique: str
    revision: str
    comparison: str
    weight: float = 1.0
    applies_to: tuple[str, ...] = ()

    def applies(self, prompt: Sequence[Message]) -> bool:
        """Whether the principle is for this prompt."""
        text = "\n".join(message.content for message in prompt).casefold()
        return not self.applies_to or any(part.casefold() in text for part in self.applies_to)


@dataclass(frozen=True, kw_only=True)
class Constitution:
    """Principles under a title; equal content has an equal hash, whatever the layout of the file."""

    title: str
    version: int
    principles: tuple[Principle, ...]

    @property
    def hash(self) -> str:
        """The hash of title, version and principles, as rows name it."""
        return content_id(asdict(self))[:12]

    def sample(self, prompt: Sequence[Message], rng: np.random.Generator) -> Principle | None:
        """Draws a principle by weight among those that apply to a prompt; None where none does."""
        fitting = [principle for principle in self.principles if principle.applies(prompt)]
        if not fitting:
            return None
        weights = np.array([principle.weight for principle in fitting])
        return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]


def read_constitution(path: str | Path = DEFAULT) -> Constitution:
    """Reads a constitution's file; without a name the one that is shipped.

    Raises:
        YamlError: a ValueError `file:line: problem` at the first mistake.
        FileNotFoundError: if there is no such file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from error
    return parse_constitution(text, str(path))


def parse_constitution(text: str, source: str = "constitution") -> Constitution:
    """Reads a constitution's YAML.

    Args:
        text: the YAML.
        source: what to call the text in errors.

    Raises:
        YamlError: a ValueError `source:line: problem` at the first mistake.
    """
    values = read_yaml(text, source).fields(("title", "version", "principles"), required=("title", "principles"))
    items = values["principles"].items()
    if not items:
        raise values["principles"].error("principles is an empty list, allowed is one principle or more")
    line_of: dict[str, int] = {}
    principles = []
    for item in items:
        principle, place = _principle(item)
        if principle.id in line_of:
            raise place.error(f"the principle {principle.id} is there twice, first at line {line_of[principle.id]}")
        line_of[principle.id] = place.line
        principles.append(principle)
    return Constitution(
        title=values["title"].text(),
        version=values["version"].integer(1, MAX_VERSION) if "version" in values else 1,
        principles=tuple(principles),
    )


def _principle(entry: Entry) -> tuple[Principle, Entry]:
    """The principle, and where its id stands."""
    values = entry.fields(tuple(Principle.__dataclass_fields__), required=("id", "critique", "revision"))
    name = values["id"].text()
    if not _ID.fullmatch(name):
        raise values["id"].unlike("a lower-case letter, then up to 39 letters, digits or _")
    critique = values["critique"].text().strip()
    weight = values["weight"].number() if "weight" in values else 1.0
    if not weight > 0:
        raise values["weight"].unlike("a number above 0 (leave the principle out to never draw it)")
    applies_to = values["applies_to"].texts() if "applies_to" in values else ()
    if "applies_to" in values and not applies_to:
        raise values["applies_to"].error(f"{entry.path}.applies_to is an empty list; leave it out to mean every prompt")
    principle = Principle(
        id=name,
        critique=critique,
        revision=values["revision"].text().strip(),
        comparison=values["comparison"].text().strip() if "comparison" in values else _compared_by(critique),
        weight=weight,
        applies_to=applies_to,
    )
    return principle, values["id"]


def _compared_by(critique: str) -> str:
    return f"Which answer gives less to say here? {critique}"
