"""Own earlier judgments: how far the reader is, what they answered, and a way to change it."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from annotate_app.access import AccessError, Actor
from annotate_app.labeling.pair_payload import describe_choice, excerpt
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.language import current_language, say
from annotate_app.pages.kit.page_list import page_at
from annotate_app.protocol.leases import OwnJudgment, OwnProgress
from annotate_app.protocol.rubric import Rubric

PER_PAGE = 20
STATES = ("qualifying", "paused", "failed")


def page() -> None:
    """Draws the reader's own work on the chosen project."""
    project = current_project()
    actor = current_actor()
    store = current_store()
    st.title(say("my_work.title"))
    try:
        progress = store.work.own_progress(actor, project.id)
    except AccessError as error:
        st.info(as_markdown(f"{error}."), icon=":material/lock:")
        return
    draw_progress(progress)
    if progress.done == 0 and not store.work.history(actor, project.id, limit=1):
        st.info(say("my_work.nothing"), icon=":material/history:")
        return
    number = st.number_input(say("my_work.page"), min_value=1, step=1, key=f"my-work-page-{project.id}", width=140)
    history = store.work.history(actor, project.id, offset=(number - 1) * PER_PAGE, limit=PER_PAGE)
    rubric = store.projects.rubric(actor, project.id).rubric
    for own in history:
        draw_judgment(actor, own, rubric)
    if not history:
        st.caption(say("my_work.empty_page"))


def draw_progress(progress: OwnProgress) -> None:
    """Draws the number of judgments that stand, and of how many."""
    share = min(1.0, progress.done / progress.target) if progress.target else 0.0
    st.progress(share, text=say("my_work.progress", done=progress.done, target=progress.target))
    if progress.state in STATES:
        st.caption(say(f"my_work.{progress.state}"))


def draw_judgment(actor: Actor, own: OwnJudgment, rubric: Rubric) -> None:
    """One judgment on a card. Texts of others are shown as they are, never as markdown."""
    judgment = own.judgment
    with st.container(border=True, key=f"own-{own.judgment_id}"):
        left, right = st.columns([5, 1], vertical_alignment="center")
        words = describe_choice(judgment, own.shown_left or "a", rubric.scale, current_language())
        made = datetime.fromtimestamp(judgment.created_at).strftime("%Y-%m-%d %H:%M") if judgment.created_at else ""
        left.text(f"{words} · {made or say('my_work.time_unknown')}")
        left.text(excerpt(own.comparison.prompt) or say("my_work.no_prompt"))
        if judgment.rationale:
            left.text(f"“{judgment.rationale}”")
        if not own.can_edit:
            right.caption(say("my_work.stands"))
        elif right.button(say("my_work.change"), key=f"change-{own.judgment_id}", width="stretch"):
            st.session_state["reopen"] = own.judgment_id
            st.switch_page(page_at("label"))
