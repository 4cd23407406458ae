"""The nouns that flow through Tiebreak: comparisons, judgments, preferences.

Everything here is content, never screen: `a` and `b` name two completions, whichever side of a page they were shown on.
Readers and writers of files live in `rewardkit.data.files`, the forms that rows may take in
`rewardkit.data.comparison_rows`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
Choice = Literal["a", "b", "tie", "both_bad", "skip"]
CHOICES: tuple[Choice, ...] = ("a", "b", "tie", "both_bad", "skip")
Relation = Literal["a", "b", "tie"]
Ranks = tuple[int | None, ...]
"""A rank per response, from 1 for the best; equal ranks are ties. None was not ranked: it lies below those that were,
and nothing is said about two of them."""
StepLabels = tuple[float | None, ...]
"""A label per step of an answer, the probability that the step is right: 1 right, 0.5 neutral, 0 wrong, or between;
None was not judged."""
MOST_STEPS = 200
"""Steps of one answer at most."""
MOST_RANKED = 9
"""Responses of one ranking at most: each has a number key."""
RANKING = "ranking"
"""Key in the meta of a `Preference` that is a pair of a ranking: the same for all pairs of it."""
LETTERS = "abcdefghi"
"""How responses are called in order: flags of a judgment go by them, and people read them as A, B, C."""
_STEP_ID = re.compile(r"(?P<key>.+)#s(?P<number>[1-9][0-9]{0,2})", re.DOTALL)
_PAIR_ID = re.compile(r"(?P<key>.+)#(?P<first>[1-9])-(?P<second>[1-9])", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        more: what a turn holds beside its text (`rewardkit.data.conversations.MORE`: calls of tools, thoughts), as one
            JSON object with sorted keys, so that equal turns are equal; empty for a turn of text alone.
    """

    role: Role
    content: str
    more: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """One completion of a prompt, what wrote it, and its turns where it is more than a text (see `Comparison`)."""

    text: str
    source: str = ""
    turns: tuple[Message, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two completions of one prompt, or more than two to be ranked.

    `prompt` is the conversation up to the turn that was answered; `source_a` and `source_b` name what wrote the
    completions (a model, a person) or are empty. `id` is stable: given by the file, else a hash of the content.

    A completion is a text. One that is more than a text (it calls tools, or the two conversations went on in their own
    ways after `prompt`) has its turns in `turns_a` or `turns_b`, and its transcript
    (`rewardkit.data.conversations.transcript`) as its text.

    `further` are the third and later completions of a comparison to be ranked, `responses` are all of them in order.

    `steps` are those of an answer whose steps are judged, one by one: it stands then as both completions. `step_scores`
    are what a model gives them, the probability that each is right.
    """

    id: str
    prompt: tuple[Message, ...]
    completion_a: str
    completion_b: str
    source_a: str = ""
    source_b: str = ""
    meta: Mapping[str, object] = field(default_factory=dict)
    turns_a: tuple[Message, ...] = ()
    turns_b: tuple[Message, ...] = ()
    further: tuple[Response, ...] = ()
    steps: tuple[str, ...] = ()
    step_scores: StepLabels = ()

    @property
    def responses(self) -> tuple[Response, ...]:
        """All completions, in order: a, b, and those after them."""
        a = Response(text=self.completion_a, source=self.source_a, turns=self.turns_a)
        b = Response(text=self.completion_b, source=self.source_b, turns=self.turns_b)
        return (a, b, *self.further)

    def swap(self) -> Comparison:
        """The same comparison with its first two completions exchanged."""
        return replace(
            self,
            completion_a=self.completion_b,
            completion_b=self.completion_a,
            source_a=self.source_b,
            source_b=self.source_a,
            turns_a=self.turns_b,
            turns_b=self.turns_a,
        )


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Span:
    """Words of a completion that were marked with a flag.

    Attributes:
        side: `a` or `b`.
        start, end: half-open range in Unicode code points of the completion's text as written (of one that is more than
            a text, its transcript).
        flag: name of the flag.
    """

    side: Literal["a", "b"]
    start: int
    end: int
    flag: str

    def __post_init__(self) -> None:
        if self.side not in ("a", "b"):
            raise ValueError(f"side of a span is {self.side!r}, allowed are a and b")
        whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (self.start, self.end))
        if not whole or not 0 <= self.start < self.end:
            raise ValueError(f"span is {self.start!r} to {self.end!r}, allowed is a start of 0 or more below its end")
        if not self.flag or not isinstance(self.flag, str):
            raise ValueError(f"flag of a span is {self.flag!r}, allowed is the name of a flag")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgment:
    """What one annotator said of one comparison, in content space.

    Attributes:
        strength: degree of the preference, 1 up to half the scale's steps; 0 for tie, both_bad and skip.
        criteria: by criterion, a signed degree (negative prefers a, positive prefers b, 0 a tie) or, for criteria rated
            per response, the two ratings `(a, b)`.
        flags: by response (`a`, `b`), the names of the flags set; those of its spans among them.
        spans: words marked with a flag, each once; spans of different flags may overlap.
        edited: by response (`a`, `b`), its text as the annotator would have it.
        seconds: active seconds on task, idle time taken out.
        shown_left: which completion stood on the left, `a` or `b`; empty when unknown (imported judgments).
        created_at: unix time in seconds.
        reason: why it was skipped; empty otherwise.
        ranks: of a ranking, the rank of each response in the comparison's order, 1 for the best, equal ones tied, None
            for one that was not ranked: below those that are, and not compared with others like it. `choice` is then
            what the ranks say of the first two responses, and `flags` go by the letters a, b, c ... of the responses.
        shown: of a ranking, the order in which the responses stood on the screen, empty when unknown.
        step_labels: of an answer's steps, a label each; `choice` is then what the worst of them says of the answer:
            `a` where it is right throughout, `b` where a step is wrong, else a tie.
    """

    comparison_id: str
    annotator: str
    choice: Choice
    strength: int = 0
    criteria: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    edited: Mapping[str, str] = field(default_factory=dict)
    rationale: str = ""
    reason: str = ""
    seconds: float = 0.0
    shown_left: Literal["a", "b", ""] = ""
    created_at: float = 0.0
    rubric_version: int = 0
    ranks: tuple[int | None, ...] = ()
    shown: tuple[int, ...] = ()
    step_labels: StepLabels = ()

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"choice is {self.choice!r}, allowed are {', '.join(CHOICES)}")
        decided = self.choice in ("a", "b")
        if decided != (self.strength > 0):
            raise ValueError(
                f"strength is {self.strength} with choice {self.choice!r}: a and b take 1 or more, the others 0"
            )
        if len(set(self.spans)) < len(self.spans):
            twice = next(span for span in self.spans if self.spans.count(span) > 1)
            raise ValueError(
                f"spans hold {twice.side} {twice.start} to {twice.end} {twice.flag!r} twice, allowed is once"
            )
        for side in self.edited:
            if side not in ("a", "b"):
                raise ValueError(f"edited.{side} names no response, allowed are a and b")

    @property
    def score(self) -> int:
        """The signed degree: negative prefers a, positive prefers b, 0 for a tie; raises for both_bad and skip."""
        match self.choice:
            case "a":
                return -self.strength
            case "b":
                return self.strength
            case "tie":
                return 0
            case "both_bad" | "skip":
                raise ValueError(f"a {self.choice} judgment has no preference score")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """A training row.

    Attributes:
        p_chosen: probability that chosen is the better one, 0.5 to 1; 0.5 is a tie.
        weight: weight of the row in a loss, 0 or more.
        margin: mean degree of the preference for chosen, in steps of the rubric's scale.
        criteria: by criterion, the mean signed degree in favour of chosen.
        votes: number of judgments by choice, chosen / rejected / tie / both_bad.
        turns_chosen, turns_rejected: of a completion that is more than a text, its turns; see `Comparison`.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    p_chosen: float = 1.0
    weight: float = 1.0
    margin: float = 0.0
    criteria: Mapping[str, float] = field(default_factory=dict)
    votes: Mapping[str, int] = field(default_factory=dict)
    num_judgments: int = 0
    comparison_id: str = ""
    source_chosen: str = ""
    source_rejected: str = ""
    meta: Mapping[str, object] = field(default_factory=dict)
    turns_chosen: tuple[Message, ...] = ()
    turns_rejected: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        if not 0.5 <= self.p_chosen <= 1.0:
            raise ValueError(f"p_chosen is {self.p_chosen}, allowed is 0.5 to 1")
        if self.weight < 0:
            raise ValueError(f"weight is {self.weight}, allowed is 0 or more")


