"""A saved ensemble of whole models, scored member by member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rewardkit.data.records import Message
from rewardkit.reward.metadata import CARD_FILE, Card, read_card
from rewardkit.reward.reward import Reward
from rewardkit.reward.reward_model import RewardModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rewardkit.network.packed_rows import Branched


class MembersReward:
    """A saved ensemble of whole models ready to score; a `RewardFn`."""

    def __init__(self, members: Sequence[RewardModel], card: Card) -> None:
        self.members = members
        self.card = card

    @classmethod
    def load(cls, path: str | Path, *, criterion_weights: Mapping[str, float] | None = None) -> MembersReward:
        """Loads what `train_members` wrote.

        Raises:
            ValueError: if it is no such ensemble or a member is missing.
        """
        card = read_card(path)
        folders = [Path(path) / "members" / str(number) for number in range(card.num_members)]
        if card.kind != "full":
            raise ValueError(f"{path}: a model of kind {card.kind!r}, not full")
        if missing := [folder for folder in folders if not (folder / CARD_FILE).exists()]:
            raise ValueError(f"{missing[0]} is missing")
        members = [RewardModel.load(folder, criterion_weights=criterion_weights) for folder in folders]
        return cls(members, card)

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        """Rewards of B completions, one prompt each, by every member."""
        return Reward(members=np.concatenate([member(prompts, completions).members for member in self.members]))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The one of all members."""
        return self.members[0].tokenizer

    @property
    def packed(self) -> bool:
        """Whether the branches of a row share its prompt."""
        return self.members[0].packed

    def score_rows(self, rows: Sequence[Branched], *, token_budget: int = 0) -> Reward:
        """As `RewardModel.score_rows`, by every member."""
        rewards = [member.score_rows(rows, token_budget=token_budget).members for member in self.members]
        return Reward(members=np.concatenate(rewards))
