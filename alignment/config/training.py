"""The configuration of each command: flat frozen dataclasses, one documented line a field, nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignment.config.loss_names import PAIR_LOSSES, DivergenceName, PairLossName, PairLossOptions, UnpairedLossName
from rewardkit.config import FrozenWeights, OptimizerName, TrainedWeights

Precision = Literal["auto", "fp32", "bf16"]
OnBadRow = Literal["error", "skip"]


def check_least(config: object, **least: float) -> None:
    """Raises ValueError naming the first field of a configuration that is smaller than allowed."""
    for name, lowest in least.items():
        value = getattr(config, name)
        if not value >= lowest:
            raise ValueError(f"{name} is {value}, allowed is {lowest:g} or more")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Options of model, optimizer and run that every training of a policy has.

    Attributes:
        model: the policy to begin with: a folder or a hub id.
        out: the run directory; the model ends up in it, as plain transformers loads it.
        resume: whether the run in `out` continues from its last checkpoint.
        lora: whether low-rank adapters are trained and the weights stay; adapters are merged when the model is saved.
        lora_rank: rank of the LoRA adapters.
        lora_layers: number of top layers that get LoRA adapters; 0 adapts all layers.
        load_in_4bit: whether the frozen weights are held in 4 bits (QLoRA); needs bitsandbytes, saves only adapters.
        token_budget: tokens per micro-batch; steps do not depend on it.
        learning_rate: peak learning rate; 0 chooses one for the training, by the model's size and how it is trained.
        epochs: number of passes over the data.
        max_steps: number of optimizer steps; 0 takes those of all epochs.
        warmup_share: share of steps in which the learning rate rises; it then falls to 0 as a cosine.
        weight_decay: AdamW's weight decay of matrices; norms and biases have none.
        max_grad_norm: largest norm of a step's gradient; a larger one is scaled down to it.
        eval_share: share of prompts held out when none are given.
        entropy_every: steps between measurements of the entropy; 0 leaves them out.
        precision: number format of matrix products; auto takes bf16 where the hardware multiplies it faster.
        gradient_checkpointing: whether activations are computed again in backward: less memory, more time.
        offload_activations: whether activations that backward needs lie in the CPU's memory in between; for a GPU.
        offload_frozen: whether models that are not trained (reference, reward and audit models) lie in the CPU's memory
            between their uses; for a GPU.
        frozen_weights: number format in which weights that are not trained (below adapters, of the reference, of reward
            and audit models) are held; auto takes bf16 where the hardware multiplies it natively.
        trained_weights: number format in which trained weights are held: fp32, or bf16 in which a step is rounded at
            random (bf16_stochastic) or remembers what rounding took (bf16_kahan).
        optimizer: what takes the steps: AdamW with its moments in fp32, or in 8 bits through bitsandbytes, paged ones
            on a GPU moved to the CPU's memory where they do not fit.
        checkpoint_every: steps between checkpoints; 0 writes one at each evaluation.
        track: service that metrics are sent to besides the run: TensorBoard or Weights & Biases.
        push_to_hub: hub repository that the model is uploaded to when it is done; empty uploads nothing.
        on_bad_row: what a bad row does: stop the training, or be left out and listed in the run.
        seed: number that decides everything random: new weights, order of rows, samples.
    """

    model: str
    out: str
    resume: bool = False
    lora: bool = False
    lora_rank: int = 16
    lora_layers: int = 0
    load_in_4bit: bool = False
    token_budget: int = 4096
    learning_rate: float = 0.0
    epochs: int = 1
    max_steps: int = 0
    warmup_share: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    eval_share: float = 0.1
    entropy_every: int = 10
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    offload_activations: bool = False
    offload_frozen: bool = False
    frozen_weights: FrozenWeights = "auto"
    trained_weights: TrainedWeights = "fp32"
    optimizer: OptimizerName = "adamw"
    checkpoint_every: int = 0
    track: Literal["none", "tensorboard", "wandb"] = "none"
    push_to_hub: str = ""
    on_bad_row: OnBadRow = "error"
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, token_budget=1, epochs=1, lora_rank=1, lora_layers=0, max_steps=0)
        check_least(self, learning_rate=0, weight_decay=0, checkpoint_every=0, entropy_every=0, warmup_share=0, seed=0)
        if self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}, allowed is more than 0")
        if not 0 < self.eval_share < 1:
            raise ValueError(f"eval_share is {self.eval_share}, allowed is between 0 and 1")
        if self.load_in_4bit and not self.lora:
            raise ValueError("load_in_4bit trains adapters on frozen weights: give lora too")
        if self.trained_weights != "fp32" and self.lora:
            raise ValueError(
                f"trained_weights is {self.trained_weights}, adapters are few and stay fp32: leave it out with lora"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(PolicyConfig):
    """Options that every training of a policy on data has.

    Attributes:
        model: `tiny` or `small` (made here, from random weights), a folder or a hub id.
        data: training rows: a file, a saved `datasets` folder or a hub id; or give `project`.
        project: name of a project of the app, whose released rows are exported into the run directory first.
        db: URL of the database that holds the project; by default that of the app.
        eval_data: held-out rows, in the forms of `data`; without it `eval_share` of the prompts is held out.
        batch_size: rows per optimizer step.
        max_length: tokens kept of a conversation: its oldest turns go, the start of a prompt, the end of a completion.
        eval_every: steps between held-out evaluations; 0 chooses ten per run.
        keep: which weights are saved: the last ones, or those with the lowest held-out loss.
        entropy_every: steps between measurements of entropy and token accuracy; 0 leaves them to evaluations.
        sample_every: evaluations between sample completions of held-out prompts (samples.jsonl), the last one always;
            0 writes none.
        allow_leakage: whether prompts may stand in both training and evaluation data.
    """

    data: str = ""
    project: str = ""
    db: str = ""
    eval_data: str = ""
    batch_size: int = 32
    max_length: int = 1024
    eval_every: int = 0
    keep: Literal["last", "best"] = "last"
    sample_every: int = 5
    allow_leakage: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.data) == bool(self.project):
            raise ValueError("give either data or project")
        check_least(self, batch_size=1, max_length=8, eval_every=0, sample_every=0)


