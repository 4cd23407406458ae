"""What a history keeps: beginning and end of each metric, nothing of what it was not asked for."""

from __future__ import annotations

import numpy as np

from alignment.watch.history import NUM_FIRST, NUM_LAST, History


def filled(values: list[float | None]) -> History:
    history = History(["kl"])
    for step, value in enumerate(values, 1):
        history.add(step, {"kl": value, "other": 1.0})
    return history


def test_beginning_and_end_are_kept_and_bounded() -> None:
    history = filled([float(k) for k in range(1, 501)])
    series = history.series["kl"]
    assert [value for _, value in series.first] == list(range(1, NUM_FIRST + 1))
    assert [at for at, _ in series.last] == list(range(500 - NUM_LAST + 1, 501))
    assert (history.num("kl"), history.newest("kl"), history.step) == (500, 500.0, 500)
    assert list(history.series) == ["kl"]


def test_windows_are_whole_or_none() -> None:
    history = filled([1.0, 5.0, 3.0])
    last, first = history.last("kl", 2), history.first("kl", 3)
    assert last is not None
    assert first is not None
    assert (last.values.tolist(), last.at.tolist()) == ([5.0, 3.0], [2.0, 3.0])
    assert first.values.tolist() == [1.0, 5.0, 3.0]
    assert history.last("kl", 4) is None
    assert history.upto("kl", 4).values.tolist() == [1.0, 5.0, 3.0]
    assert (history.level("kl", 3), history.start("kl", 2), history.level("kl", 4)) == (3.0, 3.0, None)


def test_null_is_no_point_but_told_and_an_absent_name_is_not() -> None:
    history = filled([1.0, None])
    assert history.not_finite == ("kl",)
    assert history.num("kl") == 1
    history.add(3, {"other": 1.0})
    assert history.not_finite == ()
    for value in (float("nan"), float("inf")):
        history.add(4, {"kl": value})
        assert history.not_finite == ("kl",)
    assert history.newest("kl") == 1.0


def test_a_step_that_comes_again_replaces_its_value() -> None:
    history = filled([1.0, 2.0])
    history.add(2, {"kl": 9.0})
    window = history.upto("kl", 5)
    assert (window.at.tolist(), window.values.tolist()) == ([1.0, 2.0], [1.0, 9.0])
    assert history.start("kl", 2) == 5.0
    assert np.all(np.diff(window.at) > 0)
