"""The one call that a GPU attends a packed batch with: its mask gives what the rows give one by one, however short."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch.nn.attention.flex_attention import flex_attention

from rewardkit.network import attention
from rewardkit.network.attention import LEAST_FLEX
from rewardkit.network.packed_rows import Branched, pack

ROWS = [
    Branched(prompt=(1,) * 20, branches=((2,) * 9, (3,) * 14, (4,) * 3)),
    Branched(prompt=(), branches=((5,) * 30,)),
    Branched(prompt=(6,) * 40, branches=((7,) * 25, (8,) * 60)),
]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("num_rows", [1, 3])  # shorter and longer than what it is filled up to
def test_one_call_attends_as_the_rows_do(num_rows: int, key_heads: int) -> None:
    batch = pack(ROWS[:num_rows])
    assert (batch.num_tokens < LEAST_FLEX) == (num_rows == 1)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, batch.num_tokens, 16, generator=generator) for heads in (4, key_heads, key_heads)
    )
    with attention.packed_rows(batch), torch.no_grad():
        expected = attention.attend_rows(query, key, value, 0.3)
        layout = attention._current.get()
        attended = attention._by_flex_attention(flex_attention, query, key, value, layout, 0.3)
    torch.testing.assert_close(attended.transpose(1, 2), expected, rtol=1e-5, atol=1e-5)