@dataclass(frozen=True, kw_only=True)
class SftConfig(TrainingConfig):
    """Supervised fine-tuning: the next token of demonstrations.

    Attributes:
        train_on: which turns of the assistant are trained on: the last one, or all; prompts never are.
    """

    train_on: Literal["last", "all"] = "last"


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """What is common to trainings that hold the policy to a reference.

    Attributes:
        reference: when log-probabilities of the reference are computed: once before the first step, or live in every
            step (from a frozen copy, with lora from the same weights without adapters).
        reference_cache: folder that keeps precomputed log-probabilities for other runs with the same model and rows; by
            default in the run.
    """

    reference: Literal["precomputed", "live"] = "precomputed"
    reference_cache: str = ""


@dataclass(frozen=True, kw_only=True)
class KtoConfig(PreferenceConfig):
    """Learning from single completions that are desirable or not.

    Attributes:
        loss: formula of the loss: kto, or apo_zero_unpaired, which takes the KL to be 0.
        beta: factor of the log-ratio of policy to reference: small lets the policy move far from the reference, large
            holds it close.
        desirable_weight: weight of the loss of desirable completions.
        undesirable_weight: weight of the loss of undesirable completions.
    """

    loss: UnpairedLossName = "kto"
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta}, allowed is more than 0")
        check_least(self, desirable_weight=0, undesirable_weight=0, batch_size=2)


@dataclass(frozen=True, kw_only=True)
class DpoConfig(PreferenceConfig):
    """Learning from pairs, directly.

    Attributes:
        loss: formula of a pair's loss; sigmoid is DPO itself, cdpo and robust take flipped labels; simpo, orpo, cpo,
            cpo_simpo and alphapo need no reference.
        beta: factor of the log-ratio margin: small lets the policy move far from the reference, large holds it close;
            none takes the loss's own, 0.1 for most.
        label_smoothing: share of labels taken to be flipped, 0 up to 0.5; none takes the loss's own.
        target_margin: lead that simpo, cpo_simpo and alphapo ask of chosen, their gamma; none takes the paper's.
        discopop_tau: temperature of discopop's blend.
        alphapo_alpha: how far alphapo bends rewards; 0 is simpo.
        f_divergence: divergence that holds the policy to the reference.
        f_divergence_alpha: order of the alpha_divergence.
        sft_weight: weight of the negative log-likelihood per token of chosen completions, added to the loss.
        use_margin: whether chosen has to lead by the row's margin, in reward units.
        use_weighting: whether a pair's loss is multiplied by how likely the policy is to write either completion (WPO).
        ld_alpha: weight of the tokens that the longer completion of a pair has beyond the shorter one (LD-DPO), 0 to 1;
            1 leaves them as they are.
    """

    loss: PairLossName = "sigmoid"
    beta: float | None = None
    label_smoothing: float | None = None
    target_margin: float | None = None
    discopop_tau: float = 0.05
    alphapo_alpha: float = 0.25
    f_divergence: DivergenceName = "reverse_kl"
    f_divergence_alpha: float = 0.5
    sft_weight: float = 0.0
    use_margin: bool = False
    use_weighting: bool = False
    ld_alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, sft_weight=0)
        if self.use_margin and not PAIR_LOSSES[self.loss].margin:
            readers = ", ".join(name for name, traits in PAIR_LOSSES.items() if traits.margin)
            raise ValueError(f"use_margin is for the losses {readers}, not for {self.loss}")
        traits = PAIR_LOSSES[self.loss]
        if self.use_weighting and traits.whole_batch:
            raise ValueError(f"use_weighting weighs single pairs, loss {self.loss} compares those of a whole batch")
        if not 0 <= self.ld_alpha <= 1:
            raise ValueError(f"ld_alpha is {self.ld_alpha}, allowed is 0 to 1")
        if self.ld_alpha < 1 and (traits.has_sft_term or self.sft_weight or not traits.needs_reference):
            raise ValueError("ld_alpha is for losses with a reference and without an sft part, nor sft_weight")
        assert self.options

    @property
    def options(self) -> PairLossOptions:
        """The loss with its numbers.

        Raises:
            ValueError: for a number out of range, or one that the loss does not read.
        """
        return PairLossOptions(
            loss=self.loss,
            beta=self.beta,
            label_smoothing=self.label_smoothing,
            target_margin=self.target_margin,
            discopop_tau=self.discopop_tau,
            alphapo_alpha=self.alphapo_alpha,
            divergence=self.f_divergence,
            divergence_alpha=self.f_divergence_alpha,
        )
