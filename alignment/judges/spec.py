"""What a judge is and how it is asked, as it is stored: nothing heavy, and no secret.

A key is named by the environment variable that holds it, and read when the endpoint is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

JudgeKind = Literal["endpoint", "local", "reward", "function", "imported"]
KINDS: tuple[JudgeKind, ...] = get_args(JudgeKind)
WRITES = ("endpoint", "local")  # kinds that answer in words
# What does not decide what a judge answers.
_FREE = ("key_variable", "timeout_s", "concurrency", "requests_per_minute", "prompt_price", "completion_price")
_OF_DEBATE = ("debate_rounds", "debater")
MOST_ROUNDS = 10
MOST_SAMPLES, MOST_CONCURRENCY = 64, 256
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_FUNCTION = re.compile(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|.+\.py):[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    """A judge that is no person.

    Attributes:
        kind: `endpoint` (OpenAI-compatible chat completions), `local` (a causal language model in a folder), `reward`
            (a reward model in a folder), `function` (Python), `imported` (votes made elsewhere; it cannot be asked).
        target: the endpoint's URL up to and with its version (http://host:8000/v1); the folder; module:function or
            path/file.py:function.
        model: the model's name at the endpoint.
        key_variable: name of the environment variable that holds the endpoint's key; empty for none.
        both_orders: whether each pair is asked twice, once with either answer first.
        samples: answers to each question.
        temperature: of the answers.
        max_new_tokens: tokens of an answer.
        timeout_s: seconds for one answer, or for a batch of a function.
        concurrency: questions under way at the same time.
        requests_per_minute: most questions sent in a minute; 0 is no limit.
        prompt_price, completion_price: of a million tokens, in any currency.
        criteria: whether the rubric's criteria are asked too.
        reasoning: whether it is to think in words before it answers.
        debate_rounds: rounds in which two debaters argue, one for each answer, before it decides; 0 for no debate.
        debater: what argues; without one the judge itself, asked as a debater.
    """

    kind: JudgeKind
    target: str = ""
    model: str = ""
    key_variable: str = ""
    both_orders: bool = True
    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 512
    timeout_s: float = 60.0
    concurrency: int = 8
    requests_per_minute: int = 0
    prompt_price: float = 0.0
    completion_price: float = 0.0
    criteria: bool = True
    reasoning: bool = False
    debate_rounds: int = 0
    debater: JudgeSpec | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, allowed are {', '.join(KINDS)}")
        self._check_target()
        if self.key_variable and (self.kind != "endpoint" or not _is_variable(self.key_variable)):
            # Not shown: what stands there may be the key itself.
            raise ValueError(
                "key_variable is not the name of an environment variable of an endpoint: capital letters, digits "
                "and _, not TIEBREAK_...; a key itself is never stored"
            )
        for name, least, most in (
            ("samples", 1, MOST_SAMPLES),
            ("concurrency", 1, MOST_CONCURRENCY),
            ("max_new_tokens", 1, 100_000),
            ("requests_per_minute", 0, 1_000_000),
            ("debate_rounds", 0, MOST_ROUNDS),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r:.60}, allowed is {least} to {most}")
        for name, least in (("temperature", 0), ("timeout_s", 0.001), ("prompt_price", 0), ("completion_price", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value < math.inf:
                raise ValueError(f"{name} is {value!r:.60}, allowed is a number, {least:g} or more")
        self._check_debate()
        if self.samples > 1 and not self.draws:
            raise ValueError(f"samples is {self.samples}, but this judge answers the same each time: allowed is 1")

    @property
    def draws(self) -> bool:
        """Whether two answers to one question may differ."""
        if self.kind == "local":
            return self.temperature > 0 and self.reasoning  # without words it gives the probabilities themselves
        return self.kind == "function" or (self.kind == "endpoint" and self.temperature > 0)

    @property
    def sees_order(self) -> bool:
        """Whether the order of the answers can matter to it."""
        return self.kind in ("endpoint", "local", "function")

    @property
    def needs_admin(self) -> bool:
        """Whether it runs code of one's own, calls another machine, or has a debater, which may do so."""
        return self.kind in ("endpoint", "function") or self.debater is not None

    @property
    def has_prices(self) -> bool:
        """Whether what it or its debater reads or writes has a price."""
        return bool(self.prompt_price or self.completion_price) or (
            self.debater is not None and self.debater.has_prices
        )

    @property
    def about(self) -> str:
        """What answers, in a few words; never a secret."""
        match self.kind:
            case "endpoint":
                return f"{self.model} at {urlsplit(self.target).netloc}"
            case "local" | "reward":
                return Path(self.target).name
            case "function":
                return self.target
            case "imported":
                return self.model or "votes made elsewhere"

    @property
    def described(self) -> str:
        """What answers, and after which debate."""
        if not self.debate_rounds:
            return self.about
        by = f" by {self.debater.about}" if self.debater else ""
        return f"{self.about}, {self.debate_rounds} {'round' if self.debate_rounds == 1 else 'rounds'} of debate{by}"

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {"debater": self.debater.as_dict() if self.debater else None}

    def identity(self) -> dict[str, Any]:
        """The fields that decide what it answers; those of a debate only where there is one."""
        values = {name: value for name, value in self.as_dict().items() if name not in (*_FREE, *_OF_DEBATE)}
        if not self.debate_rounds:
            return values
        debater = self.debater.identity() if self.debater else None
        return values | {"debate_rounds": self.debate_rounds, "debater": debater}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JudgeSpec:
        """Reads what `as_dict` wrote.

        Raises:
            ValueError: if a field is unknown, or its value is not allowed.
        """
        names = [one.name for one in fields(cls)]
        if unknown := [name for name in values if name not in names]:
            raise ValueError(f"a judge has the field {unknown[0]!r:.60}, allowed are {', '.join(names)}")
        for one in fields(cls):
            value = values.get(one.name, "")
            allowed_type = {"str": str, "JudgeKind": str, "bool": bool}.get(str(one.type))
            if one.name in values and allowed_type is not None and not isinstance(value, allowed_type):
                raise ValueError(
                    f"{one.name} is {value!r:.60}, allowed is {'text' if allowed_type is str else 'true or false'}"
                )
        if "kind" not in values:
            raise ValueError(f"kind is missing, allowed are {', '.join(KINDS)}")
        debater = values.get("debater")
        if isinstance(debater, Mapping):
            try:
                debater = cls.from_dict(debater)
            except ValueError as error:
                raise ValueError(f"debater: {error}") from error
        return cls(**{**values, "debater": debater})

    def _check_debate(self) -> None:
        if not self.debate_rounds:
            if self.debater is not None:
                raise ValueError("debater is given without debate_rounds")
            return
        if self.kind not in WRITES:
            raise ValueError(
                f"debate_rounds is {self.debate_rounds}, but a judge of the kind {self.kind} reads no words"
            )
        if self.debater is None:
            return
        if not isinstance(self.debater, JudgeSpec):
            raise ValueError(f"debater is {self.debater!r:.60}, allowed are the fields of one that answers in words")
        if self.debater.kind not in WRITES or self.debater.debate_rounds:
            raise ValueError(
                f"debater is of the kind {self.debater.kind}, allowed are {', '.join(WRITES)}, with no debate"
            )

    def _check_target(self) -> None:
        match self.kind:
            case "endpoint":
                _check_url(self.target)
                if not self.model.strip():
                    raise ValueError("model is missing: what the endpoint calls it")
            case "local" | "reward":
                if not self.target:
                    raise ValueError("target is missing: the folder of a model")
            case "function":
                if not _FUNCTION.fullmatch(self.target):
                    raise ValueError(
                        f"target is {self.target!r:.200}, allowed is module:function or path/file.py:function"
                    )
            case "imported":
                if self.target:
                    raise ValueError("target is given, but votes made elsewhere have none")


def _is_variable(name: str) -> bool:
    return _VARIABLE.fullmatch(name) is not None and not name.startswith("TIEBREAK_")


def _check_url(url: str) -> None:
    """Raises ValueError, without showing what may be a secret, unless this is an address of a server and no more."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"target is no address: {error}") from error
    if "@" in url or parts.query or parts.fragment:
        raise ValueError(
            "target holds a name, a password or a query, allowed is http(s)://host:port/path; the key goes by the name "
            "of its environment variable"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError(f"target is {url!r:.200}, allowed is the address up to its version: without /chat/completions")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(f"target is {url!r:.200}, allowed is http(s)://host:port/path")
