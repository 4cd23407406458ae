import numpy as np
import pytest

from annotate_app.lessons.worlds.judged_self_play import (
    FIRST,
    UNEVEN,
    a_reward_says_the_same,
    bradley_terry_choice,
    it_ends_at_the_best,
    least_win_rate,
    play_round,
    preferences,
    unbeaten,
)


def test_preferences_of_both_orders_add_up_to_one() -> None:
    preferred = preferences(circle=1.0, better=0.5)
    assert preferred + preferred.T == pytest.approx(np.ones((3, 3)))
    assert preferred[0, 1] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert preferred[0, 2] == pytest.approx(0.5)  # 1 for C by the circle, 2 x 0.5 for A


def test_the_unbeaten_policy_by_hand() -> None:
    """In a circle of leads a, b, c over 1/2, of A over B, B over C, C over A, shares are as b : c : a."""
    assert unbeaten(UNEVEN) == pytest.approx([0.25, 0.5, 0.25])
    assert least_win_rate(unbeaten(UNEVEN), UNEVEN) == pytest.approx(0.5)
    best_alone = preferences(circle=0.0, better=1.0)
    assert unbeaten(best_alone) == pytest.approx([1, 0, 0])
    assert bradley_terry_choice(best_alone).tolist() == [1, 0, 0]


def test_a_round_moves_log_ratios_by_win_rates() -> None:
    """(win rate - 1/2) / beta, up to a constant and to first order in 1 / beta."""
    moved = np.log(play_round(FIRST, UNEVEN, beta=20.0)) - np.log(FIRST)
    rates = UNEVEN @ FIRST
    assert moved - moved[0] == pytest.approx((rates - rates[0]) / 20.0, rel=0.03, abs=2e-4)


def test_what_texts_say_of_judged_self_play_is_run_and_wrong() -> None:
    assert it_ends_at_the_best().is_wrong
    assert a_reward_says_the_same().is_wrong
