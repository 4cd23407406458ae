"""The configuration of trainings that learn from the policy's own samples; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from alignment.config.loss_names import PAIR_LOSSES, PairLossName, PairLossOptions
from alignment.config.objectives import Constraint, check_multiplier, read_constraints
from alignment.config.policy_gradient_names import (
    POLICY_LOSSES,
    BaselineName,
    KlEstimatorName,
    PolicyLossName,
    PolicyLossOptions,
    ScaleName,
    check_delta,
    check_entropy_coef,
)
from alignment.config.rewards import RewardOptions, read_rewards
from alignment.config.training import PolicyConfig, check_least


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(PolicyConfig, RewardOptions):
    """Options of every training on samples of the policy; the options of rewards are in `RewardOptions`.

    Attributes:
        model: the policy to begin with, also its reference: a folder or a hub id. Without it a simulated world is made
            in the run directory: a tiny policy, fine-tuned there, its prompts and rewards.
        prompts: rows with a prompt, alone or in any form that holds one; their other columns are given to rewards.
        eval_prompts: held-out prompts; without it `eval_share` of the prompts is held out.
        constraint: a reward that is not added but held up: NAME=LEAST asks that its mean is LEAST or more, by a
            multiplier that is learned and takes the place of its weight; NAME is the reward's name in metrics; may be
            given repeatedly.
        multiplier_start: multiplier of each constraint at the start, the others' weight being 1.
        multiplier_rate: how fast the logarithm of a multiplier moves, per step and per unit by which its constraint is
            missed, times the multiplier.
        multiplier_min: smallest value of a multiplier, above 0: its steps are as large as it is, and from nearly 0 it
            would not come back.
        multiplier_max: largest value of a multiplier.
        prompts_per_step: number of prompts of a step.
        completions_per_prompt: number of completions drawn of each prompt.
        temperature: divisor of the logits, when drawing and in every log-probability; above 0.
        top_p: probability of the smallest set of tokens that is drawn from; below 1 the ratios are biased.
        max_new_tokens: largest number of tokens of a completion; one that has not ended by then is cut.
        stop: text that ends a completion; may be given repeatedly.
        max_prompt_length: tokens kept of a prompt, which loses its oldest turns, then its start.
        token_budget: tokens of a micro-batch when learning; steps do not depend on it.
        rollouts: what draws completions: own, the loops of this package; vllm, vLLM in this process; or the address of
            a vLLM server, http://HOST:PORT, which sees the run directory under the same path. A run may be resumed with
            another one.
        draw_budget: tokens of a batch when drawing, prompts counted once per completion; samples do not depend on it.
            Read where rollouts is own.
        ptx_data: rows whose likelihood is kept up while the policy learns from rewards (pretraining mix): texts,
            conversations or prompts with completions, as sft takes them; without it none.
        ptx_weight: weight of their negative log-likelihood per token; each optimizer step takes as many rows as it has
            completions.
        passes: number of optimisation passes over the completions of a step.
        minibatches: number of optimizer steps of a pass; a group is never split.
        importance_cap: largest weight that makes up for a sampler whose probabilities differ from the trainer's; 0
            leaves tokens unweighted.
        kl_every: steps between measurements of the KL to the reference where the loss needs none; 0 never measures it.
        audit_every: steps between audits on held-out prompts; 0 chooses ten per run.
        audit_prompts: largest number of held-out prompts of an audit.
        audit_reward: a reward that is never trained on, in the same forms as reward; given repeatedly, they are added.
        audit_samples: number of comparisons with the reference that an audit writes as a blind round for people.
        keep_rollouts: whether completions and their rewards are written to rollouts.jsonl.
        replay: rollouts.jsonl whose completions are taken instead of drawing new ones.
        on_alarm: what the watcher's first critical alarm does: nothing, or end the run with its policy saved.
        sample_every: steps between samples kept in samples.jsonl, the last one always; 0 keeps none.
    """

    model: str = ""
    prompts: str = ""
    eval_prompts: str = ""
    constraint: list[str] = field(default_factory=list, metadata={"repeated": True})
    multiplier_start: float = 1.0
    multiplier_rate: float = 0.1
    multiplier_min: float = 0.02
    multiplier_max: float = 20.0
    prompts_per_step: int = 16
    completions_per_prompt: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    stop: list[str] = field(default_factory=list, metadata={"repeated": True})
    max_prompt_length: int = 512
    token_budget: int = 8192
    rollouts: str = field(default="own", metadata={"may_change": True})
    draw_budget: int = 32768
    ptx_data: str = ""
    ptx_weight: float = 0.05
    passes: int = 1
    minibatches: int = 1
    importance_cap: float = 2.0
    kl_every: int = 1
    audit_every: int = 0
    audit_prompts: int = 64
    audit_reward: list[str] = field(default_factory=list, metadata={"repeated": True})
    audit_samples: int = 0
    keep_rollouts: bool = False
    replay: str = ""
    on_alarm: Literal["continue", "stop"] = "continue"
    sample_every: int = 10

    def __post_init__(self) -> None:
        PolicyConfig.__post_init__(self)
        RewardOptions.__post_init__(self)
        check_least(self, prompts_per_step=1, completions_per_prompt=1, max_new_tokens=1, max_prompt_length=1)
        check_least(
            self, passes=1, minibatches=1, kl_every=0, audit_every=0, audit_prompts=1, audit_samples=0, sample_every=0
        )
        self._check_sources()
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}, allowed is more than 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, allowed is above 0 and up to 1")
        if not all(self.stop):
            raise ValueError("a stop text is empty")
        if self.importance_cap and self.importance_cap < 1:
            raise ValueError(f"importance_cap is {self.importance_cap}, allowed is 0, or 1 or more")
        if self.minibatches > self.prompts_per_step:
            raise ValueError(
                f"minibatches is {self.minibatches}, allowed is up to prompts_per_step, {self.prompts_per_step}"
            )
        if self.audit_reward:
            read_rewards(self.audit_reward)
        if not 0 < self.ptx_weight < float("inf"):
            raise ValueError(f"ptx_weight is {self.ptx_weight}, allowed is more than 0")
        check_multiplier(self.multiplier_start, self.multiplier_rate, self.multiplier_min, self.multiplier_max)
        assert self.constraints is not None
        if self.rollouts != "own":
            self._check_vllm()

    def _check_sources(self) -> None:
        """Raises ValueError where what is learned from is missing, or is not all from the same place."""
        if bool(self.model) != bool(self.prompts):
            raise ValueError("give model and prompts together, or neither for a simulated world")
        if self.model and not self.reward:
            raise ValueError("reward is missing: name a reward model, a function, a verifier or a server")

    @property
    def plays_demonstrations(self) -> bool:
        """Whether prompts come with demonstrations, which the policy's samples are held against."""
        return False

    @property
    def source(self) -> str:
        """Where the prompts are read from."""
        return self.prompts

    @property
    def constraints(self) -> list[Constraint]:
        """What is held up.

        Raises:
            ValueError: as `read_constraints`.
        """
        if self.constraint and not self.reward:
            raise ValueError("constraint names rewards, and none is given")
        if self.constraint and self.step_reward == "steps":
            raise ValueError("step_reward is steps with a constraint, which holds up a whole completion's reward")
        return read_constraints(self.constraint, self.sources, tuple(self.gates)) if self.constraint else []

    def _check_vllm(self) -> None:
        """Raises ValueError for options that vLLM does not support."""
        is_server = self.rollouts.startswith(("http://", "https://"))
        if self.rollouts != "vllm" and not is_server:
            raise ValueError(f"rollouts is {self.rollouts!r}, allowed is own, vllm, or http://HOST:PORT")
        if "@" in self.rollouts:  # it would stand in errors and in the run's configuration
            raise ValueError("rollouts is an address with a user or a password, allowed is http://HOST:PORT")
        if self.top_p < 1:
            raise ValueError(f"top_p is {self.top_p}, allowed with rollouts by vLLM is 1")
        if self.load_in_4bit:
            raise ValueError("rollouts by vLLM are sent all weights, which load_in_4bit does not keep whole")
        if is_server and not self.model:
            raise ValueError("a simulated world makes its own policy, which no server serves: rollouts is own or vllm")


