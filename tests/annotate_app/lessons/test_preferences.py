"""Numbers named in lessons on votes and reward models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from annotate_app.lessons.preferences import agreement, best_of_n, ensembles


def test_bradley_terry_of_exchanged_pairs() -> None:
    """Margins 1.2, 1.0, 1.5: log(1 + e^-d) is .2633, .3133, .2014, mean .2593; exchanged it is 3.7 / 3 more."""
    pytest.importorskip("torch")
    from annotate_app.lessons.preferences.bradley_terry import CHOSEN, REJECTED, exchanged, mean_loss, move

    assert mean_loss(CHOSEN, REJECTED) == pytest.approx(0.2593, abs=5e-5)
    assert exchanged() == pytest.approx(1.4927, abs=5e-5)
    still, shifted = (move({"constant": constant, "margin": 0.0}).figures for constant in (0.0, 5.0))
    assert [row["loss"] for row in still] == pytest.approx([row["loss"] for row in shifted], abs=1e-5)


def test_agreement_of_a_rare_answer_is_below_chance() -> None:
    """Expected .95^2 + .05^2 = .905, observed .9: (.9 - .905) / .095. Even sides: (.9 - .5) / .5 = .8."""
    assert agreement.kappa_of_rare_answers() == pytest.approx(-0.005 / 0.095)
    figures = {row["measure"]: row["value"] for row in agreement.move({"agreed": 90, "share_a": 50}).figures}
    assert figures["percent agreement"] == pytest.approx(0.9)
    assert figures["Fleiss' kappa"] == pytest.approx(0.8)


def test_best_of_16_lies_1_835_nats_away_and_gains_what_order_statistics_say() -> None:
    """The mean of the largest of 16 standard normal numbers is 1.766 (Harter 1961)."""
    assert best_of_n.BEST_OF_N.question.answer() == pytest.approx(1.8351, abs=5e-5)
    by_reward, by_truth = best_of_n.worth(0.6)
    assert by_reward[15] == pytest.approx(1.766, abs=0.03)
    assert by_truth[15] == pytest.approx(0.6 * 1.766, abs=0.05)
    assert best_of_n.exact_kl(2) == pytest.approx(math.log(2) - 0.5, abs=1e-3)


def test_members_differ_where_no_vote_was() -> None:
    reward = ensembles.rewards_at(np.array([0.5, 3.0]), 200, 5)
    assert reward.std[1] > 10 * reward.std[0]
    assert ensembles.least_sure() == "x = 3"