def with_span_flags(flags: Mapping[str, tuple[str, ...]], spans: Iterable[Span]) -> dict[str, tuple[str, ...]]:
    """Flags by response with those of spans: words marked with a flag set it on their response."""
    names: dict[str, list[str]] = {side: list(given) for side, given in flags.items()}
    for span in spans:
        on_side = names.setdefault(span.side, [])
        if span.flag not in on_side:
            on_side.append(span.flag)
    return {side: tuple(given) for side, given in names.items()}


def message_lists(messages: Iterable[Message]) -> list[list[str]]:
    """Messages as plain lists of role, content and, where there is any, `more`: what is stored and hashed."""
    return [[one.role, one.content, *([one.more] if one.more else [])] for one in messages]


def content_id(*parts: object) -> str:
    """A short stable id of JSON-able content: the first 16 hex digits of its SHA-256."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_ranks(ranks: Sequence[int | None], count: int) -> None:
    """Checks ranks of `count` responses.

    Raises:
        ValueError: if there are more or fewer, one is no whole number of 1 or more, or none is ranked.
    """
    if len(ranks) != count:
        raise ValueError(f"ranks has {len(ranks)} entries, allowed are {count}, one per response")
    for rank in ranks:
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
            raise ValueError(f"ranks holds {str(rank)[:40]!r}, allowed are whole numbers from 1 and null")
    if all(rank is None for rank in ranks):
        raise ValueError("ranks are all null, allowed is one ranked response or more")


def dense(ranks: Sequence[float | None]) -> Ranks:
    """The same order with ranks 1, 2, 3 ... without gaps, lowest first: (2, 7, None, 2) is (1, 2, None, 1)."""
    places = {rank: place for place, rank in enumerate(sorted({rank for rank in ranks if rank is not None}), start=1)}
    return tuple(None if rank is None else places[rank] for rank in ranks)


def relation(ranks: Sequence[float | None], first: int, second: int) -> Relation | None:
    """Which of two responses a ranking puts first (`a` is the first of them); None if it does not compare them."""
    a, b = ranks[first], ranks[second]
    if a is None or b is None:
        return None if a is None and b is None else "a" if b is None else "b"
    return "tie" if a == b else "a" if a < b else "b"


def ranked_pairs(ranks: Sequence[float | None]) -> list[tuple[int, int, Relation]]:
    """What a ranking says of every two responses that it compares, the one with the lower place first."""
    pairs: list[tuple[int, int, Relation]] = []
    for first, second in combinations(range(len(ranks)), 2):
        said = relation(ranks, first, second)
        if said is not None:
            pairs.append((first, second, said))
    return pairs


def first_choice(ranks: Sequence[int | None]) -> tuple[Choice, int]:
    """Choice and strength that a ranking implies for its first two responses; a tie where it does not compare them."""
    said = relation(ranks, 0, 1) or "tie"
    return said, int(said != "tie")


def ranks_of_choice(choice: Choice) -> Ranks:
    """The ranks of two responses that a choice says; none for a skip or where both are bad."""
    match choice:
        case "a":
            return (1, 2)
        case "b":
            return (2, 1)
        case "tie":
            return (1, 1)
        case "both_bad" | "skip":
            return ()


def places(ranks: Sequence[int | None]) -> list[list[int]]:
    """The responses by place, best first, those that are tied together; those not ranked are left out."""
    ranked = sorted({rank for rank in ranks if rank is not None})
    return [[index for index, rank in enumerate(ranks) if rank == wanted] for wanted in ranked]


def ranking_words(
    ranks: Sequence[int | None], names: Sequence[str] = LETTERS.upper(), unranked: str = "not ranked"
) -> str:
    """A ranking as people read it: `C > A = B, D not ranked`."""
    order = " > ".join(" = ".join(names[index] for index in tied) for tied in places(ranks))
    left = [names[index] for index, rank in enumerate(ranks) if rank is None]
    return f"{order}, {', '.join(left)} {unranked}" if left else order


def pair_id(key: str, first: int, second: int) -> str:
    """The id of a pair of a comparison's responses: `key#1-3` of the first and the third (places count from 0)."""
    return f"{key}#{first + 1}-{second + 1}"


