"""Programs that check completions, by name: what `--reward numeric` and its like call.

Each is an ordinary reward function, called as any function of a user is, in a worker of its own. The worker imports
this file: standard library alone, but for what one verifier takes and says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignment.verifiers.code_answers.code_tests import make_code
from alignment.verifiers.instructions import followed
from alignment.verifiers.numbers import agree, read_answer, read_target
from alignment.verifiers.symbolic import ANSWER_COLUMNS, make_math

Verify = Callable[..., list[float]]
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """A verifier and how it is written.

    Attributes:
        form: as on the command line.
        make: the function for what stands behind the colon; ValueError if that is not allowed.
    """

    form: str
    make: Callable[[str], Verify]


def make_numeric(argument: str) -> Verify:
    """1 where a completion's number is the one of its row, else 0; the argument names the column of the right answer.

    Without an argument it is the first of ANSWER_COLUMNS that the rows have.
    """

    def numeric(completions: Sequence[str], **columns: Sequence[Any]) -> list[float]:
        allowed = (argument,) if argument else ANSWER_COLUMNS
        column = next((name for name in allowed if name in columns), None)
        if column is None:
            raise ValueError(f"no column {' or '.join(allowed)} holds the right number; numeric:COLUMN names another")
        rewards = []
        for completion, value in zip(completions, columns[column], strict=True):
            target = read_target(value)
            if target is None:
                raise ValueError(f"column {column} holds {str(value)[:80]!r}, which has no number")
            answer = read_answer(completion)
            rewards.append(float(answer is not None and agree(answer, target)))
        return rewards

    return numeric


def make_regex(argument: str) -> Verify:
    """1 where the pattern is found in a completion, else 0; flags stand in the pattern, as in `(?is)`."""
    if not argument:
        raise ValueError("regex takes a pattern, regex:PATTERN")
    try:
        pattern = re.compile(argument)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error

    def regex(completions: Sequence[str]) -> list[float]:
        return [float(pattern.search(text) is not None) for text in completions]

    return regex


def make_json(argument: str) -> Verify:
    """1 where a completion is one JSON value and nothing more, bare or in a ```json fence, else 0."""
    if argument:
        raise ValueError(f"json takes no argument, found {argument!r}")

    def is_json(completions: Sequence[str]) -> list[float]:
        return [float(_is_json(text.strip())) for text in completions]

    return is_json


def make_length(argument: str) -> Verify:
    """How near a completion's number of words L is to the target N: max(0, 1 - |L - N| / N)."""
    if not argument.isdecimal() or int(argument) == 0:
        raise ValueError(f"length takes a number of words, 1 or more, as in length:50, found {argument!r}")
    target = int(argument)

    def length(completions: Sequence[str]) -> list[float]:
        return [max(0.0, 1.0 - abs(len(text.split()) - target) / target) for text in completions]

    return length


def make_ifeval(argument: str) -> Verify:
    """The share of a row's instructions that a completion follows; with the argument `all`, 1 or 0 for all of them.

    Reads the columns instruction_id_list and kwargs of IFEval; see `alignment.verifiers.instructions`.
    """
    if argument not in ("", "all"):
        raise ValueError(f"ifeval is {argument!r}, allowed are ifeval (the share followed) and ifeval:all")

    def ifeval(completions: Sequence[str], instruction_id_list: Sequence[Any], kwargs: Sequence[Any]) -> list[float]:
        rewards = []
        for text, ids, options in zip(completions, instruction_id_list, kwargs, strict=True):
            results = followed(text, _decoded(ids), _decoded(options))
            rewards.append(float(all(results)) if argument else sum(results) / len(results))
        return rewards

    return ifeval


VERIFIERS: Mapping[str, Verifier] = {
    "numeric": Verifier(form="numeric[:COLUMN]", make=make_numeric),
    "math": Verifier(form="math[:COLUMN]", make=make_math),
    "code": Verifier(form="code[:share]", make=make_code),
    "regex": Verifier(form="regex:PATTERN", make=make_regex),
    "json": Verifier(form="json", make=make_json),
    "length": Verifier(form="length:WORDS", make=make_length),
    "ifeval": Verifier(form="ifeval[:all]", make=make_ifeval),
}


def _is_json(text: str) -> bool:
    fenced = _FENCE.match(text)
    try:
        json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
