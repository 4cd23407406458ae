"""`user ...` as typed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


@pytest.fixture
def run(sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs a command on an empty database with some standard input; exit code, output and error output."""

    def run(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main([*words, "--db", sqlite_url])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_an_account_signs_in_with_the_password_from_standard_input(run, sqlite_store: Store) -> None:
    run("project", "create", "desk", "--protocol", "instructgpt")
    words = ("user", "add", "lea", "--role", "lead", "--password-stdin", "--project", "desk", "--group", "expert")
    assert run(*words, typed="a long password\n")[:2] == (0, "lea is lead and works on desk\n")
    user = sqlite_store.people.check_password("lea", "a long password", "1.1.1.1")
    assert user is not None
    assert [member.group for member in sqlite_store.projects.members(ADMIN, 1)] == ["expert"]
    assert run("user", "password", "lea", "--password-stdin", typed="another long one\n")[0] == 0
    assert sqlite_store.people.check_password("lea", "another long one", "1.1.1.1") is not None


def test_roles_change_and_are_listed(run) -> None:
    run("user", "add", "anna", "--no-password")
    assert run("user", "role", "anna", "adjudicator")[:2] == (0, "anna is adjudicator\n")
    assert run("user", "list")[1] == "anna  adjudicator  local\n"
    (listed,) = json.loads(run("user", "list", "--json")[1])
    assert (listed["name"], listed["has_password"]) == ("anna", False)
    assert "password_hash" not in listed


def test_an_invite_link_works(run, sqlite_store: Store) -> None:
    run("project", "create", "desk", "--protocol", "instructgpt")
    code, out, _ = run("user", "invite", "--project", "desk", "--url", "https://label.example.org/")
    assert code == 0
    address, _, token = out.strip().rpartition("/")
    assert address == "https://label.example.org/invite"
    user = sqlite_store.people.redeem_invite(token, "anna", "a long password")
    assert [project.name for project in sqlite_store.projects.list(sqlite_store.people.actor_of(user))] == ["desk"]


def test_open_invites_are_listed_and_ended(run, sqlite_store: Store) -> None:
    run("project", "create", "desk", "--protocol", "instructgpt")
    run("user", "add", "ben", "--no-password")
    tokens = [
        run("user", "invite", *words)[1].strip().rpartition("/")[2]
        for words in (("--project", "desk", "--group", "expert"), ("--name", "ben"))
    ]
    reset, invite = json.loads(run("user", "invites", "--json")[1])
    assert (reset["name"], reset["resets"], reset["project"]) == ("ben", True, None)
    assert (invite["name"], invite["role"], invite["project"], invite["group"]) == (None, "annotator", "desk", "expert")
    assert not [secret for secret in tokens if secret in json.dumps([reset, invite])]
    first, second = run("user", "invites")[1].splitlines()
    assert first.startswith(f"{reset['id']}  ben  new password  by command line  until 20")
    assert second.startswith(f"{invite['id']}  (any name)  annotator  desk  group expert  by command line  until 20")
    assert run("user", "revoke", invite["id"])[:2] == (0, f"invite {invite['id']} has ended\n")
    assert [item["id"] for item in json.loads(run("user", "invites", "--json")[1])] == [reset["id"]]
    assert [sqlite_store.people.invite(token) is None for token in tokens] == [True, False]
    for wrong in (invite["id"], "", "%", reset["id"][:4], "nonsense"):
        code, _, err = run("user", "revoke", wrong)
        assert (code, f"there is no open invite {wrong!r}" in err) == (2, True)


def test_many_are_invited_by_names_and_a_file(run, sqlite_store: Store, tmp_path: Path) -> None:
    run("project", "create", "desk", "--protocol", "instructgpt")
    people = tmp_path / "people.csv"
    people.write_text("\ufeffgroup;name;role\nexperts;Cleo;Adjudicator\n;dov;\n", encoding="utf-8")
    words = ("user", "invite", "anna", "ben", "--csv", str(people), "--project", "desk", "--group", "crowd")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["anna", "annotator"],
        ["ben", "annotator"],
        ["Cleo", "adjudicator"],
        ["dov", "annotator"],
    ]
    for name, _, address in rows:
        sqlite_store.people.redeem_invite(address.rpartition("/")[2], name, "a long password")
    groups = {member.name: member.group for member in sqlite_store.projects.members(ADMIN, 1)}
    assert groups == {"anna": "crowd", "ben": "crowd", "Cleo": "experts", "dov": "crowd"}
    assert run(*words)[0] == 2  # all have accounts now
    (listed,) = json.loads(run("user", "invite", "--json")[1])
    assert (listed["name"], listed["role"]) == (None, "annotator")


def test_many_invitations_end_at_once(run, sqlite_store: Store) -> None:
    for name in ("desk", "lab"):
        run("project", "create", name, "--protocol", "instructgpt")
        run("user", "invite", f"a-{name}", f"b-{name}", "--project", name)
    assert len(run("invites", "list")[1].splitlines()) == 4
    assert json.loads(run("invites", "revoke", "--all", "--project", "desk", "--json")[1]) == {"ended": 2}
    ids = [item["id"] for item in json.loads(run("invites", "list", "--json")[1])]
    assert run("invites", "revoke", *ids, "nonsense")[0] == 2
    assert len(sqlite_store.people.invites(ADMIN)) == 2  # all or none
    assert run("invites", "revoke", *ids)[:2] == (0, "2 invites have ended\n")
    code, _, err = run("invites", "revoke")
    assert (code, "say --all" in err) == (2, True)


def test_the_address_that_is_printed_is_the_one_that_works(run, start_server, sqlite_url: str) -> None:
    server = start_server(sqlite_url, "--no-worker")
    for address in run("user", "invite", "anna", "ben", "--url", server.url)[1].splitlines():
        path = address.rpartition("\t")[2].removeprefix(server.url)
        assert server.ask(path).status == 200
        answer = server.ask(path, form={"name": "", "password": "a long password", "again": "a long password"})
        assert answer.status == 303
        assert server.ask("/label", cookie=answer.cookie).status == 200


def test_a_user_joins_a_project(run, sqlite_store: Store) -> None:
    run("project", "create", "desk", "--protocol", "instructgpt")
    run("user", "add", "anna", "--no-password")
    assert run("user", "join", "anna", "desk")[:2] == (0, "anna works on desk\n")
    assert [member.name for member in sqlite_store.projects.members(ADMIN, 1)] == ["anna"]


@pytest.mark.parametrize(
    ("words", "typed", "message"),
    [
        (("add", "anna"), "a long password\n", "there is no terminal to ask for the password"),
        (("add", "anna", "--password-stdin"), "short\n", "the password has 5 characters"),
        (("role", "nobody", "lead"), "", "there is no user 'nobody'"),
        (("add", "anna", "--no-password", "--project", "nowhere"), "", "there is no project 'nowhere'"),
    ],
)
def test_bad_input_ends_in_exit_code_two(run, words: tuple[str, ...], typed: str, message: str) -> None:
    code, _, err = run("user", *words, typed=typed)
    assert code == 2
    assert message in err
    assert run("user", "list")[1] == ""
