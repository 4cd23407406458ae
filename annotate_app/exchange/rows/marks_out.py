"""What people did to the words of responses, as rows: marked words, and responses that they wrote anew.

A response written anew is a demonstration, and a pair with its original. Neither is a vote: such a pair says that a
person preferred their own text, so it has no judgments, and its source is EDITED.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from annotate_app.access import Actor
from annotate_app.exchange.rows.kinds_of_judgments import CHECK
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.exchange.rows.rows_out import Row, judgment_rows
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import COLLECTED_KINDS, Votes
from rewardkit.data.conversations import Completion
from rewardkit.data.export_formats import demonstration_row, is_plain, preference_row, split_of
from rewardkit.data.records import Comparison, Preference

EDITED = "edited by a person"


def span_rows(
    store: Store, actor: Actor, project: Project, votes: Votes, *, names: bool, keys: frozenset[str] | None = None
) -> Iterator[Row]:
    """The marked words of the judgments that count (of comparisons `keys` alone), with the text, oldest first."""
    comparisons = _comparisons(store, actor, project, "spans")
    for row in judgment_rows(store, actor, project, votes, names=names, keys=keys):
        for span in row["spans"]:
            comparison = comparisons[row["comparison_id"]]
            text = comparison.completion_a if span["side"] == "a" else comparison.completion_b
            yield {
                "comparison_id": row["comparison_id"],
                "annotator": row["annotator"],
                **span,
                "text": text[span["start"] : span["end"]],
                "kind": row["kind"],
            }


def edited_rows(
    store: Store,
    actor: Actor,
    project: Project,
    votes: Votes,
    options: ExportOptions,
    left_out: Counter[str],
    keys: frozenset[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """Responses as people wrote them anew, as demonstrations or as pairs, with the split each falls into.

    Args:
        left_out: is told, by reason, how many edits give no row.
    """
    comparisons = _comparisons(store, actor, project, "edited")
    written: set[bytes] = set()
    for row in judgment_rows(store, actor, project, votes, names=options.names, keys=keys):
        for side, text in row["edited"].items():
            comparison = comparisons[row["comparison_id"]]
            why = _why_not(comparison, row, text, options, written)
            if why:
                left_out[why] += 1
                continue
            split = split_of(comparison.prompt, options.splits, options.seed) if options.splits else ""
            yield split, {**_edited_row(comparison, side, text, options), "annotator": row["annotator"]}


def _comparisons(store: Store, actor: Actor, project: Project, column: str) -> dict[str, Comparison]:
    """By id, the comparisons of judgments that have something in a column; the others are not kept in memory."""
    judgments = store.judgments.iterate(actor, project.id)
    needed = {judgment.comparison_id for judgment in judgments if getattr(judgment, column)}
    if not needed:
        return {}
    return {one.id: one for one in store.comparisons.iterate(actor, project.id) if one.id in needed}


def _why_not(comparison: Comparison, row: Row, text: str, options: ExportOptions, written: set[bytes]) -> str:
    if row["kind"] not in COLLECTED_KINDS:
        return CHECK
    if options.layout == "plain" and not is_plain(comparison.prompt, Completion(text=text)):
        return "calls of tools, which the layout plain cannot hold"
    digest = hashlib.sha256(repr((comparison.id, text)).encode()).digest()
    if digest in written:
        return "the same edit again"
    written.add(digest)
    return ""


def _edited_row(comparison: Comparison, side: str, text: str, options: ExportOptions) -> Row:
    if options.form == "edited_sft":
        return {
            **demonstration_row(comparison.prompt, Completion(text=text), options.layout, comparison.id),
            "source": EDITED,
        }
    original = comparison.completion_a if side == "a" else comparison.completion_b
    source = comparison.source_a if side == "a" else comparison.source_b
    preference = Preference(
        prompt=comparison.prompt,
        chosen=text,
        rejected=original,
        p_chosen=1.0,
        comparison_id=comparison.id,
        source_chosen=EDITED,
        source_rejected=source if options.sources else "",
    )
    return preference_row(preference, options.layout, sources=True)
