"""The Train page of the demo project, as tests of its forms read and press it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store


def demo_of(store: Store) -> Project:
    """The project whose annotators are simulated."""
    return next(project for project in store.projects.list(Actor.command_line()) if project.simulated)


def texts(test: AppTest) -> str:
    """All that stands there in words."""
    return "\n".join(item.value for item in [*test.text, *test.caption, *test.markdown, *test.error, *test.warning])


def start_button(test: AppTest):
    """The button that queues what the form shows."""
    return test.button(key="train-start")
