"""The vocabulary head from hidden states to log-probabilities of given tokens, without ever holding all logits.

Logits are made a block of the vocabulary at a time: (C, block) instead of (C, V). Each block of the head's gradient is
written once, and no sum over tokens is rounded between blocks. Backward makes the logits again, except for a bounded
number that forward keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from rewardkit.weights.held import LINEAR

BLOCK = 2048  # vocabulary entries of a block
KEPT_BYTES = 64 * 2**20  # logits that forward keeps for backward, at most


@dataclass(frozen=True, kw_only=True)
class LogitForm:
    """What happens between the linear head and the softmax: y = softcap tanh(scale u / softcap) / temperature.

    Attributes:
        scale: factor of the head's output.
        softcap: bound of the logits; None leaves them unbounded.
        temperature: > 0; 1 is the model's own distribution.
    """

    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    @property
    def factor(self) -> float:
        """What the head's input and bias can be multiplied with instead of its output."""
        return self.scale if self.softcap else self.scale / self.temperature

    def bend(self, logits: Tensor) -> Tensor:
        """Logits as the softmax takes them; `factor` is in the argument already."""
        return (logits / self.softcap).tanh() * (self.softcap / self.temperature) if self.softcap else logits

    def slope(self, bent: Tensor) -> Tensor:
        """Derivative of `bend`, given its result."""
        if not self.softcap:
            return torch.ones_like(bent)
        return (1.0 - (bent * (self.temperature / self.softcap)).square()) / self.temperature


@dataclass(frozen=True, kw_only=True)
class TokenLogps:
    """Log-probabilities of C tokens.

    Attributes:
        logps: (C,) float32, nats.
        entropy: (C,) float32, nats, with gradient; of the whole distribution at each place. None unless asked for.
        is_top: (C,) bool, whether no token is likelier than the target. None unless the entropy is asked for.
        log_squares: (C,) float32, detached, log of the sum over the vocabulary of squared probabilities: minus Renyi's
            entropy of order 2. None unless asked for.
    """

    logps: Tensor
    entropy: Tensor | None
    is_top: Tensor | None = None
    log_squares: Tensor | None = None


