"""Names that people chose, where Streamlit takes a key or Markdown: ids, names of accounts, words of a rubric.

Keys with `__` are refused by components, and Markdown loads images and draws links. Where a text can stand by itself it
is drawn by `st.text`, which does neither; these are for the places where it cannot.
"""

from __future__ import annotations

import re

from rewardkit.data.records import content_id

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def key_of(name: str) -> str:
    """What stands for a name in the key of a widget or component: letters and digits, the same for the same name."""
    return content_id(name)


def as_markdown(text: str) -> str:
    """Markdown that shows the text as it is, on one line."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
