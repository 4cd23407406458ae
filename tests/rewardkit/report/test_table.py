"""Tables for a terminal."""

from __future__ import annotations

from rewardkit.report.table import WIDEST, signed_text, text_table
from rewardkit.stats.metrics import Interval


def test_tables_align_and_keep_control_characters_out() -> None:
    table = text_table(("name", "n"), [["m\x1b[31m", "5"], ["模型", "12"]])
    assert table.splitlines() == ["name     n", "------  --", "m [31m   5", "模型    12"]


def test_headings_take_no_width_and_empty_rows_are_blank_lines() -> None:
    table = text_table((), [["a heading that is long"], ["a", "1.5", "~"], [], ["bc", "10.5", ""]], indent=1)
    assert table.splitlines() == [" a heading that is long", " a    1.5  ~", "", " bc  10.5"]


def test_long_cells_are_shortened_and_a_table_may_be_empty() -> None:
    assert text_table((), [["x" * 100]]) == "x" * (WIDEST - 3) + "..."
    assert text_table(("a", "b"), []) == "a  b\n-  -"
    assert text_table((), []) == ""


def test_differences_have_a_sign_and_an_interval_where_there_is_one() -> None:
    assert signed_text(Interval(value=0.164, low=0.0, high=0.318)) == "+0.16 (+0.00 to +0.32)"
    assert signed_text(Interval(value=-1.0)) == "-1.00 (too few or too alike to say)"
    assert signed_text(Interval(value=float("nan"))) == "–"
