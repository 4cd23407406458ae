"""Learn: lessons on our own functions, a question each, what texts get wrong; the address names the lesson."""

from __future__ import annotations

import inspect

import streamlit as st

from annotate_app.lessons.catalogue.catalogue import LESSONS, TOPICS, find
from annotate_app.lessons.lesson import Choice, Finding, Lesson, Slider
from annotate_app.lessons.tables import as_text, table
from annotate_app.pages.charts.charts import Rows
from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_user
from annotate_app.pages.kit.language import say

ADDRESS, CHOSEN = "lesson", "learn-lesson"
CHART_HEIGHT = 400  # pixels: what stands beside it is as high
KEYS = [lesson.key for lesson in LESSONS]
TITLES = {
    lesson.key: f"{KEYS.index(lesson.key) + 1}. {topic}: {lesson.title}"
    for topic, lessons in TOPICS
    for lesson in lessons
}


def page() -> None:
    """Draws the page."""
    with plainly():
        current_user()
        st.title(say("page.learn"))
        if text := say("learn.only_english"):
            st.caption(text)
        lesson = choose_lesson()
        draw_lesson(lesson)
        draw_next(lesson)


def choose_lesson() -> Lesson:
    """The lesson that the address names, and the ways to another one."""
    asked = st.query_params.get(ADDRESS) or st.session_state.get(CHOSEN) or KEYS[0]
    if asked not in KEYS:
        st.info(say("learn.unknown", name=asked))
        asked = KEYS[0]
    st.session_state[CHOSEN] = asked
    place = KEYS.index(asked)
    with st.container(horizontal=True, vertical_alignment="bottom", key="learn-ways"):
        st.selectbox(
            say("learn.lesson"), KEYS, key=CHOSEN, format_func=TITLES.__getitem__, on_change=open_chosen, width=640
        )
        draw_way("previous", place - 1, icon=":material/arrow_back:")
        draw_way("next", place + 1, icon=":material/arrow_forward:")
    return LESSONS[place]


def draw_way(word: str, place: int, *, icon: str) -> None:
    """A button to the lesson at a place."""
    is_there = 0 <= place < len(KEYS)
    st.button(
        say(f"learn.{word}"),
        key=f"learn-{word}",
        icon=icon,
        disabled=not is_there,
        on_click=open_lesson,
        args=(KEYS[place] if is_there else "",),
    )


def open_chosen() -> None:
    """Opens the lesson that was chosen from the list."""
    open_lesson(st.session_state[CHOSEN])


def open_lesson(key: str) -> None:
    """Puts a lesson into the address."""
    st.query_params[ADDRESS] = key


def draw_lesson(lesson: Lesson) -> None:
    """A lesson from its text to its papers."""
    st.header(lesson.title)
    with st.container(key="learn-text", width=900):
        st.markdown(lesson.text)
    if not lesson.runs_here():
        st.info(say("learn.no_torch"), icon=":material/memory:")
    else:
        draw_move(lesson)
        draw_question(lesson)
        draw_mistakes(lesson)
    st.subheader(say("learn.papers"))
    st.markdown("\n".join(f"- [{paper.title}]({paper.link})" for paper in lesson.papers))


def draw_move(lesson: Lesson) -> None:
    """The sliders, and what they do."""
    st.subheader(say("learn.move"))
    left, right = st.columns([2, 3], gap="large")
    with left:
        values = {slider.name: draw_slider(lesson.key, slider) for slider in lesson.sliders}
    picture = lesson.move(values)
    with left:
        st.text(picture.words)
        draw_table(picture.figures)
    with right:
        st.altair_chart(picture.chart, height=CHART_HEIGHT, key=f"learn-chart-{lesson.key}")
    with st.expander(say("learn.code"), icon=":material/code:"):
        st.code(inspect.getsource(lesson.move), language="python")


def draw_slider(key: str, slider: Slider | Choice) -> float:
    """A slider, or the options of a choice; where it stands."""
    name = f"learn-{key}-{slider.name}"
    if isinstance(slider, Choice):
        chosen = st.segmented_control(
            slider.label,
            range(len(slider.options)),
            default=slider.default,
            required=True,
            format_func=slider.options.__getitem__,
            key=name,
        )
        return float(slider.default if chosen is None else chosen)
    numbers = (slider.low, slider.high, slider.default, slider.step)
    if all(float(number).is_integer() for number in numbers):
        low, high, default, step = map(int, numbers)
        return float(st.slider(slider.label, low, high, default, step, key=name))
    low, high, default, step = map(float, numbers)
    return st.slider(slider.label, low, high, default, step, key=name)


def draw_table(figures: Rows) -> None:
    """A small table."""
    st.table(table(figures), hide_index=True)


def draw_question(lesson: Lesson) -> None:
    """The question, checked by computing its answer."""
    question, key = lesson.question, f"learn-answer-{lesson.key}"
    st.subheader(say("learn.question"))
    st.markdown(question.text)
    with st.form(f"learn-question-{lesson.key}", width=640):
        if question.choices:
            given = st.radio(say("learn.answer"), question.choices, index=None, key=key)
        else:
            given = st.number_input(say("learn.answer"), value=None, step=0.001, format="%.4f", key=key)
        is_asked = st.form_submit_button(say("learn.check"))
    if is_asked and given is not None:
        if question.accepts(given):
            st.success(say("learn.right"), icon=":material/check:")
            st.markdown(question.why)
        else:
            st.error(say("learn.wrong"), icon=":material/close:")
    with st.expander(say("learn.show"), icon=":material/visibility:"):
        st.markdown(f"**{as_text(question.answer())}**\n\n{question.why}")


def draw_mistakes(lesson: Lesson) -> None:
    """Claims of texts, each beside what running it gives."""
    st.subheader(say("learn.mistakes"))
    for number, mistake in enumerate(lesson.mistakes):
        with st.container(border=True, key=f"learn-mistake-{lesson.key}-{number}"):
            st.markdown(f"“{mistake.claim}”")
            finding = finding_of(lesson.key, number)
            draw_table(finding.figures)
            verdict = say("learn.claim_wrong" if finding.is_wrong else "learn.claim_stands")
            st.markdown(f"**{verdict}** {mistake.instead}")


@st.cache_data(show_spinner=False)
def finding_of(key: str, number: int) -> Finding:
    """What came of a claim of a lesson: the same at every move, so run once a process."""
    return find(key).mistakes[number].run()


def draw_next(lesson: Lesson) -> None:
    """The way on, at the end."""
    place = KEYS.index(lesson.key) + 1
    if place < len(KEYS):
        st.button(
            f"{say('learn.next')}: {TITLES[KEYS[place]]}",
            key="learn-on",
            icon=":material/arrow_forward:",
            on_click=open_lesson,
            args=(KEYS[place],),
        )
