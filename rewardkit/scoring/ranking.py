"""Which comparisons of a file to label next: reads them, asks a reward model, gives each a priority.

The rules are `rewardkit.scoring.acquisition`'s. No torch here: the reward model comes as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from rewardkit.config import Rule
from rewardkit.data.columns import detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.conversations import RowError
from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.files import detect_format, place, read_rows
from rewardkit.data.preferences import BadRow, OnBadRow, refuse_images
from rewardkit.data.records import Comparison, Message
from rewardkit.reward.reward import RewardFn
from rewardkit.scoring.acquisition import Informativeness, PromptSpace, order, prioritise
from rewardkit.scoring.joint_head import measure_pairs

FIRST_ROWS = 200  # from which form and columns are found
NUM_FEATURES = 16  # of a prompt: latent dimensions of its words
NEEDS_MEMBERS: tuple[Rule, ...] = ("mutual_information", "std", "bal_pm", "epig", "log_det")


@dataclass(frozen=True, kw_only=True)
class ReadComparisons:
    """The comparisons of a file, each id once, and the rows that cannot be used."""

    comparisons: list[Comparison]
    bad_rows: list[BadRow]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One comparison with its priority; see `rewardkit.scoring.acquisition.Informativeness`."""

    comparison_id: str
    priority: float
    rule: Rule
    mutual_information: float
    std: float
    margin: float


def read_comparisons(
    path: str,
    *,
    on_bad_row: OnBadRow = "error",
    check: Callable[[Sequence[Message], Sequence[str]], None] | None = None,
) -> ReadComparisons:
    """Reads the comparisons of a file of any form; what the file says of which is better is not read.

    Args:
        check: raises RowError for a prompt and completions that the model cannot read; None takes all.

    Raises:
        ValueError: naming file and line, if a row is bad and `on_bad_row` is error, or the form cannot be told.
        FileNotFoundError: if there is no such file.
    """
    format = detect_format(path)
    bad_rows: list[BadRow] = []

    def on_bad(number: int, problem: str) -> None:
        bad_rows.append(BadRow(place=place(path, number, format), reason="unreadable", problem=problem))

    rows = read_rows(path, format, on_bad)
    first = list(islice(rows, FIRST_ROWS))
    if not first:
        raise ValueError(f"{path}: the file holds no rows")
    try:
        reading = detect_reading(row for _, row in first)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    by_id: dict[str, Comparison] = {}
    for number, row in chain(first, rows):
        where = place(path, number, format)
        try:
            refuse_images(row)
            parsed = parse_row(row, reading)
            if check:
                for comparison in parsed.comparisons:
                    check(comparison.prompt, (comparison.completion_a, comparison.completion_b))
        except RowError as error:
            bad_rows.append(BadRow(place=where, reason=error.reason, problem=str(error)))
            continue
        bad_rows.extend(
            BadRow(place=where, reason=row_error.reason, problem=str(row_error)) for row_error in parsed.problems
        )
        for comparison in parsed.comparisons:
            first_with_id = by_id.setdefault(comparison.id, comparison)
            if _content(first_with_id) != _content(comparison):
                error = RowError("duplicate_id", "id", comparison.id, "an earlier row has it with other texts")
                bad_rows.append(BadRow(place=where, reason=error.reason, problem=str(error)))
    if bad_rows and on_bad_row == "error":
        others = f" (and {len(bad_rows) - 1} more bad rows)" if len(bad_rows) > 1 else ""
        hint = "; --on-bad-row skip leaves them out and lists them"
        raise ValueError(f"{bad_rows[0].place}: {bad_rows[0].problem}{others}{hint}")
    return ReadComparisons(comparisons=list(by_id.values()), bad_rows=bad_rows)


