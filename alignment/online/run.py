"""One run of learning from the policy's own samples: prompts, rewards, steps, audits, checkpoints, the saved policy.

It connects an algorithm (`alignment.online.grpo`, `ppo`, `online_dpo`) with its completions
(`alignment.rollouts.collector`) and the files. Prompts are split into those to train on and those held out. A run that
is continued takes the steps it would have taken: what is drawn depends on seed, step and prompt alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from alignment.config.online import OnlineConfig
from alignment.config.rewards import RewardOptions
from alignment.offline.run import LearningRates, shards_weights
from alignment.online.algorithm import Algorithm
from alignment.online.audit import Audit
from alignment.online.loop import OnlineLoop
from alignment.online.pretraining_mix import PretrainingMix, read_mix
from alignment.online.update import PolicyUpdate
from alignment.policy.data import DEMONSTRATION, read_demonstrated_prompts
from alignment.policy.policy import Policy, build_policy, check_model, prepare_tokenizer
from alignment.policy.policy_forward import Forward, place
from alignment.policy.publishing import open_tracker, push_to_hub, write_model_card
from alignment.policy.reference import LiveReference
from alignment.rewards.rewards import load_rewards
from alignment.rollouts.collector import Collector
from alignment.rollouts.source import OwnRollouts, RolloutSource, check_rollouts
from alignment.simulated_world import GOLD, MAX_NEW_TOKENS, make_world
from rewardkit.data.prompts import PromptRow, distinct_rows, read_prompt_rows
from rewardkit.data.splitting import split_by_prompt
from rewardkit.distributed import collectives, sharding
from rewardkit.distributed.optimization import adamw, wants_bf16
from rewardkit.network.models import PRESETS
from rewardkit.network.template_check import TemplateCheck
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, Results, RunContext
from rewardkit.training.steps import RATE_FACTOR
from rewardkit.training.training_run import join_processes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)
Config = TypeVar("Config", bound=OnlineConfig)
LEARNING_RATES = LearningRates(small=1e-4, lora=1e-5, full=1e-6)


@dataclass(frozen=True, kw_only=True)
class PromptSides:
    """Prompts to train on and held out."""

    train: list[PromptRow]
    held_out: list[PromptRow]
    bad: list[str]


def read_prompt_sides(config: OnlineConfig) -> PromptSides:
    """Reads the prompts that a configuration names, each once, or once with each of its demonstrations.

    Raises:
        ValueError: naming file and line, if a row is bad; if a side has no prompt.
        FileNotFoundError: if there is no such source.
    """
    asked = TemplateCheck([] if config.model in PRESETS else [config.model], writes=True)

    def check(row: PromptRow, _place: str) -> None:
        asked(row.prompt, ())

    read_rows = read_demonstrated_prompts if config.plays_demonstrations else read_prompt_rows
    read = read_rows(config.source, on_bad_row=config.on_bad_row, check=check)
    bad = [f"{row.place}: {row.problem}" for row in read.bad_rows]
    rows = distinct_rows(read.rows, apart_by=DEMONSTRATION if config.plays_demonstrations else "")
    if config.eval_prompts:
        others = read_prompt_rows(config.eval_prompts, on_bad_row=config.on_bad_row, check=check)
        bad += [f"{row.place}: {row.problem}" for row in others.bad_rows]
        train, held_out = rows, distinct_rows(others.rows)
    else:
        train, held_out = split_by_prompt(rows, eval_share=config.eval_share, seed=config.seed)
        held_out = distinct_rows(held_out)
    for name, side in (("to train on", train), ("held out", held_out)):
        if not side:
            raise ValueError(f"{config.source}: {len(rows)} different prompts, none of them {name}")
    return PromptSides(train=train, held_out=held_out, bad=bad)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an algorithm is built from.

    Attributes:
        reference: None where no KL is asked for.
        anchor: a copy of the policy that may move; None where none is asked for.
        learning_rate: the peak.
        mix: what is learned beside the rewards; None where nothing is.
    """

    policy: Policy
    forward: Forward
    reference: LiveReference | None
    anchor: LiveReference | None
    learning_rate: float
    mix: PretrainingMix | None = None

    def update(
        self, config: OnlineConfig, value: torch.nn.Module | None = None, *, value_rate: float = 0.0
    ) -> PolicyUpdate:
        """Builds the optimizer steps of the policy, and of what is trained with it.

        Args:
            value_rate: peak learning rate of the value model; 0 takes the policy's.
        """
        policy, of_value = [self.policy.network], [value] if value else []
        together = [policy, of_value] if value_rate else [[*policy, *of_value]]
        optimizer = adamw(
            [group for modules in together for group in _groups(modules, config.weight_decay)],
            self.learning_rate,
            optimizer=config.optimizer,
            trained_weights=config.trained_weights,
            seed=config.seed,
        )
        if value_rate:
            values = {id(p) for module in of_value for p in module.parameters()}
            for group in optimizer.param_groups:
                if id(group["params"][0]) in values:
                    group[RATE_FACTOR] = value_rate / self.learning_rate
        return PolicyUpdate(
            self.forward,
            optimizer,
            temperature=config.temperature,
            token_budget=config.token_budget,
            max_grad_norm=config.max_grad_norm,
            mix=self.mix,
        )


