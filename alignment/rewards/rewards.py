"""From completions to one number each: sources weighed and added, uncertainty and plain faults subtracted.

    penalised = objective(sum_i conservative(weight_i reward_i))     gates and constraints: alignment.rewards.objectives
    total = penalised - length term - repetition term - missing-EOS term

    with load_rewards(config, policy_tokenizer=tokenizer) as rewards:
        scored = rewards.score(RewardBatch(...))    # scored.total: (B,)
        run.log(step, {..., **scored.metrics()})

No torch, until a reward model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from alignment.config.objectives import Constraint
from alignment.config.rewards import RewardOptions, RewardSpec, StepReward
from alignment.rewards.functions import FunctionReward
from alignment.rewards.objectives import gate_shares, gated
from alignment.rewards.rubric import GradedReward, RubricReward
from alignment.rewards.server import RemoteReward
from alignment.rewards.source import RewardBatch, RewardSource, ask
from alignment.rewards.spans import Credits, SpanReward, credit, joined_credits, token_ends
from alignment.verifiers.verifiers import VERIFIERS
from alignment.watch.text_metrics import repetition
from rewardkit.reward.reward import Penalty, Reward, conservative, spread_within

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rewardkit.data.records import Message

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WeightedSource:
    """A source with its name in metrics and its weight."""

    name: str
    weight: float = 1.0
    source: RewardSource


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Penalties that are subtracted from rewards for countable faults.

        length_term = length_penalty max(0, L - length_free)
        repetition_term = repetition_penalty * share of repeated 4-grams of words
        missing_eos_term = missing_eos_penalty where a completion was cut

    With length_penalty 1 / C and length_free the longest length less C, the first is the soft overlong punishment of
    DAPO (Yu et al. 2025, eq. 13, arXiv 2503.14476). The details of "N implementation details" let -1 stand in the
    reward's place where EOS is missing; here the penalty is subtracted, so that cut completions still differ.

    Attributes:
        length_penalty: per token; per word where tokens are not known.
    """

    length_penalty: float = 0.0
    length_free: int = 0
    repetition_penalty: float = 0.0
    missing_eos_penalty: float = 0.0

    def of(self, batch: RewardBatch) -> dict[str, np.ndarray]:
        """(B,) by name, each 0 or more; those of penalty 0 are left out."""
        terms: dict[str, np.ndarray] = {}
        if self.length_penalty:
            terms["length"] = self.length_penalty * np.maximum(batch.lengths() - self.length_free, 0)
        if self.repetition_penalty:
            shares = [repetition(text) for text in batch.completions]
            terms["repetition"] = self.repetition_penalty * np.array(shares)
        if self.missing_eos_penalty:
            cut = ~np.asarray(batch.finished, dtype=bool) if len(batch.finished) else np.zeros(len(batch), dtype=bool)
            terms["missing_eos"] = self.missing_eos_penalty * cut
        return terms


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """B completions and what they are worth.

    Attributes:
        by_source: each source's rewards by name, unweighted; of a rubric also the grades by criterion, NAME/CRITERION.
        raw: the objective of what is not penalised. Its members are one of each source put together in every way: with
            one ensemble of K and single-valued others, K members that these shift.
        penalised: (B,) under the conservative rule; uncertainties of different sources count as independent.
        terms: (B,) by name, what is subtracted besides.
        total: (B,) penalised less the terms.
        spans: (B,) by name, how many spans each completion has; of sources that reward spans.
        credits: the total at the tokens that earn it; None where it is the whole completion's.
        parts: (B,) by source that is added, under the conservative rule, as of weight 1 or -1.
        weights: of the parts, more than 0; without gates their weighted sum is penalised, up to a constant.
        gates: (B,) by gate, how far it is open, 0 to 1.
    """

    by_source: Mapping[str, Reward]
    raw: Reward
    penalised: np.ndarray
    terms: Mapping[str, np.ndarray]
    total: np.ndarray
    spans: Mapping[str, np.ndarray] = field(default_factory=dict)
    credits: Credits | None = None
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    gates: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_rewarded(self) -> bool:
        """Whether anything was measured that a completion is worth more or less by."""
        return bool(self.by_source or self.terms)

    def take(self, indices: Sequence[int]) -> ScoredBatch:
        """Some of the completions."""
        picked = list(indices)
        return ScoredBatch(
            by_source={name: Reward(members=reward.members[:, picked]) for name, reward in self.by_source.items()},
            raw=Reward(members=self.raw.members[:, picked]),
            penalised=self.penalised[picked],
            terms={name: term[picked] for name, term in self.terms.items()},
            total=self.total[picked],
            spans={name: counts[picked] for name, counts in self.spans.items()},
            credits=self.credits.take(picked) if self.credits else None,
            parts={name: part[picked] for name, part in self.parts.items()},
            weights=self.weights,
            gates={name: share[picked] for name, share in self.gates.items()},
        )

    def metrics(self) -> dict[str, float]:
        """Flat numbers for a step's record: means over completions; standard deviations are over them, ddof = 1.

        reward/std is the mean over completions of the standard deviation over members. Empty where nothing rewards.
        """
        if not self.is_rewarded:
            return {}
        metrics = {
            "reward/mean": float(self.total.mean()),
            "reward/spread": _std(self.total),
            "reward/raw": float(self.raw.mean.mean()),
            "reward/std": float(self.raw.std.mean()),
            "reward/penalised": float(self.penalised.mean()),
        }
        metrics |= {f"penalty/{name}": float(term.mean()) for name, term in self.terms.items()}
        metrics |= {f"gate/{name}": float(share.mean()) for name, share in self.gates.items()}
        for name, reward in self.by_source.items():
            metrics |= {f"rewards/{name}/mean": float(reward.mean.mean()), f"rewards/{name}/std": _std(reward.mean)}
        return metrics | {f"rewards/{name}/spans": float(counts.mean()) for name, counts in self.spans.items()}


