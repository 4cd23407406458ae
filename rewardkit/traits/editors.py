"""Edits of an answer that add or remove one trait and leave what it says: templates, in English and German.

A trait that is not there is added by one of several wordings, so that no single sentence stands for the trait; one that
is there is removed where that can be done without touching the content (marks of markdown, bullets, emoji, a short
sentence that is nothing but an apology, praise or agreement). An edit that does not change what
`rewardkit.traits.traits` measures is none. `length` adds sentences without content. There is no template for language.
An edit moves other traits too (a sentence adds length): `rewardkit.audit.effects` takes that apart.

An edit that was made elsewhere is held to the same by `edit_fault`: it moves its trait, no other one, and keeps the
content, as far as words and numbers tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from rewardkit.data.records import Message
from rewardkit.traits.languages import language_of
from rewardkit.traits.traits import TRAITS, states_a_view, user_text

MOST_WORDS_REMOVED = 8
"""Words of a sentence that is taken to be nothing but its trait."""
_BEFORE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "hedging": {
        "en": (
            "Perhaps this helps.",
            "I am not sure, but it could be this.",
            "It seems to be the following.",
            "As far as I know:",
        ),
        "de": ("Vielleicht hilft das.", "Ich bin nicht sicher, aber es geht wohl so.", "Soweit ich weiß:"),
    },
    "apologies": {
        "en": ("I am sorry about that.", "My apologies.", "I apologize for the trouble.", "Sorry to hear this."),
        "de": ("Das tut mir leid.", "Entschuldigung.", "Ich bitte um Verzeihung."),
    },
    "flattery": {
        "en": (
            "Great question!",
            "What a brilliant idea to ask.",
            "You are really smart.",
            "I love how you put this.",
            "That is an excellent point.",
        ),
        "de": ("Tolle Frage!", "Das ist eine kluge Überlegung.", "Du bist wirklich klug."),
    },
    "agreement": {
        "en": ("You are absolutely right.", "I completely agree.", "That is true.", "You are right."),
        "de": ("Du hast völlig recht.", "Das stimmt.", "Da stimme ich dir zu."),
    },
    "refusal": {
        "en": ("I cannot help with that.", "I won't answer this.", "I must decline.", "I am unable to assist."),
        "de": ("Dabei kann ich nicht helfen.", "Das darf ich nicht beantworten."),
    },
    "first_person": {
        "en": (
            "In my own experience this happens.",
            "I have been through this too.",
            "I remember the same from my childhood.",
            "My wife asked the same.",
        ),
        "de": ("Aus meiner eigenen Erfahrung kenne ich das.", "Ich habe das selbst erlebt."),
    },
}
_AFTER: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "confidence": {
        "en": ("This is definitely so.", "There is no doubt about it.", "I am certain of this.", "Guaranteed."),
        "de": ("Das ist definitiv so.", "Daran besteht kein Zweifel.", "Ich bin mir ganz sicher."),
    },
    "length": {
        "en": (
            "That is the answer to the message above, and it has been written down here for you to read.",
            "The lines above are the reply to what was asked, in the order in which it was asked.",
            "This text ends here, and what stands above it is the reply to the message before it.",
            "With these words the reply to the message is at its end, and there is no more text after it.",
        ),
        "de": (
            "Das ist die Antwort auf die Nachricht oben, und sie steht hier zum Lesen.",
            "Die Zeilen oben sind die Antwort auf das, was gefragt wurde.",
        ),
    },
    "emoji": {name: ("😊", "👍", "🎉", "🙂") for name in ("en", "de")},
}
EDITED = ("length", "markdown", "lists", *(name for name in (*_BEFORE, *_AFTER) if name != "length"))
"""Traits that templates can edit."""
FAULTS = ("unmoved", "other_traits", "numbers", "content")
MOST_DOUBLINGS = 1.0
"""How much longer or shorter an edit made elsewhere may make an answer, log2 of words."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_BULLET = re.compile(r"^[ \t]*(?:[-*•+]|\d{1,3}[.)])[ \t]+", flags=re.MULTILINE)
_EMOJI_AND_BLANK = re.compile("[ \t]*[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\ufe0f]+")
_MARKS = (
    (re.compile(r"^#{1,6} ", flags=re.MULTILINE), ""),
    (re.compile(r"\*\*(\S[^*\n]*)\*\*"), r"\1"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
    (re.compile(r"^> ", flags=re.MULTILINE), ""),
)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The same answer without and with a trait.

    Attributes:
        without, having: the answers; one of the two is as it was written.
        is_added: whether `without` is the one that was written.
    """

    trait: str
    prompt: tuple[Message, ...]
    without: str
    having: str
    is_added: bool


def edit(trait: str, prompt: Sequence[Message], answer: str, *, wording: int = 0) -> Edit | None:
    """The answer with the trait added, or removed where it has it; None where no template can do that.

    Args:
        trait: one of EDITED.
        wording: number that chooses among wordings.
    """
    asked, measure = user_text(prompt), TRAITS[trait].measure
    has = trait != "length" and measure(asked, answer) > 0
    if trait == "agreement" and not states_a_view(asked):
        return None
    other = _removed(trait, answer, asked) if has else _added(trait, answer, wording)
    if not other or not other.strip():
        return None
    without, having = (other, answer) if has else (answer, other)
    if not measure(asked, having) > measure(asked, without):
        return None
    return Edit(trait=trait, prompt=tuple(prompt), without=without, having=having, is_added=not has)


def edit_fault(one: Edit, *, least_kept: float) -> str:
    """Why an edit that was made elsewhere is none, one of FAULTS; empty where there is nothing against it.

    `unmoved`: the trait is not more in `having`; `other_traits`: another one differs, length aside; `numbers`: they are
    not the same, those of list items aside; `content`: of the words of `without`, `having` holds less than the share
    `least_kept` in their order, or their lengths are more than MOST_DOUBLINGS apart. An edit of the language keeps no
    words: its content is told by numbers and length alone.
    """
    asked = user_text(one.prompt)
    moved = {
        name: trait.measure(asked, one.having) - trait.measure(asked, one.without) for name, trait in TRAITS.items()
    }
    if not moved[one.trait] > 0:
        return "unmoved"
    if any(change for name, change in moved.items() if name not in ("length", one.trait)):
        return "other_traits"
    sides = [_BULLET.sub("", text) for text in (one.without, one.having)]
    if len({tuple(sorted(re.findall(r"\d+", side))) for side in sides}) > 1:
        return "numbers"
    without, having = (re.findall(r"\w+", side.casefold()) for side in sides)
    blocks = SequenceMatcher(None, without, having, autojunk=False).get_matching_blocks()
    is_kept = one.trait == "language" or sum(block.size for block in blocks) >= least_kept * len(without)
    return "" if is_kept and abs(moved["length"]) <= MOST_DOUBLINGS else "content"


def _added(trait: str, answer: str, wording: int) -> str:
    language = "de" if language_of(answer) == "de" else "en"
    if trait in _BEFORE:
        choices = _BEFORE[trait][language]
        return f"{choices[wording % len(choices)]} {answer}"
    if trait in _AFTER:
        choices = _AFTER[trait][language]
        return f"{answer} {choices[wording % len(choices)]}"
    sentences = _SENTENCE.split(answer.strip())
    if trait == "lists":
        return "\n".join(f"- {sentence}" for sentence in sentences) if len(sentences) > 1 else ""
    first, rest = sentences[0], answer.strip()[len(sentences[0]) :]
    return f"**{first}**{rest}" if "*" not in first and "\n" not in first else ""


def _removed(trait: str, answer: str, asked: str) -> str:
    match trait:
        case "emoji":
            return _EMOJI_AND_BLANK.sub("", answer).strip()
        case "lists":
            return _BULLET.sub("", answer)
        case "markdown":
            for pattern, kept in _MARKS:
                answer = pattern.sub(kept, answer)
            return answer
        case "apologies" | "flattery" | "agreement":
            measure = TRAITS[trait].measure
            sentences = _SENTENCE.split(answer.strip())
            rest = [one for one in sentences if len(one.split()) > MOST_WORDS_REMOVED or not measure(asked, one)]
            return " ".join(rest)
        case _:
            return ""
