import numpy as np
import pytest

from annotate_app.lessons.worlds.process_rewards import (
    DRAWN,
    PRIOR_PRECISION,
    RIGHT,
    average,
    blamed_step,
    counts,
    draw,
    fit_steps,
    lucky_share,
    named_step,
    read_at_the_end,
    steps_choose_better_per_label,
)


def test_counts_by_hand() -> None:
    assert counts(np.array([[0, 2, 2]])).tolist() == [[1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]]


def test_answers_end_right_by_right_steps_or_luck() -> None:
    rng = np.random.default_rng(0)
    assert DRAWN.sum() == 1
    answers = draw(20_000, num_steps=2, luck=0.0, rng=rng)
    assert (answers.outcomes == answers.labels.all(1)).all()
    assert answers.outcomes.mean() == pytest.approx((DRAWN @ RIGHT) ** 2, abs=0.01)
    assert draw(1_000, num_steps=2, luck=1.0, rng=rng).outcomes.all()


def test_the_head_of_steps_is_where_the_loss_of_steps_is_flat() -> None:
    torch = pytest.importorskip("torch")
    from rewardkit.losses import step_losses

    answers = draw(50, num_steps=4, luck=0.0, rng=np.random.default_rng(1))
    fitted = torch.tensor(fit_steps(answers), requires_grad=True)
    columns = torch.tensor(counts(answers.kinds.reshape(-1, 1)))
    step_losses(columns @ fitted, torch.tensor(answers.labels.ravel()).float()).sum().backward()
    assert (fitted.grad + PRIOR_PRECISION * fitted).abs().max() < 1e-3


def test_which_step_is_named() -> None:
    assert named_step(np.array([0.9, 0.4, 0.1])) == 1
    assert named_step(np.array([0.9, 0.6, 0.8])) == 1
    assert blamed_step(np.array([2.0, -1.0, -3.0, 0.0]), np.array([0, 1, 2, 1])) == 2


def test_luck_by_hand() -> None:
    """One step is right in 0.80625 of cases: 0.5 * 0.19375 / (0.80625 + 0.5 * 0.19375)."""
    assert lucky_share(num_steps=1, luck=0.5) == pytest.approx(0.096875 / 0.903125)


def test_steps_find_the_first_error_and_luck_hurts_outcomes_alone() -> None:
    plain, lucky = (average(num_answers=100, num_steps=6, luck=luck) for luck in (0.0, 0.6))
    assert plain["steps"].first_error > plain["outcomes"].first_error
    assert lucky["steps"].best[-1] > lucky["outcomes"].best[-1] + 0.1
    assert lucky["outcomes"].best[-1] < plain["outcomes"].best[-1]
    for rewards in lucky.values():
        assert rewards.best[0] == pytest.approx((DRAWN @ RIGHT) ** 6, abs=0.01)
        assert (rewards.best <= lucky["truth"].best + 1e-12).all()


def test_what_texts_say_of_steps_is_run_and_wrong() -> None:
    assert steps_choose_better_per_label().is_wrong
    assert read_at_the_end().is_wrong
