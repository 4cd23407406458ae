"""Links from a figure to the comparisons behind it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from annotate_app.pages.charts.charts import MARK
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_project
from annotate_app.pages.kit.page_list import page_at
from annotate_app.store.workbench.comparison_filter import ComparisonFilter, to_address

PATH = "/comparisons"


def address_of(chosen: ComparisonFilter) -> dict[str, str | list[str]]:
    """The address of the comparisons that a filter chooses in the current project, as `st.page_link` takes it."""
    words = {word: values[0] if len(values) == 1 else values for word, values in to_address(chosen).items()}
    return {"project": current_project().name, **words}


def link_to(chosen: ComparisonFilter) -> str:
    """The same as a link, for a column of links in a table."""
    return f"{PATH}?{urlencode({'project': current_project().name, **to_address(chosen)}, doseq=True)}"


def draw_link(label: str, chosen: ComparisonFilter, *, icon: str = ":material/compare:") -> None:
    """A link that opens the comparisons that a filter chooses."""
    st.page_link(page_at("comparisons"), label=label, icon=icon, query_params=address_of(chosen))


def open_comparisons(chosen: ComparisonFilter) -> None:
    """Goes to the comparisons that a filter chooses; for marks of a chart that are clicked."""
    words = {word: value for word, value in address_of(chosen).items() if word != "project"}
    st.switch_page(page_at("comparisons"), query_params=words)  # the project's own widget keeps its word


def draw_links(title: str, links: Sequence[tuple[str, ComparisonFilter]], *, key: str) -> None:
    """Links to what is behind the marks of a chart, for whoever does not click on marks."""
    if not links:
        return
    with st.expander(title, icon=":material/compare:"), st.container(horizontal=True, key=f"links-{key}"):
        for label, chosen in links:
            draw_link(as_markdown(label), chosen)


def picked(event: object, *names: str) -> dict[str, str] | None:
    """What the clicked mark of a chart says of some fields, None where none was clicked."""
    selection = getattr(event, "selection", None)
    points: Sequence[dict[str, object]] = (selection or {}).get(MARK) or []
    if not points or any(name not in points[0] for name in names):
        return None
    return {name: str(points[0][name]) for name in names}
