"""The pages there are, and how another page links to one."""

from __future__ import annotations

import importlib

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from annotate_app.access import UserRole

ITEM = "item"
"""What an address names comparisons by, `?item=ID&item=ID`."""

# Section, least role, module under annotate_app.pages, title, icon. A role begins at the first page it may open.
LISTED: tuple[tuple[str, UserRole, str, str, str], ...] = (
    ("", "lead", "overview", "Overview", "dashboard"),
    ("", "annotator", "label", "Label", "balance"),
    ("", "annotator", "my_work", "My work", "history"),
    ("Results", "adjudicator", "adjudicate", "Adjudicate", "gavel"),
    ("Results", "lead", "agreement", "Agreement", "handshake"),
    ("Results", "lead", "quality", "Quality", "fact_check"),
    ("Results", "lead", "questions", "Questions", "contact_support"),
    ("Results", "lead", "leaderboard", "Leaderboard", "leaderboard"),
    ("Results", "lead", "groups", "Groups", "diversity_3"),
    ("Project", "lead", "rubric", "Rubric", "rule"),
    ("Project", "lead", "comparisons", "Comparisons", "compare"),
    ("Project", "lead", "import_data", "Import", "upload_file"),
    ("Project", "lead", "export", "Export", "download"),
    ("Project", "lead", "settings", "Settings", "settings"),
    ("Project", "lead", "pay", "Time and pay", "payments"),
    ("Project", "lead", "crowd", "Crowd links", "groups"),
    ("Project", "lead", "webhooks", "Webhooks", "webhook"),
    ("Models", "lead", "loop", "Loop", "cycle"),
    ("Models", "lead", "judges", "Judges", "smart_toy"),
    ("Models", "lead", "advisor", "Advisor", "lightbulb"),
    ("Models", "lead", "train", "Train", "model_training"),
    ("Models", "lead", "runs", "Runs", "stacked_line_chart"),
    ("Models", "lead", "traits", "Reward audit", "troubleshoot"),
    ("Models", "lead", "write", "Write", "edit_note"),
    ("Models", "lead", "playground", "Playground", "experiment"),
    ("Workspace", "lead", "projects", "Projects", "folder"),
    ("Workspace", "lead", "people", "People", "group"),
    ("Workspace", "lead", "jobs_page", "Jobs", "pending_actions"),
    ("Workspace", "lead", "audit", "Audit log", "receipt_long"),
    ("Workspace", "annotator", "learn", "Learn", "school"),
    ("Workspace", "annotator", "account", "Account", "account_circle"),
)


def page_at(module: str, title: str = "") -> StreamlitPage:
    """The page of a module under `annotate_app.pages`, as `st.switch_page` and `st.page_link` take it."""
    listed, icon = next((title, icon) for _, _, name, title, icon in LISTED if name == module)

    def draw() -> None:
        importlib.import_module(f"annotate_app.pages.{module}").page()

    return st.Page(draw, title=title or listed, icon=f":material/{icon}:", url_path=module)
