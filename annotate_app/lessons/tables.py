"""Figures as small tables show them."""

from __future__ import annotations

import math

from annotate_app.pages.charts.charts import Rows


def as_text(value: object) -> str:
    """A figure as tables show it: four decimals, large and small ones as powers of ten."""
    if not isinstance(value, float):
        return str(value)
    if abs(value) < 1e-12:  # rounding, and -0
        value = 0.0
    if math.isnan(value):
        return "undefined"
    if math.isfinite(value) and value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.4f}"


def table(figures: Rows) -> list[dict[str, str]]:
    """The rows of a table as texts."""
    return [{name: as_text(value) for name, value in row.items()} for row in figures]
