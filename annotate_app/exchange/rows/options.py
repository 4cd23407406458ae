"""The options of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.export_formats import Layout
from rewardkit.data.files import Format

ExportForm = Literal[
    "preference",
    "unpaired",
    "sft",
    "ranking",
    "rankings",
    "stepwise",
    "judgments",
    "spans",
    "edited_sft",
    "edited_pairs",
]
FORMS: tuple[ExportForm, ...] = get_args(ExportForm)
BY_CONSENSUS: tuple[ExportForm, ...] = ("preference", "unpaired", "sft")
"""Forms whose rows come of a consensus; those of the others come of one judgment each."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of an export.

    Attributes:
        form: preference pairs, unpaired examples (KTO), demonstrations (SFT), one ranking of each comparison, each
            vote and ranking as it was given with who gave it, answers with a label of each step (TRL's stepwise form),
            the judgments as they were given, the words that were marked, and responses written anew, as demonstrations
            or as pairs with their originals.
        format: of the files; None takes it from the name's suffix, JSONL for a folder.
        layout: of the rows, see `rewardkit.data.export_formats`.
        min_votes: votes an item needs; of the form `rankings`, whose rows are single votes, nothing is asked.
        min_agreement: probability of the winner that an item needs, 0 to 1.
        adjudicated_only: only what an adjudicator decided.
        ties: whether pairs without a better one go out, with `p_chosen` 0.5.
        splits: by name, the share of prompts; empty makes no splits.
        seed: of the splits.
        sources: also name what wrote the answers.
        names: real names of annotators instead of pseudonyms.
        license: of the data, for the card's license field, for example `cc-by-4.0`.
        overwrite: replace what is there.
        judges: judges whose votes count too, under the rule `dawid_skene`; rows then name `judge_votes` beside `votes`.
            `min_votes` and `num_judgments` are of people alone, so that what only judges judged needs `min_votes` 0.
        view: only the comparisons that this filter chooses; None takes all. What is excluded never goes out.
    """

    form: ExportForm = "preference"
    format: Format | None = None
    layout: Layout = "conversational"
    min_votes: int = 1
    min_agreement: float = 0.0
    adjudicated_only: bool = False
    ties: Literal["keep", "drop"] = "drop"
    splits: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    sources: bool = False
    names: bool = False
    license: str = ""
    overwrite: bool = False
    judges: tuple[str, ...] = ()
    view: ComparisonFilter | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_agreement <= 1:
            raise ValueError(f"min_agreement is {self.min_agreement}, allowed is 0 to 1")
        if self.min_votes < 0:
            raise ValueError(f"min_votes is {self.min_votes}, allowed is 0 or more")
        if self.form in ("judgments", "spans") and self.splits:
            raise ValueError(f"{self.form} are not split: they are not training rows")
        if self.form in ("ranking", "rankings", "stepwise") and self.layout != "conversational":
            raise ValueError(f"layout is {self.layout!r}, allowed for the form {self.form} is conversational")
        if self.form not in ("preference", "edited_pairs") and self.layout == "implicit":
            raise ValueError(f"layout is 'implicit', allowed for the form {self.form} are conversational and plain")
