"""What a page says about a click: done, or why not; one line each, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

_SAID = "outcome-said"
_REFUSED = "outcome-refused"


def act(done: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """For callbacks of buttons: calls the one function of the button and keeps what to say of it for `say`.

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
    """Draws what the last click came to, once."""
    refused = st.session_state.pop(_REFUSED, None)
    if refused is not None:
        st.error("That was not done:", icon=":material/block:")
        st.text(refused)
    message = st.session_state.pop(_SAID, None)
    if message:
        st.toast(message, icon=":material/check:")


@contextmanager
def plainly() -> Iterator[None]:
    """Around a page: what the store refuses is said in one line."""
    try:
        say()
        yield
    except PermissionError as error:
        st.error("This page is not yours to see.", icon=":material/lock:")
        st.text(str(error))
    except ValueError as error:
        st.error("This page cannot be drawn:", icon=":material/error:")
        st.text(str(error))
