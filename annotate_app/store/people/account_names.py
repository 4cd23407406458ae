"""Names that people sign in by: what is seen is what is stored, and no name passes for another.

Asked when an account is made. Accounts that are there keep their names and sign in by them, and names of annotators in
files are taken as they are: nobody signs in by these.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from annotate_app.access import ROLES, Actor, UserRole
from annotate_app.store.base.rights import checked_text

MAX_LENGTH = 120
RESERVED = (Actor.command_line().name,)
"""What the audit log calls the machine itself."""
# Drawn as nothing though Unicode does not call them format characters: joiners, fillers, selectors, a blank of Braille.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SCRIPT = re.compile("LATIN|CYRILLIC|GREEK|ARMENIAN|CHEROKEE|COPTIC")
_LETTER_SHAPED = re.compile("LATIN LETTER SMALL CAPITAL ([A-Z])")
# Letters of other scripts by the Latin one that they are drawn like (Unicode Technical Standard 39, the common ones).
_LOOKS_LIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԌԚԜӀΑΒΕΖΗΙΚΜΝΟΡΤΥΧаеѕіјкморстухүһԁԛԝӏьɑɡɩıαγεικνορτυχօսհցզո",
    "ABESIJKMHOPCTYXYGQWIABEZHIKMNOPTYXaesijkmopctyxyhdqwlbagiiayeikvoptuxouhgqn",
)
_SHAPES = str.maketrans("I1|0", "lllO")


def stored_name(typed: str) -> str:
    """A name as it is stored: Unicode's compatible form (NFKC), without blanks around it."""
    return unicodedata.normalize("NFKC", typed).strip()


def checked_name(typed: str, role: UserRole, taken: Iterable[str]) -> str:
    """The name of a new account in its stored form.

    Args:
        role: of the account; only such an account may be called like a role.
        taken: names of the accounts that sign in.

    Raises:
        ValueError: if it is empty or too long, holds what is not seen, mixes scripts within a word, or looks like
            another account's name, like a role or like what the audit log calls the machine itself.
    """
    name = checked_text(stored_name(typed), "user name", MAX_LENGTH)
    _check_seen(typed.strip())
    _check_seen(name)
    for word in name.split():
        scripts = {found[0] for letter in word if (found := _SCRIPT.match(unicodedata.name(letter, "")))}
        if len(scripts) > 1:
            mixed = " and ".join(sorted(script.capitalize() for script in scripts))
            raise ValueError(f"user name {name!r} mixes {mixed} letters in a word, allowed is one script a word")
    likenesses = _likenesses(name)
    if any(likenesses & _likenesses(word) for word in RESERVED):
        raise ValueError(f"user name {name!r} is kept for the machine itself: choose another")
    for other in ROLES:
        if other != role and likenesses & _likenesses(other):
            raise ValueError(f"user name {name!r} is that of a role, allowed for accounts of the role {other}")
    for other in taken:
        if likenesses & _likenesses(other):
            raise ValueError(f"user name {name!r} looks like that of another account: choose another")
    return name


def _check_seen(name: str) -> None:
    for at, letter in enumerate(name):
        kind = unicodedata.category(letter)
        if kind in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp") or _UNSEEN.match(letter):
            called = unicodedata.name(letter, "a character without a name").lower()
            raise ValueError(
                f"user name holds U+{ord(letter):04X} ({called}) at position {at}, allowed is what is seen: {name!a}"
            )


def _likenesses(name: str) -> frozenset[str]:
    """What a name is compared by, without case: itself, its letters as Latin ones, and as shapes (I, l, 1; O, 0)."""
    letters = "".join(_latin(letter) for letter in " ".join(stored_name(name).split()))
    shapes = letters.translate(_SHAPES)
    spellings = {"name": stored_name(name), "letters": letters, "shapes": shapes}
    return frozenset(f"{kind} {spelling.casefold()}" for kind, spelling in spellings.items())


def _latin(letter: str) -> str:
    shaped = _LETTER_SHAPED.fullmatch(unicodedata.name(letter, ""))
    return shaped[1] if shaped else letter.translate(_LOOKS_LIKE)