@dataclass(frozen=True, kw_only=True)
class GrpoConfig(OnlineConfig):
    """Group-relative policy optimisation and its critic-free relatives.

    Attributes:
        loss: formula of the loss: grpo, dr_grpo, dapo, bnpo, gspo, cispo, rloo, reinforce, reinforce_pp or
            reinforce_pp_baseline.
        beta: weight of the KL to the reference, per token; 0 needs no reference.
        kl_in: where the KL counts: added to the loss, or (reinforce_pp) subtracted from the rewards of tokens, whose
            advantages are then the reward less the KL still to come, normalised over the tokens of the step.
        kl_estimator: estimator of the KL to the reference.
        kl_weighted: whether the KL of a token is multiplied by the ratio, which makes its gradient that of the KL
            itself.
        clip_low: how far the ratio may fall below 1 before it is clipped; none takes the loss's own.
        clip_high: how far the ratio may rise above 1 before it is clipped; none takes the loss's own.
        delta: how large the ratio may count at most where the advantage is negative (two-sided or dual clip); none
            sets no limit.
        baseline: what is subtracted from a reward; none takes the loss's own.
        scale: what advantages are divided by; none takes the loss's own.
        entropy_coef: weight of the entropy bonus: the entropy of every token, nats, is subtracted from the loss; 0
            leaves it out.
        top_entropy_quantile: share of a step's tokens that rewards act on, those at which the policy was least certain
            (0.2 in its paper); 1 takes all.
        mask_truncated: whether completions that were cut add nothing to the loss.
        several_rewards: how several rewards become advantages: added and then held against the group's (sum_first), or
            each divided by its own spread within the group first, then added by weight and divided by the spread of the
            step's (normalise_first, GDPO), so that none is drowned by one of a larger scale.
        dynamic_sampling: number of rounds of further prompts drawn in place of groups without signal (DAPO); 0 trains
            on what there is.
    """

    loss: PolicyLossName = "grpo"
    beta: float = 0.0
    kl_in: Literal["loss", "reward"] = "loss"
    kl_estimator: KlEstimatorName = "k3"
    kl_weighted: bool = True
    clip_low: float | None = None
    clip_high: float | None = None
    delta: float | None = None
    baseline: BaselineName | None = None
    scale: ScaleName | None = None
    entropy_coef: float = 0.0
    top_entropy_quantile: float = 1.0
    mask_truncated: bool = False
    several_rewards: Literal["sum_first", "normalise_first"] = "sum_first"
    dynamic_sampling: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, dynamic_sampling=0)
        if self.several_rewards == "normalise_first":
            self._check_normalised()
        if self.kl_in == "reward":
            self._check_kl_in_reward()
        subtracted = self.options.subtracted
        compared = subtracted in ("group", "leave_one_out")
        if compared and self.completions_per_prompt < 2:
            raise ValueError("completions_per_prompt is 1: a group of one has nothing to be compared with")
        by_token = POLICY_LOSSES[self.loss].ratio == "token" and subtracted == "group"
        if self.step_reward == "steps" and not by_token:
            raise ValueError(
                f"step_reward is steps with loss {self.loss} and baseline {subtracted}: it goes with baseline group "
                "and losses whose ratio is a token's"
            )
        if self.loss == "reinforce" and self.passes * self.minibatches > 1:
            raise ValueError("reinforce is for samples of the present policy: passes and minibatches are 1")

    def _check_kl_in_reward(self) -> None:
        """Raises ValueError for what does not go with a KL in the rewards of tokens."""
        if self.loss != "reinforce_pp" or not self.beta:
            raise ValueError(f"kl_in is reward with loss {self.loss} and beta {self.beta}: it is for reinforce_pp's KL")
        if self.baseline or self.scale or self.several_rewards != "sum_first" or self.step_reward == "steps":
            raise ValueError("kl_in is reward: it has no baseline, scale, several_rewards or step_reward of its own")

    def _check_normalised(self) -> None:
        """Raises ValueError for what does not go with rewards that are normalised one by one."""
        for name in ("baseline", "scale", "gate"):
            if value := getattr(self, name):
                raise ValueError(f"{name} is {value!r}, normalise_first compares rewards by itself: leave it out")
        if self.step_reward == "steps":
            raise ValueError("step_reward is steps, normalise_first compares rewards of whole completions")
        if self.options.subtracted != "group":
            raise ValueError(f"loss {self.loss} has another baseline than the group's, which normalise_first takes")

    @property
    def options(self) -> PolicyLossOptions:
        """The loss with its numbers.

        Raises:
            ValueError: for a number out of range, or one that the loss does not read.
        """
        return PolicyLossOptions(
            loss=self.loss,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            delta=self.delta,
            baseline=self.baseline,
            scale=self.scale,
            beta=self.beta if self.kl_in == "loss" else 0.0,
            kl_estimator=self.kl_estimator,
            kl_weighted=self.kl_weighted,
            entropy_coef=self.entropy_coef,
            top_entropy_quantile=self.top_entropy_quantile,
        )


