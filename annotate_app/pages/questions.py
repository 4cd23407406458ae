"""Questions: what annotators ask about pairs, the pair at hand, answered here once for all who meet it."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import ITEM, page_at
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.pages.views.comparison_view import draw_comparison
from annotate_app.pages.views.team.readings_view import draw_readings
from annotate_app.store.projects.projects import Project
from annotate_app.store.work.questions import LONGEST, Question

PER_PAGE = 10


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Questions")
        project = current_project()
        questions = current_store().questions.list(current_actor(), project.id)
        waiting = sum(question.answered_at is None for question in questions)
        if not questions:
            st.info(
                "Nobody has asked anything. Annotators ask with the key C while they label.",
                icon=":material/contact_support:",
            )
        else:
            st.caption(
                f"{waiting} of {len(questions)} wait. An answer is shown to everybody who meets the pair, without the "
                f"name of who asked. Times are in {zone_name()}."
            )
        pages = max(1, -(-len(questions) // PER_PAGE))
        number = st.number_input("Page", 1, pages, key=f"questions-page-{project.id}", width=140) if pages > 1 else 1
        for question in questions[(number - 1) * PER_PAGE : number * PER_PAGE]:
            draw_question(project, question)
        draw_readings(project)


def draw_question(project: Project, question: Question) -> None:
    """One question with its pair, and the field for the answer."""
    waits = question.answered_at is None
    field = f"answer-{question.id}"
    with st.container(border=True, key=f"question-{question.id}"):
        head, mark = st.columns([5, 1], vertical_alignment="center")
        head.markdown(f"**{as_markdown(question.asked_by)}** asks, {minute_of(question.created_at)}")
        mark.badge("waits" if waits else "answered", color="orange" if waits else "green")
        st.text(question.text)
        with st.expander("The pair", expanded=waits):
            comparison = current_store().comparisons.get(current_actor(), project.id, question.comparison)
            draw_comparison(comparison, project_id=project.id, sources=True, key=f"question-pair-{question.id}")
            st.page_link(
                page_at("comparisons"),
                label="Open in Comparisons",
                icon=":material/compare:",
                query_params={"project": project.name, ITEM: question.comparison},
            )
        st.session_state.setdefault(field, question.answer)
        st.text_area("Answer", key=field, max_chars=LONGEST, height=90)
        if not waits:
            st.caption(f"Answered by {as_markdown(question.answered_by)}, {minute_of(question.answered_at or 0.0)}")
        st.button(
            "Answer" if waits else "Correct the answer",
            key=f"send-{question.id}",
            type="primary" if waits else "secondary",
            on_click=answer,
            args=(project.id, question.id),
        )


def answer(project_id: int, question_id: int) -> None:
    """Stores what the field holds."""
    text = st.session_state[f"answer-{question_id}"]
    act("Answered.", current_store().questions.answer, current_actor(), project_id, question_id, text)
