"""The README of an exported data set: front matter that the hub reads, and what a reader has to know to trust the rows.

Says what was asked (rubric), of how many, how far they agreed, how votes became rows, and what was left out and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.consensus.release import Consensus
from annotate_app.exchange.rows.options import BY_CONSENSUS, ExportOptions
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.projects import Project, RubricVersion
from annotate_app.votes import KINDS, Votes

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
NUM_RESAMPLES = 200
FIGURES = (
    ("percent", "percent agreement"),
    ("percent_ties_out", "percent agreement, decided votes only"),
    ("fleiss_kappa", "Fleiss' kappa"),
    ("alpha_nominal", "Krippendorff's alpha, nominal"),
    ("alpha_ordinal", "Krippendorff's alpha, ordinal"),
    ("ac1", "Gwet's AC1"),
)
TITLES = {
    "preference": "preference pairs",
    "unpaired": "unpaired examples with a label (KTO)",
    "sft": "demonstrations: the chosen answers (SFT)",
    "ranking": "rankings, one of each comparison",
    "rankings": "votes and rankings as they were given, each with who gave it",
    "stepwise": "answers with a label of each step (TRL's stepwise form)",
    "judgments": "judgments as they were given",
    "spans": "words of responses that people marked with a flag",
    "edited_sft": "demonstrations: responses as people wrote them anew (SFT)",
    "edited_pairs": "pairs of a response as a person wrote it anew and its original",
}
COLUMNS = {
    "prompt": "the conversation that was answered",
    "chosen": "the answer that the consensus prefers",
    "rejected": "the other answer",
    "p_chosen": "probability that chosen is the better one, 0.5 to 1; 0.5 is a tie",
    "weight": "votes behind the row over their mean; for a weighted loss",
    "margin": "mean degree of the preference for chosen, in steps of the scale; TRL's reward trainer subtracts it",
    "num_judgments": "number of votes, ties and both bad included",
    "votes": "number of votes by answer, as `{chosen, rejected, tie, both_bad}`",
    "judge_votes": "votes of machines by answer, as shares; they are part of p_chosen, and not of votes",
    "criteria": "by criterion, the mean degree in favour of chosen; null where nobody judged it",
    "comparison_id": "id of the comparison; rows of one comparison share it",
    "source_chosen": "what wrote chosen",
    "source_rejected": "what wrote rejected",
    "completion": "an answer",
    "id": "id of the comparison",
    "completions": "the answers that were ranked",
    "ranks": "by answer its rank, 1 is the best, equal ones are ties; null was not ranked and lies below all that were",
    "labels": "by step the share of people who say it is right, a neutral vote one half; null was not judged",
    "num_votes": "by step, the number of votes on it",
    "step_labels": "by step 1 right, 0.5 neutral, 0 wrong; null was not judged",
    "shown": "by place on the screen, which answer stood there, counted from 0",
    "sources": "what wrote each answer",
    "label": "whether the answer is desirable",
    "annotator": "who judged: a pseudonym, the same in every export of this project, unless real names were asked for",
    "choice": "a, b, tie, both_bad or skip; a and b are the comparison's completions, whichever side they stood on",
    "strength": "degree of the preference, 1 or more for a and b",
    "flags": "by completion, the flags set",
    "spans": "marked words, as `side`, `start`, `end` (half-open, in code points of the text as written) and `flag`",
    "edited": "by completion, its text as the annotator would have it",
    "side": "the completion that is marked, a or b",
    "start": "where the marked words start, in code points of the completion as written",
    "end": "where they end; the sign there is the first that is not marked",
    "flag": "what they are marked with",
    "text": "the marked words",
    "source": "what wrote the completion",
    "rationale": "the annotator's words",
    "reason": "why it was skipped",
    "seconds": "active seconds on task, idle time taken out",
    "shown_left": "which completion stood on the left; empty when unknown",
    "created_at": "unix time in seconds, null where unknown",
    "rubric_version": "version of the rubric it was made under",
    "kind": "work, import, or a check (gold, repeat, qualification)",
}
CRITERIA_OF_JUDGMENT = "by criterion, the signed degree (below 0 prefers a) or the ratings of a and b"


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The contents of a card: the exported project and how many items are in which state."""

    project: Project
    rubric: RubricVersion
    votes: Votes
    consensus: Consensus
    options: ExportOptions
    num_rows: Mapping[str, int]
    left_out: Mapping[str, int]
    columns: Sequence[str]
    files: Mapping[str, str]
    features: Sequence[Mapping[str, Any]] = ()
    num_images: int = 0
    image_place: str = ""


def write_card(path: Path, facts: CardFacts) -> None:
    """Writes the card."""
    path.write_text(f"---\n{front_matter(facts)}---\n\n" + "\n".join(body(facts)).rstrip() + "\n", encoding="utf-8")


