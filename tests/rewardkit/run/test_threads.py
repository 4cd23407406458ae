"""How threads wait: chosen where nobody has chosen, both settings or neither."""

from __future__ import annotations

from rewardkit.run.training_command import SPINS, sleep_between_products


def test_what_the_environment_says_already_stays() -> None:
    said = {"OMP_WAIT_POLICY": "ACTIVE"}
    sleep_between_products(said)
    assert said == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_threads_sleep_after_a_short_while() -> None:
    said: dict[str, str] = {}
    sleep_between_products(said)
    assert said == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS}
    sleep_between_products(said)
    assert said == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS}
