"""The audit log: who changed what, when. For leads of their project, for admins of everything."""

from __future__ import annotations

import json

import streamlit as st

from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.reader_clock import reader_zone, zone_name
from annotate_app.times import stamp

ROWS = 100


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Audit log")
        store, actor = current_store(), current_actor()
        projects = {project.id: project.name for project in store.projects.list(actor)}
        everything = [None] if actor.role == "admin" else []
        chosen = st.selectbox(
            "Of", [*everything, *projects], format_func=lambda key: projects.get(key, "everything"), key="audit-of"
        )
        if chosen is None and not everything:
            st.info("You lead no project yet.")
            return
        number = st.number_input("Page", 1, 10_000, key="audit-page", width=160)
        entries = store.audit.list(actor, chosen, limit=ROWS, offset=ROWS * (number - 1))
        if not entries:
            st.info("Nothing on this page.")
            return
        rows = [
            {
                f"when ({zone_name()})": stamp(entry.at, reader_zone()),
                "who": entry.actor,
                "did": entry.action,
                "project": projects.get(entry.project_id, "") if entry.project_id else "",
                "to": entry.subject,
                "detail": json.dumps(entry.detail, ensure_ascii=False) if entry.detail else "",
            }
            for entry in entries
        ]
        st.dataframe(rows, hide_index=True, height=640)
        st.caption("Lines can be added, never changed or removed: the database itself refuses.")
