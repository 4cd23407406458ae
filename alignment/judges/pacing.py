"""When the next question may be sent: a limit a minute, and pauses that the endpoint asks for."""

from __future__ import annotations

import threading
import time


class Pace:
    """Lets threads through one after another; safe to share.

    Args:
        requests_per_minute: most in a minute, evenly spread; 0 is no limit.
        ended: nobody waits any longer once it is set.
    """

    def __init__(self, requests_per_minute: int, ended: threading.Event) -> None:
        self._gap_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._ended = ended
        self._lock = threading.Lock()
        self._next_at = 0.0
        self._paused_until = 0.0

    def wait(self) -> None:
        """Waits for one's turn."""
        with self._lock:
            turn_at = max(time.monotonic(), self._next_at)
            self._next_at = turn_at + self._gap_s
        while not self._ended.is_set():
            wait_s = max(turn_at, self._paused_until) - time.monotonic()
            if wait_s <= 0:
                return
            self._ended.wait(wait_s)

    def pause(self, seconds: float) -> None:
        """Lets nobody through for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
