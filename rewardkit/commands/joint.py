"""Features `joint` of `rank` and `choose`: a head fitted to the labels at hand, and the headroom that they show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rewardkit.config import ChooseConfig, RankConfig

if TYPE_CHECKING:
    from rewardkit.data.records import Preference
    from rewardkit.scoring.joint_head import Answer, Headroom, JointHead


def read_labels(path: str, *, on_bad_row: Literal["error", "skip"]) -> list[Preference]:
    """The preferences of a file; a row that says that neither is better is of no use here and left out.

    Raises:
        ValueError: if there are none, or a row is bad and `on_bad_row` is error.
    """
    from rewardkit.data.preferences import read_preferences

    rows = read_preferences(path, on_bad_row=on_bad_row, empty="keep").rows
    if not rows:
        raise ValueError(f"{path} holds no preferences, features joint learn from them")
    return rows


def fit_joint(
    rows: Sequence[Preference], pool: Sequence[Answer], num_unlabelled: int, config: RankConfig | ChooseConfig
) -> tuple[JointHead, Headroom]:
    """The head, and what it says of more labels; without a model it takes in the encoder that is installed.

    Args:
        rows: labels at hand.
        pool: answers without a label; `num_unlabelled` pairs are made of them.
    """
    from rewardkit.reward.load import ENCODER_PACKAGE, installed_encoder, load_states
    from rewardkit.scoring.joint_head import JointHead, find_headroom

    folder = config.model_folder
    if not config.model and (folder := installed_encoder()):
        package = ENCODER_PACKAGE.replace("_", "-")
        print(
            f"features joint take in the states of {package}, which is installed (not with --model none)",
            file=sys.stderr,
        )
    states = load_states(folder) if folder else None
    head = JointHead.fit(rows, pool, states=states, seed=config.seed)
    headroom = find_headroom(
        head.pairs, prior_precision=head.prior_precision, num_unlabelled=num_unlabelled, seed=config.seed
    )
    return head, headroom
