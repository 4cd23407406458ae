"""`user ...` as typed."""

from __future__ import annotations

import io
import json

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
    assert second.startswith(f"{invite['id']}  (any name)  annotator  desk  by command line  until 20")
    assert run("user", "revoke", invite["id"])[:2] == (0, f"invite {invite['id']} has ended\n")
    assert [item["id"] for item in json.loads(run("user", "invites", "--json")[1])] == [reset["id"]]
    assert [sqlite_store.people.invite(token) is None for token in tokens] == [True, False]
    for wrong in (invite["id"], "", "%", reset["id"][:4], "nonsense"):
        code, _, err = run("user", "revoke", wrong)
        assert (code, f"there is no open invite {wrong!r}" in err) == (2, True)


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
