"""Transactions are made again where they meet another one on PostgreSQL: a deadlock, the same row at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

ATTEMPTS = 5
RETRIED = ("40001", "40P01", "23505")  # serialization failure, deadlock, the same row made at the same time
Result = TypeVar("Result")


def retried(transaction: Callable[[], Result]) -> Result:
    """Runs a whole transaction, again where it met another one; nothing of a failed try remains."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transaction()
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if attempt == ATTEMPTS or (state not in RETRIED and not isinstance(error, IntegrityError)):
                raise
    raise AssertionError("the last attempt returns or raises")
