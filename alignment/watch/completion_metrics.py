"""What a step's completions say of the policy, by the names they are logged under. Texts and arrays in, no torch.

completions/length, min_length, max_length   tokens
completions/truncated_share                  completions that reached the limit of tokens
completions/distinct_2, repetition           see `alignment.watch.text_metrics`; repetition is the mean over completions
completions/refusal_share                    completions that decline, see below
groups/unique_share                          different texts of a group by its size, mean over groups

A refusal is told by how a reply begins, in English wordings ("I'm sorry, but I can't ...", "As an AI language model
..."), in its first sentences after politeness. That is a count for monitors, not a judge: it does not see a refusal
further down, one in other words or another language, or an answer that says nothing; a reply that quotes a refusal at
its start counts as one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from alignment.watch.text_metrics import distinct_n, repetition

_CANNOT = r"(?:can(?:no|')t|can not|could(?: not|n't)|am (?:not able|unable)|'m (?:not able|unable)|won't|will not)"
_DO = (
    r"(?:help|assist|aid|support|answer|respond|reply|provide|offer|share|give|create|write|generate|produce|fulfil+|"
    r"comply|do (?:that|this)|engage|discuss|participate|continue|complete|recommend|advise|encourage|be able)"
)
_ADVERBS = r"(?:(?:really|simply|just|in good conscience|ethically|possibly|also|therefore) )*"
_OPENINGS = (
    rf"i {_ADVERBS}{_CANNOT} {_ADVERBS}(?:to )?{_DO}\b",
    rf"i{_CANNOT} {_ADVERBS}(?:to )?{_DO}\b",
    r"i (?:must|have to|need to|will have to|am going to|'m going to) (?:respectfully |politely )?(?:decline|refuse)\b",
    r"i(?:'d| would) (?:rather|prefer) not (?:to )?(?:answer|say|discuss|help|do)\b",
    r"i (?:respectfully |politely )?(?:decline|refuse) to\b",
    r"i(?:'m| am) not (?:comfortable|allowed|permitted|programmed|designed)\b",
    r"as an? (?:ai|artificial intelligence|(?:large )?language model)[^.!?]{0,60}?"
    rf"\bi (?:{_CANNOT}|do not|don't|am not|'m not)\b",
    r"(?:it is|it's|it would be|that is|that's|this is) (?:against|not appropriate|inappropriate|unethical|illegal)\b",
    r"(?:this|that|your) (?:request|question) (?:goes against|violates|is (?:inappropriate|harmful|not something i))\b",
    r"(?:sorry|apologies),? (?:no|not able|unable)\b",
    r"(?:unable|not able) to (?:help|assist|comply|answer)\b",
)
_REFUSAL = re.compile("|".join(f"(?:{opening})" for opening in _OPENINGS))
_POLITE = re.compile(
    r"(?:(?:i'm |i am |we're |we are )?(?:(?:really|very|so|truly|deeply) )?(?:sorry|afraid)|"
    r"(?:i )?apologi[sz]e|(?:my )?apologies|unfortunately|regretfully|thank you|thanks|i understand|i appreciate|"
    r"hello|hi|no|oh|well)\b"
)
_JOINED = re.compile(r"[ ,]*(?:but|however|that)?[ ,]*")
_CLAUSE = re.compile(r"[^.!?,;:]{0,80}[.!?,;:]+ ?(?:but|however)?[ ,]*")
MOST_POLITE = 3
_MARKUP = re.compile(r"^[\s*_#>\"'`\-–—]+")


def is_refusal(reply: str) -> bool:
    """Whether a reply opens by declining, after at most three phrases of politeness."""
    return _declines(_MARKUP.sub("", " ".join(reply[:600].lower().replace("’", "'").split())), MOST_POLITE)


def _declines(rest: str, polite_left: int) -> bool:
    """Whether the rest of a reply opens by declining, at once or after a polite word or a clause with one."""
    if _REFUSAL.match(rest):
        return True
    polite = _POLITE.match(rest)
    if polite is None or not polite_left:
        return False
    after = rest[polite.end() :]
    ends = [match.end() for pattern in (_JOINED, _CLAUSE) if (match := pattern.match(after))]
    return any(_declines(after[end:], polite_left - 1) for end in ends)


def refusal_share(texts: Sequence[str]) -> float:
    """Replies that decline among all; nan where there is none."""
    return sum(map(is_refusal, texts)) / len(texts) if texts else float("nan")


def completion_metrics(
    texts: Sequence[str], lengths: Sequence[int], finished: Sequence[bool], group: Sequence[int]
) -> dict[str, float]:
    """The metrics of B completions that stand in the module.

    Args:
        lengths: (B,) tokens of each.
        finished: (B,) whether each ended by itself.
        group: (B,) number of each one's prompt.

    Raises:
        ValueError: if there is none.
    """
    if not texts:
        raise ValueError("metrics of 0 completions, at least 1 is needed")
    tokens = np.asarray(lengths, dtype=float)
    return {
        "completions/length": float(tokens.mean()),
        "completions/min_length": float(tokens.min()),
        "completions/max_length": float(tokens.max()),
        "completions/truncated_share": 1 - float(np.mean(finished)),
        "completions/distinct_2": distinct_n(texts, 2),
        "completions/repetition": float(np.mean([repetition(text) for text in texts])),
        "completions/refusal_share": refusal_share(texts),
        "groups/unique_share": unique_share(texts, group),
    }


def unique_share(texts: Sequence[str], group: Sequence[int]) -> float:
    """Different texts of a group by its size, mean over groups; 1/G where all of G are the same, nan for no text.

    Args:
        group: (B,) number of each text's prompt.
    """
    members: dict[int, list[str]] = {}
    for text, number in zip(texts, group, strict=True):
        members.setdefault(number, []).append(text)
    if not members:
        return float("nan")
    return float(np.mean([len(set(group_texts)) / len(group_texts) for group_texts in members.values()]))