def rank_comparisons(
    comparisons: Sequence[Comparison],
    reward_fn: RewardFn,
    rule: Rule,
    *,
    seed: int = 0,
    labelled: Sequence[Comparison] = (),
    top: int = 0,
) -> list[Ranked]:
    """The comparisons in the order in which to label them, the most informative first.

    Args:
        seed: of `random`, and of the reduction of prompts to features.
        labelled: comparisons that have a label already; bal_pm stays away from their prompts.
        top: how many to give; 0 gives all.

    Raises:
        ValueError: if the rule asks members to differ and the model has only one, or top is below 0.
    """
    if top < 0:
        raise ValueError(f"top is {top}, allowed is 0 (all) or more")
    if not comparisons:
        return []
    informativeness = score_comparisons(comparisons, reward_fn)
    prompts = None
    if rule == "bal_pm":
        prompts = prompt_space(
            [comparison.prompt for comparison in comparisons], [comparison.prompt for comparison in labelled], seed=seed
        )
    if rule in NEEDS_MEMBERS and not informativeness.std.any():
        raise ValueError(
            f"rule {rule} measures how much the members of a model differ, and those of this one do not: "
            "train an ensemble, or use the rule margin"
        )
    priorities = prioritise(informativeness, rule, seed=seed, prompts=prompts, top=top)
    chosen = order(priorities)[: top or len(comparisons)]
    return [
        Ranked(
            comparison_id=comparisons[number].id,
            priority=float(priorities[number]),
            rule=rule,
            mutual_information=float(informativeness.mutual_information[number]),
            std=float(informativeness.std[number]),
            margin=float(informativeness.margin[number]),
        )
        for number in chosen
    ]


def score_comparisons(comparisons: Sequence[Comparison], reward_fn: RewardFn) -> Informativeness:
    """What a reward model says of comparisons; a completion that stands in several is scored once."""
    rows = {answer: number for number, answer in enumerate(answers_of(comparisons))}
    first, second = (
        np.array([rows[item.prompt, text] for item, text in zip(comparisons, texts, strict=True)], dtype=np.int64)
        for texts in ([item.completion_a for item in comparisons], [item.completion_b for item in comparisons])
    )
    return measure_pairs(reward_fn, [prompt for prompt, _ in rows], [text for _, text in rows], first, second)


def without_label(comparisons: Sequence[Comparison], labelled: Sequence[Comparison]) -> list[Comparison]:
    """Those whose two answers, in either order, are no labelled pair of the same prompt.

    Raises:
        ValueError: if there are comparisons, and none of them is left.
    """

    def pair_of(one: Comparison) -> tuple[object, ...]:
        return one.prompt, frozenset((one.completion_a, one.completion_b))

    known = set(map(pair_of, labelled))
    left = [one for one in comparisons if pair_of(one) not in known]
    if comparisons and not left:
        raise ValueError(f"all {len(comparisons)} comparisons have a label already: there is nothing to rank")
    return left


def answers_of(comparisons: Sequence[Comparison]) -> list[tuple[tuple[Message, ...], str]]:
    """Each answer once, with its prompt."""
    both = ((item.prompt, text) for item in comparisons for text in (item.completion_a, item.completion_b))
    return list(dict.fromkeys(both))


def prompt_space(
    pool: Sequence[Sequence[Message]], labelled: Sequence[Sequence[Message]], *, seed: int = 0
) -> PromptSpace:
    """Prompts of the pool and of what is labelled as points: TF-IDF of their words, reduced to a few dimensions.

    Latent semantic analysis (Deerwester et al. 1990), rows scaled to length 1.

    Raises:
        ImportError: if scikit-learn is missing, with the line that installs it.
    """
    numbers: dict[str, int] = {}
    of_pool, of_labelled = (
        [numbers.setdefault(plain_prompt(prompt), len(numbers)) for prompt in prompts] for prompts in (pool, labelled)
    )
    return PromptSpace(
        features=prompt_features(list(numbers), seed=seed),
        prompt_of=np.array(of_pool, dtype=np.int64),
        num_labelled=np.bincount(np.array(of_labelled, dtype=np.int64), minlength=len(numbers)),
    )


def prompt_features(texts: Sequence[str], *, seed: int) -> np.ndarray:
    """(P, d) latent features of texts, d at most NUM_FEATURES; see `prompt_space`."""
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize
    except ImportError as error:
        raise ImportError('rule bal_pm needs the package scikit-learn: pip install "tiebreak[train]"') from error

    # Words of one letter count, so that a text that has a word at all has features.
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]")
    counts = words.fit_transform(texts)
    num_features = min(NUM_FEATURES, len(texts) - 1, len(words.vocabulary_) - 1)
    if num_features < 1:
        return np.zeros((len(texts), 1))
    return np.asarray(normalize(TruncatedSVD(num_features, random_state=seed).fit_transform(counts)))


def _content(comparison: Comparison) -> tuple[object, ...]:
    return comparison.prompt, comparison.completion_a, comparison.completion_b
