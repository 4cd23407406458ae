"""The rubric as a form: the same YAML, written by fields. What the fields say and the text say is one thing.

The text in the session is the rubric. Fields are filled from it whenever it was changed elsewhere (the YAML, a
protocol, an older version), and each change of a field writes it anew; comments of the YAML go with that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import streamlit as st

from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.protocol.rubric import (
    KINDS,
    MAX_RATING,
    QUESTIONS,
    RATIONALES,
    SCALE_STEPS,
    TASKS,
    Criterion,
    Flag,
    Rubric,
    Scale,
    Task,
    parse_rubric,
    rubric_text,
)
from rewardkit.data.tables.yaml_nodes import YamlError

GUIDELINES_HEIGHT = 320
YAML_ONLY = ("protocol",)
"""Keys of a rubric that no field sets: the protocol comes with the text of a shipped one."""
TASK_WORDS = {
    "compare": "Compare two",
    "rank": "Rank two or more",
    "best": "Choose the best of two or more",
    "steps": "Judge the steps of one",
}
TASK_QUESTIONS = {"compare": Rubric.question, **QUESTIONS}
KIND_WORDS = {"compare": "which response is better", "rate": "a rating of each response"}
RATIONALE_WORDS = {"off": "not asked for", "optional": "may be given", "required": "must be given"}


def draw_form(key: str) -> None:
    """Draws the fields of the rubric in `st.session_state[key]`, and writes what they say back to it."""
    try:
        rubric = parse_rubric(st.session_state[key], "rubric")
    except YamlError as error:
        st.warning("The fields come back once the YAML has no mistake.", icon=":material/edit_off:")
        st.text(str(error))
        return
    base = fill_fields(key, rubric)
    written = read_fields(base, rubric)
    if written == rubric:
        return
    text = rubric_text(written)
    try:
        parse_rubric(text, "rubric")
    except YamlError as error:
        st.error("This is not in the rubric yet:", icon=":material/error:")
        st.text(str(error).partition(": ")[2])
        return
    st.session_state[key] = st.session_state[f"{key}-fields-of"] = text


def fill_fields(key: str, rubric: Rubric) -> str:
    """The prefix of the fields' keys; a new one, so that they are filled afresh, where the text changed elsewhere.

    The state of fields that were not on the screen is gone, so these are filled again too.
    """
    generation = st.session_state.setdefault(f"{key}-fields", 0)
    is_gone = f"{key}-fields-{generation}-title" not in st.session_state
    if is_gone or st.session_state.get(f"{key}-fields-of") != st.session_state[key]:
        generation = st.session_state[f"{key}-fields"] = generation + 1
        st.session_state[f"{key}-fields-of"] = st.session_state[key]
        st.session_state[f"{key}-fields-{generation}-rows"] = list(range(len(rubric.criteria)))
        st.session_state[f"{key}-fields-{generation}-start"] = rubric
    return f"{key}-fields-{generation}"


def read_fields(base: str, rubric: Rubric) -> Rubric:
    """Draws all fields, from the rubric that they were filled with, and reads them."""
    start: Rubric = st.session_state[f"{base}-start"]
    title = st.text_input("Title", start.title, key=f"{base}-title")
    task = read_task(base, start)
    st.session_state.setdefault(f"{base}-question", start.question)  # which the task may change too
    question = st.text_input("The question", key=f"{base}-question")
    is_comparing = task == "compare"
    scale = read_scale(base, start.scale) if is_comparing else Scale()
    bad, has_steps = "Both" if is_comparing else "All", task == "steps"
    both_bad = not has_steps and st.checkbox(f"“{bad} bad” is an answer", start.both_bad, key=f"{base}-both-bad")
    guidelines = st.text_area(
        "Guidelines",
        start.guidelines,
        key=f"{base}-guidelines",
        height=GUIDELINES_HEIGHT,
        help="Markdown in which line breaks stay. What annotators read before they start, and with the key ?.",
    )
    criteria = ()
    if is_comparing:
        st.header("Criteria", anchor=False)
        criteria = read_criteria(base, start)
    flags = ()
    if not has_steps:
        st.header("Flags", anchor=False)
        st.caption("Marks on one response, such as harmful or off topic.")
        flags = read_flags(base, start)
    rationale = st.segmented_control(
        "A reason in own words",
        RATIONALES,
        default=start.rationale,
        required=True,
        format_func=lambda name: RATIONALE_WORDS[name],
        key=f"{base}-rationale",
    )
    may_edit = not has_steps and st.checkbox(
        "A response may be written anew",
        start.edit != "off",
        key=f"{base}-edit",
        help="Beside the vote; exported as examples and as pairs with the response as it was.",
    )
    reasons = st.text_area(
        "Reasons to skip, a line each", "\n".join(start.skip_reasons), key=f"{base}-reasons", height=120
    )
    return replace(
        rubric,
        title=title.strip(),
        task=task,
        question=question.strip(),
        scale=scale,
        both_bad=both_bad,
        guidelines=guidelines,
        criteria=criteria,
        flags=flags,
        rationale=cast(Any, rationale or start.rationale),
        edit="optional" if may_edit else "off",
        skip_reasons=tuple(line.strip() for line in reasons.splitlines() if line.strip()),
    )


def read_task(base: str, start: Rubric) -> Task:
    """What is asked of the responses; only where two are compared there are a scale and criteria."""
    task = st.segmented_control(
        "What annotators do",
        TASKS,
        default=start.task,
        required=True,
        format_func=TASK_WORDS.__getitem__,
        key=f"{base}-task",
        on_change=suggest_question,
        args=(base,),
    )
    return cast(Task, task or start.task)


def suggest_question(base: str) -> None:
    """Puts the task's own question where another task's own one stands; a question of one's own stays."""
    if st.session_state[f"{base}-question"] in TASK_QUESTIONS.values():
        st.session_state[f"{base}-question"] = TASK_QUESTIONS[st.session_state[f"{base}-task"]]


