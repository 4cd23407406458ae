"""Whitening: by hand, the same however it is split, nothing blown up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignment.losses.value import moment_sums, moments, whiten


def test_by_hand() -> None:
    # 1, 2, 6: mean 3, squared distances 4 + 1 + 9 = 14, variance 14/3 with ddof 0
    values = torch.tensor([1.0, 2.0, 6.0])
    sums = moment_sums(values)
    assert sums.tolist() == [3.0, 9.0, 41.0]
    assert float(moments(sums).mean) == 3.0
    assert float(moments(sums).variance) == pytest.approx(14 / 3)
    deviation = (14 / 3) ** 0.5
    assert whiten(values, sums).tolist() == pytest.approx([-2 / deviation, -1 / deviation, 3 / deviation])
    kept_mean = whiten(values, sums, shift_mean=False)
    assert kept_mean.tolist() == pytest.approx([3 - 2 / deviation, 3 - 1 / deviation, 3 + 3 / deviation])


@given(
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    shift_mean=st.booleans(),
)
def test_parts_are_whitened_as_the_whole(values: list[float], cut: int, shift_mean: bool) -> None:
    tensor = torch.tensor(values)
    parts = (tensor[:cut], tensor[cut:])
    sums = moment_sums(parts[0]) + moment_sums(parts[1])
    split = torch.cat([whiten(part, sums, shift_mean=shift_mean) for part in parts])
    whole = whiten(tensor, moment_sums(tensor), shift_mean=shift_mean)
    torch.testing.assert_close(split, whole, atol=1e-5, rtol=1e-5)


@given(values=st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=30, unique=True))
def test_mean_0_and_variance_1(values: list[float]) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    if float(tensor.var(correction=0)) < 1e-3:
        return
    found = whiten(tensor, moment_sums(tensor))
    assert float(found.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(found.var(correction=0)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("value", [0.1, 1e4, -3.3])
def test_equal_values_become_exactly_0_or_stay(value: float) -> None:
    values = torch.full((7,), value)
    sums = moment_sums(values)
    assert float(moments(sums).variance) == 0.0
    assert whiten(values, sums).tolist() == pytest.approx([0.0] * 7, abs=1e-7)
    torch.testing.assert_close(whiten(values, sums, shift_mean=False), values)


def test_what_rounding_leaves_of_no_variance_is_none() -> None:
    sums = [moment_sums(torch.full((size,), 0.1, dtype=torch.float64)) for size in range(2, 60)]
    assert any(float(each[2] / each[0] - (each[1] / each[0]).square()) > 0.0 for each in sums)
    assert not any(float(moments(each).variance) for each in sums)


def test_no_values() -> None:
    sums = moment_sums(torch.zeros(0))
    assert float(moments(sums).mean) == float(moments(sums).variance) == 0.0
