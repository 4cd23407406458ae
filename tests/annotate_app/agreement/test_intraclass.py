from __future__ import annotations

import numpy as np
import pytest

from annotate_app.agreement.coefficients import intraclass_correlations
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.votes import Votes

NAMES = {
    "icc_1_1": "one_way_single",
    "icc_2_1": "random_single",
    "icc_3_1": "fixed_single",
    "icc_1_k": "one_way_mean",
    "icc_2_k": "random_mean",
    "icc_3_k": "fixed_mean",
}


def test_shrout_and_fleiss_table(agreement_vectors: dict) -> None:
    case = next(case for case in agreement_vectors["cases"] if case["id"] == "shrout_fleiss_1979_icc")
    found = intraclass_correlations(np.array(case["data"], dtype=float)).as_dict()
    for key, name in NAMES.items():
        assert found[name] == pytest.approx(case["published"][key], abs=0.0051), key
        assert found[name] == pytest.approx(case["oracle"][key], abs=1e-6), key


def test_leanings_cancel_only_in_the_fixed_form() -> None:
    ratings = np.array([[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]])  # the same order, two apart
    found = intraclass_correlations(ratings)
    assert found.fixed_single == found.fixed_mean == pytest.approx(1)
    # B = 2, J = 6, E = 0, lean = 6 / 3: 2 / (2 + 2 * 2) and 2 / (2 + 2)
    assert found.random_single == pytest.approx(1 / 3)
    assert found.random_mean == pytest.approx(1 / 2)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="1 by 2"):
        intraclass_correlations(np.ones((1, 2)))


def test_report_has_them_where_everybody_judged_everything(pandalm_votes: Votes, llmfao_votes: Votes) -> None:
    found = agreement_report(pandalm_votes, num_resamples=0, by=()).intraclass
    assert found is not None
    assert 0.8 < found.random_single < found.random_mean < 1
    assert agreement_report(llmfao_votes, num_resamples=0, by=()).intraclass is None
