from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from annotate_app.ranking.bradley_terry import TIES, Ties, components, fit_bradley_terry, fit_resamples, is_finite
from annotate_app.votes import Votes


@pytest.fixture(scope="module")
def ranking_vectors(shared_data: Path) -> dict[str, dict]:
    cases = json.loads((shared_data / "ranking_vectors.json").read_text())["cases"]
    return {case["id"]: case for case in cases}


def random_games(seed: int, num_models: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wins = rng.integers(1, 9, (num_models, num_models)).astype(float)
    ties = rng.integers(0, 6, (num_models, num_models)).astype(float)
    np.fill_diagonal(wins, 0)
    return wins, np.triu(ties, 1) + np.triu(ties, 1).T


def test_agresti_baseball(ranking_vectors: dict[str, dict]) -> None:
    case = ranking_vectors["agresti_baseball_1987"]
    wins = np.array(case["wins"], dtype=float)
    found = fit_bradley_terry(wins, np.zeros_like(wins))
    last = len(wins) - 1
    strength = dict(zip(case["items"], found.log_strength - found.log_strength[last], strict=True))
    error = dict(zip(case["items"], found.standard_errors(last), strict=True))
    assert found.converged
    for name, value in case["published"]["log_strength_relative_to_Baltimore"].items():
        assert strength[name] == pytest.approx(value, abs=0.0051)
    for name, value in case["oracle"]["log_strength_relative_to_Baltimore"].items():
        assert strength[name] == pytest.approx(value, abs=1e-6)
    for name, value in case["oracle"]["standard_errors"].items():
        assert error[name] == pytest.approx(value, abs=1e-6)
    assert error["Baltimore"] == 0


def llmfao_games(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    size = len(votes.sources)
    a, b = votes.item_source_a[votes.item], votes.item_source_b[votes.item]
    wins, ties = np.zeros((size, size)), np.zeros((size, size))
    np.add.at(wins, (a[votes.choice == 0], b[votes.choice == 0]), 1)
    np.add.at(wins, (b[votes.choice == 1], a[votes.choice == 1]), 1)
    np.add.at(ties, (a[votes.choice == 2], b[votes.choice == 2]), 1)
    return wins, ties + ties.T


def test_llmfao_strengths(ranking_vectors: dict[str, dict], llmfao_votes: Votes) -> None:
    oracle = ranking_vectors["llmfao_bradley_terry"]["oracle"]
    found = fit_bradley_terry(*llmfao_games(llmfao_votes))
    expected = [oracle["log_strength_mean_zero"][name] for name in llmfao_votes.sources]
    assert found.log_strength == pytest.approx(expected, abs=1e-5)
    assert -found.log_likelihood == pytest.approx(oracle["negative_log_likelihood"], abs=1e-3)


@pytest.mark.bench
def test_llmfao_strengths_equal_evalica(llmfao_votes: Votes) -> None:
    evalica = pytest.importorskip("evalica", exc_type=ImportError)
    names = llmfao_votes.sources
    a = [names[code] for code in llmfao_votes.item_source_a[llmfao_votes.item]]
    b = [names[code] for code in llmfao_votes.item_source_b[llmfao_votes.item]]
    winner = [(evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw)[code] for code in llmfao_votes.choice]
    scores = np.log(evalica.bradley_terry(a, b, winner, tolerance=1e-9).scores)
    theirs = (scores - scores.mean()).loc[list(names)].to_numpy()
    assert fit_bradley_terry(*llmfao_games(llmfao_votes)).log_strength == pytest.approx(theirs, abs=1e-4)


def test_two_models_by_hand() -> None:
    # 6 wins, 2 losses, 4 ties. Half wins: 8 of 12, so the log odds are log 2. Variance 1 / (12 * 2/3 * 1/3) = 3 / 8.
    wins, ties = np.array([[0, 6], [2, 0]]), np.array([[0, 4], [4, 0]])
    half = fit_bradley_terry(wins, ties)
    assert half.log_strength == pytest.approx([np.log(2) / 2, -np.log(2) / 2])
    assert half.standard_errors(1)[0] == pytest.approx(np.sqrt(3 / 8))
    # Davidson: e^b / 1 / nu e^(b / 2) in the ratio 6 : 2 : 4, so b = log 3 and nu = 4 / 2 / sqrt(3).
    davidson = fit_bradley_terry(wins, ties, rule="davidson")
    assert davidson.log_strength[0] - davidson.log_strength[1] == pytest.approx(np.log(3))
    assert davidson.log_tie == pytest.approx(np.log(2 / np.sqrt(3)))
    assert davidson.log_likelihood == pytest.approx(6 * np.log(1 / 2) + 2 * np.log(1 / 6) + 4 * np.log(1 / 3))


@pytest.mark.parametrize("seed", range(4))
def test_davidson_equals_a_general_optimiser(seed: int) -> None:
    wins, ties = random_games(seed)

    def negative(x: np.ndarray) -> float:
        total = 0.0
        for i in range(5):
            for j in range(5):
                if i == j:
                    continue
                tie = np.exp(x[5] + (x[i] + x[j]) / 2)
                whole = np.exp(x[i]) + np.exp(x[j]) + tie
                total -= wins[i, j] * np.log(np.exp(x[i]) / whole) + ties[i, j] / 2 * np.log(tie / whole)
        return total

    best = minimize(negative, np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    found = fit_bradley_terry(wins, ties, rule="davidson")
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert found.log_strength == pytest.approx(best.x[:5] - best.x[:5].mean(), abs=1e-4)
    assert found.log_tie == pytest.approx(best.x[5], abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_half_wins_satisfy_the_likelihood_equation(seed: int) -> None:
    wins, ties = random_games(seed)
    found = fit_bradley_terry(wins, ties)
    p = 1 / (1 + np.exp(found.log_strength[None, :] - found.log_strength[:, None]))
    assert ((wins + wins.T + ties) * p).sum(axis=1) == pytest.approx((wins + ties / 2).sum(axis=1))
    assert found.log_strength.sum() == pytest.approx(0)


@pytest.mark.parametrize("rule", TIES)
def test_turning_all_results_round_turns_the_strengths_round(rule: str) -> None:
    wins, ties = random_games(9)
    here, there = (fit_bradley_terry(table, ties, rule=rule) for table in (wins, wins.T))
    assert there.log_strength == pytest.approx(-here.log_strength)
    assert there.standard_errors() == pytest.approx(here.standard_errors())


@pytest.mark.parametrize("rule", TIES)
def test_standard_errors_are_those_of_simulation(rule: str) -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.8, 0.1, -0.9])
    estimates, errors = [], []
    for _ in range(300):
        wins, ties = np.zeros((3, 3)), np.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            weight = np.array([np.exp(truth[i]), np.exp(truth[j]), 0.7 * np.exp((truth[i] + truth[j]) / 2)])
            win, loss, tie = rng.multinomial(150, weight / weight.sum())
            wins[i, j], wins[j, i], ties[i, j], ties[j, i] = win, loss, tie, tie
        found = fit_bradley_terry(wins, ties, rule=rule)
        estimates.append(found.log_strength)
        errors.append(found.standard_errors())
    if rule == "davidson":
        assert np.mean(estimates, axis=0) == pytest.approx(truth, abs=0.03)
        assert np.mean(errors, axis=0) == pytest.approx(np.std(estimates, axis=0), rel=0.15)
    else:  # a tie as half a win carries less noise than a coin, so the half rule's errors err on the wide side
        assert (np.mean(errors, axis=0) > np.std(estimates, axis=0)).all()


def test_models_that_only_win_have_no_fit() -> None:
    wins = np.array([[0, 3, 2], [0, 0, 1], [0, 2, 0]])
    with pytest.raises(ValueError, match="only ever win"):
        fit_bradley_terry(wins, np.zeros((3, 3)))
    assert len(set(components(wins, strong=True))) == 2
    assert len(set(components(wins))) == 1


def test_two_models_that_only_draw_have_no_finite_davidson_fit() -> None:
    ties = np.array([[0, 2], [2, 0]])
    nothing = np.zeros((2, 2))
    assert is_finite(nothing, ties, "half")
    assert not is_finite(nothing, ties, "davidson")
    assert is_finite(np.array([[0, 1], [1, 0]]), ties, "davidson")
    # n drew with both and never won: its strength sinks while nu rises
    wins, drawn = np.array([[0, 5, 0], [0, 0, 0], [0, 3, 0]]), np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    assert is_finite(wins, drawn, "half")
    assert not is_finite(wins, drawn, "davidson")
    with pytest.raises(ValueError, match="no finite fit"):
        fit_bradley_terry(wins, drawn, rule="davidson")


@pytest.mark.parametrize("seed", range(40))
def test_finite_davidson_fits_are_those_without_a_direction_of_recession(seed: int) -> None:
    """The slow twin: a linear program looks for a direction along which no outcome's likelihood falls."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 5))
    wins = rng.binomial(1, 0.35, (size, size)).astype(float)
    np.fill_diagonal(wins, 0)
    ties = np.triu(rng.binomial(1, 0.4, (size, size)), 1).astype(float)
    ties += ties.T
    rows = []  # of rows @ (b, t) >= 0, t the direction of log nu
    for i, j in np.argwhere(wins):
        gap = np.eye(size)[i] - np.eye(size)[j]
        rows += [np.append(gap, 0), np.append(gap / 2, -1)]
    for i, j in np.argwhere(ties):
        rows.append(np.append((np.eye(size)[i] - np.eye(size)[j]) / 2, 1))
    constraints = np.array(rows).reshape(-1, size + 1)
    moves = False
    for axis in range(size + 1):
        for sign in (1.0, -1.0):
            if axis == size and not ties.any():
                continue  # without ties nu takes no part
            solved = linprog(
                -sign * np.eye(size + 1)[axis],
                A_ub=-constraints if rows else None,
                b_ub=np.zeros(len(rows)) if rows else None,
                A_eq=np.append(np.eye(size)[0], 0)[None],
                b_eq=[0],
                bounds=(-1, 1),
            )
            moves = moves or -solved.fun > 1e-9
    assert is_finite(wins, ties, "davidson") == (not moves)


@pytest.mark.parametrize("rule", TIES)
def test_many_tables_at_once_are_fitted_as_each_alone(rule: Ties) -> None:
    rng = np.random.default_rng(4)
    wins = rng.poisson(1.2, (60, 5, 5)) * (1 - np.eye(5))
    ties = np.triu(rng.poisson(0.6, (60, 5, 5)), 1)
    ties = ties + ties.swapaxes(1, 2)
    wins[0, 0], wins[0, :, 0], ties[0] = 0, 1, 0  # a model that only loses
    wins[1], ties[1] = 0, np.ones((5, 5)) - np.eye(5)
    wins[1, 0, 1] = 1  # strengths run off together with ties
    ties[2] = 0
    kept = [table for table in range(60) if is_finite(wins[table], ties[table], rule)]
    assert 0 < len(kept) < 60
    start = np.linspace(-1, 1, 5)
    together = fit_resamples(wins, ties, rule=rule, start=start, tolerance=1e-10)
    alone = [fit_bradley_terry(wins[table], ties[table], rule=rule).log_strength for table in kept]
    assert together == pytest.approx(np.array(alone), abs=1e-6)


@pytest.mark.parametrize("rule", TIES)
def test_strengths_far_apart_stay_finite_numbers(rule: Ties) -> None:
    wins = np.array([[0, 1e9, 0], [1, 0, 1e9], [0, 1, 0]])
    ties = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    fitted = fit_bradley_terry(wins, ties, rule=rule)
    assert fitted.converged
    assert np.isfinite(fitted.covariance).all()
    assert fitted.log_strength[0] - fitted.log_strength[2] > 30