def split_pair_id(text: str) -> tuple[str, int, int] | None:
    """The comparison and the two places of a pair's id, None for what is no such id."""
    if (match := _PAIR_ID.fullmatch(text)) is None:
        return None
    first, second = int(match["first"]) - 1, int(match["second"]) - 1
    return (match["key"], first, second) if first < second else None


def pair_of(comparison: Comparison, first: int, second: int) -> Comparison:
    """Two of a comparison's responses as a comparison of their own."""
    a, b = comparison.responses[first], comparison.responses[second]
    return Comparison(
        id=pair_id(comparison.id, first, second),
        prompt=comparison.prompt,
        completion_a=a.text,
        completion_b=b.text,
        source_a=a.source,
        source_b=b.source,
        meta=comparison.meta,
        turns_a=a.turns,
        turns_b=b.turns,
    )


def check_step_labels(labels: Sequence[object], count: int) -> None:
    """Checks labels of `count` steps.

    Raises:
        ValueError: if there are more or fewer, one is no probability, or none is given.
    """
    if len(labels) != count:
        raise ValueError(f"labels has {len(labels)} entries, allowed are {count}, one per step")
    for label in labels:
        if label is not None and not (isinstance(label, int | float) and 0 <= label <= 1):
            raise ValueError(f"labels holds {str(label)[:40]!r}, allowed are true, false, 0 to 1, and null")
    if all(label is None for label in labels):
        raise ValueError("labels are all null, allowed is one judged step or more")


