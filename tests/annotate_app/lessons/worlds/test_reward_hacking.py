import numpy as np
import pytest

from annotate_app.lessons.worlds.reward_hacking import (
    REFERENCE,
    TIMES,
    a_mean_does_not_give_in,
    it_shows_in_the_reward,
    make_world,
    pay_for_three,
    penalties_always_pay,
    place_of,
    push,
    rewarded,
    watch,
)


def test_the_reference_hardly_repeats_itself() -> None:
    assert REFERENCE.sum() == pytest.approx(1.0)
    assert REFERENCE @ (TIMES[:, 0] > 1) == pytest.approx(0.05)


def test_gold_pays_once_and_takes_off_for_repeating() -> None:
    plain, harmed = (make_world(num_votes=100, harm=harm, seed=0).gold for harm in (0.0, 0.5))
    once, thrice = (place_of([number, 0, 0, 0, 0, 0]) for number in (1, 3))
    assert TIMES[thrice].tolist() == [3, 0, 0, 0, 0, 0]
    assert plain[once] == plain[thrice]
    assert harmed[thrice] == pytest.approx(harmed[once] - 1.0)
    assert pay_for_three() == pytest.approx(3.0)


def test_a_push_is_paid_for_in_kl_and_keeps_its_bargain() -> None:
    """Reward and KL rise with 1 / beta, and beta KL is never more than what the reward gains."""
    world = make_world(num_votes=150, harm=0.5, seed=0)
    pushed = push(world, rewarded(world, "mean"))
    assert pushed.kl[0] == pytest.approx(0.0)
    assert (np.diff(pushed.kl) > 0).all()
    assert (np.diff(pushed.reward) > 0).all()
    betas = 10 / np.arange(1, len(pushed.kl))
    assert (pushed.reward[1:] - pushed.reward[0] >= betas * pushed.kl[1:]).all()
    assert pushed.gold_at(pushed.kl[7]) == pytest.approx(pushed.gold[7])


def test_hacking_is_caught_after_gold_has_turned_and_a_push_for_gold_is_not() -> None:
    world = make_world(num_votes=150, harm=0.5, seed=0)
    rewards = rewarded(world, "mean")
    pushed = push(world, rewards)
    caught = [alarm for alarm in watch(world, pushed, rewards, seed=0).alarms if alarm.kind == "reward_hacking"]
    assert caught[0].step > pushed.gold.argmax()
    assert pushed.gold[-1] < pushed.gold[caught[0].step]
    honest = watch(world, push(world, world.gold), world.gold, seed=0)
    assert not [alarm for alarm in honest.alarms if alarm.kind == "reward_hacking"]


def test_what_texts_say_of_hacking_is_run_and_wrong() -> None:
    assert a_mean_does_not_give_in().is_wrong
    assert it_shows_in_the_reward().is_wrong
    assert penalties_always_pay().is_wrong