def _groups(modules: Sequence[torch.nn.Module], weight_decay: float) -> list[tuple[list[torch.nn.Parameter], float]]:
    """Trained parameters with their weight decay, which applies to matrices only."""
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [([p for p in trained if p.dim() >= 2], weight_decay), ([p for p in trained if p.dim() < 2], 0.0)]


Build = Callable[[Parts], tuple[Algorithm, PolicyUpdate]]
"""An algorithm, and the optimizer steps it takes."""


def train_online(
    context: RunContext[OnlineConfig],
    build: Build,
    *,
    method: str,
    needs_reference: bool,
    needs_anchor: bool = False,
) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued.

    Args:
        method: for people.
        needs_reference: whether the loss asks for a KL.
        needs_anchor: whether it asks for a reference that moves.
    """
    run, progress = context.run, context.progress
    shards = shards_weights(context.config)
    check_rollouts(context.config)
    tracker = open_tracker(context.config, run)
    config = in_world(context.config, context.interruption, progress)
    device = join_processes(run)
    sides = read_prompt_sides(config)
    if run:
        _tell(progress, sides)
    config = within_positions(config)
    needs_reference = needs_reference or bool(config.kl_every)
    parts = load_parts(config, device, needs_reference=needs_reference, needs_anchor=needs_anchor, shards=shards)
    policy = parts.policy
    algorithm, update = build(parts)
    if config.constraint:
        algorithm.carried.begin_multipliers(len(config.constraint), config.multiplier_start)
    collectives.broadcast_parameters(p for p in algorithm.carried.parameters() if not sharding.is_sharded(p))
    with ExitStack() as stack:
        held: dict[str, Any] = {"in_bf16": wants_bf16(config.frozen_weights, device), "offload": config.offload_frozen}
        held["policy_tokenizer"] = policy.tokenizer
        rewards = stack.enter_context(load_rewards(config, constraints=config.constraints, **held))
        audit_rewards = None
        if config.audit_reward:
            options = RewardOptions(
                reward=config.audit_reward, steps_by=config.steps_by, reward_timeout_s=config.reward_timeout_s
            )
            audit_rewards = stack.enter_context(load_rewards(options, **held))
        source = stack.enter_context(closing(open_rollouts(policy, config, parts.forward)))
        collector = Collector(policy, sides.train, rewards, config, source)
        if run and collector.num_cut:
            logger.warning("%d prompts are cut to their last %d tokens", collector.num_cut, config.max_prompt_length)
        audited = Collector(policy, sides.held_out, rewards, config, source)
        audit = Audit(config, audited, audit_rewards, update, parts.reference, run.dir if run else None)
        rate = parts.learning_rate
        loop = OnlineLoop(config, run, collector, audit, algorithm, update, tracker, progress, learning_rate=rate)
        with context.interruption.patient():
            ended = loop.run_steps(lambda: context.interruption.asked)
    if shards and ended is not None:
        policy.save(Path(config.out))
    collectives.destroy_process_group()
    tracker.finish()
    if ended is None or not run:
        return None
    if not shards:
        policy.save(run.dir)
    results = {**ended, "num_train": len(sides.train), "num_held_out": len(sides.held_out)}
    data = f"Prompts of {config.source}; rewards: {', '.join(config.reward) or 'none'}"
    write_model_card(run.dir, config, method, data=data, results=results)
    push_to_hub(config, run.dir)
    loop.checkpoint.remove()
    return results


def within_positions(config: Config) -> Config:
    """Shortens the prompts' length in the configuration so that the model's positions suffice.

    Raises:
        ValueError: if the model cannot be read, or its positions leave no room for a prompt.
    """
    positions = check_model(config.model)
    room = (positions or 2**30) - config.max_new_tokens
    if room < 1:
        raise ValueError(f"max_new_tokens is {config.max_new_tokens}, the model takes {positions} tokens in all")
    return replace(config, max_prompt_length=min(config.max_prompt_length, room))


def load_parts(
    config: OnlineConfig, device: torch.device, *, needs_reference: bool, needs_anchor: bool, shards: bool
) -> Parts:
    """Loads the policy onto its device, sharded where that is asked for, with its references and learning rate."""
    tokenizer = prepare_tokenizer(config, Path(config.out), [])
    max_length = config.max_prompt_length + config.max_new_tokens
    policy = build_policy(config, tokenizer, max_length=max_length, device=device)
    forward = place(policy, config, device, will_be_sharded=shards)
    # Copies are made before the weights are sharded.
    reference, anchor = (LiveReference(policy, forward) if asked else None for asked in (needs_reference, needs_anchor))
    if shards:
        forward = forward.shard(device)
        for live in (reference, anchor):
            if live:
                live.shard(forward)
    return Parts(
        policy=policy,
        forward=forward,
        reference=reference,
        anchor=anchor,
        learning_rate=LEARNING_RATES.peak(config, policy.network.num_parameters()),
        mix=_mix(config, tokenizer, max_length),
    )


def _mix(config: OnlineConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> PretrainingMix | None:
    if not config.ptx_data:
        return None
    return read_mix(config.ptx_data, tokenizer, max_length=max_length, weight=config.ptx_weight, seed=config.seed)


def in_world(config: Config, interruption: Interruption, progress: Progress) -> Config:
    """The configuration with model, prompts and rewards of a simulated world, made first, where it names none.

    Raises:
        KeyboardInterrupt: if it was asked to stop while the world's policy is made; the run can be continued.
    """
    if config.model:
        return config
    if collectives.launched_world_size() > 1:
        raise ValueError("a simulated world is made by one process: name a model for several")
    files = make_world(Path(config.out) / "world", interruption, progress, seed=config.seed)
    source = {"data": files.demonstrations} if config.plays_demonstrations else {"prompts": files.prompts}
    return replace(
        config,
        model=files.sft,
        **source,
        eval_prompts=config.eval_prompts or files.held_out,
        reward=config.reward or [GOLD],
        max_new_tokens=min(config.max_new_tokens, MAX_NEW_TOKENS),
    )


def _tell(progress: Progress, sides: PromptSides) -> None:
    progress.say(f"{len(sides.train):,} prompts to train on, {len(sides.held_out):,} held out")
    for bad in sides.bad[:20]:
        logger.warning("left out %s", bad)


def open_rollouts(policy: Policy, config: OnlineConfig, forward: Forward) -> RolloutSource:
    """Opens the source of rollouts that a configuration names.

    Raises:
        RolloutError: if vLLM does not start.
    """
    if config.rollouts == "own":
        return OwnRollouts(policy, config, forward.sharded)
    if config.rollouts == "vllm":
        from alignment.rollouts.vllm_engine import VllmEngine

        return VllmEngine(policy, config)
    from alignment.rollouts.vllm_server import VllmServer

    return VllmServer(config.rollouts, policy, config.out)
