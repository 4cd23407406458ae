"""Names of the losses that train a policy on rewards of its own samples, and what each reads: for configurations.

Light on purpose. The losses themselves are in `alignment.losses.policy_gradient`, the advantages in
`alignment.losses.advantages`, the estimators of the KL in `alignment.losses.kl`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

PolicyLossName = Literal[
    "grpo",
    "dr_grpo",
    "dapo",
    "bnpo",
    "gspo",
    "cispo",
    "rloo",
    "reinforce",
    "reinforce_pp",
    "reinforce_pp_baseline",
]
SurrogateName = Literal["clipped", "capped", "logps"]
RatioName = Literal["token", "sequence_mean", "sequence_sum"]
NormaliserName = Literal["branch_means", "tokens", "max_tokens", "branches"]
BaselineName = Literal["group", "leave_one_out", "batch", "running", "none"]
ScaleName = Literal["group", "batch", "centred", "none"]
KlEstimatorName = Literal["k1", "k2", "k3"]


@dataclass(frozen=True, kw_only=True)
class PolicyLossTraits:
    """How a loss of sampled completions is built, and its defaults.

    Attributes:
        summary: one line, with the paper.
        surrogate: `clipped`: PPO's pessimistic ratio; `capped`: log-probabilities weighted by a capped ratio without
            gradient; `logps`: plain log-probabilities, for samples of the present policy only.
        ratio: of each token, or of the completion: of its mean or of its summed log-probability.
        normaliser: `branch_means`: mean over tokens, then over completions; `tokens`: over all tokens of the step;
            `max_tokens`: over completions times the longest allowed length, a constant; `branches`: sum over tokens,
            mean over completions.
        clip_low, clip_high: the paper's distances of the bounds from 1; None where the loss has no such bound.
        baseline, scale: the paper's, of the advantages.
    """

    summary: str
    surrogate: SurrogateName = "clipped"
    ratio: RatioName = "token"
    normaliser: NormaliserName
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    baseline: BaselineName = "group"
    scale: ScaleName = "group"


POLICY_LOSSES: dict[PolicyLossName, PolicyLossTraits] = {
    "grpo": PolicyLossTraits(summary="mean of each completion's tokens (Shao et al. 2024)", normaliser="branch_means"),
    "dr_grpo": PolicyLossTraits(
        summary="constant normaliser, no division by the spread (Liu et al. 2025)",
        normaliser="max_tokens",
        scale="none",
    ),
    "dapo": PolicyLossTraits(
        summary="every token alike, wider above than below (Yu et al. 2025)", normaliser="tokens", clip_high=0.28
    ),
    "bnpo": PolicyLossTraits(
        summary="every token alike (TRL's normaliser; Xiao et al. 2025 by name)", normaliser="tokens"
    ),
    "gspo": PolicyLossTraits(
        summary="ratio of the whole completion (Zheng et al. 2025)",
        ratio="sequence_mean",
        normaliser="branch_means",
        clip_low=3e-4,
        clip_high=4e-4,
    ),
    "cispo": PolicyLossTraits(
        summary="capped weights instead of clipped tokens (MiniMax 2025)",
        surrogate="capped",
        normaliser="tokens",
        clip_low=None,
        clip_high=4.0,
    ),
    "rloo": PolicyLossTraits(
        summary="leave-one-out baseline, the completion as one action (Ahmadian et al. 2024)",
        ratio="sequence_sum",
        normaliser="branches",
        baseline="leave_one_out",
        scale="none",
    ),
    "reinforce": PolicyLossTraits(
        summary="log-probabilities times advantage (Williams 1992)",
        surrogate="logps",
        normaliser="branches",
        clip_low=None,
        clip_high=None,
        baseline="batch",
        scale="none",
    ),
    "reinforce_pp": PolicyLossTraits(
        summary="REINFORCE++: advantages normalised over the whole step (Hu et al. 2025)",
        normaliser="tokens",
        baseline="batch",
        scale="batch",
    ),
    "reinforce_pp_baseline": PolicyLossTraits(
        summary="REINFORCE++ with the group's mean as baseline (Hu et al. 2025)",
        normaliser="tokens",
        scale="centred",
    ),
}
assert tuple(POLICY_LOSSES) == get_args(PolicyLossName)


@dataclass(frozen=True, kw_only=True)
class BaselineTraits:
    """What a baseline is, and which scales go with it.

    Attributes:
        summary: one line.
        scales: what the difference may be divided by: a spread of the very rewards the baseline is made of, so that
            where there is no spread the difference is 0 too.
    """

    summary: str
    scales: tuple[ScaleName, ...]


BASELINES: dict[BaselineName, BaselineTraits] = {
    "group": BaselineTraits(summary="mean of the group", scales=("none", "group", "batch", "centred")),
    "leave_one_out": BaselineTraits(summary="mean of the rest of the group", scales=("none",)),
    "batch": BaselineTraits(summary="mean of all completions of the step", scales=("none", "batch")),
    "running": BaselineTraits(summary="mean of the steps before", scales=("none",)),
    "none": BaselineTraits(summary="nothing", scales=("none",)),
}
assert tuple(BASELINES) == get_args(BaselineName)


def check_delta(delta: float, clip_high: float) -> None:
    """Raises ValueError if a largest ratio lies within the bound that holds where the advantage is positive."""
    if not delta > 1.0 + clip_high:
        raise ValueError(f"delta is {delta}, allowed is more than 1 + the upper clip, {1.0 + clip_high:g}")


def check_entropy_coef(entropy_coef: float) -> None:
    """Raises ValueError for a weight of the entropy bonus that is none."""
    if not 0.0 <= entropy_coef < float("inf"):
        raise ValueError(f"entropy_coef is {entropy_coef}, allowed is 0 or more")


@dataclass(frozen=True, kw_only=True)
class PolicyLossOptions:
    """The name of a loss of sampled completions and its options.

    Attributes:
        loss: a key of POLICY_LOSSES.
        clip_low: the ratio is held above 1 - clip_low; None takes the loss's own.
        clip_high: the ratio is held below 1 + clip_high; None takes the loss's own.
        delta: the ratio counts as so much at most also where the advantage is negative, which its upper bound leaves
            free; None leaves it.
        baseline: a key of BASELINES; None takes the loss's own.
        scale: what advantages are divided by: the standard deviation of the group's rewards, of the whole step's, of
            the whole step's once their baseline is subtracted (centred), or nothing; None takes the loss's own, or
            nothing where the baseline does not go with it.
        beta: weight of the KL to the reference in the loss; 0 needs no reference.
        kl_estimator: of that KL, see `alignment.losses.kl`.
        kl_weighted: whether its tokens are multiplied by the ratio, so that their expected gradient is that of the KL
            itself, also for samples of an older policy.
        entropy_coef: weight of the entropy of every token, which is subtracted from the loss.
        top_entropy_quantile: share of the tokens that rewards act on, those of the highest entropy; 1 is all.

    Raises:
        ValueError: for a number out of range, or one that the loss does not read.
    """

    loss: PolicyLossName = "grpo"
    clip_low: float | None = None
    clip_high: float | None = None
    delta: float | None = None
    baseline: BaselineName | None = None
    scale: ScaleName | None = None
    beta: float = 0.0
    kl_estimator: KlEstimatorName = "k3"
    kl_weighted: bool = True
    entropy_coef: float = 0.0
    top_entropy_quantile: float = 1.0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("loss", self.loss, tuple(POLICY_LOSSES)),
            ("baseline", self.baseline or "none", tuple(BASELINES)),
            ("scale", self.scale or "none", get_args(ScaleName)),
            ("kl_estimator", self.kl_estimator, get_args(KlEstimatorName)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, allowed are {', '.join(allowed)}")
        for name, most in (("clip_low", 1.0), ("clip_high", float("inf"))):
            value = getattr(self, name)
            if value is None:
                continue
            if getattr(POLICY_LOSSES[self.loss], name) is None:
                readers = [
                    loss for loss, loss_traits in POLICY_LOSSES.items() if getattr(loss_traits, name) is not None
                ]
                raise ValueError(f"loss {self.loss} has no {name}, it is for {', '.join(readers)}")
            if not 0.0 < value <= most:
                raise ValueError(f"{name} is {value}, allowed is more than 0{' up to 1' if most == 1.0 else ''}")
        if self.delta is not None:
            if POLICY_LOSSES[self.loss].surrogate != "clipped":
                raise ValueError(f"loss {self.loss} has no delta, which is for losses that clip their ratio")
            check_delta(self.delta, self.above)
        if self.scale is not None and self.scale not in BASELINES[self.subtracted].scales:
            scales = BASELINES[self.subtracted].scales
            raise ValueError(
                f"scale is {self.scale!r} with baseline {self.subtracted}, allowed are {', '.join(scales)}"
            )
        if not 0.0 <= self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta}, allowed is 0 or more")
        if self.beta > 0.0 and self.kl_estimator == "k1" and not self.kl_weighted:
            raise ValueError("kl_estimator is 'k1' without kl_weighted: its expected gradient is 0, allowed are k2, k3")
        check_entropy_coef(self.entropy_coef)
        if not 0.0 <= self.top_entropy_quantile <= 1.0:
            raise ValueError(f"top_entropy_quantile is {self.top_entropy_quantile}, allowed is 0 to 1")
        if self.top_entropy_quantile < 1.0 and POLICY_LOSSES[self.loss].ratio == "sequence_sum":
            raise ValueError(f"loss {self.loss} takes a completion as one action: it has no top_entropy_quantile")

    @property
    def below(self) -> float:
        """clip_low as configured, else the loss's default; infinite where the loss has none."""
        own = POLICY_LOSSES[self.loss].clip_low
        return (float("inf") if own is None else own) if self.clip_low is None else self.clip_low

    @property
    def above(self) -> float:
        """clip_high as configured, else the loss's default; infinite where the loss has none."""
        own = POLICY_LOSSES[self.loss].clip_high
        return (float("inf") if own is None else own) if self.clip_high is None else self.clip_high

    @property
    def subtracted(self) -> BaselineName:
        """The baseline as configured, else the loss's default."""
        return POLICY_LOSSES[self.loss].baseline if self.baseline is None else self.baseline

    @property
    def divisor(self) -> ScaleName:
        """The scale as configured, else the loss's default where that goes with the baseline, else none."""
        own = POLICY_LOSSES[self.loss].scale
        usual: ScaleName = own if own in BASELINES[self.subtracted].scales else "none"
        return usual if self.scale is None else self.scale
