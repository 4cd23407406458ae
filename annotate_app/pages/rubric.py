"""The rubric: its text with what is wrong in it, how it will look, its versions, and protocols to start from."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.reader_clock import reader_time, zone_name
from annotate_app.pages.views.comparison_view import draw_guidelines
from annotate_app.pages.views.rubric_form import draw_form
from annotate_app.pages.views.rubric_trial import draw_trial
from annotate_app.protocol.protocol import list_protocols, load_protocol
from annotate_app.protocol.rubric import Rubric, parse_rubric
from annotate_app.protocol.rubric_preview import answer_rows, around, difference
from annotate_app.store.projects.projects import Project, RubricVersion
from rewardkit.data.tables.yaml_nodes import YamlError

SOURCE = "rubric.yaml"
EDITOR_HEIGHT = 620
VIEWS = {"form": "By form", "yaml": "As YAML", "try": "Try it"}
# YAML is read by its columns, so all characters have one width.
STYLE = """<style>
.st-key-rubric-editor textarea { font-family: ui-monospace, monospace; font-size: 0.82rem; }
</style>"""


def page() -> None:
    """Draws the page."""
    with plainly():
        actor, project = current_actor(), current_project()
        actor.require("lead", "editing the rubric")
        versions = current_store().projects.rubrics(actor, project.id)
        newest = versions[-1]
        st.html(STYLE)
        st.title("Rubric")
        st.caption(f"Version {newest.version} is in use. Saving makes a new one; a judgment remembers which it was.")
        key = f"rubric-text-{project.id}"
        # A widget's state is gone once another page was open; the draft beside it is not.
        st.session_state.setdefault(key, st.session_state.get(f"{key}-draft", newest.text))
        draw_protocols(key)
        view = choose_view()
        if view == "try":
            draw_trial(project.id, st.session_state[key])
        else:
            editor, preview = st.columns(2, gap="medium")
            with editor, st.container(key="rubric-editor"):
                rubric = draw_editor(project, key, newest, by_form=view == "form")
            with preview:
                draw_preview(st.session_state[key], rubric, newest)
        draw_versions(key, versions)
        if st.session_state[key] == newest.text:
            st.session_state.pop(f"{key}-draft", None)
        else:
            st.session_state[f"{key}-draft"] = st.session_state[key]


def choose_view() -> str:
    """The switch between the fields, the YAML and the labeling form; it is in the address."""
    return st.segmented_control(
        "View",
        list(VIEWS),
        default="form",
        required=True,
        format_func=lambda name: VIEWS[name],
        key="rubric-view",
        bind="query-params",
        label_visibility="collapsed",
    )


def draw_protocols(key: str) -> None:
    """A way to put a shipped protocol's rubric into the editor; nothing is saved by that."""
    protocols = {name: load_protocol(name) for name in list_protocols()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Protocol",
            list(protocols),
            key=f"{key}-protocol",
            format_func=lambda name: protocols[name].title,
            width=320,
        )
        st.button(
            "Put into the editor",
            key=f"{key}-start",
            help="Replaces the text in the editor. The rubric in use stays as it is until you save.",
            on_click=put_into_editor,
            args=(key, protocols[name].rubric_text),
        )
    st.caption(protocols[name].summary)


def put_into_editor(key: str, text: str) -> None:
    """Replaces what the editor holds."""
    st.session_state[key] = text


def draw_editor(project: Project, key: str, newest: RubricVersion, *, by_form: bool) -> Rubric | None:
    """The fields or the text, what is wrong, and the button that saves it; the rubric where nothing is wrong."""
    if by_form:
        draw_form(key)
    else:
        st.text_area(
            "Rubric (YAML)",
            key=key,
            height=EDITOR_HEIGHT,
            help="Checked when you leave the field or press Ctrl+Enter. In guidelines, line breaks stay.",
        )
    text = st.session_state[key]
    rubric = None
    try:
        rubric = parse_rubric(text, SOURCE)
    except YamlError as error:
        if not by_form:
            st.error(f"There is a mistake in line {error.line}:", icon=":material/error:")
            st.text(str(error))
            st.code(around(text, error.line), language=None)
    is_new = text != newest.text
    if rubric is not None and not is_new:
        st.caption(f"This is version {newest.version}, as it is in use.")
    with st.container(horizontal=True):
        st.button(
            f"Save as version {newest.version + 1}",
            key=f"{key}-save",
            type="primary",
            disabled=rubric is None or not is_new,
            on_click=save,
            args=(project.id, key),
        )
        st.button(
            "Back to the version in use",
            key=f"{key}-back",
            disabled=not is_new,
            on_click=put_into_editor,
            args=(key, newest.text),
        )
    return rubric


def save(project_id: int, key: str) -> None:
    """Stores what the editor holds as the next version."""
    text = st.session_state[key]
    act("Rubric saved.", current_store().projects.save_rubric, current_actor(), project_id, text)


def draw_preview(text: str, rubric: Rubric | None, newest: RubricVersion) -> None:
    """How annotators will see it, and what saving would change."""
    guidelines, answers, changes = st.tabs(["Guidelines", "Answers and keys", "Changes"])
    if rubric is not None:
        with guidelines:
            draw_guidelines(rubric)
        with answers:
            st.dataframe(
                [{"question": row.question, "answers": row.line} for row in answer_rows(rubric)],
                hide_index=True,
                row_height=44,
            )
    else:
        for tab in (guidelines, answers):
            tab.info("Shown again once the mistake is gone.", icon=":material/visibility_off:")
    with changes:
        changed = difference(newest.text, text)
        if changed:
            st.code(changed, language="diff", wrap_lines=True)
        else:
            st.caption(f"No difference to version {newest.version}.")


def draw_versions(key: str, versions: list[RubricVersion]) -> None:
    """All versions, what each changed, and a way to take one up again."""
    st.header("Versions", anchor=False)
    zone = zone_name()
    saved = st.column_config.DatetimeColumn(f"saved ({zone})", format="YYYY-MM-DD HH:mm", timezone=zone)
    st.dataframe(
        [
            {
                "version": item.version,
                "saved": reader_time(item.created_at),
                "by": item.created_by,
                "title": item.rubric.title,
                "steps": item.rubric.scale.steps if item.rubric.task == "compare" else None,
                "criteria": ", ".join(criterion.name for criterion in item.rubric.criteria),
            }
            for item in reversed(versions)
        ],
        hide_index=True,
        column_config={"saved": saved},
    )
    numbers = [item.version for item in reversed(versions)]
    number = st.selectbox(
        "Look at a version", numbers, key=f"{key}-version", format_func="Version {}".format, bind="query-params"
    )
    chosen = next(item for item in versions if item.version == number)
    before = next((item for item in versions if item.version == number - 1), None)
    if before is None:
        st.code(chosen.text, language="yaml", wrap_lines=True, height=300)
    else:
        st.caption(f"What version {chosen.version} changed in version {before.version}")
        st.code(difference(before.text, chosen.text), language="diff", wrap_lines=True)
    st.button(
        f"Put version {chosen.version} into the editor",
        key=f"{key}-again-{chosen.version}",
        on_click=put_into_editor,
        args=(key, chosen.text),
    )