@dataclass(frozen=True, kw_only=True)
class PpoConfig(OnlineConfig):
    """Proximal policy optimisation with a value model.

    Attributes:
        clip_range: how far the ratio may move from 1 before it is clipped.
        delta: how large the ratio may count at most where the advantage is negative (dual clip, 3 in its paper); none
            sets no limit.
        entropy_coef: weight of the entropy bonus: the mean entropy of tokens, nats, is subtracted from the loss; 0
            leaves it out.
        clip_range_value: how far a value may move from the rollout's before it is clipped, in reward units.
        value_weight: weight of the value loss.
        gamma: discount of a token's time.
        lam: lambda of GAE, how far rewards count beyond the value's own forecast.
        beta: weight of the KL to the reference.
        kl_in: where the KL counts: subtracted from the rewards of tokens, or added to the loss.
        kl_target: KL to the reference that beta is adapted to, nats a completion; 0 keeps beta fixed.
        kl_horizon: number of completions in which beta may change by a fifth.
        stop_pass_kl: ends the passes of a step once the policy has moved by 1.5 times this many nats a token; 0 never.
        stop_run_kl: ends the run, with its model saved, once the KL to the reference exceeds this many nats a
            completion; 0 never.
        value_learning_rate: peak learning rate of the value head or network; 0 takes that of the policy.
        value: what the value head reads: the policy's own last hidden states, or a network of its own.
        value_model: folder of a reward model that a network of its own begins from; without it, from the policy.
        whiten_rewards: whether rewards of tokens are divided by their standard deviation.
        whiten_advantages: whether advantages are brought to mean 0 and standard deviation 1.
    """

    completions_per_prompt: int = 1
    prompts_per_step: int = 64
    passes: int = 4
    temperature: float = 0.7
    clip_range: float = 0.2
    delta: float | None = None
    entropy_coef: float = 0.0
    clip_range_value: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    beta: float = 0.05
    kl_in: Literal["reward", "loss"] = "reward"
    kl_target: float = 0.0
    kl_horizon: float = 10_000.0
    stop_pass_kl: float = 0.0
    stop_run_kl: float = 0.0
    value_learning_rate: float = 0.0
    value: Literal["trunk", "separate"] = "trunk"
    value_model: str = ""
    whiten_rewards: bool = False
    whiten_advantages: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, beta=0, kl_target=0, stop_pass_kl=0, stop_run_kl=0, value_weight=0, value_learning_rate=0)
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 to 1")
        for name in ("clip_range", "clip_range_value", "kl_horizon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is more than 0")
        if self.delta is not None:
            check_delta(self.delta, self.clip_range)
        check_entropy_coef(self.entropy_coef)
        if self.value_model and self.value != "separate":
            raise ValueError("value_model is for a value network of its own: give value separate too")
        if self.kl_target and not self.beta:
            raise ValueError("kl_target adapts beta, which may not be 0 then")


