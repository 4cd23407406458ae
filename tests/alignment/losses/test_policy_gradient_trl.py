"""Our losses and advantages beside TRL 1.16's own code: values, gradients, metrics. Needs the [bench] extra.

TRL's trainers compute both inside methods: losses run here on a stand-in for the trainer that hands out given
log-probabilities; advantages and importance weights are lines of a long method, cut out of its source and run.
"""

from __future__ import annotations

import inspect
import textwrap
from collections import defaultdict
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the [bench] extra")
pytest.importorskip("datasets", reason="needs the [bench] extra")

import torch
from torch import Tensor
from trl import GRPOTrainer, RLOOTrainer
from trl.rewards import get_soft_overlong_punishment
from trl.trainer.utils import nanstd

from alignment.config.policy_gradient_names import PolicyLossName, PolicyLossOptions, ScaleName
from alignment.losses.advantages import group_advantages, normalised_first
from alignment.losses.importance import ImportanceLevel, importance_weights
from alignment.losses.policy_gradient import CompletionTokens, PolicyLoss, loss_total, policy_loss, top_entropy_mask
from alignment.rewards.rewards import Terms
from alignment.rewards.source import RewardBatch

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]  # their warnings are not ours to mend

NUM, WIDTH = 8, 12
IN_GRPO: tuple[PolicyLossName, ...] = ("grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo")
TOKEN_RATIO: tuple[PolicyLossName, ...] = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo")


class Batch:
    """Random log-probabilities of completions, right-padded as TRL has them."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, WIDTH + 1, (NUM,), generator=generator)
        self.mask = (torch.arange(WIDTH)[None] < lengths[:, None]).long()
        logps, old, reference = -3.0 * torch.rand(3, NUM, WIDTH, generator=generator, dtype=torch.float64)
        self.old = logps + 0.3 * (old + 1.5)
        self.logps = logps.requires_grad_()
        self.reference = reference
        self.advantages = torch.randn(NUM, generator=generator, dtype=torch.float64)
        self.weights = 0.5 + torch.rand(NUM, WIDTH, generator=generator, dtype=torch.float64)
        self.kept = torch.ones(NUM, dtype=torch.bool)
        self.entropy = (3.0 * torch.rand(NUM, WIDTH, generator=generator, dtype=torch.float64)).requires_grad_()

    @property
    def lengths(self) -> Tensor:
        return self.mask.sum(1)

    def tokens(self, **given: Any) -> CompletionTokens:
        flat = self.mask.bool()
        return CompletionTokens(
            logps=self.logps[flat],
            old_logps=self.old[flat],
            branch=torch.arange(NUM).repeat_interleave(self.lengths),
            lengths=self.lengths,
            reference_logps=self.reference[flat],
            entropy=self.entropy[flat],
            **given,
        )

    def flat(self, values: Tensor) -> Tensor:
        return values[self.mask.bool()]


class Accelerator:
    device = torch.device("cpu")
    num_processes = 1
    sync_gradients = True

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        assert reduction == "sum"
        return tensor

    def pad_across_processes(self, tensor: Tensor, **_options: object) -> Tensor:
        return tensor

    gather_for_metrics = gather


def stand_in(logps: Tensor, options: PolicyLossOptions, **given: Any) -> SimpleNamespace:
    """What TRL's loss reads of its trainer."""
    bound = 1.0 + options.above if options.loss == "cispo" else options.above  # TRL's epsilon_high of cispo is the cap
    nothing = torch.zeros_like(logps).detach()
    defaults: dict[str, Any] = {
        "_get_per_token_logps_and_entropies": lambda *_args, **_kwargs: (logps, nothing, None),
        "model": SimpleNamespace(training=True),
        "accelerator": Accelerator(),
        "aux_loss_enabled": False,
        "top_entropy_quantile": options.top_entropy_quantile,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "sequence" if options.loss == "gspo" else "token",
        "loss_type": "grpo" if options.loss == "gspo" else options.loss,
        "epsilon_low": options.below,
        "epsilon_high": bound,
        "beta": options.beta,
        "use_vllm": False,
        "vllm_importance_sampling_correction": False,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": WIDTH,
        "_entropy_bonus_enabled": options.entropy_coef != 0.0,
        "entropy_coef": options.entropy_coef,
        "use_adaptive_entropy": False,
        "args": SimpleNamespace(delta=None, use_bias_correction_kl=options.kl_weighted, steps_per_generation=1),
        "_metrics": {"train": defaultdict(list)},
    }
    return SimpleNamespace(**(defaults | given))


