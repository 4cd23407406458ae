"""Losses of preferences: numbers worked by hand, limits, symmetries, gradients, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from alignment.config.loss_names import PAIR_LOSSES, PairLossName, PairLossOptions
from alignment.losses.anchored import (
    apo_down_loss,
    apo_zero_loss,
    bco_pair_loss,
    kto_loss,
    mpo_loss,
    nca_pair_loss,
    sppo_hard_loss,
)
from alignment.losses.by_name import PairLogps, pair_loss
from alignment.losses.pair import (
    PairLoss,
    aot_loss,
    aot_unpaired_loss,
    discopop_loss,
    exo_pair_loss,
    hinge_loss,
    ipo_loss,
    robust_loss,
    sigmoid_loss,
    sigmoid_norm_loss,
)
from alignment.losses.reference_free import (
    alphapo_loss,
    cpo_loss,
    cpo_simpo_loss,
    orpo_loss,
    sft_term,
    simpo_loss,
)

LN2, LN3 = math.log(2.0), math.log(3.0)
NAMES = tuple(PAIR_LOSSES)


def one(*values: float) -> Tensor:
    return torch.tensor(values)


def random_pairs(count: int = 8, *, seed: int = 0) -> PairLogps:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 20, (2, count), generator=generator)
    policy = -0.3 * lengths - 5.0 * torch.rand(2, count, generator=generator)
    reference = policy + torch.randn(2, count, generator=generator)
    return PairLogps(
        chosen=policy[0],
        rejected=policy[1],
        reference_chosen=reference[0],
        reference_rejected=reference[1],
        chosen_lengths=lengths[0],
        rejected_lengths=lengths[1],
    )


# With beta = 1/2 and log-ratios c = 2 ln 3 and r = 0: beta d = ln 3, sigma(ln 3) = 3/4, sigma(-ln 3) = 1/4.
C, R, BETA = one(2 * LN3), one(0.0), 0.5
BY_HAND: dict[str, tuple[PairLoss, float]] = {
    "sigmoid": (sigmoid_loss(C, R, beta=BETA), -math.log(0.75)),
    "sigmoid, rejected leads": (sigmoid_loss(R, C, beta=BETA), -math.log(0.25)),
    "cdpo": (
        sigmoid_loss(C, R, beta=BETA, label_smoothing=0.1),
        -0.9 * math.log(0.75) - 0.1 * math.log(0.25),
    ),
    # the margin ln 3 takes all of the lead: sigma(0) = 1/2
    "sigmoid, margin": (sigmoid_loss(C, R, beta=BETA, margin=one(LN3)), LN2),
    "robust": (
        robust_loss(C, R, beta=BETA, label_smoothing=0.1),
        (-0.9 * math.log(0.75) + 0.1 * math.log(0.25)) / 0.8,
    ),
    # 6/2 - 1/4 - 1/(2 x 1/2) = 1.75, squared
    "ipo": (ipo_loss(one(6.0), one(1.0), one(2.0), one(4.0), beta=0.5), 1.75**2),
    "hinge": (hinge_loss(one(3.0), one(2.0), beta=0.5), 0.5),
    "hinge, far enough": (hinge_loss(one(6.0), one(2.0), beta=0.5), 0.0),
    "exo_pair": (
        exo_pair_loss(C, R, beta=BETA, label_smoothing=0.2),
        0.75 * math.log(0.75 / 0.8) + 0.25 * math.log(0.25 / 0.2),
    ),
    # z = ln 3, tau = 1: s = 3/4; 1/4 x log(1 + 1/3) + 3/4 x 1/3
    "discopop": (discopop_loss(C, R, beta=BETA, tau=1.0), 0.25 * math.log(4 / 3) + 0.25),
    # 2 (ln 3 / 2 - (-ln 3) / 1) = 3 ln 3: sigma = 27/28
    "sigmoid_norm": (sigmoid_norm_loss(one(LN3), one(-LN3), one(2.0), one(1.0), beta=2.0), math.log(28 / 27)),
    # r_c = ln 3, r_r = -ln 3: -ln 3/4 - (ln 1/4 + ln 3/4) / 2
    "nca_pair": (
        nca_pair_loss(C, -C, beta=BETA),
        -math.log(0.75) - 0.5 * (math.log(0.25) + math.log(0.75)),
    ),
    "bco_pair": (bco_pair_loss(C, -C, beta=BETA), -2 * math.log(0.75)),
    # targets 1 and -1: (3 - 1)^2 + (0.5 + 1)^2
    "sppo_hard": (sppo_hard_loss(one(3.0), one(0.5), beta=0.5), 4.0 + 2.25),
    "apo_zero": (apo_zero_loss(C, R, beta=BETA), 0.25 + 0.5),
    "apo_down": (apo_down_loss(C, R, beta=BETA), 0.75 + 0.25),
    # policy margin 2 ln 3, reference margin 0
    "aot": (aot_loss(C, R, R, R, beta=BETA), -math.log(0.75)),
    "aot_unpaired": (aot_unpaired_loss(C, R, beta=BETA), -math.log(0.75)),
    # means -1 and -2 ln 3 - 1, beta 1, lead asked ln 3: sigma(2 ln 3 - ln 3) = 3/4
    "simpo": (
        simpo_loss(one(-2.0), one(-2 * LN3 - 1), one(2.0), one(1.0), beta=1.0, target_margin=LN3),
        -math.log(0.75),
    ),
    # mean probabilities 3/4 and 1/2: odds 3 and 1, log odds ratio ln 3
    "orpo": (
        orpo_loss(one(2 * math.log(0.75)), one(-LN2), one(2.0), one(1.0), beta=0.5),
        -math.log(0.75) - 0.5 * math.log(0.75),
    ),
    # d = 2 ln 3, and -(-2) / 4 for the SFT term
    "cpo": (cpo_loss(one(-2.0), one(-2.0 - 2 * LN3), one(4.0), beta=0.5), -math.log(0.75) + 0.5),
    # as simpo, and -(-2) / 2 for the SFT term
    "cpo_simpo": (
        cpo_simpo_loss(one(-2.0), one(-2 * LN3 - 1), one(2.0), one(1.0), beta=1.0, target_margin=LN3),
        -math.log(0.75) + 1.0,
    ),
    # mean probabilities 1/2 and 1/4, alpha 1: rewards 1 - 2 and 1 - 4; beta ln 3: sigma(2 ln 3 - ln 3) = 3/4
    "alphapo": (
        alphapo_loss(one(-2 * LN2), one(-2 * LN2), one(2.0), one(1.0), beta=LN3, alpha=1.0, target_margin=LN3),
        -math.log(0.75),
    ),
    "alphapo, alpha 0": (
        alphapo_loss(one(-2.0), one(-2 * LN3 - 1), one(2.0), one(1.0), beta=1.0, alpha=0.0, target_margin=LN3),
        -math.log(0.75),
    ),
    # DPO sigma(2 ln 3) = 9/10, BCO twice 3/4, SFT 6 / 3
    "mpo": (
        mpo_loss(C, -C, one(-6.0), one(3.0), beta=BETA),
        -0.8 * math.log(0.9) - 0.2 * 2 * math.log(0.75) + 2.0,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    result, expected = BY_HAND[name]
    assert result.losses.tolist() == pytest.approx([expected], abs=1e-6)


def test_a_small_alpha_is_nearly_none() -> None:
    pairs = random_pairs()
    small, none = (
        pair_loss(pairs, PairLossOptions(loss="alphapo", beta=2.5, alphapo_alpha=alpha)).losses for alpha in (1e-4, 0.0)
    )
    torch.testing.assert_close(small, none, atol=2e-3, rtol=0.0)
    simpo = PairLossOptions(loss="simpo", beta=2.5, target_margin=0.25)
    torch.testing.assert_close(none, pair_loss(pairs, simpo).losses)


def test_a_very_unlikely_completion_leaves_alphapo_finite() -> None:
    logps = one(-5000.0).requires_grad_()
    loss = alphapo_loss(one(-5000.0), logps, one(1.0), one(1.0), beta=1.0, alpha=1.0, target_margin=0.0)
    loss.losses.sum().backward()
    assert logps.grad is not None
    assert torch.isfinite(loss.losses).all()
    assert torch.isfinite(logps.grad).all()


def test_sft_term_by_hand() -> None:
    assert sft_term(one(-6.0, -1.0), one(3.0, 4.0)).tolist() == [2.0, 0.25]


def test_rewards_are_beta_times_the_logratio_and_detached() -> None:
    result = sigmoid_loss(one(3.0, 1.0).requires_grad_(), one(1.0, 1.0), beta=0.5)
    assert result.chosen_rewards.tolist() == [1.5, 0.5]
    assert result.rejected_rewards.tolist() == [0.5, 0.5]
    assert result.margins.tolist() == [1.0, 0.0]
    assert result.accuracies.tolist() == [1.0, 0.5]
    assert not result.chosen_rewards.requires_grad
    assert result.losses.requires_grad


@pytest.mark.parametrize("name", ["sigmoid", "cdpo", "aot", "aot_unpaired", "sigmoid_norm"])
def test_the_loss_starts_at_ln_2(name: PairLossName) -> None:
    pairs = random_pairs()
    same = replace(pairs, reference_chosen=pairs.chosen, reference_rejected=pairs.rejected)
    losses = pair_loss(same, PairLossOptions(loss=name)).losses
    torch.testing.assert_close(losses, torch.full((8,), LN2), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("robust", LN2),
        ("hinge", 1.0),
        ("ipo", 25.0),
        ("nca_pair", 2 * LN2),
        ("bco_pair", 2 * LN2),
        ("sppo_hard", 50.0),
        ("apo_zero", 1.0),
        ("apo_down", 1.0),
        ("discopop", 0.5 * LN2 + 0.5),
        ("exo_pair", 0.5 * math.log(0.5 / 0.999) + 0.5 * math.log(0.5 / 0.001)),
    ],
)
def test_where_other_losses_start(name: PairLossName, start: float) -> None:
    # all log-ratios 0, beta = 0.1: sigma = 1/2, 1 / (2 beta) = 5
    pairs = random_pairs()
    same = replace(pairs, reference_chosen=pairs.chosen, reference_rejected=pairs.rejected)
    losses = pair_loss(same, PairLossOptions(loss=name)).losses
    assert losses.tolist() == pytest.approx([start] * 8, abs=1e-5)


def loss_of(name: PairLossName, pairs: PairLogps, **given: Tensor) -> Tensor:
    return pair_loss(pairs, PairLossOptions(loss=name, beta=0.7), **given).losses


@pytest.mark.parametrize("name", [name for name in NAMES if PAIR_LOSSES[name].soft_labels])
def test_soft_labels_are_an_expectation(name: PairLossName) -> None:
    pairs = random_pairs()
    p = torch.linspace(0.0, 1.0, 8)
    there, back = loss_of(name, pairs), loss_of(name, pairs.exchanged())
    torch.testing.assert_close(loss_of(name, pairs, p_chosen=p), p * there + (1 - p) * back)
    torch.testing.assert_close(
        loss_of(name, pairs, p_chosen=p), loss_of(name, pairs.exchanged(), p_chosen=1 - p), msg="exchanging"
    )
    assert (there - back).abs().max() > 0.01


def test_soft_sigmoid_is_a_cross_entropy() -> None:
    # p = 0.6 at beta d = ln 3: -(0.6 ln 3/4 + 0.4 ln 1/4)
    pairs = replace(random_pairs(1), chosen=C, rejected=R, reference_chosen=R, reference_rejected=R)
    losses = pair_loss(pairs, PairLossOptions(beta=0.5), p_chosen=one(0.6)).losses
    assert losses.tolist() == pytest.approx([-0.6 * math.log(0.75) - 0.4 * math.log(0.25)], abs=1e-6)


def test_soft_ipo_is_least_at_its_label() -> None:
    # tau = 0.5: log-ratios per token are drawn to (2 x 0.8 - 1) / (2 x 0.5) = 0.6
    pairs = random_pairs(1)
    zero, ones = one(0.0), torch.ones(1)
    chosen = one(0.6).requires_grad_()
    at_least = replace(
        pairs,
        chosen=chosen,
        rejected=zero,
        reference_chosen=zero,
        reference_rejected=zero,
        chosen_lengths=ones,
        rejected_lengths=ones,
    )
    pair_loss(at_least, PairLossOptions(loss="ipo", beta=0.5), p_chosen=one(0.8)).losses.sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.tolist() == pytest.approx([0.0], abs=1e-6)


def test_an_even_label_at_equal_logratios_pulls_nowhere() -> None:
    pairs = random_pairs()
    chosen = pairs.chosen.clone().requires_grad_()
    same = replace(pairs, chosen=chosen, reference_chosen=pairs.chosen, reference_rejected=pairs.rejected)
    for name in ("sigmoid", "robust", "hinge", "discopop"):
        loss = pair_loss(same, PairLossOptions(loss=name), p_chosen=torch.full((8,), 0.5)).losses.sum()
        (gradient,) = torch.autograd.grad(loss, chosen)
        torch.testing.assert_close(gradient, torch.zeros(8), atol=1e-7, rtol=0.0)


@pytest.mark.parametrize("name", ["sigmoid", "sigmoid_norm", "simpo"])
def test_a_margin_is_asked_of_either_side(name: PairLossName) -> None:
    pairs, margin = random_pairs(), torch.linspace(0.0, 2.0, 8)
    plain, asked = loss_of(name, pairs), loss_of(name, pairs, margin=margin)
    assert (asked[1:] > plain[1:]).all()
    torch.testing.assert_close(asked[0], plain[0])
    half = torch.full((8,), 0.5)
    there = loss_of(name, pairs, margin=margin, p_chosen=half)
    torch.testing.assert_close(there, loss_of(name, pairs.exchanged(), margin=margin, p_chosen=half))


@pytest.mark.parametrize("name", NAMES)
def test_only_what_a_loss_reads_moves_it(name: PairLossName) -> None:
    traits, pairs = PAIR_LOSSES[name], random_pairs()
    assert pairs.reference_chosen is not None
    moved = replace(pairs, reference_chosen=pairs.reference_chosen + 0.5)
    assert torch.equal(loss_of(name, moved), loss_of(name, pairs)) != traits.needs_reference
    if traits.needs_reference:
        with pytest.raises(ValueError, match=f"loss {name} needs log-probabilities under a reference"):
            loss_of(name, replace(pairs, reference_chosen=None))
    if not traits.margin:
        with pytest.raises(ValueError, match=f"loss {name} has no margin"):
            loss_of(name, pairs, margin=torch.zeros(8))
    if not traits.soft_labels:
        with pytest.raises(ValueError, match=f"loss {name} has no soft labels"):
            loss_of(name, pairs, p_chosen=torch.ones(8))
    # a pair's loss moves with another pair exactly where the whole batch counts
    changed = replace(pairs, chosen=pairs.chosen + 30.0 * (torch.arange(8) == 7))
    alone = torch.equal(loss_of(name, changed)[:7], loss_of(name, pairs)[:7])
    assert alone != traits.whole_batch


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name: PairLossName) -> None:
    pairs = random_pairs(5, seed=3)
    options = PairLossOptions(loss=name)
    p = torch.tensor([1.0, 0.9, 0.5, 0.7, 0.6]) if PAIR_LOSSES[name].soft_labels else None

    def total(chosen: Tensor, rejected: Tensor) -> Tensor:
        return pair_loss(replace(pairs, chosen=chosen, rejected=rejected), options, p_chosen=p).losses.double().sum()

    sides = [pairs.chosen.clone().requires_grad_(), pairs.rejected.clone().requires_grad_()]
    gradients = torch.autograd.grad(total(*sides), sides)
    step = 1e-2
    for number, gradient in enumerate(gradients):
        for index in range(5):
            up, down = ([side.detach().clone() for side in sides] for _ in range(2))
            up[number][index] += step
            down[number][index] -= step
            expected = float(total(*up) - total(*down)) / (2 * step)
            assert float(gradient[index]) == pytest.approx(expected, abs=2e-3, rel=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_logratios_stay_finite(name: PairLossName) -> None:
    pairs = random_pairs(2)
    far = torch.tensor([-3000.0, 0.0])
    wide = replace(pairs, chosen=far.clone().requires_grad_(), rejected=far.flip(0))
    loss = pair_loss(wide, PairLossOptions(loss=name)).losses
    # discopop's exponential has no bound in theory and none here: exp(300) is infinite in float32
    if name != "discopop":
        assert loss.isfinite().all()
    (gradient,) = torch.autograd.grad(loss.sum(), wide.chosen)
    assert not gradient.isnan().any()


def test_discopop_far_on_the_wrong_side_is_the_logistic_loss() -> None:
    # z = -200, tau = 0.05: s exp(-z) = exp(-200 / 0.05 + 200) = 0, where s = 0 and exp(200) alone is infinite
    assert discopop_loss(one(-200.0), one(0.0), beta=1.0).losses.tolist() == pytest.approx([200.0])


def test_sorted_losses_do_not_depend_on_the_order_of_pairs() -> None:
    pairs, order = random_pairs(), torch.tensor([3, 1, 0, 7, 6, 2, 5, 4])
    assert pairs.reference_chosen is not None
    assert pairs.reference_rejected is not None
    shuffled = replace(
        pairs,
        chosen=pairs.chosen[order],
        rejected=pairs.rejected[order],
        reference_chosen=pairs.reference_chosen[order],
        reference_rejected=pairs.reference_rejected[order],
    )
    for name in ("aot", "aot_unpaired"):
        torch.testing.assert_close(loss_of(name, shuffled), loss_of(name, pairs))
    # policy margins 5, 1 against reference margins 2, 3: sorted 1 - 2 and 5 - 3
    found = aot_loss(one(5.0, 1.0), one(0.0, 0.0), one(2.0, 3.0), one(0.0, 0.0), beta=1.0)
    expected = [-math.log(1 / (1 + math.e)), -math.log(1 / (1 + math.exp(-2)))]
    assert found.losses.tolist() == pytest.approx(expected, abs=1e-6)


def test_kto_by_hand() -> None:
    # beta = 1/2, z = 2 ln 3: (r - z) / 2 = ln 3 for r = 4 ln 3, -ln 3 for r = 0
    ratios, kl = one(4 * LN3, 4 * LN3, 0.0, 0.0), torch.tensor(2 * LN3)
    desirable = torch.tensor([True, False, True, False])
    found = kto_loss(ratios, desirable, kl=kl, beta=0.5, desirable_weight=2.0, undesirable_weight=3.0)
    assert found.losses.tolist() == pytest.approx([2 * 0.25, 3 * 0.75, 2 * 0.75, 3 * 0.25], abs=1e-6)
    assert found.rewards.tolist() == pytest.approx([2 * LN3, 2 * LN3, 0.0, 0.0])


def test_kto_gives_the_kl_no_gradient_and_desirable_ones_a_push_up() -> None:
    ratios, kl = one(0.3, 0.3).requires_grad_(), torch.tensor(0.1, requires_grad=True)
    kto_loss(ratios, torch.tensor([True, False]), kl=kl, beta=0.5).losses.sum().backward()
    assert kl.grad is None
    assert ratios.grad is not None
    # d/dr (1 - sigma(beta (r - z))) = -beta sigma (1 - sigma) at beta (r - z) = 0.1
    slope = 0.5 / (2 + math.exp(0.1) + math.exp(-0.1))
    assert ratios.grad.tolist() == pytest.approx([-slope, slope], abs=1e-6)


def test_kto_without_a_kl_is_each_half_of_apo_zero() -> None:
    chosen, rejected = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    paired = apo_zero_loss(chosen, rejected, beta=0.4).losses
    halves: list[Callable[[Tensor], Tensor]] = [torch.ones_like, torch.zeros_like]
    apart = [
        kto_loss(side, make(side).bool(), kl=torch.zeros(()), beta=0.4).losses
        for side, make in zip((chosen, rejected), halves, strict=True)
    ]
    torch.testing.assert_close(apart[0] + apart[1], paired)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "dpo"}, "loss is 'dpo', allowed are sigmoid, cdpo"),
        ({"beta": 0.0}, "beta is 0.0, allowed is more than 0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "loss hinge has no label_smoothing, it is for sigmoid, cdpo"),
        ({"loss": "sigmoid", "target_margin": 0.1}, "loss sigmoid has no target_margin, it is for simpo"),
        ({"loss": "sigmoid", "label_smoothing": 0.5}, r"label_smoothing is 0.5 .*, allowed is 0 up to 0.5"),
        ({"loss": "cdpo", "label_smoothing": 0.0}, r"label_smoothing is 0.0 .*, allowed is between 0 and 0.5"),
        ({"loss": "exo_pair", "label_smoothing": 0.0}, "label_smoothing is 0.0"),
        ({"loss": "simpo", "target_margin": -1.0}, "target_margin is -1.0"),
        ({"discopop_tau": 0.0}, "discopop_tau is 0.0"),
        ({"divergence": "kl"}, "divergence is 'kl', allowed are reverse_kl"),
        ({"loss": "apo_zero", "divergence": "forward_kl"}, "divergence forward_kl is for sigmoid, .* apo_zero"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairLossOptions(**given)


def test_options_default_to_the_papers() -> None:
    assert (PairLossOptions().strength, PairLossOptions().smoothing) == (0.1, 0.0)
    assert PairLossOptions(loss="exo_pair").smoothing == 1e-3
    assert (PairLossOptions(loss="simpo").strength, PairLossOptions(loss="simpo").target) == (2.0, 0.5)
    assert PairLossOptions(loss="robust", label_smoothing=0.0).smoothing == 0.0


@pytest.mark.parametrize("loss", [robust_loss, exo_pair_loss, sigmoid_loss])
def test_label_smoothing_out_of_range_is_refused(loss: Callable[..., PairLoss]) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.5"):
        loss(C, R, beta=0.1, label_smoothing=0.5)


def test_a_small_beta_lets_the_policy_move_further() -> None:
    # where the pull to move on has fallen to a tenth: beta d = ln 9, so d = ln 9 / beta
    for beta in (0.05, 0.5):
        lead = one(math.log(9.0) / beta).requires_grad_()
        sigmoid_loss(lead, one(0.0), beta=beta).losses.sum().backward()
        assert lead.grad is not None
        assert lead.grad.tolist() == pytest.approx([-0.1 * beta], rel=1e-4)
