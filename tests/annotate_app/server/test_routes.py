"""What a finished training hands out over HTTP: to whom, under which policy, and that a zip is whole."""

from __future__ import annotations

import io
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.server.routes import zipped
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


@pytest.fixture
def training(sqlite_url: str, add_account: Callable[..., Actor], tmp_path: Path) -> int:
    """A finished training in a project of lea, and mia, a lead of nothing; its job's number."""
    lea = add_account("lea", "lead")
    add_account("mia", "lead")
    store = Store.open(sqlite_url, migrate=False)
    project = store.projects.create(lea, "p", rubric_text=OWN_RUBRIC, design=Design())
    run_dir = tmp_path / "jobs" / "one"
    job = store.jobs.add(lea, "train", "tiny", ["annotate_app", "train"], project.id, run_dir=str(run_dir))
    for name, text in {
        "evaluation/report.html": "<script>alert(1)</script><p>report</p>",
        "model/status.json": '{"state": "done", "pid": 1}',
        "model/rewardkit.json": "{}",
        "model/weights": "w" * 3_000_000,
        "model/checkpoints/state": "no",
        "data/train.jsonl": "{}",
        "model/.half.1": "no",
    }.items():
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text(text)
    (run_dir / "model" / "link").symlink_to("/etc/hostname")
    store.close()
    return job.id


def test_report_and_model_go_to_leads_of_the_project_under_a_policy_that_runs_nothing(
    start_server: Callable, sqlite_url: str, training: int
) -> None:
    server = start_server(sqlite_url, "--no-worker")
    report, model = f"/runs/{training}/report", f"/runs/{training}/model.zip"
    assert server.ask(report).status == 303
    stranger = server.sign_in("mia")
    assert server.ask(report, cookie=stranger).status == 403
    assert server.ask(model, cookie=stranger).status == 403
    assert server.ask(f"/runs/{training}/rows.jsonl", cookie=stranger).status == 403
    cookie = server.sign_in("lea")
    answer = server.ask(report, cookie=cookie)
    assert answer.status == 200
    assert "<p>report</p>" in answer.text
    own, all_pages = sorted(answer.headers.get_all("content-security-policy"), key=len)
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in own.split(";")}
    assert "script-src" not in own
    assert "frame-ancestors 'none'" in all_pages
    assert server.ask(f"/runs/{training}/rows.jsonl", cookie=cookie).status == 404  # that of best of n alone has rows
    for path in ("/runs/999/report", "/runs/99999999999999999999/report", "/runs/999/model.zip"):
        assert server.ask(path, cookie=cookie).status in (403, 404)
    with urllib.request.urlopen(urllib.request.Request(server.url + model, headers={"Cookie": cookie})) as response:
        assert response.headers["content-disposition"] == f'attachment; filename="reward-model-{training}.zip"'
        archive = zipfile.ZipFile(io.BytesIO(response.read()))
    assert archive.testzip() is None
    assert set(archive.namelist()) == {"status.json", "rewardkit.json", "weights"}


def test_a_zip_is_made_in_pieces_and_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "b").write_bytes(b"")
    pieces = list(zipped([(tmp_path / "a", "a"), (tmp_path / "b", "sub/b")]))
    assert max(map(len, pieces)) < 2 * 2**20
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.read("a") == (tmp_path / "a").read_bytes()
        assert archive.read("sub/b") == b""
