"""Every call of the API by value, through a real server, with real tokens."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from annotate_app import client as client_module
from annotate_app.access import Actor
from annotate_app.client import ApiError, Client
from annotate_app.jobs.worker import keep
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
RANK_RUBRIC = "title: Which is best?\nguidelines: Read all.\ntask: rank\n"
RUBRIC = "title: Another\nguidelines: Read.\n"


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "prompt": f"Why {number}?", "response_a": "So.", "response_b": "Thus."} | fields


def drawn() -> str:
    """The data URL of an image."""
    target = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(target, "PNG")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def shown(address: str, key: str = "i1") -> dict[str, Any]:
    """A row whose prompt shows an image, as a part of its content."""
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": address}}]
    return row(0, id=key, prompt=[{"role": "user", "content": parts}])


def refused(status: int, call: Callable[..., object], *args: Any, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        call(*args, **options)
    assert error.value.status == status, error.value
    return error.value


def test_who_a_token_is(served_sqlite) -> None:
    whoami = served_sqlite.client("lea", role="annotator", project_id=served_sqlite.project.id).whoami()
    assert whoami == {"name": "lea", "role": "annotator", "token": "test", "project_id": 1, "expires_at": None}
    answer = httpx.get(f"{served_sqlite.url}/api/v1/health", timeout=30)
    assert (answer.json(), answer.headers["cache-control"]) == ({"status": "ok"}, "no-store")


def test_nobody_comes_in_without_a_token_that_works(served_sqlite) -> None:
    url = f"{served_sqlite.url}/api/v1/projects"
    for headers in ({}, {"authorization": "Bearer tiebreak_x"}, {"authorization": "Basic YTpi"}, {"cookie": "a=b"}):
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["field"] == "authorization"
    secret = served_sqlite.token("lea")
    assert httpx.get(url, headers={"authorization": f"bearer {secret}"}).status_code == 200
    (token,) = served_sqlite.store.api_tokens.list(served_sqlite.actor("lea"))
    served_sqlite.store.api_tokens.revoke(served_sqlite.actor("lea"), token.id)
    assert httpx.get(url, headers={"authorization": f"Bearer {secret}"}).status_code == 401


def test_projects_are_listed_made_and_changed(served_sqlite) -> None:
    lead = served_sqlite.client("lea")
    made = lead.create_project("second", rubric=RUBRIC, description="d", design={"overlap": 2})
    assert {name: made.about[name] for name in ("id", "name", "description", "archived")} == {
        "id": 2,
        "name": "second",
        "description": "d",
        "archived": False,
    }
    assert made.about["design"]["overlap"] == 2
    assert made.rubric()["text"] == RUBRIC
    by_protocol = lead.create_project("third", protocol="instructgpt")
    assert "protocol: instructgpt" in by_protocol.rubric()["text"]
    assert [each["name"] for each in lead.projects()] == ["desk", "second", "third"]
    assert [each["name"] for each in lead.pages("/projects", limit=1)] == ["desk", "second", "third"]
    changed = lead.call("PATCH", "/projects/2", json={"archived": True, "design": {"overlap": 3}})
    assert (changed["archived"], changed["design"]["overlap"], changed["description"]) == (True, 3, "d")
    assert refused(409, lead.create_project, "desk").field is None
    assert "overlap" in str(refused(422, lead.create_project, "x", design={"overlap": 0}))
    error = refused(422, lead.create_project, "x", design={"overlap": 5000})
    assert (error.field, error.value, error.allowed) == ("overlap", "5000", "1 to 1000")
    refused(422, lead.create_project, "x", rubric="title: [")
    refused(404, lead.project, "nowhere")
    refused(403, lead.project, 99)
    refused(404, served_sqlite.client("ada").project, 99)
    refused(403, served_sqlite.client("addy").create_project, "x")


def test_comparisons_come_in_once(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    done = project.add_comparisons([row(1), row(2, response_a=[{"role": "assistant", "content": "So."}])], overlap=2)
    assert (done.num_added, done.num_existing, done.rows) == (2, 0, [])
    again = project.add_comparisons([row(1), row(3)])
    assert (again.num_added, again.num_existing) == (1, 1)
    (listed,) = project.comparisons(id="n1")
    assert {name: listed[name] for name in ("id", "prompt", "response_a", "overlap", "num_judged", "num_wanted")} == {
        "id": "n1",
        "prompt": [{"role": "user", "content": "Why 1?"}],
        "response_a": "So.",
        "overlap": 2,
        "num_judged": 0,
        "num_wanted": 2,
    }
    as_list = project.client.call("POST", "/projects/1/comparisons", json=[row(1), row(4)])
    assert (as_list["num_rows"], as_list["num_added"], as_list["num_existing"]) == (2, 1, 1)


def test_what_is_listed_can_be_sent_in_again(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    other = served_sqlite.client("lea").create_project("copy")
    listed = list(project.comparisons())
    assert other.add_comparisons(listed).num_added == len(listed) == 4
    names = ("id", "prompt", "response_a", "response_b", "source_a", "source_b")
    copied = [{name: each[name] for name in names} for each in other.comparisons()]
    assert copied == [{name: each[name] for name in names} for each in listed]


def test_a_comparison_of_three_is_listed_whole_and_never_comes_in_as_two(served_sqlite) -> None:
    lead = served_sqlite.client("lea")
    project = lead.create_project("rank", rubric=RANK_RUBRIC)
    three = {"id": "r1", "prompt": "Why?", "responses": ["So.", "Thus.", "Hence."], "ranks": [2, 1, 3]}
    assert project.add_comparisons([three], labels=True).num_added == 1
    (listed,) = project.comparisons()
    assert (listed["response_a"], listed["response_b"]) == ("So.", "Thus.")
    assert listed["further"] == [{"response": "Hence.", "source": ""}]
    assert (listed["num_judged"], listed["tags"], listed["excluded"]) == (1, [], False)
    error = refused(422, lead.create_project("copy", rubric=RANK_RUBRIC).add_comparisons, [listed])
    assert [(each["field"], each["reason"]) for each in error.rows] == [("further", "wrong_type")]
    desk = lead.project("desk")
    assert desk.add_comparisons([three]).num_added == 3  # its rubric compares two
    assert [each["id"] for each in desk.comparisons(text="Hence")] == ["r1:1-3", "r1:2-3"]


def test_comparisons_are_chosen_as_the_address_of_their_page_chooses(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    judged = served_sqlite.judge("anna")
    assert [each["id"] for each in project.comparisons(view="state=complete&person=anna")] == [judged]
    error = refused(422, list, project.comparisons(view="colour=red"))
    assert (error.field, error.value) == ("view", "'colour'")
    assert str(error.allowed).startswith("q, state, ")
    error = refused(422, list, project.comparisons(view="agreement=most"))
    assert (error.field, error.value) == ("agreement", "'most'")


def test_bad_rows_are_named_and_nothing_is_stored(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    bad = [row(1), row(2, response_b=7), row(3), {"id": "c0", "prompt": "x", "response_a": "y", "response_b": "z"}]
    error = refused(422, project.add_comparisons, bad)
    assert [(each["line"], each["field"], each["reason"]) for each in error.rows] == [
        (2, "response_b", "wrong_type"),
        (4, "id", "duplicate_id"),
    ]
    assert (error.field, error.value) == ("response_b", "7")
    assert "body:2" in str(error)
    assert [each["id"] for each in project.comparisons()] == ["c0", "c1", "c2", "c3"]
    done = project.add_comparisons(bad, on_bad_row="skip")
    assert (done.num_added, [each["line"] for each in done.rows]) == (2, [2, 4])


def test_bodies_of_another_kind_are_refused(served_sqlite) -> None:
    client = served_sqlite.client("lea")
    path = "/projects/1/comparisons"
    refused(422, client.call, "POST", path, content=b"{}", headers={"content-type": "text/plain"})
    packed = gzip.compress(json.dumps(row(1)).encode())
    error = refused(422, client.call, "POST", path, content=packed, headers={"content-type": "application/x-ndjson"})
    assert "compressed" in str(error)
    refused(422, client.call, "POST", path, content=b"", headers={"content-type": "application/json"})
    refused(422, client.call, "POST", path, content=b"[1, 2", headers={"content-type": "application/json"})
    error = refused(
        400, client.call, "PATCH", "/projects/1", content=b"{", headers={"content-type": "application/json"}
    )
    assert error.field == "body"
    error = refused(422, client.call, "PATCH", "/projects/1", json={"colour": "red"})
    assert error.field == "colour"
    refused(413, client.call, "PATCH", "/projects/1", json={"description": "x" * 2**20})

    def endless():
        for _ in range(40):
            yield b"x" * 2**16

    refused(
        413, client.call, "PUT", "/projects/1/rubric", content=endless(), headers={"content-type": "application/json"}
    )
    refused(404, client.call, "GET", "/nowhere")
    refused(405, client.call, "DELETE", "/projects/1")


def test_leads_set_gold_priority_and_overlap_all_or_none(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    gold = {"choice": "b", "explanation": "It answers.", "use": "gold"}
    assert project.change_comparisons([{"id": "c0", "gold": gold}, {"id": "c1", "priority": 2.5, "overlap": 3}]) == 2
    first, second, *_ = project.comparisons()
    assert first["gold"] == gold
    assert (second["gold"], second["priority"], second["overlap"], second["num_wanted"]) == (None, 2.5, 3, 3)
    refused(404, project.change_comparisons, [{"id": "c0", "gold": None}, {"id": "nowhere", "priority": 1}])
    assert next(project.comparisons(id="c0"))["gold"] == gold
    project.change_comparisons([{"id": "c0", "gold": None}])
    assert next(project.comparisons(id="c0"))["gold"] is None
    assert [each["id"] for each in project.comparisons(text="answer 2")] == ["c2"]
    assert len(list(project.comparisons(limit=1))) == 4
    refused(403, list, served_sqlite.client("addy").project("desk").comparisons())


def test_judgments_are_followed_from_a_cursor(served) -> None:
    adjudicator = served.client("addy").project("desk")
    first = served.judge("anna", "a", rationale="Clear.", criteria={}, seconds=3.0)
    second = served.judge("anna", "b", strength=3)
    page = list(adjudicator.judgments())
    assert [(each["comparison_id"], each["choice"], each["strength"], each["counts"]) for each in page] == [
        (first, "a", 1, True),
        (second, "b", 3, True),
    ]
    assert page[0]["annotator"].startswith("annotator-")
    assert page[0]["annotator"] == page[1]["annotator"]
    assert (page[0]["rationale"], page[0]["kind"], page[0]["replaces"]) == ("Clear.", "work", None)
    assert page[0]["shown_left"] in ("a", "b")
    served.store.work.undo(served.actor("anna"), served.project.id)
    (undone,) = adjudicator.judgments(after=page[-1]["id"])
    assert (undone["choice"], undone["counts"], undone["replaces"]) == ("withdrawn", False, page[1]["id"])
    assert [each["counts"] for each in adjudicator.judgments()] == [True, False, False]
    assert (
        served.client("lea")
        .project("desk")
        .client.call("GET", "/projects/1/judgments", params={"names": True, "limit": 1})["items"][0]["annotator"]
        == "anna"
    )
    refused(403, list, adjudicator.judgments(names=True))


def test_annotators_follow_their_own_judgments_and_see_no_checks(served_sqlite) -> None:
    served = served_sqlite
    store, project = served.store, served.project
    other = store.people.add(ADMIN, "otto", role="annotator")
    store.projects.add_member(ADMIN, project.id, other.id)
    served.judge("anna")
    served.judge("otto")
    (own,) = served.client("anna").project("desk").judgments()
    assert (own["annotator"], own["kind"]) == ("anna", "")
    refused(403, served.client("anna").project("desk").progress)


def test_pages_of_judgments_have_no_gap_and_no_repeat(served_sqlite) -> None:
    served = served_sqlite
    for _ in range(4):
        served.judge("anna")
    client = served.client("addy")
    page = client.call("GET", "/projects/1/judgments", params={"limit": 3})
    rest = client.call("GET", page["next"])
    assert [each["id"] for each in page["items"] + rest["items"]] == [1, 2, 3, 4]
    assert (page["after"], rest["after"], rest["next"]) == (3, 4, None)
    refused(422, client.call, "GET", "/projects/1/judgments", params={"limit": 0})


def test_judgments_made_elsewhere_come_in_once(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    rows = [{"comparison_id": "c0", "annotator": "elsewhere", "choice": "a", "strength": 2}]
    assert project.add_judgments(rows).num_added == 1
    assert project.add_judgments(rows).num_existing == 1
    error = refused(422, project.add_judgments, [{"comparison_id": "x", "annotator": "e", "choice": "a"}])
    assert [(each["line"], each["reason"]) for each in error.rows] == [(1, "unknown_comparison")]
    refused(403, served_sqlite.client("addy").project("desk").add_judgments, rows)


def test_progress_and_rubric(served_sqlite) -> None:
    served_sqlite.judge("anna")
    project = served_sqlite.client("lea").project("desk")
    progress = project.progress()
    assert (progress["num_comparisons"], progress["slots_judged"], progress["slots_wanted"]) == (4, 1, 4)
    assert [(each["name"], each["num_judgments"]) for each in progress["by_member"]] == [("anna", 1)]
    assert sum(each["num_judgments"] for each in progress["by_day"]) == 1
    assert project.save_rubric(RUBRIC)["version"] == 2
    assert project.save_rubric(RUBRIC)["version"] == 2
    assert project.rubric()["text"] == RUBRIC
    assert project.client.call("GET", "/projects/1/rubric", params={"version": 1})["version"] == 1
    assert "colour" in str(refused(422, project.save_rubric, "title: T\nguidelines: R\ncolour: red\n"))
    refused(404, project.client.call, "GET", "/projects/1/rubric", params={"version": 9})
    refused(403, served_sqlite.client("addy").project("desk").save_rubric, RUBRIC)


def test_people_members_and_invitations(served_sqlite) -> None:
    lead = served_sqlite.client("lea")
    assert [each["name"] for each in lead.pages("/people", limit=2)] == ["ada", "addy", "anna", "lea"]
    served_sqlite.store.people.add(ADMIN, "nina", role="annotator")
    added = lead.call("POST", "/projects/1/members", json={"name": "nina", "group": "night"})
    assert (added["name"], added["group"], added["state"]) == ("nina", "night", "active")
    assert "nina" in [each["name"] for each in lead.call("GET", "/projects/1/members")["items"]]
    refused(404, lead.call, "POST", "/projects/1/members", json={"name": "nobody"})
    made = lead.call("POST", "/invites", json={"role": "annotator", "project_id": 1, "name": "olga"})
    assert made["path"].startswith("/invite/")
    (invite,) = lead.call("GET", "/invites")["items"]
    assert (invite["name"], invite["role"], invite["project"]) == ("olga", "annotator", "desk")
    lead.call("DELETE", f"/invites/{invite['id']}")
    assert lead.call("GET", "/invites")["items"] == []
    refused(404, lead.call, "DELETE", f"/invites/{invite['id']}")
    refused(403, lead.call, "POST", "/invites", json={"role": "admin"})
    refused(403, served_sqlite.client("anna").call, "GET", "/people")


def test_small_exports_come_at_once(served_sqlite, tmp_path: Path) -> None:
    served_sqlite.judge("anna", "b")
    project = served_sqlite.client("lea").project("desk")
    path = project.export(tmp_path / "rows.jsonl")
    (written,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert written["chosen"][0]["content"].startswith("Second answer")
    judgments = project.export(tmp_path / "judgments.csv", form="judgments", format="csv", names=True).read_text()
    assert "anna" in judgments
    with zipfile.ZipFile(project.export(tmp_path / "all.zip", form="everything")) as packed:
        assert any(name.endswith("project.json") for name in packed.namelist())
    refused(403, served_sqlite.client("addy").project("desk").export, tmp_path / "x.jsonl")
    assert not list(tmp_path.glob("*.partial"))


@contextmanager
def one_job_done(store: Store) -> Iterator[None]:
    """Carries out the next job that is queued while a block waits for it."""

    def work() -> None:
        while (job := store.jobs.claim()) is None:
            time.sleep(0.01)
        keep(store, job.id)

    worker = threading.Thread(target=work)
    worker.start()
    yield
    worker.join()


@pytest.mark.slow
def test_an_export_by_a_job_is_waited_for_and_fetched(served_sqlite, tmp_path: Path) -> None:
    served_sqlite.judge("anna", "b")
    project = served_sqlite.client("lea").project("desk")
    with one_job_done(served_sqlite.store):
        path = project.export(tmp_path / "rows.jsonl.gz", min_votes=1)
    assert json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])["rejected"][0]["content"].startswith("First")
    (job,) = project.jobs()
    assert (job["kind"], job["state"], job["created_by"], job["progress"]) == ("export", "done", "lea", 1.0)
    files = project.client.call("GET", "/projects/1/exports")["items"]
    assert {each["href"] for each in files} == set(job["files"])
    refused(404, project.client.call, "GET", "/projects/1/exports/nothing.jsonl")
    refused(404, project.client.call, "GET", "/projects/1/exports/..%2F..%2Ftiebreak.db")
    refused(403, served_sqlite.client("addy").call, "GET", job["files"][0])


def test_images_come_in_as_data_and_names_are_refused(served_sqlite) -> None:
    project = served_sqlite.client("lea").project("desk")
    assert project.add_comparisons([shown(drawn())]).num_added == 1
    (listed,) = project.comparisons(id="i1")
    assert re.fullmatch(r"Look:\n\n!\[\]\(image:[0-9a-f]{64}\?4x3\)", listed["prompt"][0]["content"])
    error = refused(422, project.add_comparisons, [shown("cat.png", "i2")])
    assert [(each["field"], each["value"], each["reason"]) for each in error.rows] == [
        ("prompt[0].content[1]", "cat.png", "missing_image")
    ]


@pytest.mark.slow
def test_an_export_that_shows_images_brings_them(served_sqlite, tmp_path: Path) -> None:
    project = served_sqlite.client("lea").project("desk")
    project.add_comparisons([shown(drawn())])
    while served_sqlite.judge("anna") != "i1":
        pass
    assert "beside" in str(refused(409, project.client.download, "/projects/1/export", tmp_path / "x.jsonl"))
    with one_job_done(served_sqlite.store):
        path = project.export(tmp_path / "rows.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])["prompt"][0]["content"]
    with zipfile.ZipFile(tmp_path / "rows.images.zip") as packed:
        assert f"![]({packed.namelist()[0]})" in last
    assert sorted(each.name for each in tmp_path.glob("rows*")) == ["rows.images.zip", "rows.jsonl"]
    with pytest.raises(ValueError, match="several files"):
        project.export(tmp_path / "x.jsonl", splits={"train": 0.5, "test": 0.5})


def test_rows_are_sent_in_parts_that_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(client_module, "BYTES_AT_ONCE", 10)
    lines = [b"1", b"2", b"3", b"4", b"12345678", b"x" * 20, b"5"]
    assert list(client_module._in_parts(lines)) == [b"1\n2\n3", b"4\n12345678", b"x" * 20, b"5"]


def test_jobs_are_listed_and_cancelled(served_sqlite) -> None:
    lead = served_sqlite.client("lea")
    job = lead.call("POST", "/projects/1/exports", json={"form": "judgments"})
    assert (job["state"], job["files"], lead.job(job["id"])["state"]) == ("queued", [], "queued")
    assert lead.call("POST", f"/jobs/{job['id']}/cancel")["state"] == "cancelled"
    refused(403, lead.call, "GET", "/jobs")
    assert [each["id"] for each in served_sqlite.client("ada").call("GET", "/jobs")["items"]] == [job["id"]]
    refused(404, served_sqlite.client("ada").job, 99)
    refused(403, lead.job, 99)
    error = refused(422, lead.call, "POST", "/projects/1/exports", json={"form": "sft", "layout": "implicit"})
    assert (error.field, error.allowed) == ("layout", "conversational and plain")


@pytest.mark.slow
def test_twenty_writers_at_once_lose_nothing_and_store_nothing_twice(served_sqlite) -> None:
    token = served_sqlite.token("lea")
    results: list[tuple[int, int]] = []
    errors: list[Exception] = []

    def write(number: int) -> None:
        try:
            with Client(served_sqlite.url, token, timeout_s=60) as client:
                project = client.project(1)
                for part in range(3):
                    rows = [row(number * 10 + part), row(10_000 + part)]  # one of its own, one that all send
                    done = project.add_comparisons(rows)
                    results.append((done.num_added, done.num_existing))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(added for added, _ in results) == 20 * 3 + 3
    assert sum(existing for _, existing in results) == 20 * 3 - 3
    assert served_sqlite.store.comparisons.count(ADMIN, 1) == 4 + 63
    assert served_sqlite.store.check() == []


def test_a_token_that_rushes_is_asked_to_wait(served_sqlite) -> None:
    from annotate_app.api.gate import Allowance

    served_sqlite.gate._calls = Allowance(3, 1.0)
    client = served_sqlite.open(served_sqlite.token("lea"), tries=1)
    for _ in range(3):
        client.whoami()
    assert "rush" in str(refused(429, client.whoami))
    answer = httpx.get(f"{served_sqlite.url}/api/v1/whoami", headers=client._http.headers)
    assert answer.headers["retry-after"] == "1"
    patient = served_sqlite.open("", tries=3)
    patient._http.headers = client._http.headers
    assert patient.whoami()["name"] == "lea"  # asked again after a second
    served_sqlite.gate._wrong = Allowance(2, 0.001)
    stranger = served_sqlite.open("tiebreak_guess", tries=1)
    assert [refused(status, stranger.whoami).status for status in (401, 401, 429)] == [401, 401, 429]


def test_a_fault_is_told_without_its_inside(served_sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(type(served_sqlite.store.people), "session_user", fail)
    answer = httpx.get(f"{served_sqlite.url}/api/v1/health")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "a fault of the server; its log tells more"
    assert "/secret/path" not in answer.text