def front_matter(facts: CardFacts) -> str:
    """YAML as the Hugging Face hub reads it: licence, sizes, which file is which split, types of columns."""
    total = sum(facts.num_rows.values())
    size = next((name for limit, name in SIZES if total < limit), "n>1M")
    files = [{"split": name or "train", "path": path} for name, path in facts.files.items()]
    tags = ["human-feedback", "preference", f"tiebreak-{facts.options.form}"]
    values = {
        "license": facts.options.license or "unknown",
        "pretty_name": facts.project.name,
        "task_categories": ["text-generation"],
        "tags": [*tags, "synthetic"] if facts.project.simulated else tags,
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    if facts.features:
        values["dataset_info"] = {"features": [dict(feature) for feature in facts.features]}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def body(facts: CardFacts) -> Iterator[str]:
    """The lines of the card below its front matter."""
    yield f"# {facts.project.name}: {TITLES[facts.options.form]}"
    if facts.project.description:
        yield from ("", facts.project.description)
    if facts.project.simulated:
        yield from ("", "**The annotators of this project are simulated. No person made these judgments.**")
    yield from ("", "## Counts", "", *_table(("split", "rows"), facts.num_rows.items()))
    yield from ("", *_table(("of the project", "number"), _counts(facts)))
    if facts.left_out:
        ordered = sorted(facts.left_out.items(), key=lambda item: -item[1])
        what = "Votes and comparisons" if facts.options.form == "rankings" else "Comparisons"
        yield from ("", f"{what} that gave no row:", "", *_table(("why", "number"), ordered))
    yield from ("", "## Columns", "", *_table(("column", "what"), _columns(facts)))
    if facts.num_images:
        yield from ("", "## Images", "", *_images(facts))
    yield from ("", "## How votes became rows", "", *_rules(facts))
    yield from ("", "## Agreement", "", *_agreement(facts))
    yield from ("", "## Rubric", "", *_rubric(facts.rubric.rubric, facts.rubric.version))


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"


def _counts(facts: CardFacts) -> Iterator[tuple[str, int]]:
    counted = facts.votes.counted()
    yield "comparisons", len(facts.votes.items)
    yield "judgments that count (work and imports, skips left out)", len(counted)
    yield "annotators who made them", len(np.unique(counted.annotator))
    for code, kind in enumerate(KINDS):
        number = int((facts.votes.kind == code).sum())
        if number and kind not in ("work", "import"):
            yield f"judgments of the kind {kind}", number
    yield "decided by an adjudicator", int(facts.consensus.adjudicated.sum())


def _columns(facts: CardFacts) -> Iterator[tuple[str, str]]:
    for name in facts.columns:
        own = name == "criteria" and facts.options.form == "judgments"
        yield f"`{name}`", CRITERIA_OF_JUDGMENT if own else COLUMNS[name]


def _images(facts: CardFacts) -> Iterator[str]:
    yield f"Texts show {facts.num_images:,} images as markdown, `![description](images/HASH.png)`: the name of a file"
    yield f"in {facts.image_place}, by the SHA-256 of its bytes. Metadata (EXIF, place) was taken out at import. A"
    yield "model of texts alone cannot see them: the trainings of Tiebreak refuse such rows."


def _rules(facts: CardFacts) -> Iterator[str]:
    design, options, consensus = facts.project.design, facts.options, facts.consensus
    wanted = ", ".join(f"{count} {group}" for group, count in design.groups.items()) or str(design.overlap)
    yield f"- Judgments wanted per comparison: {wanted}, order {design.policy}, sides shuffled by annotator and pair."
    yield f"- Release rule: `{design.rule}`, at least {design.min_votes} votes and agreement {design.min_agreement:g}."
    if options.form == "rankings":
        yield "- Every row is one person's vote, whatever the rule makes of it: of two answers, rank 1 is the better,"
        yield "  two ranks of 1 are a tie. A skip and a vote that all are bad give no row, and neither do checks."
    else:
        yield "- Comparisons without a winner under this rule wait for an adjudicator and are not in the data."
    for note in consensus.notes:
        yield f"- {note}"
    if options.form in ("edited_sft", "edited_pairs"):
        yield "- Every row is one person's own text. None of them is a vote, and no figure counts them."
        yield f"- Layout: {options.layout}."
    if options.form == "stepwise":
        yield f"- A label is the share of at least {max(1, options.min_votes)} votes, or what an adjudicator decided."
    if options.form in BY_CONSENSUS:
        least = f"at least {options.min_votes} votes, agreement {options.min_agreement:g}"
        yield f"- Of this export: {least}, ties: {options.ties}."
        if options.adjudicated_only:
            yield "- Only comparisons that an adjudicator decided."
        if options.form == "unpaired":
            yield "- Where the consensus is that both answers are bad, both are undesirable rows; a tie gives none."
        yield f"- Layout: {options.layout}."
    if options.splits:
        shares = ", ".join(f"{name} {share:g}" for name, share in options.splits.items())
        yield f"- Splits by a hash of the prompt (seed {options.seed}): {shares}. Pairs of one prompt share a split."


def _agreement(facts: CardFacts) -> Iterator[str]:
    if not len(facts.votes.counted()):
        yield "Nobody has judged yet."
        return
    report = agreement_report(facts.votes, num_resamples=NUM_RESAMPLES, by=("criterion",))
    parts = [report.overall, *report.criteria]
    yield f"95 % intervals in brackets, from {NUM_RESAMPLES} bootstrap resamples of comparisons."
    yield ""
    rows = []
    for name, title in FIGURES:
        rows.append([title, *(_figure(part.estimates.get(name)) for part in parts)])
    yield from _table(("figure", *(part.name for part in parts)), rows)


def _figure(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "–"
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def _rubric(rubric: Rubric, version: int) -> Iterator[str]:
    scale = f"{rubric.scale.steps} steps" + (", ties allowed" if rubric.scale.tie else ", no ties")
    yield f"{rubric.title}, version {version}."
    yield ""
    yield f"Overall: {rubric.question} ({scale}{', both bad allowed' if rubric.both_bad else ''})"
    if rubric.criteria:
        yield ""
        for criterion in rubric.criteria:
            asked = (
                f"{criterion.scale.steps} steps"
                if criterion.kind == "compare"
                else f"{criterion.low} to {criterion.high}"
            )
            yield f"- `{criterion.name}`: {criterion.question} ({asked})"
    if rubric.flags:
        yield ""
        yield f"Flags: {', '.join(flag.label for flag in rubric.flags)}."
    yield from ("", "### Guidelines", "", rubric.guidelines)
