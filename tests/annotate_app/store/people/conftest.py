"""What tests of accounts share: passwords that cost nothing."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from annotate_app.store.people import accounts


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 with little memory: the cost of one hash is not what is tested here."""
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: hasher)
    accounts._nobodys_hash.cache_clear()
