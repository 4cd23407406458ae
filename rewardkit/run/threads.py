"""How the threads of matrix products wait for each other."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPINS = "10000"  # turns of libgomp's loop, about half a millisecond


def sleep_between_products(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets OpenMP's threads sleep when they have waited for half a millisecond, instead of spinning on.

    Left to itself each spins through many time slices of others: on a busy machine a step of a small model then takes
    several times as long. But to sleep at once costs a wakening at each of the hundreds of short products of a decode
    step: on two idle cores sampling takes 1.4 times as long so. Belongs into a command, before torch; an
    OMP_WAIT_POLICY that is set already stays as it is.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=SPINS)
