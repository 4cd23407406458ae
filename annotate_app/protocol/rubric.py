"""The rubric: guidelines, the overall question, its scale, criteria and flags; data in YAML, not code.

`parse_rubric` reads the YAML and names a mistake at its line; `rubric_text` writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import yaml

from rewardkit.data.tables.yaml_nodes import Entry, read_yaml

SCALE_STEPS = (2, 3, 4, 5, 7, 8)
RATIONALES = ("off", "optional", "required")
EDITS = ("off", "optional")
KINDS = ("compare", "rate")
Task = Literal["compare", "rank", "best", "steps"]
TASKS: tuple[Task, ...] = get_args(Task)
# Names that columns of exports and figures already use.
RESERVED_NAMES = (
    *("overall", "choice", "strength", "score", "margin", "weight", "votes", "tie", "both_bad", "skip"),
    *("prompt", "chosen", "rejected", "criteria", "flags", "rationale", "reason", "seconds", "annotator"),
)
MAX_RATING = 10
QUESTIONS = {
    "rank": "Put the responses in an order, best first.",
    "best": "Which response is the best?",
    "steps": "Is each step right?",
}
NOT_ASKED: dict[Task, tuple[str, ...]] = {
    "compare": (),
    "rank": ("scale", "criteria"),
    "best": ("scale", "criteria"),
    "steps": ("scale", "criteria", "flags", "both_bad", "edit"),
}
"""By task, the keys that have no meaning with it."""
_RARE_BREAKS = ("\r", "\x85", "\u2028", "\u2029")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WORDINGS = {
    1: ("better",),
    2: ("slightly better", "much better"),
    3: ("slightly better", "better", "much better"),
    4: ("slightly better", "better", "much better", "far better"),
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A preference scale from "the left one, strongly" to "the right one, strongly".

    Attributes:
        steps: 2, 3, 4, 5, 7 or 8. An odd number has a tie in its middle.
        labels: one wording per degree, strongest last, for example ("slightly better", "better", "much better").
        tie: whether a tie may be given; always so for odd steps, by an extra key for even ones.
    """

    steps: int = 7
    labels: tuple[str, ...] = ()
    tie: bool = True

    @property
    def degrees(self) -> int:
        """The number of strengths on each side: half the steps, rounded down."""
        return self.steps // 2

    @property
    def wordings(self) -> tuple[str, ...]:
        """One wording per degree, weakest first: the labels, or plain ones where there are none."""
        return self.labels or _WORDINGS[self.degrees]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One aspect asked about beside the overall question.

    Attributes:
        name: an identifier, unique in the rubric.
        kind: `compare` asks which response is better on it (by `scale`), `rate` asks a rating of each response.
        low, high: bounds of a rating.
        anchors: for a rating, by value what it means; for a comparison, guidance by side is in `question`.
        required: whether the judgment cannot be submitted without it.
    """

    name: str
    question: str
    kind: Literal["compare", "rate"] = "compare"
    scale: Scale = field(default_factory=lambda: Scale(steps=3))
    low: int = 1
    high: int = 5
    anchors: dict[int, str] = field(default_factory=dict)
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A mark on one response.

    Attributes:
        spans: whether it is set on words of the response, and so on the response.
    """

    name: str
    label: str
    help: str = ""
    spans: bool = False


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What annotators read and answer.

    Attributes:
        both_bad: whether it may be said that both responses are bad, of a ranking that all are.
        protocol: the shipped protocol it follows, or empty.
        task: `compare` asks which of two responses is better, by `scale`; `rank` puts two or more in an order, ties
            and unranked ones allowed; `best` chooses the best of two or more; `steps` says of each step of one answer
            whether it is right. What each of them takes no part of is `NOT_ASKED`.
        edit: whether annotators may write a response anew beside their vote.
    """

    title: str
    guidelines: str
    question: str = "Which response is better?"
    scale: Scale = field(default_factory=Scale)
    both_bad: bool = False
    criteria: tuple[Criterion, ...] = ()
    flags: tuple[Flag, ...] = ()
    rationale: Literal["off", "optional", "required"] = "optional"
    edit: Literal["off", "optional"] = "off"
    skip_reasons: tuple[str, ...] = ("not my expertise", "broken or empty text", "unclear prompt", "other")
    protocol: str = ""
    task: Task = "compare"

    @property
    def span_flags(self) -> tuple[Flag, ...]:
        """The flags that are set on words."""
        return tuple(flag for flag in self.flags if flag.spans)


def parse_rubric(text: str, source: str = "rubric") -> Rubric:
    """Reads a rubric's YAML.

    Args:
        text: the YAML.
        source: what to call the text in errors, for example a file's name.

    Raises:
        YamlError: a ValueError `source:line: problem` at the first mistake.
    """
    return read_rubric(read_yaml(text, source))


def read_rubric(entry: Entry) -> Rubric:
    """Reads a rubric from a node, which may be part of a larger document."""
    keys = tuple(Rubric.__dataclass_fields__)
    values = entry.named("").fields(keys, required=("title", "guidelines"))
    fields: dict[str, object] = {}
    for key, value in values.items():
        match key:
            case "title" | "guidelines" | "question":
                fields[key] = value.text()
            case "protocol":
                fields[key] = _name(value)
            case "task":
                fields[key] = value.word(TASKS)
            case "scale":
                fields[key] = _scale(value)
            case "both_bad":
                fields[key] = value.boolean()
            case "criteria":
                fields[key] = tuple(_criterion(item) for item in value.items())
                _refuse_duplicates(value)
            case "flags":
                fields[key] = tuple(_flag(item) for item in value.items())
                _refuse_duplicates(value)
            case "rationale":
                fields[key] = value.word(RATIONALES)
            case "edit":
                fields[key] = value.word(EDITS)
            case "skip_reasons":
                fields[key] = value.texts()
                if not fields[key]:
                    raise value.error("skip_reasons is an empty list, allowed is one reason or more")
            case _:
                raise AssertionError(key)
    task = fields.get("task", "compare")
    if task != "compare":
        for key in NOT_ASKED[cast(Task, task)]:
            if key in values:
                raise values[key].error(f"{key} has no meaning with task: {task}, leave it out")
        fields.setdefault("question", QUESTIONS[str(task)])
    return Rubric(**fields)  # type: ignore[arg-type]


def _scale(entry: Entry) -> Scale:
    values = entry.fields(("steps", "labels", "tie"), required=("steps",))
    steps = values["steps"]
    if steps.node.value not in [str(number) for number in SCALE_STEPS]:
        raise steps.unlike(", ".join(map(str, SCALE_STEPS)), are=True)
    scale = Scale(steps=steps.integer(2, 8))
    labels = values["labels"].texts() if "labels" in values else ()
    if "labels" in values and len(labels) != scale.degrees:
        raise values["labels"].error(
            f"{entry.path}.labels has {len(labels)}, a scale of {scale.steps} steps takes {scale.degrees}, "
            "weakest first (one per degree, the same for both sides)"
        )
    tie = values["tie"].boolean() if "tie" in values else True
    if scale.steps % 2 and not tie:
        raise values["tie"].error(
            f"{entry.path}.tie is false, but {scale.steps} steps have a tie in their middle; take an even number"
        )
    return Scale(steps=scale.steps, labels=labels, tie=tie)


def _criterion(entry: Entry) -> Criterion:
    values = entry.fields(tuple(Criterion.__dataclass_fields__), required=("name", "question"))
    name = _name(values["name"], reserved=RESERVED_NAMES)
    values = {key: value.named(f"criteria.{name}.{key}") for key, value in values.items()}
    kind = cast(Literal["compare", "rate"], values["kind"].word(KINDS) if "kind" in values else "compare")
    for key in ("scale",) if kind == "rate" else ("low", "high", "anchors"):
        if key in values:
            raise values[key].error(f"{values[key].path} has no meaning with kind: {kind}, leave it out")
    low = values["low"].integer(0, MAX_RATING) if "low" in values else 1
    high = values["high"].integer(0, MAX_RATING) if "high" in values else max(5, low + 1)
    if low >= high:
        bound = values["low"] if "low" in values else values["high"]
        raise bound.error(f"criteria.{name}.low is {low} and high is {high}, allowed is low under high")
    return Criterion(
        name=name,
        question=values["question"].text(),
        kind=kind,
        scale=_scale(values["scale"]) if "scale" in values else Scale(steps=3),
        low=low,
        high=high,
        anchors=_anchors(values["anchors"], low, high) if "anchors" in values else {},
        required=values["required"].boolean() if "required" in values else True,
    )


def _anchors(entry: Entry, low: int, high: int) -> dict[int, str]:
    return {key.named(f"a key of {entry.path}").integer(low, high): value.text() for key, value in entry.pairs()}


def _flag(entry: Entry) -> Flag:
    if isinstance(entry.node, yaml.ScalarNode):
        name = _name(entry)
        return Flag(name=name, label=name.replace("_", " "))
    values = entry.fields(("name", "label", "help", "spans"), required=("name",))
    name = _name(values["name"])
    return Flag(
        name=name,
        label=values["label"].text() if "label" in values else name.replace("_", " "),
        help=values["help"].text() if "help" in values else "",
        spans=values["spans"].boolean() if "spans" in values else False,
    )


def _name(entry: Entry, reserved: tuple[str, ...] = ()) -> str:
    name = entry.text()
    if not _NAME.fullmatch(name):
        raise entry.unlike("a lower-case letter, then up to 39 letters, digits or _")
    if name in reserved:
        raise entry.error(f"{entry.path} is {name}, which is reserved; take another name")
    return name


def _refuse_duplicates(entry: Entry) -> None:
    first: dict[str, int] = {}
    for item in entry.items():
        is_plain = isinstance(item.node, yaml.ScalarNode)
        name = item if is_plain else next(value for key, value in item.pairs() if key.node.value == "name")
        if name.node.value in first:
            raise name.error(f"{entry.path} has {name.node.value!r} twice, first at line {first[name.node.value]}")
        first[name.node.value] = name.line


def rubric_text(rubric: Rubric) -> str:
    """The rubric as YAML; `parse_rubric` of it gives the same rubric. What stands at its default is left out."""
    plain = Rubric(title=rubric.title, guidelines=rubric.guidelines)
    values: dict[str, object] = {"title": rubric.title}
    keys = ("protocol", "task", "guidelines", "question", "scale", "both_bad", "criteria", "flags", "rationale", "edit")
    for key in keys:
        value = getattr(rubric, key)
        if value == getattr(plain, key) and key not in ("guidelines", "question", "scale", "rationale"):
            continue
        match key:
            case "scale" if rubric.task != "compare":
                continue
            case "scale":
                values[key] = _scale_values(rubric.scale)
            case "criteria":
                values[key] = [_criterion_values(item) for item in rubric.criteria]
            case "flags":
                values[key] = [_flag_values(item) for item in rubric.flags]
            case _:
                values[key] = value
    values["skip_reasons"] = list(rubric.skip_reasons)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _scale_values(scale: Scale) -> dict[str, object]:
    labels: dict[str, object] = {"labels": list(scale.labels)} if scale.labels else {}
    return {"steps": scale.steps, **labels, "tie": scale.tie}


def _criterion_values(criterion: Criterion) -> dict[str, object]:
    values: dict[str, object] = {"name": criterion.name, "question": criterion.question, "kind": criterion.kind}
    match criterion.kind:
        case "compare":
            values["scale"] = _scale_values(criterion.scale)
        case "rate":
            values |= {"low": criterion.low, "high": criterion.high}
            if criterion.anchors:
                values["anchors"] = dict(criterion.anchors)
    return values | {"required": criterion.required}


def _flag_values(flag: Flag) -> dict[str, object]:
    values: dict[str, object] = {"name": flag.name, "label": flag.label}
    values |= {"help": flag.help} if flag.help else {}
    return values | {"spans": True} if flag.spans else values


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as block literals."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Only double quotes keep the rarer line breaks as they are.
    style = '"' if any(character in text for character in _RARE_BREAKS) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
