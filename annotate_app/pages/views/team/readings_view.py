"""Who has read the guidelines: a table for the lead, those who have not read the present version first."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.store.projects.projects import Project


def draw_readings(project: Project) -> None:
    """Draws who acknowledged which version of the guidelines, and when."""
    store, actor = current_store(), current_actor()
    readings = store.readings.list(actor, project.id)
    present = store.projects.rubric(actor, project.id).version
    st.header("Who has read the guidelines", anchor=False)
    if not readings:
        st.caption("Nobody who signs in is a member of this project yet.")
        return
    up_to_date = sum(reading.version == present for reading in readings)
    st.caption(f"{up_to_date} of {len(readings)} have read version {present}, the present one.")
    rows = [
        {
            "person": reading.name,
            "version": "none" if reading.version is None else str(reading.version),
            "present version": reading.version == present,
            f"when ({zone_name()})": "" if reading.read_at is None else minute_of(reading.read_at),
        }
        for reading in readings
    ]
    st.dataframe(rows, hide_index=True)
