"""The matrix products that some work is made of, and the time they take by themselves on this machine.

Products are seen where torch hands them to a library, so that those of backward passes and of our own autograd
functions are among them. A fused attention counts as the products within it: two forward, five backward (the scores are
computed again there), half of each where it is causal. What a compiled extension multiplies is not seen.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
MOST_S, LEAST_REPEATS, MOST_REPEATS = 0.05, 3, 25  # of measuring a product


@dataclass(frozen=True, kw_only=True)
class Product:
    """B products of (M, K) with (K, N) matrices.

    Attributes:
        sizes: B, M, K, N.
        turned: of both operands, whether they are stored the other way round.
        reordered: whether the second one was laid out for MKL before.
    """

    sizes: tuple[int, int, int, int]
    turned: tuple[bool, bool] = (False, False)
    dtype: str = "float32"
    reordered: bool = False

    @property
    def flops(self) -> int:
        """Operations, a multiplication and an addition for each pair of numbers."""
        batch, rows, inner, columns = self.sizes
        return 2 * batch * rows * inner * columns


def _product(a: Tensor, b: Tensor) -> Product:
    batch = a.shape[0] if a.dim() == 3 else 1
    sizes = (batch, a.shape[-2], a.shape[-1], b.shape[-1])
    return Product(sizes=sizes, turned=(_is_turned(a), _is_turned(b)), dtype=str(a.dtype).removeprefix("torch."))


def _is_turned(matrix: Tensor) -> bool:
    return matrix.stride(-1) != 1 and matrix.stride(-2) == 1


def _reordered(x: Tensor, _packed: Tensor, weight: Tensor, *_: Any) -> Iterator[tuple[Product, float]]:
    sizes = (1, x.numel() // x.shape[-1], x.shape[-1], weight.shape[0])
    yield Product(sizes=sizes, turned=(False, True), reordered=True), 1.0


def _attention(
    query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, is_causal: bool = False, **_: Any
) -> Iterator[tuple[Product, float]]:
    batch, length, width = query.shape[0] * query.shape[1], query.shape[2], query.shape[3]
    dtype, share = str(query.dtype).removeprefix("torch."), 0.5 if is_causal else 1.0
    keys = key.shape[2]
    yield Product(sizes=(batch, length, width, keys), turned=(False, True), dtype=dtype), share
    yield Product(sizes=(batch, length, keys, value.shape[3]), dtype=dtype), share


def _attention_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout: float = 0.0,
    is_causal: bool = False,
    **_: Any,
) -> Iterator[tuple[Product, float]]:
    (scores, share), (read, _share) = _attention(query, key, value, dropout, is_causal)
    batch, length, width, keys = scores.sizes
    back = Product(sizes=(batch, keys, length, width), turned=(True, False), dtype=scores.dtype)
    yield from ((product, share) for product in (scores, scores, read, back, back))


Seen = Callable[..., Iterator[tuple[Product, float]]]
SEEN: Mapping[Any, Seen] = {
    aten.mm: lambda a, b, **_: iter([(_product(a, b), 1.0)]),
    aten.bmm: lambda a, b, **_: iter([(_product(a, b), 1.0)]),
    **dict.fromkeys(
        (aten.addmm, aten.addmm_, aten.baddbmm, aten.baddbmm_), lambda _to, a, b, **_: iter([(_product(a, b), 1.0)])
    ),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class ProductCounter(TorchDispatchMode):
    """Within the block every matrix product is counted.

    Attributes:
        counts: by product, how often it was computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Product] = Counter()
        self.seen = dict(SEEN)
        if torch.backends.mkl.is_available():
            self.seen[torch.ops.mkl._mkl_linear] = _reordered

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        products = self.seen.get(func.overloadpacket)
        if products is None and func is not torch.ops.prim.device.default:
            with self:  # a linear layer without gradient comes whole
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        if products is not None:
            for product, times in products(*args, **(kwargs or {})):
                self.counts[product] += times  # pyright: ignore[reportArgumentType]
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall seconds and CPU seconds of all threads."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(wall=self.wall + other.wall, cpu=self.cpu + other.cpu)

    def times(self, factor: float) -> Cost:
        """So many times as much."""
        return Cost(wall=self.wall * factor, cpu=self.cpu * factor)


@torch.no_grad()
def measure(product: Product) -> Cost:
    """What a product costs with its operands in the cache as far as they fit: the median of some turns."""
    batch, rows, inner, columns = product.sizes
    dtype = getattr(torch, product.dtype)
    shapes = ((batch, rows, inner), (batch, inner, columns))
    operands = []
    for (count, height, width), turned in zip(shapes, product.turned, strict=True):
        stored = torch.randn(count, *((width, height) if turned else (height, width))).to(dtype)
        operands.append(stored.transpose(1, 2) if turned else stored)
    a, b = operands
    if product.reordered:
        weight = b[0].t().contiguous()
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
        multiply: Callable[[], Any] = lambda: torch.ops.mkl._mkl_linear(a[0], packed, weight, None, rows)  # noqa: E731
    elif batch == 1:
        multiply = lambda: torch.mm(a[0], b[0])  # noqa: E731
    else:
        multiply = lambda: torch.bmm(a, b)  # noqa: E731
    multiply()
    costs: list[Cost] = []
    began = time.perf_counter()
    while len(costs) < LEAST_REPEATS or (len(costs) < MOST_REPEATS and time.perf_counter() - began < MOST_S):
        started, cpu = time.perf_counter(), time.process_time()
        multiply()
        costs.append(Cost(wall=time.perf_counter() - started, cpu=time.process_time() - cpu))
    return Cost(wall=statistics.median(cost.wall for cost in costs), cpu=statistics.median(cost.cpu for cost in costs))


def alone(counts: Mapping[Product, float], costs: Mapping[Product, Cost]) -> Cost:
    """What all counted products cost, one after another."""
    return sum((costs[product].times(times) for product, times in counts.items()), Cost(wall=0.0, cpu=0.0))


def flops(counts: Mapping[Product, float]) -> float:
    """Operations of all counted products."""
    return sum(product.flops * times for product, times in counts.items())
