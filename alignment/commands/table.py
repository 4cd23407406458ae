"""The commands of `alignment`, in the order of a day's work; what runs them is imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alignment.config.advisor import AdvisorConfig
from alignment.config.constitution import ConstitutionConfig, FeedbackLabConfig
from alignment.config.edits import EditsConfig
from alignment.config.lab import CompareConfig, ExercisesConfig, LoopLabConfig, OveroptConfig
from alignment.config.online import GrpoConfig, OnlineDpoConfig, PpoConfig
from alignment.config.sampling import BonConfig, EvaluatePolicyConfig, LabelStepsConfig, SampleConfig
from alignment.config.training import DpoConfig, KtoConfig, SftConfig
from rewardkit.run.command import Command, call, imported
from rewardkit.run.training_command import Results, RunContext, execute


def _train(name: str, algorithm: str, *, rows: str = "") -> Callable[[Any], int]:
    """A `Command.run` that trains.

    Args:
        algorithm: dotted name of a function of a RunContext, and of the loaded rows where there are any.
        rows: dotted name of the `RowKind` to load before anything heavy is imported.
    """

    def train(context: RunContext[Any]) -> Results | None:
        if not rows:
            return imported(algorithm)(context)
        from alignment.policy.data import load_data

        loaded = load_data(context.config, context.run, imported(rows), context.progress)
        return imported(algorithm)(context, loaded)

    return lambda config: execute(f"alignment {name}", config, train)


COMMANDS = (
    Command(
        name="sft",
        help="supervised fine-tuning on demonstrations",
        config=SftConfig,
        run=_train("sft", "alignment.offline.sft.train_sft", rows="alignment.policy.data.DEMONSTRATIONS"),
    ),
    Command(
        name="dpo",
        help="align a policy with preferences (DPO and its family)",
        config=DpoConfig,
        run=_train("dpo", "alignment.offline.dpo.train_dpo", rows="rewardkit.data.training_data.PREFERENCES"),
    ),
    Command(
        name="kto",
        help="learn from completions that are desirable or not",
        config=KtoConfig,
        run=_train("kto", "alignment.offline.kto.train_kto", rows="alignment.policy.data.LABELLED"),
    ),
    Command(
        name="ppo",
        help="reinforcement learning with a value model (PPO)",
        config=PpoConfig,
        run=_train("ppo", "alignment.online.ppo.train_ppo"),
    ),
    Command(
        name="grpo",
        help="reinforcement learning from groups of completions (GRPO and its family)",
        config=GrpoConfig,
        run=_train("grpo", "alignment.online.grpo.train_grpo"),
    ),
    Command(
        name="online-dpo",
        help="preferences between the policy's own completions (online DPO)",
        config=OnlineDpoConfig,
        run=_train("online-dpo", "alignment.online.online_dpo.train_online_dpo"),
    ),
    Command(
        name="bon",
        help="the best of n completions, as rows to train on",
        config=BonConfig,
        run=call("alignment.commands.sample.bon"),
    ),
    Command(
        name="sample",
        help="let one policy or more answer prompts",
        config=SampleConfig,
        run=call("alignment.commands.sample.sample"),
    ),
    Command(
        name="label-steps",
        help="label the steps of answers by how often what follows them ends right, as rows to train on",
        config=LabelStepsConfig,
        run=call("alignment.commands.label_steps.label_steps"),
    ),
    Command(
        name="constitution",
        help="let a judge criticise, revise and compare answers by principles, as rows to train on",
        config=ConstitutionConfig,
        run=call("alignment.commands.constitution.constitution"),
    ),
    Command(
        name="edits",
        help="let a judge add or remove a trait of answers, for an audit of a reward model",
        config=EditsConfig,
        run=call("alignment.commands.edits.edits"),
    ),
    Command(
        name="evaluate",
        help="a trained policy beside its base",
        config=EvaluatePolicyConfig,
        run=call("alignment.commands.evaluate.evaluate"),
    ),
    Command(
        name="compare",
        help="hold ways of aligning a policy side by side, in a world of known worth",
        config=CompareConfig,
        run=call("alignment.commands.experiments.run_compare"),
    ),
    Command(
        name="overopt",
        help="push a proxy of a known reward until it breaks, in a world of known worth",
        config=OveroptConfig,
        run=call("alignment.commands.experiments.run_overopt"),
    ),
    Command(
        name="feedback-lab",
        help="labels of people and of a judge under a constitution, in a world of known worth",
        config=FeedbackLabConfig,
        run=call("alignment.commands.constitution.feedback_lab"),
    ),
    Command(
        name="loop-lab",
        help="hold turns of the loop against other ways to spend labels, in a world of known worth",
        config=LoopLabConfig,
        run=call("alignment.commands.experiments.run_loop_lab"),
    ),
    Command(
        name="exercises",
        help="exercises of textbooks in small worlds of features, beside the answers that are expected",
        config=ExercisesConfig,
        run=call("alignment.commands.exercises.exercises"),
    ),
    Command(
        name="plan",
        help="what a training takes in memory and what fits; or which way of aligning to take, with hours and cost",
        config=AdvisorConfig,
        run=call("alignment.commands.plan.plan"),
    ),
)