def token_logps(
    hidden: Tensor,
    head: torch.nn.Module,
    targets: Tensor,
    *,
    form: LogitForm | None = None,
    with_entropy: bool = False,
    with_squares: bool = False,
    block: int = BLOCK,
) -> TokenLogps:
    """Log-probabilities of `targets`, exact in value and gradient, softmax in float32 (float64 for float64 input).

    logps[c] = y[c, targets[c]] - log sum_v exp y[c, v],  y the bent logits of hidden[c].
    entropy[c] = -sum_v p[c, v] log p[c, v],  d entropy[c] / d y[c, v] = -p[c, v] (log p[c, v] + entropy[c]).

    Args:
        hidden: (C, h) float, states that predict the targets.
        head: linear from h to V. A plain one is taken apart; any other (adapters on it) runs as it is, a few rows at a
            time, and again in backward.
        targets: (C,) int64, 0 to V - 1.
        block: vocabulary entries whose logits are held at a time.

    Raises:
        ValueError: if block is not positive.
    """
    if block < 1:
        raise ValueError(f"block is {block}, allowed is 1 or more")
    form = form or LogitForm()
    if type(head) in LINEAR:
        most_kept_bytes = KEPT_BYTES if torch.is_grad_enabled() else 0
        options = (form, block, most_kept_bytes, with_entropy, with_squares)
        logps, entropy, is_top, squares = _BlockwiseLogps.apply(hidden, head.weight, head.bias, targets, *options)
    else:
        parts = []
        num_rows = max(1, len(hidden) * block // _vocabulary_size(head))  # as many logits as in the other way
        for states, ids in zip(hidden.split(num_rows), targets.split(num_rows), strict=True):
            options = (form, with_entropy, with_squares)
            parts.append(checkpoint(_plain_logps, states, head, ids, *options, use_reentrant=False))
        logps, entropy, is_top, squares = (torch.cat(part) for part in zip(*parts, strict=True))
    return TokenLogps(
        logps=logps,
        entropy=entropy if with_entropy else None,
        is_top=is_top if with_entropy else None,
        log_squares=squares if with_squares else None,
    )


def _vocabulary_size(head: torch.nn.Module) -> int:
    """V, from the weight that an adapter shows of the layer within."""
    assert isinstance(head.weight, Tensor)
    return len(head.weight)


def _plain_logps(
    hidden: Tensor, head: torch.nn.Module, targets: Tensor, form: LogitForm, with_entropy: bool, with_squares: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Results as of `_BlockwiseLogps`, of a few rows by the head's own forward pass."""
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) * form.factor
    log_shares = form.bend(logits).log_softmax(-1)
    logps = log_shares.gather(-1, targets[:, None])[:, 0]
    entropy = -(log_shares.exp() * log_shares).sum(-1) if with_entropy else logps.detach()
    squares = (2.0 * log_shares.detach()).logsumexp(-1) if with_squares else logps.detach()
    return logps, entropy, logps.detach() >= log_shares.detach().amax(-1), squares


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A range of the vocabulary and which targets lie in it: targets[rows] = start + columns."""

    start: int
    stop: int
    rows: Tensor
    columns: Tensor


def _blocks(targets: Tensor, num_tokens: int, size: int) -> Iterator[_Block]:
    """Ranges of `size` entries that cover the vocabulary."""
    order = targets.argsort()
    edges = torch.arange(0, num_tokens + size, size, device=targets.device)
    bounds = torch.searchsorted(targets[order], edges).tolist()
    for number, start in enumerate(range(0, num_tokens, size)):
        rows = order[bounds[number] : bounds[number + 1]]
        yield _Block(start=start, stop=min(start + size, num_tokens), rows=rows, columns=targets[rows] - start)


class _BlockwiseLogps(torch.autograd.Function):
    """Logps, entropy, whether likeliest, and log_squares, of targets under softmax(bend(hidden W^T + b))."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        form: LogitForm,
        block_size: int,
        most_kept_bytes: int,
        with_entropy: bool,
        with_squares: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(hidden.dtype, weight.dtype)
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
        exact = torch.promote_types(dtype, torch.float32)
        states = _scaled(hidden, form).to(dtype)
        target_logits = torch.empty(len(targets), dtype=exact, device=hidden.device)
        log_masses, expected, highest, square_masses, kept_logits = [], [], [], [], []
        kept_bytes = 0
        with torch.autocast(hidden.device.type, enabled=False):
            for block in _blocks(targets, len(weight), block_size):
                logits = _logits(states, weight, bias, block, form)
                exact_logits = logits.to(exact)
                target_logits[block.rows] = exact_logits[block.rows, block.columns]
                log_masses.append(exact_logits.logsumexp(-1))
                if with_entropy:
                    expected.append((exact_logits.softmax(-1) * exact_logits).sum(-1))
                    highest.append(exact_logits.amax(-1))
                if with_squares:
                    square_masses.append((2.0 * exact_logits).logsumexp(-1))
                kept_bytes += logits.nbytes
                if kept_bytes <= most_kept_bytes:
                    kept_logits.append(logits)
        log_mass = torch.stack(log_masses)  # (blocks, C)
        log_total = log_mass.logsumexp(0)
        log_shares = log_mass - log_total
        logps = target_logits - log_total
        entropy = log_total - (log_shares.exp() * torch.stack(expected)).sum(0) if with_entropy else logps.detach()
        ctx.save_for_backward(states, weight, bias, targets, log_shares, logps, entropy, target_logits, *kept_logits)
        ctx.form, ctx.block_size, ctx.hidden_dtype = form, block_size, hidden.dtype
        is_top = target_logits >= (torch.stack(highest).amax(0) if with_entropy else torch.inf)
        squares = torch.stack(square_masses).logsumexp(0) - 2.0 * log_total if with_squares else logps.detach()
        ctx.mark_non_differentiable(is_top, squares, *(() if with_entropy else (entropy,)))
        ctx.set_materialize_grads(False)
        return logps, entropy, is_top, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, entropy_gradient: Tensor | None, *_: None) -> tuple[Any, ...]:  # pyright: ignore
        states, weight, bias, targets, log_shares, logps, entropy, target_logits, *kept_logits = ctx.saved_tensors
        form: LogitForm = ctx.form
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        hidden_gradient = torch.zeros(states.shape, dtype=logps.dtype, device=states.device)
        weight_gradient = torch.empty_like(weight) if wants_weight else None
        bias_gradient = torch.empty_like(bias) if wants_bias else None
        gradient = torch.zeros_like(logps) if gradient is None else gradient
        # d logps[c] / d logits[c, v] = [v is the target] - p[c, v]; 1 - p is precise where p is close to 1
        at_target = -torch.expm1(logps) * gradient
        log_total = target_logits - logps
        if entropy_gradient is not None:
            at_target = at_target - logps.exp() * (logps + entropy) * entropy_gradient
        at_target = at_target * form.slope(target_logits)
        with torch.autocast(states.device.type, enabled=False):
            for number, block in enumerate(_blocks(targets, len(weight), ctx.block_size)):
                part = slice(block.start, block.stop)
                logits = (
                    kept_logits[number] if number < len(kept_logits) else _logits(states, weight, bias, block, form)
                )
                factors = gradient[:, None]
                if entropy_gradient is not None:
                    factors = factors + (logits - (log_total - entropy)[:, None]) * entropy_gradient[:, None]
                factors = factors * -log_shares[number].exp()[:, None]
                pulls = logits.softmax(-1).mul_(factors.to(logits.dtype))
                if form.softcap:
                    pulls.mul_(form.slope(logits))
                pulls[block.rows, block.columns] = at_target[block.rows].to(pulls.dtype)
                if wants_hidden:
                    hidden_gradient += pulls @ weight[part].to(pulls.dtype)
                if weight_gradient is not None:
                    weight_gradient[part] = pulls.T @ states
                if bias_gradient is not None:
                    bias_gradient[part] = pulls.sum(0, dtype=logps.dtype) * form.factor
        hidden_result = _scaled(hidden_gradient, form).to(ctx.hidden_dtype) if wants_hidden else None
        return hidden_result, weight_gradient, bias_gradient, *[None] * 6


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, block: _Block, form: LogitForm) -> Tensor:
    """(C, block) logits as the softmax takes them, in the number format of `states`."""
    part = slice(block.start, block.stop)
    shift = None if bias is None else _scaled(bias[part], form).to(states.dtype)
    return form.bend(F.linear(states, weight[part].to(states.dtype), shift))


def _scaled(tensor: Tensor, form: LogitForm) -> Tensor:
    return tensor if form.factor == 1.0 else tensor * form.factor
