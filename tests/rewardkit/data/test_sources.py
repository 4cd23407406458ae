import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rewardkit.data.files import write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.sources import open_source, training_splits

ROOT = Path(__file__).parents[3]


def pairs(name, count=2):
    return [{"prompt": f"{name} {number}", "chosen": "x", "rejected": "y"} for number in range(count)]


def prompts(source):
    return [row.prompt[0].content for row in read_preferences(source).rows]


@pytest.fixture
def folder(tmp_path):
    """What an export with splits leaves: a file a split and a card."""
    out = tmp_path / "export"
    for name in ("train", "test"):
        write_rows(out / f"{name}.jsonl", pairs(name))
    (out / "README.md").write_text("# The card\n")
    return out


def test_a_folder_has_the_splits_of_its_files(folder):
    assert set(open_source(str(folder))) == {"train", "test"}
    assert prompts(f"{folder}:test") == ["test 0", "test 1"]
    assert prompts(str(folder / "train.jsonl")) == ["train 0", "train 1"]
    with pytest.raises(ValueError, match=r"export has the splits test, train: name one of them, as .*export:test"):
        read_preferences(str(folder))
    with pytest.raises(ValueError, match=r"export has no split 'dev', it has test, train"):
        read_preferences(f"{folder}:dev")


def test_a_split_of_several_files_is_read_in_their_order_and_errors_name_the_file(tmp_path):
    for number in (0, 1):
        write_rows(tmp_path / "data" / f"train-0000{number}-of-00002.parquet", pairs(f"part {number}"))
    assert prompts(str(tmp_path / "data")) == ["part 0 0", "part 0 1", "part 1 0", "part 1 1"]
    write_rows(tmp_path / "data" / "train-00002.jsonl", [{"prompt": "p", "chosen": "x", "rejected": "x"}])
    with pytest.raises(ValueError, match=r"train-00002\.jsonl:1: field rejected"):
        read_preferences(str(tmp_path / "data"))


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path):
    write_rows(tmp_path / "round:2.jsonl", pairs("round"))
    assert prompts(str(tmp_path / "round:2.jsonl")) == ["round 0", "round 1"]


@pytest.mark.parametrize("source", ["missing.jsonl", "some/missing.jsonl.gz", "no such thing", "a/b/c", "./owner/name"])
def test_what_is_neither_there_nor_a_hub_id_is_not_found(source):
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        open_source(source)


def test_a_folder_without_rows_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"the folder holds no \.jsonl"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("",), ("", "")),
        (("train",), ("train", "")),
        (("test",), ("test", "")),
        (("train", "test"), ("train", "test")),
        (("test", "train", "validation"), ("train", "validation")),
        (("train_sft", "train_prefs", "test_prefs"), None),
        (("train_prefs", "test_prefs"), ("train_prefs", "test_prefs")),
        (("train", "notes"), ("train", "")),
        (("one", "two"), None),
    ],
)
def test_the_split_to_train_on_is_told_by_its_name(names, found):
    splits = dict.fromkeys(names, ())
    if found:
        assert training_splits(splits, "s") == found
    else:
        with pytest.raises(ValueError, match=r"s has the splits .*: name one of them"):
            training_splits(splits, "s")


def test_missing_library_is_named_with_the_line_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails as if it were not installed
    with pytest.raises(ImportError, match=r'owner/name.*needs the package datasets: pip install "tiebreak\[train\]"'):
        open_source("owner/name")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(ImportError, match=r'saved datasets folder.*pip install "tiebreak\[train\]"'):
        open_source(str(tmp_path))


def test_saved_datasets_folders_are_read_with_and_without_splits(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the [train] extra")
    train, test = (datasets.Dataset.from_list(pairs(name)) for name in ("train", "test"))
    train.save_to_disk(tmp_path / "one")
    assert prompts(str(tmp_path / "one")) == ["train 0", "train 1"]
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "two")
    assert prompts(f"{tmp_path}/two:test") == ["test 0", "test 1"]
    bad = datasets.Dataset.from_list([*pairs("bad"), {"prompt": "p", "chosen": "x", "rejected": "x"}])
    bad.save_to_disk(tmp_path / "bad")
    with pytest.raises(ValueError, match=r"bad: record 3: field rejected"):
        read_preferences(str(tmp_path / "bad"))
    (tmp_path / "bad" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bad: not readable as a saved datasets folder"):
        read_preferences(str(tmp_path / "bad"))


def test_the_hub_is_asked_for_a_name_that_is_no_path_and_its_answer_is_told(tmp_path):
    pytest.importorskip("datasets", reason="needs the [train] extra")
    code = (
        "from rewardkit.data.sources import open_source\n"
        "try:\n    open_source('tiebreak-tests/no-such-data')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("tiebreak-tests/no-such-data: no such file or folder here, and the hub does not give")


COMMIT = "0123456789" * 4
HUB_FILES = {
    f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in pairs(name)).encode() for name in ("train", "test")
}


class SmallHub(BaseHTTPRequestHandler):
    """One data set repository, `owner/name`, over the part of the hub's interface that reading one takes."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        api, files = "/api/datasets/owner/name", "/datasets/owner/name/resolve/"
        named = path.rpartition("/")[2]
        listed = [
            {"type": "file", "path": name, "size": len(data), "oid": tag(data)} for name, data in HUB_FILES.items()
        ]
        if path in (api, f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in HUB_FILES]
            self.send({"id": "owner/name", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        elif path == f"{api}/tree/{COMMIT}":
            self.send(listed)
        elif path.startswith(files) and named in HUB_FILES:
            self.send(HUB_FILES[named], ETag=f'"{tag(HUB_FILES[named])}"', **{"X-Repo-Commit": COMMIT})
        else:
            self.send({"error": "not found"}, 404, **{"X-Error-Code": "EntryNotFound"})

    def send(self, body: object, code: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def tag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def small_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SmallHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_data_set_on_the_hub_is_read_by_its_split(small_hub, tmp_path):
    pytest.importorskip("datasets", reason="needs the [train] extra")
    code = (
        "from rewardkit.data.preferences import read_preferences\n"
        "print([row.prompt[0].content for row in read_preferences('owner/name:test').rows])\n"
        "try:\n    read_preferences('owner/name')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    hub = {"HF_ENDPOINT": small_hub, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | hub
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['test 0', 'test 1']",
        "owner/name has the splits train, test: name one of them, as owner/name:train",
    ], done.stderr


def test_datasets_is_not_imported_for_files(folder):
    code = (
        "import sys, rewardkit.data.training_data\n"
        "from rewardkit.data.preferences import read_preferences\n"
        f"read_preferences({str(folder) + ':test'!r})\n"
        "print({'datasets', 'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
