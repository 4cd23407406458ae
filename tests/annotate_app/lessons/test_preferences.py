"""Numbers named in lessons on votes and reward models."""

from __future__ import annotations

import pytest

from annotate_app.lessons.preferences.agreement import kappa_of_rare_answers, move


def test_bradley_terry_of_exchanged_pairs() -> None:
    """Margins 1.2, 1.0, 1.5: log(1 + e^-d) is .2633, .3133, .2014, mean .2593; exchanged it is 3.7 / 3 more."""
    pytest.importorskip("torch")
    from annotate_app.lessons.preferences.bradley_terry import CHOSEN, REJECTED, exchanged, mean_loss
    from annotate_app.lessons.preferences.bradley_terry import move as move_rewards

    assert mean_loss(CHOSEN, REJECTED) == pytest.approx(0.2593, abs=5e-5)
    assert exchanged() == pytest.approx(1.4927, abs=5e-5)
    still, shifted = (move_rewards({"constant": constant, "margin": 0.0}).figures for constant in (0.0, 5.0))
    assert [row["loss"] for row in still] == pytest.approx([row["loss"] for row in shifted], abs=1e-5)


def test_agreement_of_a_rare_answer_is_below_chance() -> None:
    """Expected .95^2 + .05^2 = .905, observed .9: (.9 - .905) / .095. Even sides: (.9 - .5) / .5 = .8."""
    assert kappa_of_rare_answers() == pytest.approx(-0.005 / 0.095)
    figures = {row["measure"]: row["value"] for row in move({"agreed": 90, "share_a": 50}).figures}
    assert figures["percent agreement"] == pytest.approx(0.9)
    assert figures["Fleiss' kappa"] == pytest.approx(0.8)
