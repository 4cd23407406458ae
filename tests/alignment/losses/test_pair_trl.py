"""Our losses beside TRL 1.16's own code on random log-probabilities: values and gradients. Needs the [bench] extra.

TRL's trainers compute their losses inside methods; here these run on a stand-in for the trainer and a model that hands
out given log-probabilities. TRL takes no soft labels: with them ours must be the expectation of its loss over which
completion is preferred.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import pytest

pytest.importorskip("trl", reason="needs the [bench] extra")
pytest.importorskip("datasets", reason="needs the [bench] extra")

import torch
from torch import Tensor
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from alignment.config.loss_names import PAIR_LOSSES, DivergenceName, PairLossName, PairLossOptions
from alignment.losses.anchored import kto_loss
from alignment.losses.by_name import PairLogps, pair_loss
from alignment.losses.pair_tokens import desensitised_sums, wpo_weights
from alignment.losses.reference_free import sft_term

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]  # their warnings are not ours to mend

NUM_PAIRS, WIDTH = 7, 12
BETA = 0.3
SQUARES = 0.7  # log of the sum of squared probabilities, by the log-probability of the token
IN_TRL: tuple[PairLossName, ...] = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
)


class Batch:
    """Random log-probabilities of tokens: chosen completions, then rejected ones, as TRL stacks them."""

    def __init__(self, count: int = NUM_PAIRS, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(2, WIDTH - 1, (2 * count, 1), generator=generator)
        places = torch.arange(WIDTH)[None]
        self.mask = ((places >= 1) & (places <= lengths)).long()  # place 0 is the prompt
        self.tokens = -3.0 * torch.rand(2 * count, WIDTH - 1, generator=generator) * self.mask[:, 1:]
        self.reference = self.tokens.sum(1) + 2.0 * torch.randn(2 * count, generator=generator)

    def pairs(self, tokens: Tensor) -> PairLogps:
        (chosen, rejected), lengths = tokens.sum(1).chunk(2), self.mask.sum(1).chunk(2)
        reference = self.reference.chunk(2)
        return PairLogps(
            chosen=chosen,
            rejected=rejected,
            reference_chosen=reference[0],
            reference_rejected=reference[1],
            chosen_lengths=lengths[0],
            rejected_lengths=lengths[1],
        )

    def as_pairs(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Completion tokens flat, chosen before rejected of each pair, their completions, and the lengths of these."""
        order = torch.arange(len(tokens)).view(2, -1).T.flatten()
        mask = self.mask[order, 1:].bool()
        lengths = mask.sum(1)
        return tokens[order][mask], torch.arange(len(order)).repeat_interleave(lengths), lengths


class Accelerator:
    device = torch.device("cpu")

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

    gather_for_metrics = gather


class GivenModel:
    """A model whose answer is known."""

    training = True

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def __call__(self, **_inputs: Any) -> SimpleNamespace:
        nothing = torch.zeros_like(self.tokens)
        return SimpleNamespace(
            log_probs=self.tokens,
            entropy=nothing,
            mean_logits=nothing,
            is_top1=nothing.bool(),
            aux_loss=None,
            log_sum_sq_probs=SQUARES * self.tokens.detach(),
        )


def trl_trainer(model: GivenModel, **given: Any) -> SimpleNamespace:
    defaults: dict[str, Any] = {
        "model": model,
        "accelerator": Accelerator(),
        "aux_loss_enabled": False,
        "ld_alpha": None,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "beta": BETA,
        "loss_weights": [1.0],
        "label_smoothing": 0.0,
        "args": SimpleNamespace(discopop_tau=0.05),
        "use_weighting": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**(defaults | given))


