"""Ctrl-C and SIGTERM: at once while nothing is lost, after the step and its checkpoint while training."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Listens to SIGINT and SIGTERM; a second one always ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._patient = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Within the block both signals raise KeyboardInterrupt, save where `patient` says otherwise."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within the block a signal only sets `asked`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked or not self._patient:
            raise KeyboardInterrupt
        self.asked = True