def step_choice(label: float) -> Relation:
    """What a label says of its step as votes go: `a` right, `b` wrong, `tie` neither."""
    return "tie" if label == 0.5 else "a" if label > 0.5 else "b"


def choice_of_steps(labels: Sequence[float | None]) -> tuple[Choice, int]:
    """Choice and strength that the worst of the judged steps says of the whole answer."""
    said = step_choice(min(label for label in labels if label is not None))
    return said, int(said != "tie")


def step_id(key: str, place: int) -> str:
    """The id of a step of a comparison's answer: `key#s3` of the third (places count from 0)."""
    return f"{key}#s{place + 1}"


def split_step_id(text: str) -> tuple[str, int] | None:
    """The comparison and the place of a step's id, None for what is no such id."""
    match = _STEP_ID.fullmatch(text)
    return None if match is None else (match["key"], int(match["number"]) - 1)


def step_of(comparison: Comparison, place: int) -> Comparison:
    """One step of a comparison's answer as an item that is voted on; it keeps all steps, so that it can be read."""
    step = comparison.steps[place]
    return replace(comparison, id=step_id(comparison.id, place), completion_a=step, completion_b=step)


def pairs_of(comparison: Comparison) -> list[Comparison]:
    """What is voted on of a comparison: all pairs of its responses, in the order of their places, of two responses the
    comparison itself; of an answer in steps each step.
    """
    if comparison.steps:
        return [step_of(comparison, place) for place in range(len(comparison.steps))]
    if not comparison.further:
        return [comparison]
    return [pair_of(comparison, i, j) for i, j in combinations(range(len(comparison.responses)), 2)]
