"""Projects on both databases."""

from __future__ import annotations

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.design import Design
from annotate_app.store.projects import Project
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


def test_a_project_is_found_by_name_and_by_id(store: Store, project: Project) -> None:
    assert store.projects.get(ADMIN, "support desk") == project
    assert store.projects.get(ADMIN, project.id) == project
    assert store.projects.get(ADMIN, str(project.id)) == project
    with pytest.raises(ValueError, match="there is no project 'elsewhere'"):
        store.projects.get(ADMIN, "elsewhere")
