"""Of which kind each judgment is (work, import or a check), which the votes know and the judgments do not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from annotate_app.votes import KINDS, Votes
from rewardkit.data.records import Judgment, split_pair_id, split_step_id

CHECK = "made on a check (gold, repeat, qualification)"
"""Why a judgment of a kind that is not collected gives no training row."""


def with_kinds(judgments: Iterable[Judgment], votes: Votes) -> Iterator[tuple[Judgment, str]]:
    """Judgments, each with its kind, one of `annotate_app.votes.KINDS`.

    Args:
        judgments: as the store iterates over them, oldest first.
        votes: of the same project and read likewise, in the same order.
    """
    at = 0
    for judgment in judgments:
        # Both are ordered by time of arrival; a judgment edited in between is missing here and new at the end.
        while at < len(votes) and not _is(votes, at, judgment.comparison_id, judgment.annotator):
            at += 1
        kind = KINDS[votes.kind[at]] if at < len(votes) else "work"
        at = _past(votes, at, judgment)
        yield judgment, kind


def _past(votes: Votes, at: int, judgment: Judgment) -> int:
    """The place behind the votes of one judgment: a ranking has several, and so have labels of steps.

    A person's repeat of a comparison may follow their work on it at once: it is of another kind.
    """
    if at == len(votes):
        return at
    cluster, kind = votes.item_cluster[votes.item[at]], votes.kind[at]
    at += 1
    while (
        at < len(votes)
        and (votes.item_cluster[votes.item[at]], votes.kind[at]) == (cluster, kind)
        and _is(votes, at, judgment.comparison_id, judgment.annotator)
    ):
        at += 1
    return at


def _is(votes: Votes, at: int, comparison_id: str, annotator: str) -> bool:
    item = votes.items[votes.item[at]]
    if item != comparison_id:
        part = split_pair_id(item) or split_step_id(item)
        if part is None or part[0] != comparison_id:
            return False
    return votes.annotators[votes.annotator[at]] == annotator
