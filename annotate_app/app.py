"""The script that Streamlit runs: who is it, what may they see, and then the page they asked for.

A page that is not in the reader's list does not exist for them: asking for it gives their first page. What they may do
is decided again by the store.
"""

from __future__ import annotations

from annotate_app.pages import navigation

navigation.show()
