"""Feedback on a click: done or the reason why not, in one line and never as a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

_SAID = "outcome-said"
_REFUSED = "outcome-refused"


def act(done: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the one function of a button and keeps its message for `say`; for callbacks of buttons.

    Returns what the function returned, None where it refused.
    """
    try:
        result = function(*args, **kwargs)
    except (ValueError, PermissionError) as error:
        st.session_state[_REFUSED] = str(error)
        return None
    st.session_state[_SAID] = done
    return result


def say() -> None:
    """Draws the message of the last click, once."""
    refused = st.session_state.pop(_REFUSED, None)
    if refused is not None:
        st.error("That was not done:", icon=":material/block:")
        st.text(refused)
    message = st.session_state.pop(_SAID, None)
    if message:
        st.toast(message, icon=":material/check:")


@contextmanager
def plainly() -> Iterator[None]:
    """Context of a page: shows an error of the store as one line."""
    try:
        say()
        yield
    except PermissionError as error:
        st.error("This page is not yours to see.", icon=":material/lock:")
        st.text(str(error))
    except ValueError as error:
        st.error("This page cannot be drawn:", icon=":material/error:")
        st.text(str(error))