def trl_loss(batch: Batch, tokens: Tensor, loss: str, **given: Any) -> tuple[Tensor, dict[str, list]]:
    """Mean loss and metrics by TRL's DPOTrainer."""
    trainer = trl_trainer(GivenModel(tokens), loss_types=[loss], **given)
    chosen, rejected = batch.reference.chunk(2)
    inputs = {
        "input_ids": torch.ones_like(batch.mask),
        "attention_mask": torch.ones_like(batch.mask),
        "completion_mask": batch.mask,
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    return DPOTrainer._compute_loss(trainer, trainer.model, inputs, False), trainer._metrics["train"]


def smoothing(name: PairLossName) -> float:
    """One that acts, where the loss has one in TRL."""
    return {"robust": 0.2, "exo_pair": 0.01, "aot": 0.1, "aot_unpaired": 0.1}.get(name, 0.0)


def options(name: PairLossName, **given: Any) -> PairLossOptions:
    has_smoothing = PAIR_LOSSES[name].label_smoothing is not None
    return PairLossOptions(loss=name, beta=BETA, label_smoothing=smoothing(name) if has_smoothing else None, **given)


def assert_same_loss_and_gradient(ours: Tensor, theirs: Tensor, tokens: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    (our_gradient,) = torch.autograd.grad(ours, tokens)
    (their_gradient,) = torch.autograd.grad(theirs, tokens)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-5, rtol=1e-5)
    assert our_gradient.abs().max() > 1e-4


@pytest.mark.parametrize("name", IN_TRL)
def test_losses_of_pairs(name: PairLossName) -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    ours = pair_loss(batch.pairs(tokens), options(name))
    theirs, metrics = trl_loss(batch, tokens, name, label_smoothing=smoothing(name))
    assert_same_loss_and_gradient(ours.losses.mean(), theirs, tokens)
    for metric, values in (
        ("rewards/chosen", ours.chosen_rewards),
        ("rewards/rejected", ours.rejected_rewards),
        ("rewards/margins", ours.margins),
        ("rewards/accuracies", ours.accuracies),
    ):
        assert float(values.mean()) == pytest.approx(metrics[metric][0], abs=1e-5)


@pytest.mark.parametrize("name", [name for name in IN_TRL if not PAIR_LOSSES[name].whole_batch and name != "hinge"])
def test_weighted_pairs(name: PairLossName) -> None:
    """But hinge, of which TRL 1.16 takes no gradient: it multiplies the result of relu in place."""
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    interleaved, branch, lengths = batch.as_pairs(tokens)
    weights = wpo_weights(interleaved, SQUARES * interleaved, branch, lengths)
    ours = pair_loss(batch.pairs(tokens), options(name)).losses * weights
    theirs, _ = trl_loss(batch, tokens, name, label_smoothing=smoothing(name), use_weighting=True)
    assert weights.min() < 0.8
    assert_same_loss_and_gradient(ours.mean(), theirs, tokens)


@pytest.mark.parametrize("ld_alpha", [0.0, 0.4])
@pytest.mark.parametrize("name", IN_TRL)
def test_surplus_tokens(name: PairLossName, ld_alpha: float) -> None:
    """Of the policy; references are given as sums. TRL counts places after a completion too, where its head gives 0."""
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    interleaved, _, lengths = batch.as_pairs(tokens)
    sums = desensitised_sums(interleaved, lengths, ld_alpha=ld_alpha).view(-1, 2)
    pairs = replace(batch.pairs(tokens), chosen=sums[:, 0], rejected=sums[:, 1])
    ours = pair_loss(pairs, options(name)).losses.mean()
    own = tokens * batch.mask[:, 1:]
    theirs, _ = trl_loss(batch, own, name, label_smoothing=smoothing(name), ld_alpha=ld_alpha)
    assert_same_loss_and_gradient(ours, theirs, tokens)


def test_nothing_of_trl_is_left_out() -> None:
    with pytest.raises(ValueError, match="Unknown loss type") as refused:
        trl_loss(Batch(), Batch().tokens, "no such loss")
    named = {word.strip("'[], ") for word in str(refused.value).partition("one of ")[2].split()}
    assert named == {*IN_TRL, "sft"}


@pytest.mark.parametrize("divergence", get_args(DivergenceName))
@pytest.mark.parametrize("name", [name for name in IN_TRL if PAIR_LOSSES[name].divergence])
def test_divergences(name: PairLossName, divergence: DivergenceName) -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    ours = pair_loss(batch.pairs(tokens), options(name, divergence=divergence, divergence_alpha=0.3)).losses.mean()
    theirs, _ = trl_loss(
        batch,
        tokens,
        name,
        f_divergence_type=divergence,
        f_alpha_divergence_coef=0.3,
        label_smoothing=smoothing(name),
    )
    assert_same_loss_and_gradient(ours, theirs, tokens)


@pytest.mark.parametrize("name", [name for name in IN_TRL if PAIR_LOSSES[name].soft_labels])
def test_soft_labels_are_the_expectation_of_trls_losses(name: PairLossName) -> None:
    p_chosen = torch.linspace(0.0, 1.0, NUM_PAIRS)
    batch = Batch()
    ours = pair_loss(batch.pairs(batch.tokens), options(name), p_chosen=p_chosen).losses
    for place in range(NUM_PAIRS):
        there, back = Batch(), Batch()
        for side, rows in ((there, [place, NUM_PAIRS + place]), (back, [NUM_PAIRS + place, place])):
            side.mask, side.tokens, side.reference = batch.mask[rows], batch.tokens[rows], batch.reference[rows]
        as_is, exchanged = (
            float(trl_loss(side, side.tokens, name, label_smoothing=smoothing(name))[0]) for side in (there, back)
        )
        p = float(p_chosen[place])
        assert float(ours[place]) == pytest.approx(p * as_is + (1 - p) * exchanged, abs=1e-5, rel=1e-5)


def test_trl_ignores_label_smoothing_on_sigmoid_and_we_do_not() -> None:
    """TRL 1.16 takes label_smoothing with loss_type sigmoid without a word and computes the plain loss: no cDPO."""
    batch = Batch()
    plain, _ = trl_loss(batch, batch.tokens, "sigmoid")
    smoothed, _ = trl_loss(batch, batch.tokens, "sigmoid", label_smoothing=0.2)
    assert torch.equal(plain, smoothed)
    pairs = batch.pairs(batch.tokens)
    ours = pair_loss(pairs, PairLossOptions(beta=BETA, label_smoothing=0.2)).losses.mean()
    exchanged = pair_loss(pairs.exchanged(), PairLossOptions(beta=BETA)).losses.mean()
    torch.testing.assert_close(ours, 0.8 * plain + 0.2 * exchanged)
    assert float(ours - plain) > 0.01
    # what TRL calls robust subtracts the second term and divides; the conservative form is in none of its losses
    torch.testing.assert_close(
        pair_loss(pairs, PairLossOptions(loss="cdpo", beta=BETA, label_smoothing=0.2)).losses.mean(), ours
    )


def test_trls_discopop_is_not_a_number_far_on_the_wrong_side() -> None:
    """It multiplies exp(-z), infinite beyond z = -88, by a sigmoid that is 0 there; ours has the limit."""
    batch = Batch(1)
    batch.reference = batch.tokens.sum(1) + torch.tensor([1000.0, 0.0])
    theirs, _ = trl_loss(batch, batch.tokens, "discopop")
    assert theirs.isnan()
    ours = pair_loss(batch.pairs(batch.tokens), options("discopop")).losses
    assert ours.tolist() == pytest.approx([1000.0 * BETA], rel=1e-5)


def test_the_sft_term_of_equally_long_completions() -> None:
    """TRL's sft loss is a mean over the tokens of all chosen completions; ours over each one's, then over pairs."""
    batch = Batch()
    batch.mask[:, 1:] = 1
    batch.tokens = torch.linspace(-3.0, -0.1, 2 * NUM_PAIRS * (WIDTH - 1)).view(2 * NUM_PAIRS, -1).requires_grad_()
    pairs = batch.pairs(batch.tokens)
    theirs, _ = trl_loss(batch, batch.tokens, "sft")
    assert_same_loss_and_gradient(sft_term(pairs.chosen, pairs.chosen_lengths).mean(), theirs, batch.tokens)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cpo(label_smoothing: float) -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    pairs = batch.pairs(tokens)
    ours = pair_loss(pairs, PairLossOptions(loss="cpo", beta=BETA, label_smoothing=label_smoothing))
    trainer = trl_trainer(GivenModel(tokens), alpha=0.0, loss_type="sigmoid", label_smoothing=label_smoothing)
    losses, chosen, rejected = CPOTrainer.cpo_loss(trainer, pairs.chosen, pairs.rejected)
    nll = sft_term(pairs.chosen, pairs.chosen_lengths)  # TRL adds a mean over the tokens of the whole batch
    assert_same_loss_and_gradient(ours.losses.mean(), (losses + nll).mean(), tokens)
    torch.testing.assert_close(ours.chosen_rewards, chosen)
    torch.testing.assert_close(ours.rejected_rewards, rejected)


def test_simpo() -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    pairs = batch.pairs(tokens)
    ours = pair_loss(pairs, PairLossOptions(loss="simpo", beta=2.5, target_margin=1.4))
    trainer = trl_trainer(GivenModel(tokens), alpha=0.0, loss_type="simpo", simpo_gamma=1.4, beta=2.5)
    means = (pairs.chosen / pairs.chosen_lengths, pairs.rejected / pairs.rejected_lengths)
    losses, chosen, rejected = CPOTrainer.cpo_loss(trainer, *means)
    assert_same_loss_and_gradient(ours.losses.mean(), losses.mean(), tokens)
    torch.testing.assert_close(ours.chosen_rewards, chosen)
    torch.testing.assert_close(ours.rejected_rewards, rejected)


def test_cpo_simpo() -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    pairs = batch.pairs(tokens)
    means = (pairs.chosen / pairs.chosen_lengths, pairs.rejected / pairs.rejected_lengths)
    trainer = trl_trainer(GivenModel(tokens), alpha=0.0, loss_type="simpo", simpo_gamma=1.4, beta=2.5)
    losses, _, _ = CPOTrainer.cpo_loss(trainer, *means)
    nll = sft_term(pairs.chosen, pairs.chosen_lengths)  # TRL adds a mean over the tokens of the whole batch
    ours = pair_loss(pairs, PairLossOptions(loss="cpo_simpo", beta=2.5, target_margin=1.4))
    assert_same_loss_and_gradient(ours.losses.mean(), (losses + nll).mean(), tokens)


def test_alphapo() -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    pairs = batch.pairs(tokens)
    means = (pairs.chosen / pairs.chosen_lengths, pairs.rejected / pairs.rejected_lengths)
    trainer = trl_trainer(GivenModel(tokens), alpha=0.25, loss_type="simpo", simpo_gamma=1.4, beta=2.5)
    losses, chosen, rejected = CPOTrainer.cpo_loss(trainer, *means)
    ours = pair_loss(pairs, PairLossOptions(loss="alphapo", beta=2.5, target_margin=1.4, alphapo_alpha=0.25))
    assert_same_loss_and_gradient(ours.losses.mean(), losses.mean(), tokens)
    torch.testing.assert_close(ours.chosen_rewards, chosen)
    torch.testing.assert_close(ours.rejected_rewards, rejected)


def test_mpo_of_equally_long_completions() -> None:
    """TRL's sft part is a mean over the tokens of all chosen completions."""
    batch = Batch()
    batch.mask[:, 1:] = 1
    batch.tokens = torch.linspace(-3.0, -0.1, 2 * NUM_PAIRS * (WIDTH - 1)).view(2 * NUM_PAIRS, -1).requires_grad_()
    ours = pair_loss(batch.pairs(batch.tokens), options("mpo"))
    weights = (("sigmoid", 0.8), ("bco_pair", 0.2), ("sft", 1.0))
    theirs = sum(weight * trl_loss(batch, batch.tokens, name)[0] for name, weight in weights)
    assert isinstance(theirs, Tensor)
    assert_same_loss_and_gradient(ours.losses.mean(), theirs, batch.tokens)


def test_orpo() -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    pairs = batch.pairs(tokens)
    ours = pair_loss(pairs, PairLossOptions(loss="orpo", beta=BETA))
    means = (pairs.chosen / pairs.chosen_lengths, pairs.rejected / pairs.rejected_lengths)
    gains, chosen, rejected, *_ = ORPOTrainer.odds_ratio_loss(trl_trainer(GivenModel(tokens)), *means)
    nll = sft_term(pairs.chosen, pairs.chosen_lengths)  # TRL's is a mean over prompt and completion
    assert_same_loss_and_gradient(ours.losses.mean(), (nll - gains).mean(), tokens)
    torch.testing.assert_close(ours.chosen_rewards, chosen)
    torch.testing.assert_close(ours.rejected_rewards, rejected)


@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
@pytest.mark.parametrize("shift", [1.5, -1.5], ids=["KL above 0", "KL held at 0"])
def test_losses_of_single_completions(loss: str, shift: float) -> None:
    batch = Batch()
    tokens = batch.tokens.requires_grad_()
    desirable = torch.arange(2 * NUM_PAIRS) % 3 != 0
    kl_logps = torch.linspace(-20.0, -10.0, 2 * NUM_PAIRS)
    trainer = trl_trainer(
        GivenModel(tokens),
        loss_type=loss,
        calculate_KL=loss == "kto",
        desirable_weight=1.3,
        undesirable_weight=0.6,
        _compute_kl_logps=lambda _model, _batch: kl_logps,
    )
    inputs = {
        "input_ids": torch.ones_like(batch.mask),
        "attention_mask": torch.ones_like(batch.mask),
        "completion_mask": batch.mask,
        "label": desirable,
        "ref_logps": batch.reference,
        "ref_KL_logps": kl_logps - shift,
    }
    theirs = KTOTrainer._compute_loss(trainer, trainer.model, inputs, False)
    ratios = tokens.sum(1) - batch.reference
    weights = {"desirable_weight": 1.3, "undesirable_weight": 0.6}
    kl = torch.tensor(max(shift, 0.0) if loss == "kto" else 0.0)
    ours = kto_loss(ratios, desirable, kl=kl, beta=BETA, **weights)
    assert_same_loss_and_gradient(ours.losses.mean(), theirs, tokens)
    metrics = trainer._metrics["train"]
    assert float(ours.rewards[desirable].mean()) == pytest.approx(metrics["rewards/chosen"][0], abs=1e-5)
    assert float(ours.rewards[~desirable].mean()) == pytest.approx(metrics["rewards/rejected"][0], abs=1e-5)
