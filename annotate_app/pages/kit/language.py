"""The reader's language on a page: what the person chose for the account, else what the browser asks for."""

from __future__ import annotations

import streamlit as st

from annotate_app import words
from annotate_app.pages.kit.context import current_user


def current_language() -> str:
    """The code of the language in which the pages speak to the reader."""
    return words.choose_language(current_user().language, st.context.headers.get("Accept-Language", ""))


def say(key: str, **values: object) -> str:
    """One of the interface's texts in the reader's language."""
    return words.say(current_language(), key, **values)


def texts_under(*beginnings: str) -> dict[str, str]:
    """The texts by key whose keys begin in one of these ways, in the reader's language; for a component to say."""
    return {key: text for key, text in words.words(current_language()).items() if key.startswith(beginnings)}
