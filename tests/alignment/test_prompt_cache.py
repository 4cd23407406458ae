"""Attention to shared prompts, against a loop over rows; parts over different keys make up the whole."""

from __future__ import annotations

import pytest
import torch

from alignment.prompt_cache import PromptCache, attend, attend_by_products


def naive(query, keys, values, scale):
    """(H, D) attention of one row's heads to (L, key heads, D) keys."""
    found = []
    for head, vector in enumerate(query):
        shared = head // (len(query) // keys.shape[1])
        weights = torch.softmax(scale * keys[:, shared] @ vector, 0)
        found.append(weights @ values[:, shared])
    return torch.stack(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_of_attention_agree(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, length, 8, dtype=dtype) for length in (4, 9, 9))
    mask = torch.zeros(3, 1, 1, 9, dtype=dtype)
    mask[0, ..., 5:] = float("-inf")
    for given in (None, mask):
        found, expected = (form(query, key, value, given, 0.4) for form in (attend, attend_by_products))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5 if dtype == torch.float32 else 0.03, rtol=1e-2)
        assert found[1].dtype == torch.float32


def test_the_sum_that_the_softmax_divides_by() -> None:
    # scores 2 x (1, 0) and 2 x (0, 1) of one query (ln 2, ln 3) / 2: exponentials 2 and 3, values 10 and 20
    query = torch.tensor([[[[2.0, 3.0]]]]).log() / 2
    key, value = torch.eye(2)[None, None], torch.tensor([[[[10.0, 0.0], [20.0, 1.0]]]])
    for form in (attend, attend_by_products):
        found, log_sum = form(query, key, value, None, 2.0)
        assert log_sum.exp().item() == pytest.approx(5.0)
        assert found.flatten().tolist() == pytest.approx([2 / 5 * 10 + 3 / 5 * 20, 3 / 5])


def test_two_parts_make_up_the_whole() -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, 3, length, 8) for length in (1, 7, 7))
    whole, _ = attend(query, key, value, None, 0.5)
    (first, first_sum), (second, second_sum) = (
        attend(query, key[:, :, part], value[:, :, part], None, 0.5) for part in (slice(0, 5), slice(5, 7))
    )
    found = torch.lerp(first, second, torch.sigmoid(second_sum - first_sum)[..., None])
    torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_rows_attend_to_their_own_prompts_also_when_others_have_left(num_samples: int) -> None:
    torch.manual_seed(2)
    lengths, num_heads, num_key_heads, scale = [5, 4, 2], 4, 2, 0.3
    keys, values = (torch.randn(3, 5, num_key_heads, 8) for _ in range(2))
    cache = PromptCache([keys.transpose(1, 2)], [values.transpose(1, 2)], lengths, num_samples=num_samples)
    owners = [number for number in range(3) for _ in range(num_samples)]
    # Of three samples each: all, then different numbers, then without the first prompt, then one row.
    rounds = [None, [0, 3, 4, 5, 7], [1, 2, 4], [1]] if num_samples == 3 else [None, [0, 2], [1]]
    for kept in rounds:
        if kept is not None:
            cache.keep(kept)
            owners = [owners[place] for place in kept]
        assert cache.num_rows == len(owners)
        assert len(cache.keys[0]) == len(set(owners))
        query = torch.randn(len(owners), num_heads, 8)
        found, _ = cache.attend(0, query, scale)
        for row, owner in enumerate(owners):
            expected = naive(query[row], keys[owner, : lengths[owner]], values[owner, : lengths[owner]], scale)
            torch.testing.assert_close(found[row], expected)
