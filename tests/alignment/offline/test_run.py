"""What a run chooses for itself."""

from __future__ import annotations

import pytest

from alignment.config.training import SftConfig
from alignment.offline.run import LearningRates

RATES = LearningRates(small=1e-3, lora=1e-4, full=1e-5)


@pytest.mark.parametrize(
    ("options", "num_parameters", "peak"),
    [
        ({}, 2_000_000, 1e-3),
        ({"lora": True}, 2_000_000, 1e-3),
        ({}, 7_000_000_000, 1e-5),
        ({"lora": True}, 7_000_000_000, 1e-4),
        ({"learning_rate": 0.5}, 2_000_000, 0.5),
    ],
)
def test_the_learning_rate_goes_by_the_size_of_the_model(
    options: dict[str, object], num_parameters: int, peak: float
) -> None:
    config = SftConfig(model="m", out="o", data="d", **options)  # type: ignore[arg-type]
    assert RATES.peak(config, num_parameters) == peak
