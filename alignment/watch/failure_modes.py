"""The known ways in which reinforcement learning of policies fails: what each is, its sign, and what to change.

A table; the signs are in `alignment.watch.reward_rules`, `alignment.watch.trait_rules` and
`alignment.watch.training_rules`, with their thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alignment.watch import reward_rules, training_rules, trait_rules
from alignment.watch.alarms import Alarm, Severity
from alignment.watch.history import History, Sign


@dataclass(frozen=True, kw_only=True)
class FailureMode:
    """One row of the table.

    Attributes:
        kind: its name in alarms.jsonl.
        title, cause, advice: for people, see `Alarm`.
        sign: the rule; what it saw, or None.
    """

    kind: str
    title: str
    severity: Severity
    cause: str
    advice: str
    sign: Callable[[History], Sign | None]

    def alarm(self, history: History) -> Alarm | None:
        """The alarm of the newest step, where the rule sees its sign."""
        seen = self.sign(history)
        if seen is None:
            return None
        return Alarm(
            kind=self.kind,
            title=self.title,
            step=history.step,
            severity=self.severity,
            cause=self.cause,
            figure=seen.figure,
            metrics=seen.metrics,
            advice=self.advice,
        )


FAILURE_MODES = (
    FailureMode(
        kind="not_finite",
        title="Numbers break",
        severity="critical",
        cause="An overflow or a division by zero: a learning rate too high, half precision, or a reward that is NaN",
        advice="Lower the learning rate, train in fp32 or bf16, and look at the rewards of this step's samples",
        sign=training_rules.not_finite,
    ),
    FailureMode(
        kind="gradient_explosion",
        title="Gradients explode",
        severity="critical",
        cause="The learning rate is too high, or a few completions with extreme rewards or ratios rule the step",
        advice="Lower the learning rate, clip gradients (max_grad_norm) and rewards, use larger batches",
        sign=training_rules.gradient_explosion,
    ),
    FailureMode(
        kind="kl_jump",
        title="KL jumps",
        severity="critical",
        cause="Steps are too large: the learning rate is too high, or its warmup too short",
        advice="Lower the learning rate by 3 to 10 times or lengthen the warmup; a larger beta alone only hides it",
        sign=training_rules.kl_jump,
    ),
    FailureMode(
        kind="reward_hacking",
        title="Reward hacking",
        severity="critical",
        cause="The policy finds what the training reward errs on: it scores higher there and is no better",
        advice="Go back to a checkpoint from before the two parted; raise beta, or label samples of now and train the "
        "reward again. A penalty on disagreement (--penalty) helps only where members do not share the error",
        sign=trait_rules.hacked_by,
    ),
    FailureMode(
        kind="gamed_reward",
        title="Reward rises by degenerate answers",
        severity="critical",
        cause="The reward likes repeated phrases or mere length, and the policy has found that",
        advice="Read samples; add the repetition or length penalty, raise beta, or train the reward on such answers",
        sign=reward_rules.gamed_reward,
    ),
    FailureMode(
        kind="mode_collapse",
        title="Mode collapse",
        severity="critical",
        cause="The policy writes the same answer again and again: it exploits one that is rewarded well",
        advice="Raise beta or the temperature, lower the learning rate, use more prompts; fine if one answer is right",
        sign=reward_rules.mode_collapse,
    ),
    FailureMode(
        kind="disagreement",
        title="The ensemble disagrees more",
        severity="warning",
        cause="Answers leave what the reward models were trained on: the reward rises where its members guess",
        advice="Label samples of now and train the reward again, or raise beta; as its members do disagree here, "
        "--penalty wco or uwo_scaled pays less for it",
        sign=reward_rules.disagreement,
    ),
    FailureMode(
        kind="length_bias",
        title="Answers grow",
        severity="warning",
        cause="The reward, or the loss's normalisation, favours long answers whatever they say",
        advice="Add the length penalty, take dr_grpo or dapo in place of grpo, or hold the reward model to lengths; "
        "fine where the task asks for longer reasoning",
        sign=reward_rules.length_bias,
    ),
    FailureMode(
        kind="paid_trait",
        title="Answers take on a trait",
        severity="warning",
        cause="The reward pays for how an answer sounds; fine where people do, which an audit of the reward says",
        advice="Audit the reward model (`rewardkit audit`), let people vote on its pairs, train the reward again",
        sign=trait_rules.paid_trait,
    ),
    FailureMode(
        kind="refusals",
        title="Refusals rise",
        severity="warning",
        cause="The reward prefers declining to answering, as one trained mostly on safety pairs does",
        advice="Add pairs in which a helpful answer beats a refusal to the reward's data, mix in benign prompts",
        sign=reward_rules.refusals,
    ),
    FailureMode(
        kind="reward_flat",
        title="The reward does not move",
        severity="warning",
        cause="The pull to the reference is too strong, or the learning rate too low; or no answer is rewarded",
        advice="With KL near 0 raise the learning rate or lower beta; with KL high check the reward on samples",
        sign=reward_rules.reward_flat,
    ),
    FailureMode(
        kind="zero_advantage",
        title="Groups without signal",
        severity="warning",
        cause="The prompts are too easy or too hard: all answers of a group earn the same reward",
        advice="Choose prompts that are solved now and then, draw more answers a prompt, or sample dynamically (dapo)",
        sign=reward_rules.zero_advantage,
    ),
    FailureMode(
        kind="entropy_collapse",
        title="Entropy collapses",
        severity="warning",
        cause="The policy grows certain before it is good, and no longer explores",
        advice="Raise beta or clip_high (dapo), lower the learning rate or the number of passes, raise the temperature",
        sign=training_rules.entropy_collapse,
    ),
    FailureMode(
        kind="entropy_growth",
        title="Entropy runs away",
        severity="warning",
        cause="The policy turns to noise: unlikely tokens are pushed up, or the reward does not mind gibberish",
        advice="Raise beta, lower the upper clip range and the learning rate, and read samples",
        sign=training_rules.entropy_growth,
    ),
    FailureMode(
        kind="large_updates",
        title="Updates are too large",
        severity="warning",
        cause="The policy leaves the one that drew the samples within a step, and most of the step is clipped away",
        advice="Lower the learning rate, take fewer passes over a step, or set stop_pass_kl",
        sign=training_rules.large_updates,
    ),
    FailureMode(
        kind="useless_value",
        title="The value head learns nothing",
        severity="warning",
        cause="Its values are worse than a constant, so that advantages are noisier than without it",
        advice="Raise the value loss's weight, widen its clip range, start it from the reward model, or use grpo/rloo",
        sign=training_rules.useless_value,
    ),
    FailureMode(
        kind="truncated",
        title="Most answers are cut",
        severity="warning",
        cause="The limit of new tokens is too low, or the policy does not end its answers",
        advice="Raise max_new_tokens, charge a missing end (missing_eos_penalty), or fine-tune on answers that end",
        sign=training_rules.truncated,
    ),
    FailureMode(
        kind="sampler_mismatch",
        title="Sampler and trainer disagree",
        severity="warning",
        cause="Tokens are drawn from other probabilities than are trained: precision, stale weights, temperature",
        advice="Use the same precision and temperature on both sides, refresh weights each step, keep weights capped",
        sign=training_rules.sampler_mismatch,
    ),
    FailureMode(
        kind="negative_kl",
        title="KL below zero",
        severity="warning",
        cause="Completions are no samples of the policy as it is measured: top-p, temperature, or dropout differ",
        advice="Score with the sampling temperature, switch dropout off, sample without top-p and top-k",
        sign=training_rules.negative_kl,
    ),
)
"""Those in which going on does most harm first."""

READ = (
    *("reward/mean", "reward/raw", "reward/spread", "reward/std", "audit/reward", "audit/raw"),
    *("kl", "beta", "entropy", "loss", "grad_norm", "ratio/clipfrac", "ratio/approx_kl", "value/explained_variance"),
    *("completions/length", "completions/truncated_share", "completions/distinct_2", "completions/repetition"),
    *("completions/refusal_share", "groups/unique_share", "groups/zero_advantage_share"),
    *trait_rules.METRICS.values(),
    *("num_completions", "num_prompts", "sampling/logp_difference", "sampling/capped_share"),
)
"""The metrics that rules read."""