def read_scale(base: str, start: Scale) -> Scale:
    """The steps, their words and whether a tie may be given; an odd number of steps has one in its middle."""
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    steps = left.selectbox("Steps of the scale", SCALE_STEPS, index=SCALE_STEPS.index(start.steps), key=f"{base}-steps")
    degrees = steps // 2
    words = right.text_input(
        "Words for its degrees, weakest first",
        ", ".join(start.labels),
        key=f"{base}-labels",
        placeholder=", ".join(Scale(steps=steps).wordings),
        help=f"{degrees} of them with commas between, the same for both sides; empty for those shown.",
    )
    tie = True
    if steps % 2 == 0:
        tie = st.checkbox("A tie may be given", start.tie, key=f"{base}-tie")
    return Scale(steps=steps, labels=tuple(part.strip() for part in words.split(",") if part.strip()), tie=tie)


def read_criteria(base: str, start: Rubric) -> tuple[Criterion, ...]:
    """One box a criterion, with buttons to move and remove it, and one to add another."""
    rows: list[int] = st.session_state[f"{base}-rows"]
    criteria = []
    for place, row in enumerate(rows):
        given = (
            start.criteria[row] if row < len(start.criteria) else Criterion(name=f"criterion_{row + 1}", question="")
        )
        with st.expander(as_markdown(given.name), expanded=row >= len(start.criteria)):
            criteria.append(read_criterion(f"{base}-{row}", given))
            with st.container(horizontal=True):
                moves = (("Up", place - 1, place == 0), ("Down", place + 1, place == len(rows) - 1))
                for name, other, is_off in moves:
                    st.button(
                        name, key=f"{base}-{row}-{name}", disabled=is_off, on_click=swap, args=(rows, place, other)
                    )
                st.button("Remove", key=f"{base}-{row}-remove", on_click=rows.remove, args=(row,))
    st.button("Add a criterion", key=f"{base}-add", icon=":material/add:", on_click=add_row, args=(rows, start))
    return tuple(criteria)


def swap(rows: list[int], place: int, other: int) -> None:
    """Exchanges two criteria."""
    rows[place], rows[other] = rows[other], rows[place]


def add_row(rows: list[int], start: Rubric) -> None:
    """Adds a criterion at the end."""
    rows.append(max([*rows, len(start.criteria) - 1]) + 1)


def read_criterion(base: str, given: Criterion) -> Criterion:
    """The fields of one criterion."""
    left, right = st.columns([1, 2])
    name = left.text_input(
        "Name", given.name, key=f"{base}-name", help="A lower-case letter, then letters, digits or _; a column's name."
    )
    question = right.text_input(
        "Its question", given.question, key=f"{base}-question", placeholder="Which response is clearer?"
    )
    kind = st.segmented_control(
        "Asks for",
        KINDS,
        default=given.kind,
        required=True,
        format_func=lambda name: KIND_WORDS[name],
        key=f"{base}-kind",
    )
    required = st.checkbox("Must be answered", given.required, key=f"{base}-required")
    plain = Criterion(
        name=name.strip(), question=question.strip(), kind=cast(Any, kind or given.kind), required=required
    )
    if plain.kind == "compare":
        return replace(plain, scale=read_scale(base, given.scale))
    left, right = st.columns(2)
    low = left.number_input("Lowest rating", 0, MAX_RATING, given.low, key=f"{base}-low")
    high = right.number_input("Highest rating", 0, MAX_RATING, given.high, key=f"{base}-high")
    anchors = {}
    for value in range(low, high + 1):
        words = st.text_input(f"What {value} means", given.anchors.get(value, ""), key=f"{base}-anchor-{value}")
        if words.strip():
            anchors[value] = words.strip()
    return replace(plain, low=low, high=high, anchors=anchors)


def read_flags(base: str, start: Rubric) -> tuple[Flag, ...]:
    """A table of flags to which rows can be added."""
    rows = [{"name": flag.name, "label": flag.label, "help": flag.help, "spans": flag.spans} for flag in start.flags]
    columns = {
        "name": st.column_config.TextColumn(
            "name", required=True, help="A lower-case letter, then letters, digits or _."
        ),
        "label": st.column_config.TextColumn("label", help="What annotators see; the name where it is empty."),
        "help": st.column_config.TextColumn("help", help="Shown when the pointer rests on it."),
        "spans": st.column_config.CheckboxColumn("on words", help="Set by marking words of the response."),
    }
    edited = st.data_editor(
        rows or [{"name": "", "label": "", "help": "", "spans": False}],
        column_config=columns,
        num_rows="dynamic",
        hide_index=True,
        key=f"{base}-flags",
    )
    written = []
    for row in edited:
        name, label, words = (str(row.get(field) or "").strip() for field in ("name", "label", "help"))
        if name or label:
            label = label or name.replace("_", " ")
            written.append(Flag(name=name, label=label, help=words, spans=bool(row.get("spans"))))
    return tuple(written)
