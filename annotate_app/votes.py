"""Judgments as columns: the input of agreement, consensus and annotator quality.

Content space throughout: a score below 0 prefers completion a, above 0 prefers b, whichever side either was shown on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rewardkit.data.records import CHOICES

CHOICE_CODES: dict[str, int] = {name: code for code, name in enumerate(CHOICES)}
KINDS = ("work", "gold", "repeat", "qualification", "import")
KIND_CODES: dict[str, int] = {name: code for code, name in enumerate(KINDS)}
COLLECTED_KINDS = ("work", "import")
TOO_FAST_CHARACTERS_PER_S = 100.0  # some 1,200 words a minute: nobody reads both responses at that rate


@dataclass(frozen=True, kw_only=True)
class Votes:
    """N judgments of I comparisons ("items") by R annotators, the newest of each annotator and item.

    A comparison of more than two responses is an item for each two of them (`rewardkit.data.records.pair_id`), and a
    ranking a vote on each two that it compares, with the share of its time that two of its responses take (2 / N). Such
    votes hang together: what is resampled are the clusters. Of a check, whose known answer is on the first two, these
    alone are voted on.

    An answer in steps is an item for each step (`rewardkit.data.records.step_id`), and its labels a vote on each step
    that was judged: `a` is right, `b` wrong, a tie neither, each with its equal share of the time.

    Attributes:
        items: (I,) comparison ids, or ids of pairs of a comparison's responses.
        annotators: (R,) annotator names.
        sources: names of what wrote the completions; `item_source_a` and `item_source_b` index it.
        item: (N,) int32, index into items.
        annotator: (N,) int32, index into annotators.
        choice: (N,) int8, index into `rewardkit.data.records.CHOICES`.
        score: (N,) int8, signed degree; 0 for tie, both_bad and skip (look at choice to tell them apart).
        kind: (N,) int8, index into `KINDS`.
        shown_left: (N,) int8, 0 when a stood left, 1 when b did, -1 unknown.
        seconds: (N,) float32, active seconds.
        created_at: (N,) float64, unix seconds.
        criteria: by criterion, (N,) float32 signed degree (b minus a for rated criteria), NaN where not judged.
        item_source_a, item_source_b: (I,) int32, index into sources.
        item_length_a, item_length_b: (I,) int32, characters of the completions.
        item_gold: (I,) int8, index into CHOICES, -1 where no gold answer is known.
        item_cluster: (I,) int32, number of the comparison that an item belongs to; by default each item is its own.
    """

    items: tuple[str, ...]
    annotators: tuple[str, ...]
    sources: tuple[str, ...]
    item: np.ndarray
    annotator: np.ndarray
    choice: np.ndarray
    score: np.ndarray
    kind: np.ndarray
    shown_left: np.ndarray
    seconds: np.ndarray
    created_at: np.ndarray
    criteria: Mapping[str, np.ndarray]
    item_source_a: np.ndarray
    item_source_b: np.ndarray
    item_length_a: np.ndarray
    item_length_b: np.ndarray
    item_gold: np.ndarray
    item_cluster: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    def __post_init__(self) -> None:
        if len(self.item_cluster) != len(self.items):
            object.__setattr__(self, "item_cluster", np.arange(len(self.items), dtype=np.int32))

    @property
    def clusters(self) -> np.ndarray | None:
        """(I,) what a bootstrap draws instead of items: `item_cluster`, None where each item stands for itself."""
        return self.item_cluster if self.is_clustered else None

    @property
    def is_clustered(self) -> bool:
        """Whether several items belong to one comparison."""
        return len(np.unique(self.item_cluster)) < len(self.items)

    def __len__(self) -> int:
        return len(self.item)

    @property
    def is_collected(self) -> np.ndarray:
        """(N,) bool: real work and imports, never checks (gold, repeats, qualification)."""
        return np.isin(self.kind, [KIND_CODES[name] for name in COLLECTED_KINDS])

    def counted(self) -> Votes:
        """The votes that agreement and consensus count: collected, and not a skip."""
        return self.where(self.is_collected & (self.choice != CHOICE_CODES["skip"]))

    def where(self, keep: np.ndarray) -> Votes:
        """The votes at a boolean mask or an index array (N,); items and annotators keep their numbering."""
        columns = ("item", "annotator", "choice", "score", "kind", "shown_left", "seconds", "created_at")
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields.update({name: fields[name][keep] for name in columns})
        fields["criteria"] = {name: values[keep] for name, values in self.criteria.items()}
        return Votes(**fields)
