"""Projects: which there are and how far each is, a new one from a protocol or an own rubric, the archive."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from annotate_app.pages.design_form import draw_design, read_design
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import Protocol, list_protocols, load_protocol
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.projects import Project

OWN = "own"
MADE = "project-made"
"""The project that the last click made, to be opened."""
OWN_RUBRIC = """\
title: Which response is better?
guidelines: |
  Read the conversation, then both responses. Choose the one you would rather have received.
question: Which response is better?
scale:
  steps: 7
  tie: true
both_bad: true
rationale: optional
"""


PER_PAGE = 20
ORDERS = {"newest": "Newest first", "oldest": "Oldest first", "name": "By name"}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Projects")
        projects = current_store().projects.list(current_actor())
        if not draw_start_cards():
            draw_start_empty("projects-empty")
            with st.expander("New project from a protocol", icon=":material/add:", key="projects-new"):
                draw_new_project()
        if not projects:
            return
        shown = find(projects)
        for project in shown:
            draw_project(project)
        if projects and not shown:
            st.info("No project is like that.", icon=":material/search_off:")


def find(projects: Sequence[Project]) -> list[Project]:
    """The projects of one page: searched, in an order, twenty at a time; all of it in the address."""
    archived = [project for project in projects if project.archived]
    left, middle, right = st.columns([4, 2, 2], vertical_alignment="bottom")
    words = left.text_input(
        "Search", placeholder="Words of a name or a description", key="projects-search", bind="query-params"
    ).casefold()
    order = middle.selectbox(
        "Order", list(ORDERS), format_func=ORDERS.__getitem__, key="projects-order", bind="query-params"
    )
    put_away = right.toggle(
        f"Archived ({len(archived)})", key="projects-archived", bind="query-params", disabled=not archived
    )
    matches = [
        project
        for project in projects
        if project.archived == (put_away and bool(archived))
        and words in f"{project.name}\n{project.description}".casefold()
    ]
    if order == "name":
        matches.sort(key=lambda project: project.name.casefold())
    elif order == "newest":
        matches.sort(key=lambda project: -project.id)
    pages = max(1, -(-len(matches) // PER_PAGE))
    if st.session_state.get("projects-page", 1) > pages:
        st.session_state["projects-page"] = 1
    number = 1
    if pages > 1:
        st.caption(f"{len(matches):,} projects")
        number = st.pagination(pages, key="projects-page", bind="query-params")
    return matches[PER_PAGE * (number - 1) : PER_PAGE * number]


def draw_start_cards() -> bool:
    """Where a lead has no project: two cards, each with a button that makes one. Whether they were drawn."""
    store, actor = current_store(), current_actor()
    projects = store.projects.list(actor)
    if not actor.is_at_least("lead") or any(not project.archived for project in projects):
        return False
    if projects:
        st.text("All your projects are archived. Start another one, or restore one of them on the page Projects.")
        st.page_link(page_at("projects"))
    else:
        st.text("There is no project yet. A project is a rubric, the pairs to judge, and the people who judge them.")
    columns = st.columns(2 if actor.is_at_least("admin") else 1)
    with columns[0].container(border=True, key="card-new", height="stretch"):
        st.header("A project of yours", anchor=False)
        st.text("Starts with a general rubric and three judgments per comparison. Everything can be changed later.")
        draw_start_empty("card-empty", primary=True)
        with st.expander("From a published protocol, or with a rubric of your own", key="card-protocol"):
            draw_new_project()
    if actor.is_at_least("admin"):
        with columns[1].container(border=True, key="card-demo", height="stretch"):
            st.header("The demo", anchor=False)
            st.text(
                "A made-up support desk with replies of three models and five simulated annotators: every page has "
                "something to show. It is marked as simulated and can be archived."
            )
            draw_start_demo()
    return True


def draw_start_demo() -> None:
    """The button that makes the demo project and opens it."""
    if st.button("Make the demo project", icon=":material/science:", key="card-demo-make"):
        with st.spinner("Writing three weeks of judgments", show_time=True):
            made = act("Demo made.", make_demo)
        if made is not None:
            open_project(made)
        st.rerun()


def make_demo() -> Project:
    """The demo project, with the reader as a member, and trainings of its models queued where they can run. Admins."""
    from annotate_app.demo import create_demo
    from annotate_app.demo_models import queue_models

    store, actor = current_store(), current_actor()
    actor.require("admin", "making the demo")
    project = create_demo(store)
    if project.archived:
        project = store.projects.update(actor, project.id, archived=False)
    queue_models(store, project)
    if actor.user_id is not None:
        store.projects.add_member(actor, project.id, actor.user_id)
    return project


def open_project(project: Project) -> None:
    """Goes to the Overview of a project."""
    st.switch_page(page_at("overview"), query_params={"project": project.name})


def draw_start_empty(key: str, *, primary: bool = False) -> None:
    """The button that makes an empty project at once and opens it."""
    help_text = "A general rubric and three judgments per comparison; everything can be changed later."
    if st.button(
        "Start an empty project",
        icon=":material/bolt:",
        key=key,
        type="primary" if primary else "secondary",
        help=help_text,
        on_click=start_empty,
    ):
        open_made()


def start_empty() -> None:
    """Makes an empty project with a name that is free, and chooses it."""
    store, actor = current_store(), current_actor()
    taken = {project.name for project in store.projects.list(actor)}
    name = next(name for number in range(1, len(taken) + 2) if (name := f"Project {number}") not in taken)
    create(name, OWN_RUBRIC, Design(), "")


def create(name: str, rubric_text: str, design: Design, description: str) -> None:
    """Makes a project and chooses it in the sidebar."""
    store, actor = current_store(), current_actor()
    options = {"rubric_text": rubric_text, "design": design, "description": description}
    project = act("Project made.", store.projects.create, actor, name, **options)
    if project is not None:
        st.session_state["project"] = project.name
        st.session_state[MADE] = project


def open_made() -> None:
    """Goes to the Overview of the project that the last click made; stays where it made none."""
    project = st.session_state.pop(MADE, None)
    if project is not None:
        open_project(project)


def draw_project(project: Project) -> None:
    """One project: what it is, how far, open, archive."""
    store, actor = current_store(), current_actor()
    progress = store.projects.progress(actor, project.id)
    with st.container(border=True, key=f"project-{project.id}"):
        words, numbers, buttons = st.columns([5, 4, 3], vertical_alignment="center")
        with words:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.html(f"<strong>{html.escape(project.name)}</strong>", width="content")
                if project.simulated:
                    st.badge("simulated annotators", icon=":material/science:", color="orange")
            if project.description:
                st.text(project.description)
        if progress.slots_wanted:
            done = f"{progress.slots_judged:,} of {progress.slots_wanted:,} judgments"
            numbers.progress(progress.slots_judged / progress.slots_wanted, done)
        else:
            numbers.caption("Nothing imported yet")
        with buttons, st.container(horizontal=True, horizontal_alignment="right"):
            if not project.archived:
                st.page_link(page_at("overview"), label="Open", icon=None, query_params={"project": project.name})
            st.button(
                "Restore" if project.archived else "Archive",
                key=f"archive-{project.id}",
                type="tertiary",
                on_click=act,
                args=("Done.", store.projects.update, actor, project.id),
                kwargs={"archived": not project.archived},
            )


def draw_new_project() -> None:
    """The form of a new project: where its rubric comes from, its name, its design."""
    protocols = {name: load_protocol(name) for name in list_protocols()}
    with st.container():
        source = st.selectbox(
            "Start from",
            [*protocols, OWN],
            format_func=lambda name: protocols[name].title if name in protocols else "My own rubric",
            key="new-source",
            help="A protocol brings a rubric and a design that others have published; both can be changed later.",
        )
        chosen = protocols.get(source)
        if chosen is not None:
            draw_protocol(chosen)
        with st.form(f"new-form-{source}", border=False):
            st.text_input("Name", key=f"new-{source}-name", max_chars=120, placeholder="Support replies, November")
            st.text_area("Description", key=f"new-{source}-description", height=68, placeholder="Optional")
            if chosen is None:
                st.text_area("Rubric (YAML)", OWN_RUBRIC, key=f"new-{source}-rubric", height=260)
            draw_design(chosen.design if chosen else Design(), f"new-{source}")
            asked = st.form_submit_button("Create project", type="primary", on_click=create_from_form, args=(source,))
        if asked:
            open_made()


def draw_protocol(protocol: Protocol) -> None:
    """What a protocol asks, in short."""
    st.text(protocol.summary)
    st.caption(f"Source: {protocol.source}")
    with st.expander("What annotators will answer", icon=":material/rule:"):
        st.dataframe(questions(protocol.rubric), hide_index=True)


def questions(rubric: Rubric) -> list[dict[str, str]]:
    """The rubric's questions as rows of a table."""
    scale = f"{rubric.scale.steps} steps" + (", tie" if rubric.scale.tie else "") + (", both bad" * rubric.both_bad)
    rows = [{"what": "overall", "question": rubric.question, "answer": scale}]
    for item in rubric.criteria:
        answer = (
            f"{item.scale.steps} steps" if item.kind == "compare" else f"{item.low} to {item.high} for each response"
        )
        rows.append({"what": item.name, "question": item.question, "answer": answer})
    rows += [{"what": "flag", "question": item.label, "answer": "on either response"} for item in rubric.flags]
    return [*rows, {"what": "rationale", "question": "In your own words, why?", "answer": rubric.rationale}]


def create_from_form(source: str) -> None:
    """Makes the project that the form describes."""
    fields = st.session_state
    rubric_text = fields[f"new-{source}-rubric"] if source == OWN else load_protocol(source).rubric_text
    design = act("", read_design, f"new-{source}")
    if design is not None:
        create(fields[f"new-{source}-name"], rubric_text, design, fields[f"new-{source}-description"])
