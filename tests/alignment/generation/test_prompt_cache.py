"""Attention to shared prompts and own tokens, against a loop over rows."""

from __future__ import annotations

import pytest
import torch

from alignment.generation.prompt_cache import Own, PromptCache, attend


def naive(query, keys, values, scale):
    """(H, D) attention of one row's heads to (L, key heads, D) keys."""
    found = []
    for head, vector in enumerate(query):
        shared = head // (len(query) // keys.shape[1])
        weights = torch.softmax(scale * keys[:, shared] @ vector, 0)
        found.append(weights @ values[:, shared])
    return torch.stack(found)


@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("num_own", [0, 4])
def test_rows_attend_to_their_own_prompts_also_when_others_have_left(num_samples: int, num_own: int) -> None:
    torch.manual_seed(2)
    lengths, num_heads, num_key_heads, scale = [5, 4, 2], 4, 2, 0.3
    keys, values = (torch.randn(sum(lengths), num_key_heads, 8) for _ in range(2))
    cache = PromptCache(lengths, num_samples=num_samples, device=keys.device, dtype=keys.dtype)
    cache.add(keys, values)
    prompts = list(zip(keys.split(lengths), values.split(lengths), strict=True))
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
        # Places of new tokens, of which a mask leaves out the last.
        new_keys, new_values = (torch.randn(len(owners), num_key_heads, num_own + 1, 8) for _ in range(2))
        mask = torch.tensor([0.0] * num_own + [float("-inf")])
        own = Own(new_keys, new_values, mask) if num_own else None
        found = attend([cache], 0, query, own, scale)
        for row, owner in enumerate(owners):
            key, value = prompts[owner]
            own_key, own_value = (part[row, :, :num_own].transpose(0, 1) for part in (new_keys, new_values))
            expected = naive(query[row], torch.cat((key, own_key)), torch.cat((value, own_value)), scale)
            torch.testing.assert_close(found[row], expected)
