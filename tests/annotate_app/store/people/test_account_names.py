"""Names of accounts: what is seen is stored, and nobody passes for somebody else."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from annotate_app.access import Actor
from annotate_app.store.people.account_names import checked_name
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
PASSWORD = "a long enough password"
LOOK_LIKE_ROOT = [
    "ROOT",
    "Root",
    "r\N{CYRILLIC SMALL LETTER O}ot",
    "\N{FULLWIDTH LATIN SMALL LETTER R}oot",
    "root\N{ZERO WIDTH SPACE}",
    "ro\N{ZERO WIDTH JOINER}ot",
    "\N{RIGHT-TO-LEFT OVERRIDE}toor",
    "r00t",
    "ro\N{SOFT HYPHEN}ot",
    "root\N{VARIATION SELECTOR-16}",
    "root\N{HANGUL FILLER}",
    "root\N{COMBINING GRAPHEME JOINER}",
    "root\N{TAG LATIN SMALL LETTER A}",
    "\N{LATIN LETTER SMALL CAPITAL R}\N{LATIN LETTER SMALL CAPITAL O}ot",
    "r\N{GREEK SMALL LETTER OMICRON}\N{GREEK SMALL LETTER OMICRON}t",
    "\N{MATHEMATICAL BOLD SMALL R}oot",
    "root\x07",
    "ro\not",
    "root\N{LINE SEPARATOR}x",
    "root\ue000",
    "\N{BRAILLE PATTERN BLANK}root",
]


@pytest.mark.parametrize("name", LOOK_LIKE_ROOT)
def test_no_new_name_looks_like_another(sqlite_store: Store, name: str) -> None:
    store = sqlite_store
    store.people.add(ADMIN, "root", role="admin", password=PASSWORD)
    invite = store.people.create_invite(ADMIN, role="annotator")
    for make in (
        lambda: store.people.add(ADMIN, name, role="annotator"),
        lambda: store.people.redeem_invite(invite, name, PASSWORD),
    ):
        with pytest.raises(ValueError, match=r"user name|there is a user named 'root'") as refused:
            make()
        assert "\n" not in str(refused.value)
    assert [user.name for user in store.people.list(ADMIN)] == ["root"]
    try:  # an invitation is for the account itself (another spelling of its name), or is refused
        store.people.create_invite(ADMIN, role="annotator", name=name)
    except ValueError:
        pass
    else:
        assert store.people.invites(ADMIN)[0].name == "root"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("command line", "is kept for the machine itself"),
        ("Command  Line", "is kept for the machine itself"),
        ("\N{CYRILLIC SMALL LETTER ES}\N{CYRILLIC SMALL LETTER O}mmand line", "mixes Cyrillic and Latin letters"),
        ("admin", "is that of a role, allowed for accounts of the role admin"),
        ("LEAD", "is that of a role, allowed for accounts of the role lead"),
        ("adm\N{LATIN SMALL LETTER DOTLESS I}n", "is that of a role"),
        ("root\N{ZERO WIDTH SPACE}", r"holds U\+200B \(zero width space\) at position 4, allowed is what is seen"),
        ("", "user name is empty"),
        (" \N{IDEOGRAPHIC SPACE} ", "user name is empty"),
        ("x" * 121, "user name has 121 characters, allowed are 120"),
    ],
)
def test_a_refusal_says_why(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_name(name, "annotator", ())


@pytest.mark.parametrize(
    "name",
    [
        "root",
        "anna-lena o'brien",
        "Änna Müller",
        "Иван",
        "Anna Иванова",
        "Γιώργος",
        "李小龙",
        "محمد",
        "नेहा",
        "ada@example.org",
        "😀",
        "worker 25",
        "commander line",
    ],
)
def test_names_of_people_are_taken(name: str) -> None:
    assert checked_name(f" {name} ", "annotator", ("roof", "ana", "Петр", "worker 2", "worker 52")) == name


def test_an_account_may_be_called_like_its_own_role() -> None:
    assert checked_name("admin", "admin", ()) == "admin"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("lea", "Iea"),
        ("al", "a1"),
        ("АННА", "анна"),
        ("рос", "poc"),
        ("straße", "STRASSE"),
        ("a  b", "a\N{NO-BREAK SPACE}b"),
    ],
)
def test_likeness_goes_both_ways(name: str, other: str) -> None:
    for one, two in ((name, other), (other, name)):
        with pytest.raises(ValueError, match="looks like that of another account"):
            checked_name(one, "annotator", (two,))


def test_names_are_stored_in_one_form_and_typed_in_any(sqlite_store: Store) -> None:
    decomposed, composed = "jose\N{COMBINING ACUTE ACCENT}", "jos\N{LATIN SMALL LETTER E WITH ACUTE}"
    user = sqlite_store.people.add(ADMIN, decomposed, role="annotator", password=PASSWORD)
    assert user.name == composed
    for typed in (decomposed, composed, f" {decomposed} "):
        assert sqlite_store.people.check_password(typed, PASSWORD, "1.1.1.1") == user
    for typed in (decomposed, composed) * 3:  # one account, however it is spelt
        try:
            sqlite_store.people.check_password(typed, "wrong", "2.2.2.2")
        except PermissionError:
            break
    else:
        raise AssertionError("six wrong passwords were let through")
    token = sqlite_store.people.create_invite(ADMIN, role="annotator", name=f"{decomposed}2")
    assert sqlite_store.people.redeem_invite(token, f"{decomposed}2", PASSWORD).name == f"{composed}2"


OLD_NAMES = [
    "ROOT",
    "r\N{CYRILLIC SMALL LETTER O}ot",
    "root\N{ZERO WIDTH SPACE}",
    "command line",
    "jose\N{COMBINING ACUTE ACCENT}",
]


@pytest.mark.parametrize("old", OLD_NAMES)
def test_accounts_that_are_there_go_on(sqlite_store: Store, old: str) -> None:
    """As made by an earlier version."""
    store = sqlite_store
    store.people.add(ADMIN, "root", role="admin", password=PASSWORD)
    user = store.people.add(ADMIN, "placeholder", role="annotator", password=PASSWORD)
    with store.database.write() as connection:
        connection.execute(update(tables.user).where(tables.user.c.id == user.id).values(name=old))
    signed_in = store.people.check_password(old, PASSWORD, "1.1.1.1")
    assert signed_in is not None
    assert signed_in.id == user.id
    reset = store.people.create_invite(ADMIN, role="annotator", name=old)
    assert store.people.redeem_invite(reset, old, "another long password").id == user.id
    assert store.people.check_password(old, "another long password", "1.1.1.1") is not None
    assert store.people.check_password("root", PASSWORD, "1.1.1.1") is not None


def test_annotators_of_files_keep_their_names(sqlite_store: Store, make_project) -> None:
    store = sqlite_store
    project = make_project(store)
    store.people.add(ADMIN, "w1", role="annotator", password=PASSWORD)
    pair = Comparison(id="x", prompt=(Message(role="user", content="x"),), completion_a="a", completion_b="b")
    store.comparisons.add(ADMIN, project.id, [pair])
    names = ["W1", "wl", "admin", "w\N{ZERO WIDTH SPACE}1"]
    votes = [Judgment(comparison_id="x", annotator=name, choice="a", strength=1) for name in names]
    store.judgments.import_many(ADMIN, project.id, votes)
    assert {judgment.annotator for judgment in store.judgments.of_comparison(ADMIN, project.id, "x")} == set(names)
    assert store.people.add(ADMIN, "W2", role="annotator").name == "W2"
