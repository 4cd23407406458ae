import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewardkit.data.files import open_rows, read_rows, write_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NAMES = ["prompt", "number", "real", "flag", "turns", "more"]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": TEXTS,
            "number": st.integers(-(2**53), 2**53),
            "real": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            "flag": st.booleans(),
            "turns": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}), max_size=3),
            "more": st.dictionaries(TEXTS, st.one_of(st.integers(-9, 9), TEXTS, st.none()), max_size=3),
        }
    ),
    min_size=1,
    max_size=8,
)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "jsonl.gz"])
@SHARED_FOLDER
@given(rows=ROWS)
def test_json_comes_back_as_it_was_written(tmp_path, suffix, rows):
    path = tmp_path / f"rows.{suffix}"
    assert write_rows(path, iter(rows)) == len(rows)
    assert [row for _, row in read_rows(path)] == rows


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
@SHARED_FOLDER
@given(rows=ROWS)
def test_csv_comes_back_as_text_and_everything_else_as_its_json(tmp_path, suffix, rows):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, rows)
    back = [row for _, row in read_rows(path)]
    assert [row["prompt"] for row in back] == [row["prompt"] for row in rows]
    for name in NAMES[1:]:
        values = [json.loads(row[name]) if row[name] else None for row in back]
        assert values == [row[name] for row in rows]


@pytest.mark.parametrize("suffix", ["parquet", "parquet.gz"])
@SHARED_FOLDER
@given(rows=ROWS)
def test_parquet_comes_back_with_mappings_as_json(tmp_path, suffix, rows):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, rows)
    back = [{**row, "more": json.loads(row["more"])} for _, row in read_rows(path)]
    assert back == rows


def test_parquet_finds_one_schema_for_batches_that_differ(tmp_path, monkeypatch):
    monkeypatch.setattr("rewardkit.data.files.BATCH", 2)
    rows = [{"a": None, "b": 1}, {"a": None, "b": 2}, {"a": "x", "b": 2.5}, {"a": None, "b": 3}, {"a": "y", "c": [1]}]
    write_rows(tmp_path / "rows.parquet", rows)
    back = [row for _, row in read_rows(tmp_path / "rows.parquet")]
    assert [row["a"] for row in back] == [None, None, "x", None, "y"]
    assert [row["b"] for row in back] == [1.0, 2.0, 2.5, 3.0, None]
    assert [row["c"] for row in back] == [None, None, None, None, [1]]


def test_parquet_refuses_a_column_that_mixes_types(tmp_path):
    with pytest.raises(ValueError, match=r"rows\.parquet: a column mixes types"):
        write_rows(tmp_path / "rows.parquet", [{"a": 1}, {"a": "x"}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "csv.gz"])
def test_failing_half_way_leaves_the_old_file_and_no_trace(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, [{"a": "old"}])
    before = path.read_bytes()

    def broken():
        yield {"a": "new"}
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_rows(path, broken())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_csv_refuses_a_column_that_the_first_row_lacks(tmp_path):
    with pytest.raises(ValueError, match="has the column b, which the first row lacks"):
        write_rows(tmp_path / "rows.csv", [{"a": 1}, {"a": 1, "b": 2}])


def test_no_rows_make_an_empty_file_of_the_format(tmp_path):
    for suffix in ("jsonl", "json", "csv", "parquet"):
        path = tmp_path / f"rows.{suffix}"
        assert write_rows(path, []) == 0
        assert list(read_rows(path)) == []


def test_same_rows_give_the_same_gzip_bytes(tmp_path):
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_rows(tmp_path / name, [{"a": 1}])
    one, two = ((tmp_path / name).read_bytes() for name in ("one.jsonl.gz", "two.jsonl.gz"))
    assert one == two
    assert gzip.decompress(one) == b'{"a": 1}\n'


def test_bare_carriage_return_in_a_csv_cell_comes_back(tmp_path):
    rows = [{"a": "one\rtwo", "b": "\r"}]
    write_rows(tmp_path / "rows.csv", rows)
    assert [row for _, row in read_rows(tmp_path / "rows.csv")] == rows


def test_several_files_can_be_open_at_once(tmp_path):
    with open_rows(tmp_path / "a.csv") as write_a, open_rows(tmp_path / "b.jsonl") as write_b:
        write_a({"x": 1})
        write_b({"x": 2})
        assert not (tmp_path / "a.csv").exists()
    assert (tmp_path / "a.csv").read_bytes() == b"x\r\n1\r\n"
    assert (tmp_path / "b.jsonl").read_text() == '{"x": 2}\n'
