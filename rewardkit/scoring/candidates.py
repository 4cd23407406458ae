"""The candidates that pairs to label are made of: which answers there are to a prompt, and which pairs of them count.

A candidate is one answer with the name of what wrote it. Left out by name and counted are answers that are empty, cut
(they did not end by themselves) or degenerate (`is_degenerate`), and the same text of one writer a second time. Answers
to one prompt are sorted into classes of near-duplicates; a pair is of two classes, and two pairs of the same two
classes say the same, so that one of them stays. Rules that choose among the pairs are `rewardkit.scoring.choosing`.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from rewardkit.config import CutAnswers, PairsOf
from rewardkit.data.columns import ALIASES, ANSWERS, detect_reading, prompt_columns, read_row_prompt
from rewardkit.data.comparison_rows import read_answers, read_pair, read_source, refuse_turns
from rewardkit.data.conversations import RowError, decode_list, is_messages, read_messages, read_text
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.preferences import BadRow, OnBadRow, ReadRow, Refuse, read_each
from rewardkit.data.records import Message
from rewardkit.data.sources import Part, choose_split, open_source

MOST_OF_A_PROMPT = 64
"""Candidates of one prompt that pairs are made of; of more, so many are drawn."""
SHINGLE = 3  # words
DEGENERATE_BYTES, DEGENERATE_RATIO = 200, 0.15
LEFT_OUT = ("empty", "cut", "degenerate", "repeated", "beyond the most of a prompt")

Prompt = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer; `source` names what wrote it, `meta` is what else its row says (`finished`, `num_tokens`)."""

    text: str
    source: str = ""
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A prompt and candidates for its answer."""

    prompt: Prompt
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class ReadCandidates:
    """The candidates of files, each prompt once, in the order of its first row."""

    prompts: list[Answered]
    bad_rows: list[BadRow]


@dataclass(frozen=True, kw_only=True)
class EligiblePairs:
    """The pairs that may be labelled.

    Attributes:
        prompts: P, those that any pair is of.
        candidates: C, those that any pair is of; `prompt_of` (C,) int is the prompt of each.
        pairs: (N, 2) int, candidates; the lower first.
        left_out: candidates by reason, of LEFT_OUT.
        num_near_duplicates: pairs of answers that are equal or nearly so.
        num_same: pairs that say the same as another one, or as one that is judged already.
        num_other_policies: pairs that are not of the wanted policies.
    """

    prompts: list[Prompt]
    candidates: list[Candidate]
    prompt_of: np.ndarray
    pairs: np.ndarray
    left_out: Mapping[str, int]
    num_near_duplicates: int
    num_same: int
    num_other_policies: int

    @property
    def prompt_of_pair(self) -> np.ndarray:
        """(N,) the prompt of each pair."""
        return self.prompt_of[self.pairs[:, 0]]


def read_candidates(
    paths: Sequence[str],
    *,
    on_bad_row: OnBadRow = "error",
    check: Callable[[Sequence[Message], Sequence[str]], None] | None = None,
) -> ReadCandidates:
    """Reads rows of `alignment sample`, or any with responses, two responses, or a prompt and a completion.

    Rows of the same prompt are put together, of all files.

    Args:
        check: raises RowError for a prompt and completions that the model cannot read; None takes all.

    Raises:
        ValueError: naming file and line, if a row is bad and `on_bad_row` is error, or the form cannot be told.
        FileNotFoundError: if there is no such file.
    """
    by_prompt: dict[Prompt, list[Candidate]] = {}
    bad_rows: list[BadRow] = []

    def check_row(row: Answered, _place: str) -> None:
        if check:
            check(row.prompt, [candidate.text for candidate in row.candidates])

    for path in paths:
        splits = open_source(path)
        read = read_each(splits[choose_split(splits, path)], path, _reader, on_bad_row=on_bad_row, check=check_row)
        bad_rows.extend(read.bad_rows)
        for row in read.rows:
            by_prompt.setdefault(row.prompt, []).extend(row.candidates)
    prompts = [Answered(prompt=prompt, candidates=tuple(answers)) for prompt, answers in by_prompt.items()]
    return ReadCandidates(prompts=prompts, bad_rows=bad_rows)


def _reader(_parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str) -> tuple[ReadRow[Answered], str]:
    try:
        reading = detect_reading(first, empty="keep")
    except ValueError as error:
        names = list(dict.fromkeys(name for row in first for name in row))
        columns = prompt_columns(names)
        column = next((name for name in ANSWERS if name in names and name != columns.get("prompt")), "")
        if "prompt" not in columns or not column:
            raise ValueError(f"{source}: {error}; or one answer a row, in the columns prompt and completion") from error
        writer = next((name for name in ("model", *ALIASES["sources"]) if name in names), "")
        return lambda row, _refuse: [_read_single(row, columns, column, writer)], "completions"

    def read(row: Mapping[str, Any], _refuse: Refuse) -> list[Answered]:
        if reading.form in ("responses", "ranked"):
            column, sources = reading.columns["responses"], reading.columns.get("sources", "")
            answers = read_answers(row.get(column), column, row.get(sources) if sources else None)
            for index, answer in enumerate(answers):
                refuse_turns(answer.turns, f"{column}[{index}]")
            texts = [Candidate(text=one.text, source=one.source, meta=one.meta) for one in answers]
            return [Answered(prompt=read_row_prompt(row, reading.columns), candidates=tuple(texts))]
        pair = read_pair(row, reading)
        for turns, side in ((pair.turns_a, "a"), (pair.turns_b, "b")):
            refuse_turns(turns, f"response_{side}")
        texts = [
            Candidate(text=pair.completion_a, source=pair.source_a),
            Candidate(text=pair.completion_b, source=pair.source_b),
        ]
        return [Answered(prompt=pair.prompt, candidates=tuple(texts))]

    return read, reading.form


def _read_single(row: Mapping[str, Any], columns: Mapping[str, str], column: str, writer: str) -> Answered:
    value = decode_list(row.get(column))
    if is_messages(value):
        (*before, last) = read_messages(value, column)
        refuse_turns(before, column)
        text = last.content
    elif value is None:
        raise RowError("missing_field", column, value, "an answer is needed")
    else:
        text = read_text(row[column], column)
    meta = {name: row[name] for name in ("finished", "num_tokens") if name in row}
    source = read_source(row.get(writer), writer) if writer else ""
    return Answered(prompt=read_row_prompt(row, columns), candidates=(Candidate(text=text, source=source, meta=meta),))


def eligible_pairs(
    prompts: Iterable[Answered],
    *,
    pairs: PairsOf,
    near_duplicate: float,
    cut: CutAnswers,
    judged: Iterable[tuple[Prompt, str, str]] = (),
    seed: int,
) -> EligiblePairs:
    """All pairs of candidates that may be labelled; see the module.

    Args:
        pairs: of two policies (`between`), of one (`within`), or of any.
        near_duplicate: see `near_duplicate_classes`.
        judged: prompt and the two answers of pairs that are judged already.
        seed: of the candidates that stay where a prompt has more than MOST_OF_A_PROMPT.
    """
    left_out: Counter[str] = Counter()
    said = {_pair_key(prompt, normal_text(one), normal_text(other)) for prompt, one, other in judged}
    kept_prompts: list[Prompt] = []
    kept: list[Candidate] = []
    prompt_of: list[int] = []
    chosen: list[tuple[int, int]] = []
    num_near = num_same = num_others = 0
    for number, answered in enumerate(prompts):
        candidates = _usable(answered.candidates, cut, left_out, np.random.default_rng([seed, number]))
        texts = [normal_text(candidate.text) for candidate in candidates]
        classes = near_duplicate_classes(texts, near_duplicate)
        classes_paired: set[tuple[int, int]] = set()
        own: list[tuple[int, int]] = []
        for one, other in combinations(range(len(candidates)), 2):
            two_policies = candidates[one].source != candidates[other].source
            if pairs != "any" and two_policies != (pairs == "between"):
                num_others += 1
                continue
            if classes[one] == classes[other]:
                num_near += 1
                continue
            both = (min(classes[one], classes[other]), max(classes[one], classes[other]))
            key = _pair_key(answered.prompt, texts[one], texts[other])
            if both in classes_paired or key in said:
                num_same += 1
                continue
            classes_paired.add(both)
            said.add(key)
            own.append((one, other))
        if not own:
            continue
        places = {index: len(kept) + place for place, index in enumerate(sorted({one for pair in own for one in pair}))}
        kept.extend(candidates[index] for index in places)
        prompt_of.extend([len(kept_prompts)] * len(places))
        kept_prompts.append(answered.prompt)
        chosen.extend((places[one], places[other]) for one, other in own)
    return EligiblePairs(
        prompts=kept_prompts,
        candidates=kept,
        prompt_of=np.array(prompt_of, dtype=np.int64),
        pairs=np.array(chosen, dtype=np.int64).reshape(-1, 2),
        left_out={reason: left_out[reason] for reason in LEFT_OUT if left_out[reason]},
        num_near_duplicates=num_near,
        num_same=num_same,
        num_other_policies=num_others,
    )


def _usable(
    candidates: Sequence[Candidate], cut: CutAnswers, left_out: Counter[str], rng: np.random.Generator
) -> list[Candidate]:
    usable: list[Candidate] = []
    there: set[tuple[str, str]] = set()
    for candidate in candidates:
        key = (candidate.source, candidate.text.strip())
        if not key[1]:
            left_out["empty"] += 1
        elif cut == "leave_out" and candidate.meta.get("finished") is False:
            left_out["cut"] += 1
        elif is_degenerate(candidate.text):
            left_out["degenerate"] += 1
        elif key in there:
            left_out["repeated"] += 1
        else:
            there.add(key)
            usable.append(candidate)
    if len(usable) <= MOST_OF_A_PROMPT:
        return usable
    left_out["beyond the most of a prompt"] += len(usable) - MOST_OF_A_PROMPT
    return [usable[index] for index in np.sort(rng.choice(len(usable), MOST_OF_A_PROMPT, replace=False))]


def is_degenerate(text: str) -> bool:
    """Whether a text says nothing: no letter or digit, or so repetitive that it shrinks to a seventh when compressed.

    Below 200 bytes compression says little, and only the first holds.
    """
    if not any(map(str.isalnum, text)):
        return True
    data = text.encode()
    return len(data) >= DEGENERATE_BYTES and len(zlib.compress(data)) < DEGENERATE_RATIO * len(data)


def normal_text(text: str) -> str:
    """The words of a text in NFKC form, without case and marks, one blank between; the text itself if it has none."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or text.strip()


def near_duplicate_classes(texts: Sequence[str], threshold: float) -> list[int]:
    """(C,) the class of each text: that of the first text before it that it nearly equals, else one of its own.

    Two texts are nearly equal where they share `threshold` of the runs of three words that either has (Jaccard index of
    w-shingles, Broder 1997) and hold the same numbers: an answer that differs in an amount alone is another answer.
    Equal texts are of one class at any threshold.

    Args:
        texts: as `normal_text` makes them, of one prompt.
        threshold: above 0 up to 1.
    """
    shingles = [_shingles(text) for text in texts]
    numbers = [sorted(re.findall(r"\d+", text)) for text in texts]
    first: list[int] = []  # of each class its first text
    classes: list[int] = []
    for index, text in enumerate(texts):
        for number, leader in enumerate(first):
            if text == texts[leader] or (
                numbers[index] == numbers[leader] and _jaccard(shingles[index], shingles[leader]) >= threshold
            ):
                classes.append(number)
                break
        else:
            classes.append(len(first))
            first.append(index)
    return classes


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    return frozenset(tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))


def _jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _pair_key(prompt: Prompt, one: str, other: str) -> tuple[str, str, str]:
    return normal_prompt(prompt), min(one, other), max(one, other)
