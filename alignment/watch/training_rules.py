"""Signs of failure in how a policy is trained: steps too large, numbers that break, a value head that learns nothing.

One rule a function, its thresholds beside it; see `alignment.watch.reward_rules` for the others.
"""

from __future__ import annotations

import numpy as np

from alignment.watch.history import History, Sign

FINITE = ("loss", "grad_norm", "reward/mean", "kl")
JUMP_NATS, JUMP_NATS_A_TOKEN, JUMP_RATIO, JUMP_WINDOW, JUMP_LEVEL = 5.0, 0.15, 0.5, 6, 3
NEGATIVE_NATS, NEGATIVE_NATS_A_TOKEN = 0.5, 0.01
CLIPPED, STEP_NATS_A_TOKEN = 0.4, 0.1
GRADIENT_RATIO, GRADIENT_LEAST, GRADIENT_LEVEL, GRADIENT_BEFORE = 5.0, 1.0, 5, 20
ENTROPY_SHARE, ENTROPY_RATIO, ENTROPY_RISE, ENTROPY_LEVEL = 0.2, 2.0, 1.0, 5
VALUE_AFTER, VALUE_LEVEL, VALUE_BELOW = 40, 20, 18
TRUNCATED = 0.5
MISMATCH_NATS, CAPPED = 0.1, 0.1
LEVEL = 10


def not_finite(history: History) -> Sign | None:
    """Loss, gradient norm, reward or KL of this step is no number; one step is enough."""
    names = tuple(name for name in FINITE if name in history.not_finite)
    if not names:
        return None
    return Sign(figure=f"{', '.join(names)} of step {history.step:,} is not finite", metrics=names)


def gradient_explosion(history: History) -> Sign | None:
    """The median gradient norm of the last 5 steps is above 5 times that of the 20 to 59 before them, and above 1.

    Below 1, where gradients are clipped by default, a rise is learning that begins: the first rewards of hard prompts.
    """
    values = history.upto("grad_norm", 64).values
    if len(values) < GRADIENT_BEFORE + GRADIENT_LEVEL:
        return None
    before, now = np.median(values[:-GRADIENT_LEVEL]), np.median(values[-GRADIENT_LEVEL:])
    if now <= max(GRADIENT_RATIO * before, GRADIENT_LEAST):
        return None
    figure = f"the gradient norm is {now:.3g} over the last {GRADIENT_LEVEL} steps, {before:.3g} before"
    return Sign(figure=figure, metrics=("grad_norm",))


def kl_jump(history: History) -> Sign | None:
    """The policy leaps away from the reference within six steps.

    The median KL of the last 3 steps is above the smallest of the last 6 (of 3 to 5 in the first steps) by 5 nats an
    answer, by 0.15 nats a token, and by half of it.
    """
    values = history.upto("kl", JUMP_WINDOW).values
    if len(values) < JUMP_LEVEL:
        return None
    before, now = float(values.min()), float(np.median(values[-JUMP_LEVEL:]))
    tokens = history.level("completions/length", JUMP_LEVEL) or 0.0
    least = max(JUMP_NATS, JUMP_NATS_A_TOKEN * tokens, JUMP_RATIO * before)
    if now - before <= least:
        return None
    a_token = f" ({now / tokens:.2g} a token)" if tokens else ""
    figure = f"KL to the reference went from {before:.2g} to {now:.2g} nats an answer{a_token} in {len(values)} steps"
    return Sign(figure=figure, metrics=("kl",))


def negative_kl(history: History) -> Sign | None:
    """The estimated KL is below 0 by more than its noise: median of 10 steps below -0.5 nats, and -0.01 a token.

    The k1 estimator's mean is the KL, at least 0, where completions are samples of the policy that is measured.
    """
    kl = history.level("kl", LEVEL)
    tokens = history.level("completions/length", LEVEL) or 0.0
    if kl is None or kl >= -max(NEGATIVE_NATS, NEGATIVE_NATS_A_TOKEN * tokens):
        return None
    return Sign(figure=f"KL to the reference is {kl:.2g} nats an answer over the last {LEVEL} steps", metrics=("kl",))


def large_updates(history: History) -> Sign | None:
    """Median of 10 steps: more than 0.4 of the tokens are clipped, or a step moves by more than 0.1 nats a token."""
    clipped, moved = history.level("ratio/clipfrac", LEVEL), history.level("ratio/approx_kl", LEVEL)
    if clipped is not None and clipped > CLIPPED:
        return Sign(figure=f"{clipped:.0%} of the ratios are clipped", metrics=("ratio/clipfrac",))
    if moved is not None and moved > STEP_NATS_A_TOKEN:
        return Sign(figure=f"a step moves the policy by {moved:.2g} nats a token", metrics=("ratio/approx_kl",))
    return None


def entropy_collapse(history: History) -> Sign | None:
    """Median entropy of the last 5 measurements below 0.2 of that of the first 5."""
    now, start = history.level("entropy", ENTROPY_LEVEL), history.start("entropy", ENTROPY_LEVEL)
    if now is None or start is None or now >= ENTROPY_SHARE * start:
        return None
    return Sign(figure=f"entropy went from {start:.2g} to {now:.2g} nats a token", metrics=("entropy",))


def entropy_growth(history: History) -> Sign | None:
    """Median entropy of the last 5 measurements above twice that of the first 5, and 1 nat above it."""
    now, start = history.level("entropy", ENTROPY_LEVEL), history.start("entropy", ENTROPY_LEVEL)
    if now is None or start is None or now <= max(ENTROPY_RATIO * start, start + ENTROPY_RISE):
        return None
    return Sign(figure=f"entropy went from {start:.2g} to {now:.2g} nats a token", metrics=("entropy",))


def useless_value(history: History) -> Sign | None:
    """After 40 steps the value head still explains less than nothing: below 0 in 18 of the last 20 steps."""
    window = history.last("value/explained_variance", VALUE_LEVEL)
    if history.num("value/explained_variance") < VALUE_AFTER or window is None:
        return None
    if (window.values < 0).sum() < VALUE_BELOW:
        return None
    explained = float(np.median(window.values))
    figure = f"the values explain {explained:.2f} of the returns' variance over the last {VALUE_LEVEL} steps"
    return Sign(figure=figure, metrics=("value/explained_variance",))


def truncated(history: History) -> Sign | None:
    """More than half of the answers reach the limit of tokens, median of 10 steps."""
    share = history.level("completions/truncated_share", LEVEL)
    if share is None or share <= TRUNCATED:
        return None
    return Sign(figure=f"{share:.0%} of the answers are cut", metrics=("completions/truncated_share",))


def sampler_mismatch(history: History) -> Sign | None:
    """Sampler and trainer disagree: 0.1 nats a token on average, or 0.1 of the weights capped, median of 10 steps."""
    difference = history.level("sampling/logp_difference", LEVEL)
    capped = history.level("sampling/capped_share", LEVEL)
    if difference is not None and difference > MISMATCH_NATS:
        figure = f"log-probabilities of sampler and trainer differ by {difference:.2g} nats a token"
        return Sign(figure=figure, metrics=("sampling/logp_difference",))
    if capped is not None and capped > CAPPED:
        figure = f"{capped:.0%} of the importance weights are capped"
        return Sign(figure=figure, metrics=("sampling/capped_share",))
    return None