@dataclass(frozen=True, kw_only=True)
class OnlineDpoConfig(OnlineConfig):
    """Direct preference optimisation on pairs of the policy's own samples.

    Attributes:
        pairs: what a pair is: the best and the worst sample of a prompt by a reward (best_worst), or self-play (spin):
            a demonstration against each of the policy's own samples, the reference being the policy that drew them.
        data: demonstrations for self-play, in place of prompts: rows of a prompt with a completion, or any other form
            with prompts that sft takes; rewards are then measured where some are named, and need not be.
        loss: formula of a pair's loss, as of dpo; aot and aot_unpaired, which compare pairs with each other, are not
            for this.
        beta: factor of the log-ratio margin: small lets the policy move far from the reference, large holds it close;
            none takes the loss's own, 0.1 for most.
        label_smoothing: share of labels taken to be flipped, 0 up to 0.5; none takes the loss's own.
        soft_labels: whether each pair gets the mean over the reward's members of sigma(difference), at least 0.5, as
            the probability that chosen is better; rewards count as log-odds then.
        reference_every: number of steps after which the policy as it is becomes the reference of the loss; 0 keeps the
            policy of the start. The KL that is reported stays to that.
        importance_cap: without effect here: there are no ratios of sampler and trainer.
    """

    pairs: Literal["best_worst", "spin"] = "best_worst"
    data: str = ""
    loss: PairLossName = "sigmoid"
    beta: float | None = None
    label_smoothing: float | None = None
    soft_labels: bool = False
    reference_every: int = 0
    importance_cap: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, completions_per_prompt=1 if self.plays_demonstrations else 2, reference_every=0)
        traits = PAIR_LOSSES[self.loss]
        if traits.whole_batch:
            raise ValueError(f"loss {self.loss} compares the pairs of a whole batch: it is for dpo")
        if self.step_reward == "steps":
            raise ValueError("step_reward is steps: a pair compares whole completions, allowed is any other")
        if self.importance_cap:
            raise ValueError(f"importance_cap is {self.importance_cap}, a loss of pairs weighs no tokens: allowed is 0")
        if self.reference_every and not traits.needs_reference:
            raise ValueError(f"reference_every is {self.reference_every}, loss {self.loss} has no reference")
        if self.reference_every and self.lora:
            raise ValueError("reference_every goes with training all weights: with lora the reference has no adapters")
        if self.plays_demonstrations:
            self._check_spin()
        assert self.options

    def _check_sources(self) -> None:
        if not self.plays_demonstrations:
            if self.data:
                raise ValueError("data holds demonstrations, for pairs spin: give prompts")
            super()._check_sources()
        elif self.prompts:
            raise ValueError("pairs is spin: its prompts come with demonstrations, give data in place of prompts")
        elif bool(self.model) != bool(self.data):
            raise ValueError("give model and data together, or neither for a simulated world")

    def _check_spin(self) -> None:
        """Raises ValueError for what has no meaning in self-play."""
        if not PAIR_LOSSES[self.loss].needs_reference:
            raise ValueError(f"pairs is spin: loss {self.loss} has no reference, which self-play is held to")
        for name in ("soft_labels", "reference_every", "constraint"):
            if value := getattr(self, name):
                raise ValueError(
                    f"{name} is {value!r}, pairs spin has no reward and takes the policy of each step as its reference"
                )
        if self.passes * self.minibatches == 1:
            raise ValueError(
                "pairs is spin with one optimizer step on each draw: the policy is its own reference there, and the "
                "gradient that of sft with noise; give minibatches or passes"
            )

    @property
    def plays_demonstrations(self) -> bool:
        return self.pairs == "spin"

    @property
    def source(self) -> str:
        return self.data if self.plays_demonstrations else self.prompts

    @property
    def options(self) -> PairLossOptions:
        """The loss with its numbers.

        Raises:
            ValueError: for a number out of range, or one that the loss does not read.
        """
        return PairLossOptions(loss=self.loss, beta=self.beta, label_smoothing=self.label_smoothing)
