"""The experiment in the world of phrases: its worlds and members, equal KL, what is chosen where, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from alignment.__main__ import main
from alignment.config.lab import OveroptConfig
from alignment.phrase_lab import phrase_experiment
from alignment.phrase_lab.optimum import tilted
from alignment.phrase_lab.phrase_experiment import (
    INVERSE_BETAS,
    STRENGTHS,
    Key,
    best_of_n,
    distances,
    read_off,
    rows_of,
)
from alignment.phrase_lab.phrase_world import ARMS, PhraseWorld, draw_world, fit_from, fit_members
from rewardkit.heads.fit import fit_head, head_objective

COIN = PhraseWorld(votes=draw_world(0, "on_data").votes, shares=np.array([[0.5, 0.5]]), gold=np.array([[0.0, 2.0]]))


def test_repeats_are_only_where_votes_never_were() -> None:
    on_data, off_data = (draw_world(0, arm) for arm in ARMS)
    for world in (on_data, off_data):
        assert set(np.unique(world.votes.differences)) == {-1.0, 0.0, 1.0}
        assert world.shares.sum(1) == pytest.approx(np.ones(60))
    assert on_data.shares.shape == (60, 2)
    assert off_data.shares.shape == (60, 5)
    # 0.7^r / r! for 0 to 3 repeats: 1, 0.7, 0.245, 0.05716..; gold takes 0.35 for each
    assert off_data.shares[:, 3] / off_data.shares[:, 1] == pytest.approx(np.full(60, 0.245))
    assert off_data.gold[:, 3] - off_data.gold[:, 1] == pytest.approx(np.full(60, -0.7))
    replies = off_data.draw(4000, np.random.default_rng(0))
    counts = (replies == 1).mean(0), off_data.shares[:, 1]
    assert counts[0] == pytest.approx(counts[1], abs=0.04)
    assert off_data.gold_of(replies[:1])[0] == pytest.approx(
        sum(off_data.gold[phrase, count] for phrase, count in enumerate(replies[0]))
    )


def test_a_start_pulls_where_votes_are_silent() -> None:
    """From 0 it is the product's own fit; from elsewhere the gradient of NLL + lambda / 2 |theta - start|^2 is 0."""
    votes = draw_world(1, "on_data").votes
    start = np.random.default_rng(0).normal(size=60)
    assert fit_from(votes, np.zeros(60), 2.0) == pytest.approx(fit_head(votes, prior_precision=2.0).weights, abs=1e-4)
    moved = fit_from(votes, start, 2.0)
    gradient = head_objective(moved, votes, 2.0)[1] - 2.0 * start
    assert np.abs(gradient).max() < 1e-3
    unseen = ~votes.differences.any(0)
    assert moved[unseen] == pytest.approx(start[unseen], abs=1e-3)


@pytest.mark.parametrize("kind", ["bootstrap", "start", "features"])
def test_more_members_leave_the_first_as_they_are(kind: phrase_experiment.Kind) -> None:
    votes = draw_world(2, "on_data").votes
    few, many = (fit_members(votes, kind, count, prior_precision=3.0, seed=2) for count in (2, 3))
    assert few == pytest.approx(many[:2])
    assert np.abs(many[0] - many[1]).max() > 0.1


def test_gold_is_read_off_at_equal_kl() -> None:
    """One phrase of chance 1 / 2: at KL k the policy writes it with the chance q whose log 2 - H(q) is k."""
    proxy = np.array([[0.0, 1.0]])
    gold, reward = read_off(COIN, tilted(COIN.shares, proxy, INVERSE_BETAS), proxy, 4)
    kls = distances(4, "path")
    for place, kl in enumerate(kls[:2]):  # of the best of 2 and of 4
        chance = brentq(lambda q, kl=kl: np.log(2) + q * np.log(q) + (1 - q) * np.log(1 - q) - kl, 0.5, 1 - 1e-9)
        assert gold[place] == pytest.approx(2 * (chance - 0.5), abs=0.01)
        assert reward[place] == pytest.approx(chance - 0.5, abs=0.005)
    assert np.isnan(gold[2:]).all()  # nothing is further from a coin than log 2


def test_the_best_of_blocks_by_hand() -> None:
    """Four replies, two blocks: by the second member's order 1 and 0 are best, by the mean 1 and 1."""
    world = PhraseWorld(votes=COIN.votes, shares=np.full((2, 2), 0.5), gold=np.array([[0.0, 1.0], [0.0, -2.0]]))
    replies = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])  # gold 0, 1, -2, -1: mean -0.5
    found = best_of_n(world, np.array([[1.0, 0.2], [0.4, -0.4]]), replies, 2)
    # mean: 0, .7, -.1, .6 chooses 1 and 3; the worst member: 0, .4, -.4, 0 chooses 1 and 3
    assert found["best_of_n", "mean", 0.0][:, 0] == pytest.approx([0.0 + 0.5, 0.65 - 0.3])
    assert found["best_of_n", "wco", 0.0][0, 0] == pytest.approx(0.5)
    assert found["best_of_n", "gold", 0.0][0, 0] == pytest.approx(0.5)
    # variances: 0, .18, .18, .72; strength 10 leaves 0, -1.1, -1.9, -6.6: 0 and 2
    assert found["best_of_n", "uwo", 10.0][0, 0] == pytest.approx(-1.0 + 0.5)


