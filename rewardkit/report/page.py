"""HTML reports: one file that needs nothing else, light and dark, on screen and paper, from jinja2 templates.

Templates escape every text; only charts (`rewardkit.report.charts`) are markup. Templates extend `base.html`, which
holds the style, and import `parts.html` for tables and lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rewardkit.report.table import percent, plain_number

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, *, folder: Path = TEMPLATES, **values: Any) -> str:
    """The whole file.

    Args:
        template: its name in `folder` or among the templates here.
        values: what the template names; `title` always.

    Raises:
        jinja2.UndefinedError: if the template names a value that is not given.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": plain_number, "count": lambda number: f"{number:,}"}
    return environment.get_template(template).render(values) + "\n"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table under a heading; `note` stands between them."""

    heading: str
    note: str = ""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def experiment_page(
    title: str,
    *,
    summary: str = "",
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    charts: Sequence[tuple[str, str]],
    tables: Sequence[Table] = (),
) -> str:
    """The page of an experiment: what it is, its table, charts with a heading each, and further tables."""
    values = {"header": header, "rows": rows, "charts": charts, "tables": tables}
    return render_page("experiment.html", title=title, summary=summary, **values)
