"""Lines, records and archives that would fill memory, and JSON too deep to walk through, are one line of refusal."""

import gzip
import io
import json

import pytest

from rewardkit.data.files import detect_format, read_rows
from rewardkit.data.tables import json_rows, lines
from rewardkit.data.tables.json_rows import DEEPEST, check_depth


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_ROW", 5000)
    monkeypatch.setattr(json_rows, "LONGEST_ROW", 5000)
    monkeypatch.setattr(json_rows, "MOST_WHOLE", 20_000)
    monkeypatch.setattr(lines, "CHUNK", 1000)
    monkeypatch.setattr(json_rows, "CHUNK", 1000)
    monkeypatch.setattr(lines, "MOST_UNPACKED", 50_000)


def write(path, data: bytes):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


LONG = json.dumps({"id": "x" * 9000}).encode()
SHORT = b'{"id": "1"}\n'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.jsonl", SHORT + LONG, r"x\.jsonl:2: the line is longer than"),
        ("x.jsonl.gz", SHORT + LONG + b"\n", r"x\.jsonl\.gz:2: the line is longer than"),
        ("x.csv", b"id\n" + b"x" * 9000, r"x\.csv:2: the line is longer than"),
        ("x.json", b'[{"id": 1}, ' + LONG + b"]", r"x\.json: record 2 is longer than"),
        ("x.json", b'{"data": [\n' + b"1,\n" * 9000 + b"1]}", r"x\.json: an object of more than"),
        ("x.jsonl.gz", SHORT * 9000, r"x\.jsonl\.gz: the archive unpacks to more than"),
        ("x.csv.gz", b"id\n" + b"1\n" * 90_000, r"x\.csv\.gz: the archive unpacks to more than"),
        ("x.json.gz", b"[" + b'{"id": "1"},' * 9000 + b'{"id": "2"}]', r"x\.json\.gz: the archive unpacks to more"),
        ("x.parquet.gz", b"PAR1" * 20_000, r"x\.parquet\.gz: the archive unpacks to more than"),
    ],
)
def test_what_would_fill_memory_is_refused(tmp_path, small_bounds, name, data, message):
    with pytest.raises(ValueError, match=message):
        list(read_rows(write(tmp_path / name, data)))


def test_an_archive_of_texts_is_within_the_bounds(tmp_path, small_bounds):
    data = b"".join(
        json.dumps({"id": number, "text": f"{number * number:x}" * 9}).encode() + b"\n" for number in range(2000)
    )
    assert len(list(read_rows(write(tmp_path / "x.jsonl.gz", data)))) == 2000


@pytest.mark.parametrize("depth", [200, 100_000])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "array.json", "data.json"])
def test_deep_json_is_a_bad_row(tmp_path, depth, name):
    deep = '{"id": ' + "[" * depth + "]" * depth + "}"
    text = {"array.json": f"[{deep}]", "data.json": f'{{"data": [{deep}]}}'}.get(name, deep)
    with pytest.raises(ValueError, match=rf"{name}.*JSON is nested deeper than 100 levels"):
        list(read_rows(write(tmp_path / name, text.encode())))


def test_a_deep_row_can_be_left_out(tmp_path):
    text = '[{"id": 1}, {"id": ' + "[" * 150 + "]" * 150 + '}, {"id": 2}]'
    bad = []
    rows = list(read_rows(write(tmp_path / "x.json", text.encode()), on_bad=lambda number, _: bad.append(number)))
    assert (rows, bad) == ([(1, {"id": 1}), (3, {"id": 2})], [2])


def test_depth_is_counted_in_levels_not_in_brackets():
    wide = json.dumps([[number] for number in range(500)])
    check_depth(json.loads(wide), wide)
    for depth, deep in ((DEEPEST, False), (DEEPEST + 1, True)):
        text = '{"a":' * depth + "1" + "}" * depth
        if not deep:
            check_depth(json.loads(text), text)
            continue
        with pytest.raises(ValueError, match="deeper than"):
            check_depth(json.loads(text), text)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("lines.json", b'{"id": 1}\n{"id": 2}\n'),
        ("array.json", b'\xef\xbb\xbf [{"id": 1},\n{"id": 2}]'),
        ("data.json", b'{"data": [{"id": 1}, {"id": 2}]}'),
        ("ends.jsonl", b'{"id": 1}\r\n\r\n{"id": 2}'),
        ("unnamed", b'{"id": 1}\n{"id": 2}\n'),
    ],
)
def test_rows_are_found_however_they_are_laid_out(tmp_path, name, data):
    path = write(tmp_path / name, data)
    assert [row["id"] for _, row in read_rows(path, detect_format(path))] == [1, 2]


def test_garbage_behind_an_archive_is_named(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(SHORT) + b"garbage")
    with pytest.raises(ValueError, match=r"x\.jsonl\.gz:\d: the gzip data is truncated or damaged"):
        list(read_rows(path))


def test_a_number_of_too_many_digits_is_named():
    with pytest.raises(ValueError, match=r"upload: record 1: .*digits"):
        list(json_rows.read_json(io.BytesIO(b'[{"id": ' + b"1" * 5000 + b"}]"), "upload", None))
