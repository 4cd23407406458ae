"""Names of the losses that train a policy on preferences, and what each reads: for configurations and pages.

Light on purpose. The losses themselves are in `alignment.losses.pair` and its neighbours, run by
`alignment.losses.by_name`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

PairLossName = Literal[
    "sigmoid",
    "cdpo",
    "robust",
    "ipo",
    "hinge",
    "exo_pair",
    "discopop",
    "sigmoid_norm",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "aot",
    "aot_unpaired",
    "simpo",
    "orpo",
    "cpo",
    "cpo_simpo",
    "alphapo",
    "mpo",
]
UnpairedLossName = Literal["kto", "apo_zero_unpaired"]
DivergenceName = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]


@dataclass(frozen=True, kw_only=True)
class LossTraits:
    """Which options a loss of pairs reads, and their defaults.

    Attributes:
        summary: one line, with the paper.
        beta: the paper's, or the usual one.
        needs_reference: whether it compares with a reference.
        soft_labels: whether it takes p_chosen: the loss is then its expectation over which completion is preferred.
        margin: whether it takes a margin per row.
        label_smoothing: the paper's; None where it has none.
        target_margin: the paper's; None where it has none.
        divergence: whether other divergences from the reference than the reverse KL are defined for it.
        whole_batch: whether a pair's loss depends on the other pairs, so that all pairs of a step belong into one call.
        has_sft_term: whether it contains the negative log-likelihood of the chosen completion already.
    """

    summary: str
    beta: float = 0.1
    needs_reference: bool = True
    soft_labels: bool = True
    margin: bool = False
    label_smoothing: float | None = None
    target_margin: float | None = None
    divergence: bool = False
    whole_batch: bool = False
    has_sft_term: bool = False


PAIR_LOSSES: dict[PairLossName, LossTraits] = {
    "sigmoid": LossTraits(summary="DPO (Rafailov et al. 2023)", margin=True, label_smoothing=0.0, divergence=True),
    "cdpo": LossTraits(
        summary="conservative DPO: smoothed labels (Mitchell 2023)", margin=True, label_smoothing=0.1, divergence=True
    ),
    "robust": LossTraits(
        summary="unbiased under flipped labels (Chowdhury et al. 2024)", label_smoothing=0.1, divergence=True
    ),
    "ipo": LossTraits(summary="squared distance to a margin per token (Azar et al. 2023)", divergence=True),
    "hinge": LossTraits(summary="SLiC's hinge on log-ratios (Zhao et al. 2023, Liu et al. 2023)", divergence=True),
    "exo_pair": LossTraits(summary="EXO, reverse KL (Ji et al. 2024)", label_smoothing=1e-3, divergence=True),
    "discopop": LossTraits(summary="discovered blend of logistic and exponential (Lu et al. 2024)", divergence=True),
    "sigmoid_norm": LossTraits(
        summary="DPO by log-ratios per token (Lambert et al. 2024)", beta=5.0, margin=True, divergence=True
    ),
    "nca_pair": LossTraits(summary="noise contrastive alignment (Chen et al. 2024)"),
    "bco_pair": LossTraits(summary="binary classifier optimisation (Jung et al. 2024)"),
    "sppo_hard": LossTraits(summary="self-play, hard labels (Wu et al. 2024)"),
    "apo_zero": LossTraits(summary="anchored: chosen up, rejected down (D'Oosterlinck et al. 2024)"),
    "apo_down": LossTraits(summary="anchored: both down, rejected more (D'Oosterlinck et al. 2024)"),
    "aot": LossTraits(
        summary="optimal transport of margins (Melnyk et al. 2024)",
        soft_labels=False,
        label_smoothing=0.0,
        whole_batch=True,
    ),
    "aot_unpaired": LossTraits(
        summary="optimal transport of log-ratios (Melnyk et al. 2024)",
        soft_labels=False,
        label_smoothing=0.0,
        whole_batch=True,
    ),
    "simpo": LossTraits(
        summary="mean log-probabilities, no reference (Meng et al. 2024)",
        beta=2.0,
        needs_reference=False,
        margin=True,
        label_smoothing=0.0,
        target_margin=0.5,
    ),
    "orpo": LossTraits(
        summary="SFT and odds ratio, no reference (Hong et al. 2024)", needs_reference=False, has_sft_term=True
    ),
    "cpo": LossTraits(
        summary="SFT and contrast, no reference (Xu et al. 2024)",
        needs_reference=False,
        label_smoothing=0.0,
        has_sft_term=True,
    ),
    "cpo_simpo": LossTraits(
        summary="SimPO with SFT on chosen, no reference (Xu et al. 2024, Meng et al. 2024)",
        beta=2.0,
        needs_reference=False,
        margin=True,
        label_smoothing=0.0,
        target_margin=0.5,
        has_sft_term=True,
    ),
    "alphapo": LossTraits(
        summary="SimPO with rewards bent by alpha, no reference (Gupta et al. 2025)",
        beta=2.5,
        needs_reference=False,
        margin=True,
        label_smoothing=0.0,
        target_margin=0.25,
    ),
    "mpo": LossTraits(summary="DPO, BCO and SFT mixed (Wang et al. 2024)", has_sft_term=True),
}
assert tuple(PAIR_LOSSES) == get_args(PairLossName)


@dataclass(frozen=True, kw_only=True)
class PairLossOptions:
    """The name of a loss of pairs and its options.

    Attributes:
        loss: a key of PAIR_LOSSES.
        beta: factor of log-ratios (orpo: weight of the odds ratio; ipo: tau); None takes the loss's own.
        label_smoothing: assumed share of flipped labels; None takes the loss's own.
        target_margin: simpo, cpo_simpo, alphapo: gamma, reward units; None takes the paper's.
        discopop_tau: temperature of discopop's blend.
        alphapo_alpha: how far alphapo bends rewards; 0 is simpo.
        divergence: from the reference.
        divergence_alpha: of alpha_divergence.

    Raises:
        ValueError: for a number out of range, or one that the loss does not read.
    """

    loss: PairLossName = "sigmoid"
    beta: float | None = None
    label_smoothing: float | None = None
    target_margin: float | None = None
    discopop_tau: float = 0.05
    alphapo_alpha: float = 0.25
    divergence: DivergenceName = "reverse_kl"
    divergence_alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.loss not in PAIR_LOSSES:
            raise ValueError(f"loss is {self.loss!r}, allowed are {', '.join(PAIR_LOSSES)}")
        traits = PAIR_LOSSES[self.loss]
        if not 0.0 < self.strength < float("inf"):
            raise ValueError(f"beta is {self.beta}, allowed is more than 0")
        for name in ("label_smoothing", "target_margin"):
            if getattr(self, name) is not None and getattr(traits, name) is None:
                readers = [loss for loss, loss_traits in PAIR_LOSSES.items() if getattr(loss_traits, name) is not None]
                raise ValueError(f"loss {self.loss} has no {name}, it is for {', '.join(readers)}")
        least = 0.0 if traits.label_smoothing == 0.0 or self.loss == "robust" else 1e-9
        if not least <= self.smoothing < 0.5 and traits.label_smoothing is not None:
            allowed = "0 up to 0.5" if least == 0.0 else "between 0 and 0.5"
            raise ValueError(f"label_smoothing is {self.smoothing} with loss {self.loss}, allowed is {allowed}")
        if self.target < 0.0:
            raise ValueError(f"target_margin is {self.target}, allowed is 0 or more")
        if self.discopop_tau <= 0.0:
            raise ValueError(f"discopop_tau is {self.discopop_tau}, allowed is more than 0")
        if not abs(self.alphapo_alpha) < float("inf"):
            raise ValueError(f"alphapo_alpha is {self.alphapo_alpha}, allowed is any number")
        if self.divergence not in get_args(DivergenceName):
            raise ValueError(f"divergence is {self.divergence!r}, allowed are {', '.join(get_args(DivergenceName))}")
        if self.divergence != "reverse_kl" and not traits.divergence:
            readers = [loss for loss, loss_traits in PAIR_LOSSES.items() if loss_traits.divergence]
            raise ValueError(f"divergence {self.divergence} is for {', '.join(readers)}, not for loss {self.loss}")

    @property
    def strength(self) -> float:
        """beta as configured, else the loss's default."""
        return PAIR_LOSSES[self.loss].beta if self.beta is None else self.beta

    @property
    def smoothing(self) -> float:
        """label_smoothing as configured, else the loss's default; 0 where the loss has none."""
        own = PAIR_LOSSES[self.loss].label_smoothing or 0.0
        return own if self.label_smoothing is None else self.label_smoothing

    @property
    def target(self) -> float:
        """target_margin as configured, else the loss's default; 0 where the loss has none."""
        own = PAIR_LOSSES[self.loss].target_margin or 0.0
        return own if self.target_margin is None else self.target_margin
