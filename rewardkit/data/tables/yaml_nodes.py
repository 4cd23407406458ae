"""YAML values with their line numbers, so that an error names the line in a rubric, protocol or constitution.

Texts are composed into PyYAML's node tree and never constructed, so no tag can make an object.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

MAX_CHARACTERS = 200_000
# Plain on, off, yes and no are words where a text is due.
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:bool")
_INTEGER = re.compile(r"[-+]?[0-9]{1,9}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(\.[0-9]{1,12})?")


class YamlError(ValueError):
    """A mistake in a YAML text: `source:line: problem`."""

    def __init__(self, source: str, line: int, problem: str) -> None:
        super().__init__(f"{source}:{line}: {problem}")
        self.line = line
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value of a YAML text.

    Attributes:
        source: the name of the file, for messages.
        path: where in the document, for example `scale.steps`; empty for the whole.
        node: PyYAML's node.
    """

    source: str
    path: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """The line the value starts at, counted from 1."""
        return self.node.start_mark.line + 1

    def error(self, problem: str) -> YamlError:
        """An error at this value."""
        return YamlError(self.source, self.line, problem)

    def named(self, path: str) -> Entry:
        """The same value under a better path."""
        return replace(self, path=path)

    def fields(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, Entry]:
        """The values of a mapping with known keys; unknown, duplicate and missing keys are errors."""
        entries: dict[str, Entry] = {}
        for key, value in self.pairs():
            name = key.node.value
            if name not in allowed:
                raise key.error(f"unknown key {name!r}{self._where()}{did_you_mean(name, allowed)}")
            entries[name] = value.named(f"{self.path}.{name}" if self.path else name)
        for name in required:
            if name not in entries:
                raise self.error(f"{name} is missing{self._where()}")
        return entries

    def pairs(self) -> list[tuple[Entry, Entry]]:
        """The keys and values of a mapping, in order; a key that stands twice is an error at the second."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.unlike("a mapping of key: value")
        first: dict[str, int] = {}
        pairs = []
        for key_node, value_node in self.node.value:
            key = Entry(source=self.source, path=f"key of {self.path}" if self.path else "key", node=key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise key.unlike("a plain word")
            if key_node.value in first:
                raise key.error(f"duplicate key {key_node.value!r}, first at line {first[key_node.value]}")
            first[key_node.value] = key.line
            path = f"{self.path}.{key_node.value}" if self.path else key_node.value
            pairs.append((key, Entry(source=self.source, path=path, node=value_node)))
        return pairs

    def items(self) -> list[Entry]:
        """The values of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.unlike("a list")
        return [
            Entry(source=self.source, path=f"{self.path}[{number}]", node=node)
            for number, node in enumerate(self.node.value, start=1)
        ]

    def text(self) -> str:
        """A text with something in it."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag not in _TEXT_TAGS:
            raise self.unlike("a text (put a number in quotes to mean its characters)")
        if not self.node.value.strip():
            raise self.error(f"{self.path} is empty, allowed is a text with something in it")
        return self.node.value

    def texts(self) -> tuple[str, ...]:
        """A list of different texts."""
        line_of: dict[str, int] = {}
        for item in self.items():
            text = item.text()
            if text in line_of:
                raise item.error(f"{self.path} holds {text!r} twice, first at line {line_of[text]}")
            line_of[text] = item.line
        return tuple(line_of)

    def word(self, allowed: Sequence[str]) -> str:
        """One of some words."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.value not in allowed:
            raise self.unlike(", ".join(allowed), are=True)
        return self.node.value

    def integer(self, low: int, high: int) -> int:
        """A whole number in decimal digits, `low` to `high`."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.style or not _INTEGER.fullmatch(self.node.value):
            raise self.unlike(f"a whole number, {low} to {high}")
        value = int(self.node.value)
        if not low <= value <= high:
            raise self.unlike(f"{low} to {high}")
        return value

    def number(self) -> float:
        """A decimal number."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.style or not _NUMBER.fullmatch(self.node.value):
            raise self.unlike("a number")
        return float(self.node.value)

    def boolean(self) -> bool:
        """true or false."""
        is_bool = isinstance(self.node, yaml.ScalarNode) and self.node.tag == "tag:yaml.org,2002:bool"
        if not is_bool:
            raise self.unlike("true, false", are=True)
        return self.node.value.lower() in ("true", "yes", "on")

    def unlike(self, allowed: str, *, are: bool = False) -> YamlError:
        """An error that says what stands here and what may."""
        match self.node:
            case yaml.MappingNode():
                value = "a mapping"
            case yaml.SequenceNode():
                value = "a list"
            case yaml.ScalarNode() if self.node.tag == "tag:yaml.org,2002:null":
                value = "empty"
            case _:
                text = str(self.node.value)
                value = text if len(text) <= 60 else text[:57] + "..."
        return self.error(f"{self.path or 'the document'} is {value}, allowed {'are' if are else 'is'} {allowed}")

    def _where(self) -> str:
        return f" in {self.path}" if self.path else ""


def read_yaml(text: str, source: str) -> Entry:
    """The document in `text`; raises YamlError with the line where it is no YAML."""
    if len(text) > MAX_CHARACTERS:
        raise YamlError(source, 1, f"the text has {len(text)} characters, allowed are {MAX_CHARACTERS}")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise YamlError(source, *_explain(error, text)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(source, line, f"the character {text[error.position]!r} is not allowed in YAML") from error
    except RecursionError as error:
        raise YamlError(source, 1, "the text is nested too deeply") from error
    if node is None:
        raise YamlError(source, 1, "the text is empty")
    return Entry(source=source, path="", node=node)


def _explain(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line to look at, counted from 1, and what is wrong there, in words for people who do not write YAML daily."""
    problem = error.problem or "no valid YAML"
    if problem == "could not find expected ':'" and error.context_mark:
        return error.context_mark.line + 1, "a key without its colon, or a text that has lost its indentation or quote"
    mark = error.problem_mark or error.context_mark
    number = mark.line if mark else 0
    line = [*text.splitlines(), ""][number] if number <= text.count("\n") else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return number + 1, "a tab stands where YAML wants spaces"
    if problem == "mapping values are not allowed here":
        problem = "a colon stands where no key is due: put a text that holds one in quotes, or check the indentation"
        return number + 1, problem
    return number + 1, f"not valid YAML: {problem}"


def did_you_mean(name: str, allowed: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest that is allowed, else all of them."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else f", allowed are {', '.join(allowed)}"
