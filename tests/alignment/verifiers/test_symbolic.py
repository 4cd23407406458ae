"""math-verify beside the numeric verifier."""

from __future__ import annotations

import importlib.util

import pytest

from alignment.verifiers import symbolic


def test_expressions_are_equal_however_they_are_written() -> None:
    pytest.importorskip("math_verify")
    completions = [
        r"so \boxed{\frac{1}{\sqrt{2}}}",
        r"$x \in (1,2]$",
        r"$\{2,1\}$",
        r"$\frac12$",
        r"$\sqrt{3}/2$",
        "no",
    ]
    answers = [r"\sqrt{2}/2", "(1,2]", r"\{1,2\}", 0.5, r"\sqrt{2}/2", 7]
    assert symbolic.make_math("")(completions=completions, answer=answers) == [1, 1, 1, 1, 0, 0]
    assert symbolic.make_math("gold")(completions=["$2x$"], answer=["$3$"], gold=["$x + x$"]) == [1]
    with pytest.raises(ValueError, match="no column gold holds the right answer"):
        symbolic.make_math("gold")(completions=["1"], answer=["1"])


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"^math takes the package math-verify: pip install 'tiebreak\[math\]'$"):
        symbolic.make_math("")