class Rewards:
    """The weighted sources of a training, combined into one number; a context manager that ends their workers.

    Args:
        sources: of different names; without any, all completions are worth 0 less the terms.
        penalty: see `rewardkit.reward.reward.conservative`.
        penalty_strength: its strength.
        terms: what is subtracted besides; None subtracts nothing.
        step_reward: what stands for rewards of spans; `steps` gives `ScoredBatch.credits` too.
        tokenizer: of the policy, which finds spans of characters among tokens; read by `steps`.
        gates: by source, from which reward on it is open; None multiplies by it. It is not added.
        gate_reward: what a closed gate gives.
        constraints: sources that are added with a multiplier as their weight, see `alignment.rewards.objectives`.

    Attributes:
        multipliers: of the constraints, by source; whoever learns them sets them.
    """

    def __init__(
        self,
        sources: Sequence[WeightedSource],
        *,
        penalty: Penalty = "mean",
        penalty_strength: float = 1.0,
        terms: Terms | None = None,
        step_reward: StepReward = "min",
        tokenizer: PreTrainedTokenizerBase | None = None,
        gates: Mapping[str, float | None] | None = None,
        gate_reward: float = 0.0,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources of rewards are {names}, allowed is a name of its own for each")
        self.sources = tuple(sources)
        self.penalty: Penalty = penalty
        self.penalty_strength = penalty_strength
        self.terms = terms or Terms()
        self.step_reward: StepReward = step_reward
        self.tokenizer = tokenizer
        self.gates = dict(gates or {})
        self.gate_reward = gate_reward
        self.constraints = tuple(constraints)
        self.multipliers = {one.name: 1.0 for one in self.constraints}
        self._warned = False

    def score(self, batch: RewardBatch) -> ScoredBatch:
        """Rewards of the B completions.

        Raises:
            RewardError: naming source, sample and cause, if a source gives no finite number for each.
        """
        answers = {one.name: ask(one.source, batch) for one in self.sources}
        spans = {name: answer for name, answer in answers.items() if isinstance(answer, SpanReward)}
        by_source = {
            name: answer.whole(self.step_reward) if isinstance(answer, SpanReward) else answer
            for name, answer in answers.items()
        }
        weighted = {one.name: Reward(members=one.weight * by_source[one.name].members) for one in self.sources}
        numbers: dict[tuple[Message, ...], int] = {}
        group = np.array([numbers.setdefault(tuple(prompt), len(numbers)) for prompt in batch.prompts])
        rule = partial(conservative, rule=self.penalty, strength=self.penalty_strength, group=group)
        valued = {name: rule(reward) for name, reward in weighted.items()}
        shares = {name: gate_shares(valued[name], least) for name, least in self.gates.items()}
        limits = {one.name: one.least for one in self.constraints}
        summed = [name for name in weighted if name not in shares and name not in limits]
        nothing = np.zeros(len(batch))
        raw = add([weighted[name] for name in summed]) if summed else Reward(members=nothing[None])
        penalised = _total([*(valued[name] for name in summed), nothing])
        self._warn_of_penalty(raw.mean, penalised, group)
        for share in shares.values():
            raw = Reward(members=gated(raw.members, share, closed=self.gate_reward))
            penalised = gated(penalised, share, closed=self.gate_reward)
        divisor = 1.0 + sum(self.multipliers.values())
        for name, least in limits.items():
            raw = add([raw, Reward(members=self.multipliers[name] * (weighted[name].members - least))])
            penalised = penalised + self.multipliers[name] * (valued[name] - least)
        penalised = penalised / divisor
        terms = self.terms.of(batch)
        total = penalised - _total([*terms.values(), nothing])
        sizes = {one.name: abs(one.weight) for one in self.sources if one.name in summed} | self.multipliers
        return ScoredBatch(
            by_source={**by_source, **criteria_of(answers)},
            raw=Reward(members=raw.members / divisor),
            penalised=penalised,
            terms=terms,
            total=total,
            parts={one.name: valued[one.name] / abs(one.weight) for one in self.sources if one.name in sizes},
            weights={name: size / divisor for name, size in sizes.items()},
            gates=shares,
            spans={name: answer.counts for name, answer in spans.items()},
            credits=self._credits(batch, spans, group, total) if self.step_reward == "steps" else None,
        )

    def _credits(
        self, batch: RewardBatch, spans: Mapping[str, SpanReward], group: np.ndarray, total: np.ndarray
    ) -> Credits:
        """The total at tokens: each span's weighted reward under the conservative rule at its end, what is left last.

        Raises:
            ValueError: if the tokens of the completions, or the tokenizer that finds spans among them, are not known.
        """
        if not len(batch.completion_ids):
            raise ValueError("step_reward is steps, which credits tokens, and those of the completions are not known")
        weights = {one.name: one.weight for one in self.sources}
        by_span = [
            (
                answer.completion,
                token_ends(answer, batch.completions, batch.completion_ids, self.tokenizer),
                conservative(
                    Reward(members=weights[name] * answer.members),
                    self.penalty,
                    strength=self.penalty_strength,
                    group=group[answer.completion],
                ),
            )
            for name, answer in spans.items()
        ]
        return credit(by_span, total, np.array(batch.num_tokens))

    def _warn_of_penalty(self, raw: np.ndarray, penalised: np.ndarray, group: np.ndarray) -> None:
        """Says once where the penalty, not the reward, decides which completion of a prompt is the better one."""
        signal, penalty = spread_within(raw, group), spread_within(raw - penalised, group)
        if penalty > signal and not self._warned:
            self._warned = True
            logger.warning(
                "penalty %s of strength %g varies by %.3g among a prompt's completions, the reward itself by %.3g: the "
                "members' disagreement decides more than the reward; lower penalty_strength",
                *(self.penalty, self.penalty_strength, penalty, signal),
            )

    def __call__(self, batch: RewardBatch) -> Reward:
        """Returns the total as the reward of one member, so that the sum is itself a source."""
        return Reward(members=self.score(batch).total[None])

    def close(self) -> None:
        """Ends the workers; scoring again starts them anew."""
        for weighted in self.sources:
            weighted.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def joined_scores(parts: Sequence[ScoredBatch]) -> ScoredBatch:
    """Joins the scores of several batches from the same sources, in order."""
    first = parts[0]

    def members(of: Sequence[Reward]) -> Reward:
        return Reward(members=np.concatenate([reward.members for reward in of], axis=1))

    return ScoredBatch(
        by_source={name: members([part.by_source[name] for part in parts]) for name in first.by_source},
        raw=members([part.raw for part in parts]),
        penalised=np.concatenate([part.penalised for part in parts]),
        terms={name: np.concatenate([part.terms[name] for part in parts]) for name in first.terms},
        total=np.concatenate([part.total for part in parts]),
        spans={
            name: np.concatenate([part.spans.get(name, np.ones(len(part.total), dtype=np.int64)) for part in parts])
            for name in dict.fromkeys(name for part in parts for name in part.spans)
        },
        credits=joined_credits([part.credits for part in parts if part.credits]) if first.credits else None,
        parts={name: np.concatenate([part.parts[name] for part in parts]) for name in first.parts},
        weights=first.weights,
        gates={name: np.concatenate([part.gates[name] for part in parts]) for name in first.gates},
    )


def criteria_of(answers: Mapping[str, Reward | SpanReward]) -> dict[str, Reward]:
    """Grades by rubrics among the answers of sources, by source and criterion."""
    return {
        f"{name}/{criterion}": grades
        for name, answer in answers.items()
        if isinstance(answer, GradedReward)
        for criterion, grades in answer.criteria.items()
    }


def add(rewards: Sequence[Reward]) -> Reward:
    """Adds independent rewards: every combination of their members, (K_1 K_2 ..., B).

    Its mean is the sum of the means, its minimum the sum of the minima, and its variance with ddof = 0 the sum of the
    variances, as those of independent uncertainties are.
    """
    members = rewards[0].members
    for reward in rewards[1:]:
        members = (members[:, None] + reward.members[None]).reshape(-1, members.shape[1])
    return Reward(members=members)


def load_rewards(
    options: RewardOptions,
    *,
    policy_tokenizer: PreTrainedTokenizerBase | None = None,
    in_bf16: bool = False,
    offload: bool = False,
    constraints: Sequence[Constraint] = (),
) -> Rewards:
    """Loads the sources that a configuration names, if any: models into memory, functions into their workers.

    Args:
        policy_tokenizer: of the policy that writes the completions; reward models with the same tokens and template
            then score its tokens as they are.
        in_bf16: whether reward models hold their matrices in bf16, see `rewardkit.weights.held`.
        offload: whether reward models lie in the CPU's memory between their uses.
        constraints: sources that are to be at least so much, instead of being added.

    Raises:
        ValueError: if a folder holds no reward model.
        RewardError: if a function cannot be loaded.
        ImportError: if a package is missing that a model takes.
    """
    sources: list[WeightedSource] = []
    try:
        for spec in options.sources if options.reward else ():
            source = _load(spec, options, policy_tokenizer, in_bf16=in_bf16, offload=offload)
            sources.append(WeightedSource(name=spec.name, weight=spec.weight, source=source))
            if isinstance(source, FunctionReward | RubricReward):
                source.start()
    except BaseException:
        for weighted in sources:
            weighted.source.close()
        raise
    return Rewards(
        sources,
        penalty=options.penalty,
        penalty_strength=options.penalty_strength,
        terms=Terms(
            length_penalty=options.length_penalty,
            length_free=options.length_free,
            repetition_penalty=options.repetition_penalty,
            missing_eos_penalty=options.missing_eos_penalty,
        ),
        step_reward=options.step_reward,
        tokenizer=policy_tokenizer,
        gates=options.gates if options.reward else {},
        gate_reward=options.gate_reward,
        constraints=constraints,
    )


def _load(
    spec: RewardSpec,
    options: RewardOptions,
    policy_tokenizer: PreTrainedTokenizerBase | None,
    *,
    in_bf16: bool,
    offload: bool,
) -> RewardSource:
    timeout_s = options.reward_timeout_s
    match spec.kind:
        case "function":
            return FunctionReward(spec.target, name=spec.name, timeout_s=timeout_s)
        case "verifier":
            make = VERIFIERS[spec.target].make
            target = f"{make.__module__}:{make.__name__}"
            return FunctionReward(target, argument=spec.argument, name=spec.name, timeout_s=timeout_s)
        case "rubric":
            return RubricReward(spec.target, name=spec.name, timeout_s=timeout_s)
        case "server":
            return RemoteReward(spec.target, name=spec.name, timeout_s=timeout_s)
        case "model":
            from alignment.rewards.models import ModelReward
            from alignment.rewards.process import ProcessReward
            from rewardkit.reward.load import load_reward_fn
            from rewardkit.reward.metadata import read_card
            from rewardkit.reward.step_rewards import StepRewardFn

            reward_fn = load_reward_fn(spec.target, criterion_weights=spec.criterion_weights, in_bf16=in_bf16)
            if isinstance(reward_fn, StepRewardFn):
                return ProcessReward(reward_fn, name=spec.name, steps_by=options.steps_by, offload=offload)
            return ModelReward(
                reward_fn,
                read_card(spec.target),
                name=spec.name,
                normalise=options.normalise_rewards,
                criterion_weights=spec.criterion_weights,
                policy_tokenizer=policy_tokenizer,
                offload=offload,
            )


def _total(values: Sequence[np.ndarray]) -> np.ndarray:
    return np.sum(list(values), axis=0)


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
