"""Rows in OUT.partial: whole blocks only, made from the same, and nothing left where nothing was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardkit.data.files import ResumableFile, check_output, count_partial_rows, read_rows


def test_a_cut_block_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    file = ResumableFile(out, {"seed": 1}, block=2)
    file.append([{"n": number} for number in range(4)])
    file.append([{"n": number} for number in range(4, 6)])
    assert count_partial_rows(out) == 6
    partial = out.with_name("out.jsonl.partial")
    partial.write_bytes(partial.read_bytes()[:-3])  # killed while it wrote the sixth row
    again = ResumableFile(out, {"seed": 1}, block=2)
    assert again.num_rows == 4
    again.append([{"n": 7}])
    assert [row["n"] for row in again] == [0, 1, 2, 3, 7]
    with pytest.raises(ValueError, match="seed was 1 and is 2"):
        ResumableFile(out, {"seed": 2}, block=2)


@pytest.mark.parametrize(("num_total", "num_rows"), [(5, 5), (6, 4), (None, 4)])
def test_a_short_last_block_counts_where_all_rows_are_there(tmp_path: Path, num_total: int, num_rows: int) -> None:
    ResumableFile(tmp_path / "out.csv", {}, block=2).append([{"n": number} for number in range(5)])
    assert ResumableFile(tmp_path / "out.csv", {}, block=2, num_total=num_total).num_rows == num_rows


def test_the_output_takes_its_place_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    file = ResumableFile(out, {"seed": 1})
    file.append([{"n": 1}, {"n": 2}])
    with pytest.raises(ZeroDivisionError), file.finish() as write:
        write({"n": 1 / 0})
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv.partial"]
    with file.finish() as write:
        for row in file:
            write(row)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert [row for _, row in read_rows(out)] == [{"n": "1"}, {"n": "2"}]


def test_a_run_that_made_nothing_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ResumableFile(out, {"seed": 1})
    check_output("--out", out, resume=False)
    assert count_partial_rows(out) == 0
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(b'{"seed"')  # killed in its first line
    file = ResumableFile(out, {"seed": 1})
    assert file.num_rows == 0
    file.append([{"n": 0}])
    assert [row["n"] for row in file] == [0]


def test_a_file_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    """As versions before this class left it; values that JSON writes otherwise (tuples) are the same values."""
    (tmp_path / "out.jsonl.partial").write_text('{"stop": ["a"], "seed": 0}\n{"n": 0}\n{"n": 1}\n')
    assert ResumableFile(tmp_path / "out.jsonl", {"stop": ("a",), "seed": 0}).num_rows == 2


def test_the_name_says_the_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--out .*allowed are"):
        check_output("--out", tmp_path / "out.txt", resume=False)
    (tmp_path / "out.jsonl").write_text("")
    with pytest.raises(ValueError, match="is there already"):
        check_output("--out", tmp_path / "out.jsonl", resume=True)
    (tmp_path / "new.jsonl.partial").write_text("{}\n")
    with pytest.raises(ValueError, match="--resume continues it"):
        check_output("--out", tmp_path / "new.jsonl", resume=False)
    check_output("--out", tmp_path / "new.jsonl", resume=True)
