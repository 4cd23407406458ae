"""The list of runs: filters, a table in which a click opens a run, and the address that says which are open."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.reader_clock import reader_time, zone_name
from annotate_app.times import duration
from annotate_app.trainings.figures import first_to_show, matching, summary_row, trains_words
from annotate_app.trainings.runs import ModelRun, find_run

FIGURES = ("validation NLL", "validation loss", "reward", "audit reward")
SHARES = ("validation accuracy", "test accuracy")
ONE, SEVERAL = "run", "runs"
"""What the address names them by: `?run=12`, `?runs=12,14`."""
TABLE_HEIGHT = 388  # ten runs and the head; more are scrolled to
LINE = 35


def draw_filters(runs: Sequence[ModelRun]) -> list[ModelRun]:
    """The fields above the table, and the runs that they let through."""
    tags = sorted({tag for run in runs for tag in run.said.tags})
    kinds = {run.trains: trains_words(run) for run in runs}
    states = sorted({run.job.state for run in runs})
    columns = st.columns([3, 2, 2, 2, 1.4], vertical_alignment="bottom")
    text = columns[0].text_input("Search", placeholder="Name, note, tag or model", key="runs-text")
    chosen_tags = columns[1].multiselect("Tags", tags, key="runs-tags", disabled=not tags, placeholder="Any")
    trains = columns[2].multiselect(
        "Trains", list(kinds), format_func=kinds.__getitem__, key="runs-trains", placeholder="Any"
    )
    chosen = columns[3].multiselect("State", states, key="runs-states", placeholder="Any")
    archived = columns[4].toggle("Archived", key="runs-archived", disabled=not any(run.said.archived for run in runs))
    return matching(runs, text=text, tags=chosen_tags, trains=trains, states=chosen, archived=archived)


def draw_table(runs: Sequence[ModelRun]) -> None:
    """One line a run, newest first; a click opens it, ticks compare."""
    rows = pd.DataFrame([summary_row(run) for run in runs])
    rows["started"] = [reader_time(at) for at in rows["started"]]
    rows["took"] = [
        duration(seconds) if seconds == seconds and seconds else "" for seconds in rows["took"].astype(float)
    ]
    if not bool((rows["alarms"] != "").any()):
        rows = rows.drop(columns="alarms")
    if not any(run.said.tags for run in runs):
        rows = rows.drop(columns="tags")
    of_one_kind = ("members", *FIGURES, *SHARES)  # what only some trainings have
    rows = rows.drop(columns=[name for name in of_one_kind if bool(rows[name].isna().all())])
    percent = {}
    for name in (share for share in SHARES if share in rows):
        rows[name] = 100 * rows[name].astype(float)
        percent[name] = st.column_config.NumberColumn(name, format="%.1f %%")
    columns = {
        "run": st.column_config.TextColumn("run", pinned=True),
        "tags": st.column_config.ListColumn("tags", width="small"),
        "alarms": st.column_config.TextColumn("open alarms"),
        "started": st.column_config.DatetimeColumn(
            f"started ({zone_name()})", format="D MMM, HH:mm", timezone=zone_name()
        ),
        **{name: st.column_config.NumberColumn(name, format="%.3f") for name in FIGURES},
        **percent,
    }
    numbers = tuple(run.number for run in runs)
    key = f"runs-table-{hash(numbers)}"  # a selection is of places: other runs at them are another table
    st.dataframe(
        rows,
        hide_index=True,
        column_config=columns,
        placeholder="–",
        height=min(TABLE_HEIGHT, LINE * (len(rows) + 1) + 3),
        key=key,
        on_select=partial(open_selected, key, numbers),
        selection_mode=("single-cell", "multi-row"),
    )


def open_selected(key: str, numbers: Sequence[int]) -> None:
    """Opens the run whose cell was clicked, or those that are ticked."""
    selection = st.session_state[key]["selection"]
    ticked = [numbers[row] for row in selection.get("rows") or [] if row < len(numbers)]
    clicked = [numbers[row] for row, _ in selection.get("cells") or [] if row < len(numbers)]
    if chosen := ticked or clicked:
        write_address(chosen)


def write_address(numbers: Sequence[int]) -> None:
    """Puts the open runs into the address, so that a reload, a bookmark or a colleague opens the same."""
    for name in (ONE, SEVERAL):
        st.query_params.pop(name, None)
    if len(numbers) == 1:
        st.query_params[ONE] = str(numbers[0])
    elif numbers:
        st.query_params[SEVERAL] = ",".join(map(str, numbers))


def open_runs(project_id: int, runs: Sequence[ModelRun], shown: Sequence[ModelRun]) -> list[ModelRun]:
    """The runs that the address names, else the newest that has something to show."""
    if st.session_state.setdefault("runs-project", project_id) != project_id:  # its numbers are of another project
        st.session_state["runs-project"] = project_id
        write_address([])
    text = st.query_params.get(ONE) or st.query_params.get(SEVERAL) or ""
    by_number = {run.number: run for run in runs}
    asked: dict[int, ModelRun] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            number = int(word)
            run = by_number.get(number) or find_run(current_store(), current_actor(), project_id, number)
        except ValueError:
            st.warning(f"There is no run {as_markdown(word[:20])} in this project.", icon=":material/search_off:")
            continue
        asked[run.number] = run
    newest = first_to_show(shown or runs)
    return list(asked.values()) or ([newest] if newest else [])


def draw_choice(project_id: int, runs: Sequence[ModelRun], chosen: Sequence[ModelRun]) -> None:
    """The field that names the open runs, for fingers that miss rows."""
    key = f"runs-chosen-{project_id}"
    names = {run.name: run.number for run in runs} | {run.name: run.number for run in chosen}
    st.session_state[key] = [run.name for run in chosen]

    def open_named() -> None:
        write_address([names[name] for name in st.session_state[key] if name in names])

    st.multiselect(
        "Open; several are compared", list(names), key=key, on_change=open_named, help="Or click and tick in the table."
    )
