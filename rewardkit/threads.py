"""How the threads of matrix products wait for each other."""

from __future__ import annotations

import os


def sleep_between_products() -> None:
    """Lets OpenMP's threads sleep while they wait, instead of spinning through the time slices of others.

    Spinning costs nothing on an idle machine and everything on a busy one: there a step of a small model takes several
    times as long. Belongs into a command, before torch; an OMP_WAIT_POLICY that is set already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
