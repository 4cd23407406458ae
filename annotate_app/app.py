"""The script that Streamlit runs: who is it, what may they see, and then the page they asked for.

A page that is not in the reader's list does not exist for them: asking for it gives their first page. What they may do
is decided again by the store.
"""

from __future__ import annotations

import streamlit as st

from annotate_app.pages import navigation

st.set_page_config(page_title="Tiebreak", page_icon=":material/balance:", layout="wide")
navigation.show()
