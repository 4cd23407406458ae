"""The rows of an export: which comparisons give some and which, and the judgments as they were given.

Annotators go out under pseudonyms: the same at every export of a project, different in every project.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from annotate_app.access import Actor
from annotate_app.consensus.release import Consensus, preferences
from annotate_app.exchange.rows.kinds_of_judgments import with_kinds
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.exchange.rows.rankings_out import ends_of_rankings
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import Votes
from rewardkit.data.conversations import Completion
from rewardkit.data.export_formats import Layout, demonstration_row, is_plain, preference_row, split_of, unpaired_row
from rewardkit.data.records import Comparison, Preference, Span, pairs_of


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Pseudonyms of one project: a keyed hash, so that nobody can try names without the project's key."""

    key: bytes

    @classmethod
    def of(cls, store: Store, actor: Actor, project_id: int) -> Pseudonyms:
        """Makes the pseudonyms of a project with the key in its database row. Adjudicator or above."""
        return cls(key=store.projects.pseudonym_key(actor, project_id))

    def of_name(self, name: str) -> str:
        """The pseudonym of an annotator, for example `annotator-3f09ac81d2`."""
        return f"annotator-{hmac.new(self.key, name.encode(), 'sha256').hexdigest()[:10]}"


Row = dict[str, Any]
CHUNK = 1024


def training_rows(
    store: Store,
    actor: Actor,
    project: Project,
    consensus: Consensus,
    options: ExportOptions,
    left_out: Counter[str],
    keys: Container[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """The rows of a project with the split each falls into, in the order of its comparisons.

    Args:
        store, actor, project: what to read, and for whom.
        consensus: of the project's votes.
        options: which rows go out.
        keys: ids of the comparisons to take; None takes all.
        left_out: is told, by reason, how many comparisons (or repeated demonstrations) give no row.
    """
    index = {key: number for number, key in enumerate(consensus.items)}
    criteria = sorted(consensus.criteria)
    written: set[bytes] = set()
    stream = store.comparisons.iterate(actor, project.id)
    while chunk := list(islice(stream, CHUNK)):
        released = []
        for comparison in chain.from_iterable(map(pairs_of, chunk)):
            number = index.get(comparison.id)
            why = "added during the export" if number is None else why_not(consensus, number, options)
            if keys is not None and comparison.id not in keys:
                why = "not in the view"
            if not why and not _fits(comparison, options.layout):
                why = "calls of tools or several turns, which the layout plain cannot hold"
            if why:
                left_out[why] += 1
            else:
                released.append(comparison)
        preference_by_id = {preference.comparison_id: preference for preference in preferences(consensus, released)}
        ends = ends_of_rankings(preference_by_id, released) if options.form in ("sft", "unpaired") else {}
        for comparison in released:
            split = split_of(comparison.prompt, options.splits, options.seed) if options.splits else ""
            for row in rows_of(comparison, preference_by_id.get(comparison.id), options, criteria):
                if comparison.id in ends and not ends[comparison.id].has(options.form, row):
                    continue
                if options.form == "sft" and _repeats(row, written):
                    left_out["the same demonstration again"] += 1
                    continue
                if consensus.judges and options.form == "preference":
                    row["judge_votes"] = judge_votes(consensus, index[comparison.id])
                yield split, row


def judge_votes(consensus: Consensus, number: int) -> dict[str, float]:
    """The judges' votes on an item as seen from its preference row."""
    votes = consensus.judge_votes(number)
    sides = ("b", "a") if consensus.p_b[number] > 0.5 else ("a", "b")
    return {"chosen": votes[sides[0]], "rejected": votes[sides[1]], "tie": votes["tie"], "both_bad": votes["both_bad"]}


def _repeats(row: Row, written: set[bytes]) -> bool:
    """Whether a demonstration was written before: the same answer may win several of its pairs."""
    digest = hashlib.sha256(repr((row["prompt"], row["completion"])).encode()).digest()
    before = digest in written
    written.add(digest)
    return before


def why_not(consensus: Consensus, number: int, options: ExportOptions) -> str:
    """Says why an item is left out of the export; empty if it is included."""
    row = consensus.row(number)
    choice, votes = row["choice"], int(consensus.counts[number].sum())
    if row["state"] != "released":
        return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])
    if options.adjudicated_only and not row["adjudicated"]:
        return "not adjudicated"
    if votes < options.min_votes:
        return f"fewer than {options.min_votes} votes"
    if consensus.confidence[number] < options.min_agreement:
        return f"agreement below {options.min_agreement:g}"
    if choice == "tie" and (options.form != "preference" or options.ties == "drop"):
        return "tie"
    if choice == "both_bad" and options.form != "unpaired":
        return "both bad"
    return ""


