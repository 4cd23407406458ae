"""Own earlier judgments: how far the reader is, what they answered, and a way to change it."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from annotate_app.access import Actor
from annotate_app.labeling.pair_payload import describe_choice, excerpt
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.language import current_language, say
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.kit.reader_clock import minute_of, reader_zone, zone_name
from annotate_app.pages.views.answer_view import draw_answer
from annotate_app.protocol.assignment import other_side
from annotate_app.protocol.leases import OwnJudgment, OwnProgress
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.projects import Project
from annotate_app.store.work.day import BREAK_S
from annotate_app.store.work.member_at_work import NoSeatError

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
    except NoSeatError as error:
        st.info(error.in_language(current_language()), icon=":material/lock:")
        return
    draw_progress(progress)
    draw_day(project, actor)
    draw_questions(project, actor)
    if progress.done == 0 and not store.work.history(actor, project.id, limit=1):
        st.info(say("my_work.nothing"), icon=":material/history:")
        return
    number = st.number_input(say("my_work.page"), min_value=1, step=1, key=f"my-work-page-{project.id}", width=140)
    history = store.work.history(actor, project.id, offset=(number - 1) * PER_PAGE, limit=PER_PAGE)
    rubric = store.projects.rubric(actor, project.id).rubric
    for own in history:
        draw_judgment(actor, own, rubric)
    if history:
        st.caption(say("my_work.zone", zone=zone_name()))
    else:
        st.caption(say("my_work.empty_page"))


def draw_progress(progress: OwnProgress) -> None:
    """Draws the number of judgments that stand, and of how many."""
    share = min(1.0, progress.done / progress.target) if progress.target else 0.0
    st.progress(share, text=say("my_work.progress", done=progress.done, target=progress.target))
    if progress.state in STATES:
        st.caption(say(f"my_work.{progress.state}"))


def draw_day(project: Project, actor: Actor) -> None:
    """The day so far: pairs, time, pay, known answers, and a break where one is due."""
    midnight = datetime.now(reader_zone()).replace(hour=0, minute=0, second=0, microsecond=0)
    day = current_store().work.own_day(actor, project.id, midnight.timestamp())
    if not day.active_s:
        return
    st.header(say("day.title"), anchor=False)
    figures = {"pairs_long": str(day.num_pairs)}
    if day.median_s is not None:
        figures["median_long"] = say("day.seconds", seconds=round(day.median_s))
    if day.num_gold:
        figures["gold_long"] = say("day.of", right=day.num_right, all=day.num_gold)
    figures["minutes_long"] = say("day.minutes", minutes=int(day.active_s // 60))
    if day.earned:
        figures["earned_long"] = day.earned
    with st.container(horizontal=True):
        for key, text in figures.items():
            st.metric(say(f"day.{key}"), text, width="content")
    if day.break_due:
        pause = int(BREAK_S // 60)
        st.info(
            say("day.break_long", minutes=int(day.since_break_s // 60), pause=pause), icon=":material/self_improvement:"
        )


def draw_questions(project: Project, actor: Actor) -> None:
    """The reader's own questions with their answers; texts as they are."""
    questions = current_store().questions.own(actor, project.id)
    if not questions:
        return
    waiting = sum(question.answered_at is None for question in questions)
    with st.expander(f"{say('question.own')} ({len(questions)})", expanded=waiting < len(questions)):
        for question in questions:
            with st.container(border=True, key=f"own-question-{question.id}"):
                st.text(question.text)
                if question.answered_at is None:
                    st.caption(say("question.waits"))
                else:
                    st.text(question.answer)


def draw_judgment(actor: Actor, own: OwnJudgment, rubric: Rubric) -> None:
    """One judgment on a card. Texts of others are shown as they are, never as markdown."""
    judgment = own.judgment
    with st.container(border=True, key=f"own-{own.judgment_id}"):
        left, right = st.columns([5, 1], vertical_alignment="center")
        words = describe_choice(judgment, own.shown_left or "a", rubric.scale, current_language())
        made = minute_of(judgment.created_at) if judgment.created_at else ""
        left.text(f"{words} · {made or say('my_work.time_unknown')}")
        left.text(excerpt(own.comparison.prompt) or say("my_work.no_prompt"))
        if judgment.rationale:
            left.text(f"“{judgment.rationale}”")
        with left:
            sides = (
                {own.shown_left: say("form.left"), other_side(own.shown_left): say("form.right")}
                if own.shown_left
                else None
            )
            draw_answer("", judgment, own.comparison, rubric, key=f"own-answer-{own.judgment_id}", sides=sides)
        if not own.can_edit:
            right.caption(say("my_work.stands"))
        elif right.button(say("my_work.change"), key=f"change-{own.judgment_id}", width="stretch"):
            st.session_state["reopen"] = own.judgment_id
            st.switch_page(page_at("label"))
