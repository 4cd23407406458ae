"""The commands of `rewardkit`, in the order of a day's work; what runs them is imported when they run."""

from __future__ import annotations

from rewardkit.audit.audit_config import AuditConfig
from rewardkit.config import ChooseConfig, EvaluateConfig, MergeConfig, RankConfig, RewardConfig, ScoreConfig
from rewardkit.run.command import Command, call

COMMANDS = (
    Command(
        name="train",
        help="train a reward model, one member or an ensemble",
        config=RewardConfig,
        run=call("rewardkit.commands.train.train"),
    ),
    Command(
        name="evaluate",
        help="accuracy, calibration and honesty of a reward model",
        config=EvaluateConfig,
        run=call("rewardkit.commands.evaluate.evaluate"),
    ),
    Command(
        name="audit",
        help="what people, a reward model and a policy pay for, trait by trait",
        config=AuditConfig,
        run=call("rewardkit.commands.audit.audit"),
    ),
    Command(
        name="score",
        help="add rewards to the rows of a file",
        config=ScoreConfig,
        run=call("rewardkit.commands.score.score"),
    ),
    Command(
        name="rank",
        help="order comparisons by what their labels would tell",
        config=RankConfig,
        run=call("rewardkit.commands.score.rank"),
    ),
    Command(
        name="choose",
        help="choose which pairs of candidate answers to label next",
        config=ChooseConfig,
        run=call("rewardkit.commands.choose.choose"),
    ),
    Command(
        name="merge",
        help="average the weights of reward models fine-tuned from one initialisation (WARM)",
        config=MergeConfig,
        run=call("rewardkit.commands.train.merge_models"),
    ),
)