def rows_of(
    comparison: Comparison, preference: Preference | None, options: ExportOptions, criteria: Sequence[str]
) -> list[Row]:
    """The rows that a released comparison gives; without a preference both of its answers are bad."""
    prompt, layout, key = comparison.prompt, options.layout, comparison.id
    match options.form:
        case "unpaired" if preference is None:
            a = Completion(text=comparison.completion_a, turns=comparison.turns_a)
            b = Completion(text=comparison.completion_b, turns=comparison.turns_b)
            return [unpaired_row(prompt, one, False, layout, key) for one in (a, b)]
        case "unpaired" if preference is not None:
            rejected = Completion(text=preference.rejected, turns=preference.turns_rejected)
            answers = ((_chosen(preference), True), (rejected, False))
            return [unpaired_row(prompt, one, label, layout, key) for one, label in answers]
        case "preference" if preference is not None:
            return [preference_row(preference, layout, criteria=criteria, sources=options.sources)]
        case "sft" if preference is not None:
            return [demonstration_row(prompt, _chosen(preference), layout, key)]
        case _:
            raise ValueError(f"a comparison of which both answers are bad gives no row of the form {options.form}")


def _chosen(preference: Preference) -> Completion:
    return Completion(text=preference.chosen, turns=preference.turns_chosen)


def _fits(comparison: Comparison, layout: Layout) -> bool:
    """Whether a layout can hold a comparison."""
    a = Completion(text=comparison.completion_a, turns=comparison.turns_a)
    b = Completion(text=comparison.completion_b, turns=comparison.turns_b)
    return layout != "plain" or is_plain(comparison.prompt, a, b)


def judgment_rows(
    store: Store,
    actor: Actor,
    project: Project,
    votes: Votes,
    *,
    names: bool,
    keys: Container[str] | None = None,
    excluded: bool = False,
) -> Iterator[Row]:
    """The judgments that count, oldest first, in the columns that `judgments import` reads.

    Args:
        store, actor, project: what to read, and for whom.
        votes: of the same project; they know of which kind each judgment is.
        names: real names instead of pseudonyms.
        keys: ids of the comparisons to take; None takes all.
        excluded: whether those on excluded comparisons are among them; the votes were read likewise.
    """
    pseudonyms = Pseudonyms.of(store, actor, project.id)
    task = store.projects.rubric(actor, project.id).rubric.task
    is_ranked = task in ("rank", "best") or (task != "steps" and votes.is_clustered)
    for judgment, kind in with_kinds(store.judgments.iterate(actor, project.id, excluded=excluded), votes):
        if keys is not None and judgment.comparison_id not in keys:
            continue
        yield {
            "comparison_id": judgment.comparison_id,
            "annotator": judgment.annotator if names else pseudonyms.of_name(judgment.annotator),
            "choice": judgment.choice,
            "strength": judgment.strength,
            "criteria": dict(judgment.criteria),
            "flags": dict(judgment.flags),
            "spans": [span_cells(span) for span in judgment.spans],
            "edited": dict(judgment.edited),
            "rationale": judgment.rationale,
            "reason": judgment.reason,
            "seconds": judgment.seconds,
            "shown_left": judgment.shown_left,
            "created_at": judgment.created_at or None,
            "rubric_version": judgment.rubric_version,
            "kind": kind,
            **({"ranks": list(judgment.ranks) or None, "shown": list(judgment.shown) or None} if is_ranked else {}),
            **({"step_labels": list(judgment.step_labels) or None} if task == "steps" else {}),
        }


def span_cells(span: Span) -> Row:
    """Marked words as a row holds them."""
    return {"side": span.side, "start": span.start, "end": span.end, "flag": span.flag}
