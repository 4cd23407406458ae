import itertools

import numpy as np
import pytest

from annotate_app.lessons.worlds.debate import (
    alone_on_sixteen,
    claim_of_defender,
    debate,
    draw_sight,
    one_adviser,
    random_claim,
    truth_wins_before_any_judge,
    who_points_does_not_matter,
)

SURE = np.ones((1, 4))
MIXED = np.array([[0.9, 0.6, 0.3]])


def verdict_is_right(sight: float, is_true: bool, holds: bool) -> float:
    """Chance that a verdict is right after a claim was checked."""
    reads_true = sight if is_true else 1 - sight
    return reads_true if holds else 1 - reads_true


def test_a_judge_who_reads_all_claims_right() -> None:
    """Alone 1/2 + 1/2 * 1/4; an adviser fools only by showing a true claim of an argument that fails."""
    assert random_claim(SURE) == pytest.approx(0.625)
    assert debate(SURE) == 1.0
    assert debate(SURE, skill=0.0) == pytest.approx(0.625)
    assert one_adviser(SURE) == pytest.approx(0.75)
    assert claim_of_defender(SURE) == pytest.approx(0.5)
    assert alone_on_sixteen() == pytest.approx(17 / 32)


def test_mixed_claims_against_playing_every_case() -> None:
    sight = MIXED[0]
    places = range(3)
    alone = [verdict_is_right(sight[p], True, True) for p in places]
    alone_fails = [verdict_is_right(sight[p], p != f, False) for p, f in itertools.product(places, places)]
    assert random_claim(MIXED) == pytest.approx(0.5 * np.mean(alone) + 0.5 * np.mean(alone_fails))
    pointed = [verdict_is_right(sight[f], False, False) for f in places]
    assert debate(MIXED) == pytest.approx(0.5 * 0.3 + 0.5 * np.mean(pointed))
    shown = [verdict_is_right(max(sight[p] for p in places if p != f), True, False) for f in places]
    assert claim_of_defender(MIXED) == pytest.approx(0.5 * 0.9 + 0.5 * np.mean(shown))
    holds = 0.5 * (0.9 + 0.3)
    fails = 0.5 * (np.mean(pointed) + np.mean(shown))
    assert one_adviser(MIXED) == pytest.approx(0.5 * (holds + fails))


def test_of_one_claim_all_ways_are_the_same() -> None:
    sight = draw_sight(1, murky=0.3, murky_sight=0.6, seed=1)
    for way in (random_claim, debate, one_adviser, claim_of_defender):
        assert way(sight) == pytest.approx(sight.mean())


def test_what_texts_say_of_debate_is_run_and_wrong() -> None:
    assert who_points_does_not_matter().is_wrong
    assert truth_wins_before_any_judge().is_wrong
