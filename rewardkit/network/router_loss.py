"""The load-balancing loss of a mixture of experts, of models whose configuration asks for it (`output_router_logits`).

aux = E sum_e f_e P_e,  f_e the mean over tokens and layers of how often expert e is chosen, P_e of its probability.
Fedus et al. 2022, eq. 4 to 6 (arXiv 2101.03961), as each architecture of transformers computes it. The loss of a step
is the training's own plus `router_aux_loss_coef` times aux, as in transformers and TRL; the tokens are those of a
micro-batch, and a prompt that its completions share counts once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METRIC = "aux_loss"
_losses: ContextVar[list[Tensor] | None] = ContextVar("router_losses", default=None)


@contextmanager
def router_losses() -> Iterator[list[Tensor]]:
    """Collects the load-balancing losses, times their coefficient, of the forward passes with gradient in the block."""
    losses: list[Tensor] = []
    token = _losses.set(losses)
    try:
        yield losses
    finally:
        _losses.reset(token)


def has_router_loss(network: torch.nn.Module) -> bool:
    """Whether a network, or the one that a PEFT wrapper holds, asks for its load-balancing loss."""
    model: Any = network.get_base_model() if hasattr(network, "get_base_model") else network  # pyright: ignore
    return _balance(model) is not None


def trunk_states(model: PreTrainedModel, *, attention_mask: Tensor | None = None, **inputs: Tensor) -> Tensor:
    """(M, L, h) last hidden states of a model's trunk; within `router_losses` its load-balancing loss is collected."""
    losses, balance = _losses.get(), _balance(model)
    if attention_mask is not None:
        inputs["attention_mask"] = attention_mask
    if losses is None or balance is None or not torch.is_grad_enabled():
        return model.base_model(**inputs, use_cache=False).last_hidden_state
    output = model.base_model(**inputs, use_cache=False, output_router_logits=True)
    losses.append(balance(output.router_logits, attention_mask))
    return output.last_hidden_state


def _balance(model: Any) -> Callable[[tuple[Tensor, ...], Tensor | None], Tensor] | None:
    """The architecture's own loss, times its coefficient; None where it has none or is not asked for it."""
    coefficient = getattr(model, "router_aux_loss_coef", None)
    if not coefficient or not getattr(getattr(model, "config", None), "output_router_logits", False):
        return None
    modules = [sys.modules[cls.__module__] for cls in type(model).__mro__]  # sharding makes a class of its own
    loss = next((m.load_balancing_loss_func for m in modules if hasattr(m, "load_balancing_loss_func")), None)
    if loss is None:
        return None
    return lambda logits, mask: coefficient * loss(logits, model.num_experts, model.num_experts_per_tok, mask)
