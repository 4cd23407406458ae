"""Lists of people to invite, as they are written and uploaded."""

from __future__ import annotations

import pytest

from annotate_app.store.people.invitation_list import Wanted, read_invitations


def rows(text: str) -> list[tuple[str | None, str, str]]:
    """What a list says, read with the role annotator and the group crowd."""
    return [(one.name, one.role, one.group) for one in read_invitations(text, group="crowd")]


def test_a_name_a_line_takes_what_stands_beside_the_list() -> None:
    assert rows("anna\n\n  ben  \n") == [("anna", "annotator", "crowd"), ("ben", "annotator", "crowd")]
    assert rows("") == rows(" \n\t\n") == []
    assert read_invitations("anna") == [Wanted(name="anna", role="annotator", place="line 1")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", [False, True])
def test_roles_and_groups_stand_behind_the_name_or_under_a_head(delimiter: str, head: bool) -> None:
    lines = [("anna", "Lead", ""), ('"Smith, Ben"', "", "experts")]
    if head:
        lines = [("Group", "NAME", "role"), ("", "anna", "Lead"), ("experts", '"Smith, Ben"', "")]
    text = "\ufeff" + "\r\n".join(delimiter.join(line) for line in lines)
    assert rows(text) == [("anna", "lead", "crowd"), ("Smith, Ben", "annotator", "experts")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("anna\nben, boss", "line 2: role is 'boss', allowed are annotator, adjudicator, lead, admin"),
        ("anna, lead\n, annotator", "line 2: has no name"),
        ("anna\nben\nAnna", "line 3: 'Anna' stands in line 1 already"),
        ("name,mail\nanna,a@example.org", "line 1: column 'mail' is unknown, allowed are name, role, group"),
        (
            "nora\nben, lead\ncleo; lead; experts",
            "line 2: 'ben, lead' holds ',', the parts of a line are parted by ';' here",
        ),
        ("anna, lead, g, more", "line 1: has 4 parts, allowed are name, role, group"),
        ("\n".join(f"p{number}" for number in range(501)), "the list has 501 people, allowed are 500 at once"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message.replace('(', '.')}$"):
        read_invitations(text)