def trl_loss(
    batch: Batch, options: PolicyLossOptions, rows: slice = slice(None), **given: Any
) -> tuple[Tensor, dict[str, list[float]]]:
    """Loss and metrics of some rows by TRL's GRPOTrainer."""
    trainer = stand_in(batch.logps[rows], options, **given)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (batch.logps[rows], batch.entropy[rows], None)
    trainer.get_high_entropy_mask = partial(GRPOTrainer.get_high_entropy_mask, trainer)
    mask = batch.mask * batch.kept[:, None]  # as TRL masks truncated completions
    inputs = {
        "prompt_ids": torch.ones(NUM, 2)[rows],
        "prompt_mask": torch.ones(NUM, 2)[rows],
        "completion_ids": torch.ones(NUM, WIDTH)[rows],
        "completion_mask": mask[rows],
        "advantages": batch.advantages[rows],
        "old_per_token_logps": batch.old[rows],
        "ref_per_token_logps": batch.reference[rows],
        "num_items_in_batch": mask.sum(),
        "importance_sampling_ratio": batch.weights[rows],
    }
    return GRPOTrainer._compute_loss(trainer, trainer.model, inputs), trainer._metrics["train"]


def our_loss(batch: Batch, options: PolicyLossOptions, **given: Any) -> tuple[Tensor, PolicyLoss]:
    found = policy_loss(batch.tokens(**given), batch.advantages, options)
    total = loss_total(options.loss, batch.lengths, max_length=WIDTH, kept=batch.kept)
    return found.losses.sum() / total, found


def assert_same(ours: Tensor, theirs: Tensor, batch: Batch) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    (our_gradient,) = torch.autograd.grad(ours, batch.logps, retain_graph=True)
    (their_gradient,) = torch.autograd.grad(theirs, batch.logps)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-12, rtol=1e-12)
    assert our_gradient.abs().max() > 1e-3


@pytest.mark.parametrize("clip_high", [None, 0.5])
@pytest.mark.parametrize("name", IN_GRPO)
def test_losses(name: PolicyLossName, clip_high: float | None) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, clip_high=clip_high)
    (ours, found), (theirs, metrics) = our_loss(batch, options), trl_loss(batch, options)
    assert_same(ours, theirs, batch)
    if name == "cispo":
        risen = found.clipped_high * (batch.flat(batch.advantages[:, None].expand(-1, WIDTH)) > 0)
        assert float(risen.mean()) == pytest.approx(metrics["cispo_clip_ratio"][0])  # TRL counts positive ones only
    elif name == "gspo":  # TRL takes the mean over completions
        first = batch.tokens().lengths.cumsum(0) - 1
        assert float(found.clipped_low[first].mean()) == pytest.approx(metrics["clip_ratio/low_mean"][0])
        assert float(found.clipped_high[first].mean()) == pytest.approx(metrics["clip_ratio/high_mean"][0])
    else:
        assert float(found.clipped_low.mean()) == pytest.approx(metrics["clip_ratio/low_mean"][0])
        assert float(found.clipped_high.mean()) == pytest.approx(metrics["clip_ratio/high_mean"][0])
        assert metrics["clip_ratio/low_mean"][0] > 0


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "bnpo", "gspo"])
def test_two_sided_clipping(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, delta=1.3, clip_high=0.1)
    args = SimpleNamespace(delta=1.3, use_bias_correction_kl=True, steps_per_generation=1)
    (ours, _), (theirs, _) = our_loss(batch, options), trl_loss(batch, options, args=args)
    assert_same(ours, theirs, batch)
    if name != "gspo":  # whose ratios of completions are near 1
        plain, _ = our_loss(batch, PolicyLossOptions(loss=name, clip_high=0.1))
        assert float((plain - ours).detach().abs()) > 1e-3


@pytest.mark.parametrize("name", IN_GRPO)
def test_kl_in_the_loss(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, beta=0.1, kl_weighted=False)
    (ours, found), (theirs, metrics) = our_loss(batch, options), trl_loss(batch, options)
    assert_same(ours, theirs, batch)
    assert found.kl is not None
    assert float(found.kl.mean()) == pytest.approx(metrics["kl"][0])


