"""The desk stands above the store, which is tested on both databases: here the database does not matter."""

from __future__ import annotations

import pytest


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """An empty SQLite database."""
    return sqlite_url
