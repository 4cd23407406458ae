"""Figures as people read them."""

from __future__ import annotations

import math

from rewardkit.stats.metrics import Interval


def percent(value: float) -> str:
    """A share in percent; whole ones without decimals: `61.3%`, `50%`."""
    if not math.isfinite(value):
        return "–"
    scaled = round(100 * value, 1)
    return f"{scaled:.0f}%" if scaled == round(scaled) else f"{scaled:.1f}%"


def interval_text(share: Interval) -> str:
    """A share with its interval: `61.3% (56.1 to 66.5)`."""
    if not math.isfinite(share.value):
        return "–"
    value = f"{100 * share.value:.1f}%"
    return f"{value} ({100 * share.low:.1f} to {100 * share.high:.1f})" if math.isfinite(share.low) else value


def points_text(difference: Interval) -> str:
    """A difference of shares in points: `+2.5 (-1.0 to +6.1)`."""
    if not math.isfinite(difference.value):
        return "–"
    return f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def number_text(number: Interval, decimals: int = 2) -> str:
    """A figure that is no share: `0.61 (0.55 to 0.67)`."""
    if not math.isfinite(number.value):
        return "–"
    value, low, high = (f"{each:.{decimals}f}" for each in (number.value, number.low, number.high))
    return f"{value} ({low} to {high})"