@pytest.mark.parametrize("name", TOKEN_RATIO)
def test_weighted_kl_in_the_loss(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, beta=0.1)
    assert_same(our_loss(batch, options)[0], trl_loss(batch, options)[0], batch)


@pytest.mark.parametrize("name", IN_GRPO)
def test_importance_weights_in_the_loss(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, beta=0.1, kl_weighted=False)
    theirs, _ = trl_loss(batch, options, use_vllm=True, vllm_importance_sampling_correction=True)
    assert_same(our_loss(batch, options, weights=batch.flat(batch.weights))[0], theirs, batch)


@pytest.mark.parametrize("name", IN_GRPO)
def test_masked_completions(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, beta=0.1, kl_weighted=False)
    batch.kept = torch.arange(NUM) % 3 != 1
    theirs, _ = trl_loss(batch, options)
    assert_same(our_loss(batch, options, kept=batch.kept)[0], theirs, batch)


@pytest.mark.parametrize("name", IN_GRPO)
def test_accumulation(name: PolicyLossName) -> None:
    """Two micro-batches of TRL's are our step, but in `bnpo`, where TRL's step depends on how it is split."""
    batch, options = Batch(), PolicyLossOptions(loss=name)
    args = SimpleNamespace(delta=None, use_bias_correction_kl=True, steps_per_generation=2)
    halves = [
        trl_loss(batch, options, rows, current_gradient_accumulation_steps=2, args=args)[0]
        for rows in (slice(0, NUM // 2), slice(NUM // 2, NUM))
    ]
    ours, theirs = our_loss(batch, options)[0], torch.stack(halves).sum()
    if name == "bnpo":
        assert abs(float((ours - theirs).detach())) > 1e-3
    else:
        assert_same(ours, theirs, batch)


@pytest.mark.parametrize("name", IN_GRPO)
def test_tokens_of_high_entropy(name: PolicyLossName) -> None:
    """Which TRL tells apart in float32."""
    batch, options = Batch(), PolicyLossOptions(loss=name, beta=0.1, kl_weighted=False, top_entropy_quantile=0.3)
    acting = top_entropy_mask(batch.flat(batch.entropy), 0.3)
    assert 0.25 < float(acting.double().mean()) < 0.35
    assert_same(our_loss(batch, options, acting=acting)[0], trl_loss(batch, options)[0], batch)


@pytest.mark.parametrize("name", ["dapo", "bnpo", "cispo"])
def test_entropy_bonus(name: PolicyLossName) -> None:
    batch, options = Batch(), PolicyLossOptions(loss=name, entropy_coef=0.2)
    ours, theirs = our_loss(batch, options)[0], trl_loss(batch, options)[0]
    slopes = [torch.autograd.grad(loss, batch.entropy, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes, atol=1e-12, rtol=1e-12)
    assert slopes[0].abs().max() > 1e-3
    assert_same(ours, theirs, batch)


def test_rloo() -> None:
    batch, options = Batch(), PolicyLossOptions(loss="rloo")
    trainer = stand_in(batch.logps, options)
    inputs = {
        "prompt_ids": torch.ones(NUM, 2),
        "prompt_mask": torch.ones(NUM, 2),
        "completion_ids": torch.ones(NUM, WIDTH),
        "completion_mask": batch.mask,
        "advantages": batch.advantages,
        "old_logps": (batch.old * batch.mask).sum(1),
    }
    theirs = RLOOTrainer._compute_loss(trainer, trainer.model, inputs)
    ours, found = our_loss(batch, options)
    assert_same(ours, theirs, batch)
    metrics = trainer._metrics["train"]
    last = batch.lengths.cumsum(0) - 1
    assert float(found.clipped_low[last].mean()) == pytest.approx(metrics["clip_ratio/low_mean"][0])
    assert float(found.clipped_high[last].mean()) == pytest.approx(metrics["clip_ratio/high_mean"][0])


def run_lines(trainer: type, first: str, last: str, names: dict[str, Any]) -> dict[str, Any]:
    """Runs the lines of a trainer's long method from the one that starts with `first` up to `last`, exclusive."""
    lines = inspect.getsource(trainer._generate_and_score_completions).splitlines()  # pyright: ignore
    start = next(place for place, line in enumerate(lines) if line.strip().startswith(first))
    end = next(place for place in range(start, len(lines)) if lines[place].strip().startswith(last))
    found = {"torch": torch, "nanstd": nanstd, "device": torch.device("cpu"), "gather": lambda tensor: tensor} | names
    exec(textwrap.dedent("\n".join(lines[start:end])), found)
    return found


def trl_advantages(rewards: Tensor, scale: str) -> Tensor:
    settings = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize", scale_rewards=scale, reward_weights=torch.ones(1)
    )
    names = {"rewards_per_func": rewards.view(-1, 1), "num_generations": rewards.shape[1], "self": settings}
    found = run_lines(GRPOTrainer, "unscorable_mask =", "# Slice to keep", names)
    return found["advantages"].view(rewards.shape)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_of_groups(scale: ScaleName) -> None:
    rewards = 3.0 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    ours = group_advantages(rewards, baseline="group", scale=scale)
    torch.testing.assert_close(ours, trl_advantages(rewards, scale), atol=1e-6, rtol=1e-6)


def test_rewards_normalised_one_by_one() -> None:
    scales = torch.tensor([1.0, 9.0, 0.1])[:, None, None]
    rewards = scales * torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = [1.0, 0.2, 3.0]
    settings = SimpleNamespace(
        multi_objective_aggregation="normalize_then_sum",
        reward_weights=torch.tensor(weights),
        reward_funcs=weights,
    )
    names = {"rewards_per_func": rewards.flatten(1).T, "num_generations": 6, "self": settings}
    theirs = run_lines(GRPOTrainer, "unscorable_mask =", "# Slice to keep", names)["advantages"].view(5, 6)
    torch.testing.assert_close(normalised_first(rewards, weights), theirs, atol=1e-5, rtol=1e-5)


def test_leave_one_out() -> None:
    rewards = 3.0 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    settings = SimpleNamespace(
        reward_weights=torch.ones(1), reward_clip_range=None, beta=0.0, normalize_advantages=False
    )
    names = {"rewards_per_func": rewards.view(-1, 1), "num_generations": 6, "self": settings}
    theirs = run_lines(RLOOTrainer, "unscorable_mask =", "# Slice to keep", names)["advantages"].view(5, 6)
    ours = group_advantages(rewards, baseline="leave_one_out", scale="none")
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_trl_leaves_an_advantage_where_rewards_are_equal_and_we_do_not() -> None:
    """The mean of equal rewards differs from them by rounding; divided by 1e-4 it is an advantage in TRL 1.16."""
    equal = [torch.full((3, size), value) for size in range(2, 17) for value in (0.7, 7.7, 77.7)]
    assert max(float(trl_advantages(rewards, "group").abs().max()) for rewards in equal) > 1e-3
    assert not any(group_advantages(rewards, baseline="group", scale="group").any() for rewards in equal)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_truncated_importance_weights(level: ImportanceLevel) -> None:
    batch = Batch()
    names = {
        "self": SimpleNamespace(
            vllm_importance_sampling_mode=f"{level}_truncate",
            vllm_importance_sampling_clip_min=None,
            vllm_importance_sampling_clip_max=1.5,
        ),
        "old_per_token_logps": batch.old,
        "sampling_per_token_logps": batch.logps.detach(),
        "completion_mask": batch.mask,
        "tool_mask": None,
    }
    first = "mask = completion_mask if tool_mask is None else completion_mask * tool_mask"
    found = run_lines(GRPOTrainer, first, 'elif self.vllm_importance_sampling_mode in ["sequence_mask"', names)
    theirs = found["vllm_importance_sampling_ratio"].expand(-1, WIDTH)
    tokens = batch.tokens()
    ours = importance_weights(
        batch.flat(batch.old), batch.flat(batch.logps), tokens.branch, tokens.lengths, cap=1.5, level=level
    )
    torch.testing.assert_close(ours.weights, batch.flat(theirs))
    assert 0 < float(ours.capped.mean()) < 1


def test_overlong_punishment_is_a_length_term() -> None:
    theirs = get_soft_overlong_punishment(max_completion_len=50, soft_punish_cache=20)
    lengths = [1, 30, 31, 40, 49, 50]
    texts = ["x"] * len(lengths)
    batch = RewardBatch(prompts=[()] * 6, completions=texts, completion_ids=[(0,) * length for length in lengths])
    ours = -Terms(length_penalty=1 / 20, length_free=30).of(batch)["length"]
    assert ours.tolist() == pytest.approx(theirs(completion_ids=[[0] * length for length in lengths]), abs=1e-6)
