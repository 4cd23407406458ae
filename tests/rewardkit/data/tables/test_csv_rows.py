"""Whatever ends the lines of a CSV file, and cells that spreadsheets would run."""

import io

import pytest

from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.tables.csv_rows import guard, read_csv, unguard


def rows_of(data: bytes) -> list[dict[str, str]]:
    return [row for _, row in read_csv(io.BytesIO(data), "x.csv", None)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_every_end_of_lines_and_every_delimiter_gives_the_same_rows(end, delimiter, start):
    lines = [[b"id", b"prompt"], [b"1", b'"two\rlines, one;cell"'], [b"2", b"Q2"]]
    data = start + end.join(delimiter.join(cells) for cells in lines)
    for ended in (data, data + end):
        assert rows_of(ended) == [{"id": "1", "prompt": "two\rlines, one;cell"}, {"id": "2", "prompt": "Q2"}]


def test_a_quoted_header_may_hold_a_line_end():
    assert rows_of(b'"the\rid",b\n1,2\n') == [{"the\rid": "1", "b": "2"}]


def test_the_first_line_may_name_the_delimiter():
    numbered = list(read_csv(io.BytesIO(b"sep=;\nid;b\n1;x,y\n"), "x.csv", None))
    assert numbered == [(3, {"id": "1", "b": "x,y"})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,b\n1,x\ry\n", r"^x\.csv:2: invalid CSV \(a carriage return outside quotes\)$"),
        (b'id,b\n1,"x\n', r"^x\.csv:2: invalid CSV \(unexpected end of data"),
        (b'"id,b\n1,x\n', r"^x\.csv:1: invalid CSV"),
        (b"id,b,id\n", r"^x\.csv:1: a column name occurs twice: 'id'$"),
        (b"id,b\n1,\xff\n", r"^x\.csv:2: byte 0xff at 2 of the line is not UTF-8"),
        ("id,b\n1,x\n".encode("utf-16"), r"^x\.csv:1: the text is UTF-16, allowed is UTF-8"),
        ("id,b\n1,x\n".encode("utf-16-le"), r"^x\.csv:1: the text is UTF-16, allowed is UTF-8"),
    ],
)
def test_what_is_no_csv_is_one_line_with_its_place(data, message):
    with pytest.raises(ValueError, match=message):
        rows_of(data)


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "=", "- item", "\uff1d1", "'-5"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_written_as_a_text_and_read_as_it_was(text):
    assert guard(text) == f"'{text}"
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["", "a=1", "-5", "+3.5", "'tis", "''", " =1", "1-1", "it's"])
def test_other_texts_stay_as_they_are(text):
    assert guard(text) == unguard(text) == text


def test_a_file_comes_back_exactly(tmp_path):
    rows = [{"=id": text, "n": number} for number, text in enumerate(FORMULAS, start=-3)]
    write_rows(tmp_path / "x.csv", rows)
    written = (tmp_path / "x.csv").read_text(encoding="utf-8")
    assert not [line for line in written.split("\r\n") if line.lstrip('"').startswith(("=", "+", "@"))]
    assert [row for _, row in read_rows(tmp_path / "x.csv")] == [{**row, "n": str(row["n"])} for row in rows]
