import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardkit.data.files import detect_format, place, read_rows


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_jsonl_yields_lines_and_passes_over_blank_ones(tmp_path):
    path = write(tmp_path / "rows.jsonl", '{"a": 1}\n\n{"a": "ü"}\n')
    assert list(read_rows(path)) == [(1, {"a": 1}), (3, {"a": "ü"})]


def test_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = write(tmp_path / "rows.jsonl", b'\xef\xbb\xbf{"a": 1}\n')
    assert list(read_rows(path)) == [(1, {"a": 1})]


TRUNCATED = gzip.compress(b'{"a": 1}\n' * 5000, mtime=0)[:-9]


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}, {"a": 2}]', '[\n{"a": 1}\n,\n{"a": 2}\n]\n', '{"data": [{"a": 1}, {"a": 2}]}', '{"a": 1}\n{"a": 2}\n'],
)
def test_json_may_be_an_array_an_object_with_data_or_an_object_per_line(tmp_path, text):
    assert list(read_rows(write(tmp_path / "rows.json", text))) == [(1, {"a": 1}), (2, {"a": 2})]


def test_json_object_over_several_lines_with_data(tmp_path):
    text = json.dumps({"version": 3, "data": [{"a": 1}]}, indent=2)
    assert list(read_rows(write(tmp_path / "rows.json", text))) == [(1, {"a": 1})]


def test_array_longer_than_one_read_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("rewardkit.data.files.CHUNK", 7)
    rows = [{"text": "x" * length, "n": length} for length in (0, 3, 50, 2, 400, 1)]
    path = write(tmp_path / "rows.json", json.dumps(rows, indent=1))
    assert [row for _, row in read_rows(path)] == rows


def test_csv_gives_the_line_a_row_starts_on_behind_quoted_newlines(tmp_path):
    path = write(tmp_path / "rows.csv", 'a,b\n"one\ntwo",1\n\nthree,2\n')
    assert list(read_rows(path)) == [(2, {"a": "one\ntwo", "b": "1"}), (5, {"a": "three", "b": "2"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiter_is_told_from_the_header(tmp_path, delimiter):
    path = write(tmp_path / "rows.csv", f'prompt{delimiter}answer\n"a, b; c"{delimiter}x\n')
    assert list(read_rows(path)) == [(2, {"prompt": "a, b; c", "answer": "x"})]


def test_csv_cell_may_be_longer_than_the_csv_module_allows_by_itself(tmp_path):
    long = "x" * 300_000
    assert next(read_rows(write(tmp_path / "rows.csv", f"a,b\n{long},1\n")))[1]["a"] == long


def test_parquet_is_read_by_row_groups_and_gzipped_too(tmp_path):
    rows = [{"a": number, "turns": [{"role": "user", "content": str(number)}]} for number in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=2)
    expected = list(enumerate(rows, start=1))
    assert list(read_rows(tmp_path / "rows.parquet")) == expected
    packed = write(tmp_path / "rows.parquet.gz", gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    assert list(read_rows(packed)) == expected


def test_gzip_is_recognised_by_its_bytes_and_streams_like_uploads_are_read_from_their_start():
    stream = io.BytesIO(gzip.compress(b'{"a": 1}\n'))
    stream.name = "upload.jsonl"
    stream.read()
    assert list(read_rows(stream)) == [(1, {"a": 1})]
    assert not stream.closed


@pytest.mark.parametrize(
    ("data", "format"),
    [(b' {"a": 1}', "json"), (b"\xef\xbb\xbf[1]", "json"), (b"PAR1..", "parquet"), (b"a,b\n", "csv")],
)
def test_format_is_told_from_the_content_where_the_name_does_not_say(tmp_path, data, format):
    assert detect_format(write(tmp_path / "rows", data)) == format
    assert detect_format(write(tmp_path / "rows.dat.gz", gzip.compress(data))) == format


def test_name_tells_the_format_before_the_content(tmp_path):
    assert detect_format(write(tmp_path / "rows.TSV.gz", b"")) == "csv"
    with pytest.raises(ValueError, match="rows: the file is empty"):
        detect_format(write(tmp_path / "rows", b""))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', r"rows.jsonl:2: invalid JSON at character \d+ "),
        ("rows.jsonl", b'{"a": 1}\n[2]\n', r"rows.jsonl:2: a row is '\[2\]', allowed is an object"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', r"rows.jsonl:2: byte 0xff at 7 of the line is not UTF-8"),
        ("rows.json", b'[{"a": 1}, {"a": }]', r"rows.json: record 2: invalid JSON"),
        ("rows.json", b'[{"a": 1}, 5]', r"rows.json: record 2: a row is '5', allowed"),
        ("rows.json", b'[{"a": 1}', r"rows.json: record 2: invalid JSON"),
        ("rows.json", b'[{"a": "\xff"}]', r"rows.json: after record 0: the text is not UTF-8|rows.json:1: byte 0xff"),
        ("rows.csv", b'a,b\n"x\ny",1\n2\n', r"rows.csv:4: the row has 1 cells, the header names 2 columns"),
        ("rows.csv", b"a,a\n1,2\n", r"rows.csv:1: a column name occurs twice"),
        ("rows.csv", b'a,b\n1,"2\n', r"rows.csv:2: invalid CSV"),
        ("rows.csv", b"a,b\n\xe4,1\n", r"rows.csv:2: byte 0xe4 at 0 of the line is not UTF-8"),
        ("rows.csv", "a,b\n".encode("utf-16"), r"rows.csv:1: the text is UTF-16"),
        ("rows.parquet", b"PAR1 and no more", r"rows.parquet: after record 0: not readable as Parquet"),
        (
            "rows.jsonl.gz",
            TRUNCATED,
            r"rows.jsonl.gz:\d+: the gzip data is truncated",
        ),
        (
            "rows.json.gz",
            TRUNCATED,
            r"rows.json.gz: the gzip data is truncated",
        ),
        (
            "rows.parquet.gz",
            gzip.compress(b"PAR1" * 500, mtime=0)[:-9],
            r"rows.parquet.gz: the gzip data is truncated",
        ),
    ],
)
def test_errors_name_file_and_line(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        list(read_rows(write(tmp_path / name, data)))


@pytest.mark.parametrize(
    ("name", "data", "kept", "bad"),
    [
        ("rows.jsonl", b'{"a": 1}\n{"a": \n5\n{"a": 2}\n', [1, 4], [2, 3]),
        ("rows.json", b'[{"a": 1}, 5, {"a": 2}]', [1, 3], [2]),
        ("rows.csv", b"a,b\n1,2\n3\n4,5\n", [2, 4], [3]),
    ],
)
def test_on_bad_is_told_of_single_bad_rows_and_reading_goes_on(tmp_path, name, data, kept, bad):
    told = []
    rows = list(read_rows(write(tmp_path / name, data), on_bad=lambda number, message: told.append(number)))
    assert ([number for number, _ in rows], told) == (kept, bad)


def test_numbers_that_json_does_not_know_are_missing_values(tmp_path):
    path = write(tmp_path / "rows.jsonl", '{"a": NaN, "b": -Infinity, "c": 1.5}\n')
    assert list(read_rows(path)) == [(1, {"a": None, "b": None, "c": 1.5})]


def test_place_names_lines_where_there_are_lines():
    assert place("rows.csv", 7, "csv") == "rows.csv:7"
    assert place("rows.parquet", 7, "parquet") == "rows.parquet: record 7"