def made_up(mean: list[float], uwo: dict[float, list[float]]) -> dict[Key, np.ndarray]:
    """Curves of best-of-4 in four worlds, gold a little more or less in each; the proxy is 0."""
    lean = np.array([-0.01, 0.0, 0.0, 0.01])[:, None]
    start: tuple[phrase_experiment.Arm, phrase_experiment.Kind, int, phrase_experiment.Push]
    start = ("on_data", "bootstrap", 5, "best_of_n")

    def curve(gold: list[float], scale: float) -> np.ndarray:
        along = np.array(gold) + scale * lean
        return np.stack([along, np.zeros_like(along)], 1)

    found: dict[Key, np.ndarray] = {(*start, "mean", 0.0): curve(mean, 1.0)}
    for strength in STRENGTHS:
        found[(*start, "uwo", strength)] = curve(uwo.get(strength, [-9.0, -9.0]), 2.0)
    return found


def test_strengths_and_stops_are_chosen_on_other_worlds_than_those_reported() -> None:
    """Apart 3 is best at the first KL and 0.3 at the second; where it is reported both lose, and 1 would have won."""
    apart = made_up([1.0, 0.5], {3.0: [1.4, 0.2], 0.3: [1.0, 0.6]})
    fresh = made_up([2.0, 1.0], {3.0: [1.5, 0.0], 0.3: [1.9, 0.75], 1.0: [5.0, 5.0]})
    mean, uwo, default = rows_of(apart, fresh, 4)
    assert [point.strength for point in uwo.points] == [3.0, 0.3]
    assert [point.gain.value for point in uwo.points] == pytest.approx([-0.5, -0.25])
    assert [point.num_ahead for point in uwo.points] == [0, 0]
    assert [point.gain.value for point in default.points] == pytest.approx([3.0, 4.0])  # of strength 1, chosen or not
    # Student's t of three degrees 3.182, differences' deviation 0.01 sqrt(2 / 3)
    half = 3.1824 * 0.01 * np.sqrt(2 / 3) / 2
    assert (uwo.points[0].gain.low, uwo.points[0].gain.high) == pytest.approx((-0.5 - half, -0.5 + half), abs=1e-5)
    assert (uwo.best.strength, uwo.best.gold.value, uwo.best.gain.value) == pytest.approx((3.0, 1.5, -0.5))
    assert uwo.fall.value == pytest.approx(0.0 - 1.5)
    assert (mean.best.gold.value, mean.fall.value) == pytest.approx((2.0, -1.0))


@pytest.mark.parametrize(
    ("apart", "fresh", "way"),
    [
        ([2.0, 1.0], [2.0, 1.0], "rises, then falls"),
        ([2.0, 1.0], [2.0, 3.0], "rises, no fall shown"),
        ([1.0, 2.0], [2.0, 1.0], "rises to the furthest"),
        ([2.0, 1.0], [-1.0, -2.0], "not shown to rise"),
    ],
)
def test_a_run_says_what_it_shows(apart: list[float], fresh: list[float], way: str) -> None:
    mean, *_ = rows_of(made_up(apart, {3.0: [1.0, 1.0]}), made_up(fresh, {3.0: [1.0, 1.0]}), 4)
    assert mean.way == way


@pytest.mark.slow
def test_the_command_runs_and_says_where_penalties_pay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phrase_experiment, "PHRASES_CHOSEN_ON", range(100, 103))
    words = ["overopt", "--world=phrases", f"--out={tmp_path / 'lab'}", "--seeds=3", "--n=64", "--json"]
    assert main(words) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["worlds"], results["chosen_on"]) == ([0, 1, 2], [100, 101, 102])
    gains = {
        (row["arm"], row["kind"]): row["points"][-1]["gain"]["value"]
        for row in results["rows"]
        if (row["push"], row["rule"], row["members"]) == ("best_of_n", "uwo_1", 5)
    }
    assert len(gains) == 8
    assert gains["off_data", "bootstrap"] > 0 > gains["on_data", "laplace"]
    assert "rises" in (tmp_path / "lab" / "table.txt").read_text()
    assert (tmp_path / "lab" / "report.html").read_text().count("<svg viewBox") == 8
    assert "| as in the votes | bootstrap |" in (tmp_path / "lab" / "overopt.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "steps is of the text world"),
        ({"noises": [0.5]}, "noises is of the text world"),
        ({"rl": False}, "rl is of the text world"),
        ({"uwo_share": 1.0}, "uwo_share is of the text world"),
        ({"seeds": 2}, "seeds is 2, allowed is 3 or more"),
        ({"first_seed": 90}, "worlds 100 to 119 are those"),
        ({"ensemble": 1}, "ensemble is 1, allowed is 2 or more"),
        ({"n": 3}, "n is 3, allowed is 4 or more"),
    ],
)
def test_options_of_the_other_world_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OveroptConfig(out="o", world="phrases", **options)


def test_worlds_have_numbers_of_their_own() -> None:
    text, phrases = OveroptConfig(out="o"), OveroptConfig(out="o", world="phrases", first_seed=200)
    assert (text.numbers, text.num_best_of) == (range(1), 64)
    assert (phrases.numbers, phrases.num_best_of) == (range(200, 230), 1024)
