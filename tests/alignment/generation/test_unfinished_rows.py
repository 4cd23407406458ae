"""Rows in OUT.partial: whole prompts only, made alike, and nothing left where nothing was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.generation.unfinished_rows import UnfinishedRows, check_output


def test_a_cut_window_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    rows = UnfinishedRows(out, {"seed": 1}, per_prompt=2)
    rows.append([{"n": number} for number in range(4)])
    rows.append([{"n": number} for number in range(4, 6)])
    file = out.with_name("out.jsonl.partial")
    file.write_bytes(file.read_bytes()[:-3])  # killed while it wrote the sixth row
    again = UnfinishedRows(out, {"seed": 1}, per_prompt=2)
    assert again.num_done == 2
    again.append([{"n": 7}])
    assert [row["n"] for row in again] == [0, 1, 2, 3, 7]
    with pytest.raises(ValueError, match="seed was 1 and is 2"):
        UnfinishedRows(out, {"seed": 2}, per_prompt=2)
    again.remove()
    assert list(out.parent.iterdir()) == []


def test_a_run_that_made_nothing_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    UnfinishedRows(out, {"seed": 1})
    check_output(out, resume=False)
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(b'{"seed"')  # killed in its first line
    rows = UnfinishedRows(out, {"seed": 1})
    assert rows.num_done == 0
    rows.append([{"n": 0}])
    assert [row["n"] for row in rows] == [0]


def test_the_name_says_the_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed are"):
        check_output(tmp_path / "out.txt", resume=False)
    (tmp_path / "out.jsonl").write_text("")
    with pytest.raises(ValueError, match="is there already"):
        check_output(tmp_path / "out.jsonl", resume=True)
