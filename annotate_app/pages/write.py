"""Write: policies of the project answer a prompt side by side; two of their answers become a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from annotate_app.jobs.model_processes import IDLE_S, model_processes
from annotate_app.labeling.pair_payload import excerpt
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.comparison_view import draw_reader, text_data, turn_data
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.trainings.scorer import LONGEST_TEXT
from annotate_app.writing.asking import (
    HOTTEST,
    LONGEST_ANSWER,
    MODULE,
    MOST_ANSWERS,
    MOST_WRITERS,
    WriteRequest,
    Written,
    WrittenAnswer,
    item_prompt,
    send_pair,
    write,
)
from annotate_app.writing.writers import Models, list_models
from rewardkit.data.records import Message

ASKED, ANSWERED, LINKED = "write-asked", "write-answered", "write-linked"
OF_PROJECT, OWN = "Of the project", "My own"
LONGEST_LINKED = 1000  # characters of a prompt of one's own that an address holds
LISTED = 50


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Write")
        store, actor, project = current_store(), current_actor(), current_project()
        actor.require("lead", "letting policies write")
        models = list_models(store, actor, project.id)
        if not models.writers:
            st.info("There is no trained policy in this project yet.", icon=":material/edit_note:")
            st.page_link(page_at("train"), label="Train one", icon=":material/arrow_forward:")
            return
        follow_link(project, models)
        draw_form(project, models)
        asked = st.session_state.get(ASKED)
        if asked is not None and asked[0] == project.id:
            draw_answers(project, asked[1], models)


def follow_link(project: Project, models: Models) -> None:
    """Fills the form from the address and asks, at the first draw of a page that was opened with a request in it."""
    values = st.query_params
    if st.session_state.get(LINKED) == project.id or "runs" not in values:
        return
    fields = st.session_state
    fields[LINKED] = project.id
    fields["write-policies"] = [key for key in values["runs"].split(",") if key in models.writers]
    fields["write-source"] = OF_PROJECT if values.get("item") else OWN
    fields["write-item"], fields["write-prompt"] = values.get("item") or None, values.get("text", "")
    fields["write-reward"] = values.get("reward", "") if values.get("reward", "") in models.scorers else ""
    try:
        fields["write-temperature"] = min(HOTTEST, max(0.0, float(values.get("temperature", 1.0))))
        for name, low, high, default in (("seed", 0, 2**31 - 1, 0), ("n", 1, MOST_ANSWERS, 1)):
            fields[f"write-{name}"] = min(high, max(low, int(values.get(name, default))))
        fields["write-length"] = min(LONGEST_ANSWER, max(1, int(values.get("length", 256))))
    except ValueError as error:
        raise ValueError(f"the address holds a setting that is no number: {error}") from error
    ask(project.id)


def draw_form(project: Project, models: Models) -> None:
    """Which policies, what prompt, and how they draw."""
    st.session_state.setdefault("write-policies", list(models.writers)[:2])
    st.multiselect(
        "Policies",
        list(models.writers),
        format_func=lambda key: models.writers[key].title if key in models.writers else key,
        max_selections=MOST_WRITERS,
        key="write-policies",
        help=f"Up to {MOST_WRITERS} at once; each is held in memory by a process of its own, "
        f"which ends {IDLE_S / 60:.0f} minutes after it was last asked.",
    )
    is_empty = not current_store().browsing.find(current_actor(), project.id, limit=1)
    st.session_state.setdefault("write-source", OWN if is_empty else OF_PROJECT)
    source = st.segmented_control("Prompt", [OF_PROJECT, OWN], key="write-source", required=True)
    if source == OF_PROJECT:
        draw_items(project)
    else:
        st.text_area("Prompt of my own", key="write-prompt", height=100, max_chars=LONGEST_TEXT)
    first, second, third, fourth = st.columns(4)
    for name, value in (("temperature", 1.0), ("seed", 0), ("n", 1), ("length", 256), ("reward", "")):
        st.session_state.setdefault(f"write-{name}", value)
    first.number_input("Temperature", 0.0, HOTTEST, step=0.1, key="write-temperature", help="0 takes the likeliest.")
    second.number_input("Seed", 0, 2**31 - 1, key="write-seed", help="The same seed gives the same answers.")
    third.number_input("Samples of each", 1, MOST_ANSWERS, key="write-n")
    fourth.number_input("Longest answer, tokens", 1, LONGEST_ANSWER, step=16, key="write-length")
    if models.scorers:
        names = {"": "none"} | {key: run.name for key, run in models.scorers.items()}
        if st.session_state["write-reward"] not in names:
            st.session_state["write-reward"] = ""
        st.selectbox("Reward model", list(names), format_func=names.__getitem__, key="write-reward")
    st.button("Write", type="primary", key="write-ask", icon=":material/edit_note:", on_click=ask, args=(project.id,))


def draw_items(project: Project) -> None:
    """A search over the project's prompts, and the one that is chosen."""
    store, actor = current_store(), current_actor()
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    words = left.text_input("Find", key="write-find", placeholder="Words of a prompt or a response, or an id")
    matches = store.browsing.find(actor, project.id, ComparisonFilter(text=words), limit=LISTED)
    names = {item.comparison.id: excerpt(item.comparison.prompt) or item.comparison.id for item in matches}
    chosen = st.session_state.get("write-item")
    if chosen and chosen not in names and not words:
        names = {chosen: excerpt(item_prompt(store, actor, project.id, chosen)) or chosen} | names
    if not names:
        right.caption("No comparison is like that.")
        return
    # Several comparisons may be of one prompt, which is answered once.
    first_of = {name: key for key, name in reversed(names.items())}
    keys = [key for key, name in names.items() if first_of[name] == key]
    if chosen not in keys:
        st.session_state["write-item"] = first_of.get(names.get(chosen or "", ""), keys[0])
    right.selectbox("Prompt of a comparison", keys, format_func=names.__getitem__, key="write-item")


def ask(project_id: int) -> None:
    """Stores the request and writes it into the address; the page asks while it draws, to show answers as they come."""
    request = act("", read_form, project_id)
    if request is None:
        return
    st.session_state[ASKED] = (project_id, request)
    st.session_state[LINKED] = project_id
    own = "" if request.item else request.prompt[0].content
    values = {
        "runs": ",".join(request.writers),
        "item": request.item,
        "text": own if len(own) <= LONGEST_LINKED else "",
        "temperature": f"{request.temperature:g}",
        "seed": f"{request.seed}",
        "n": f"{request.n}",
        "length": f"{request.max_new_tokens}",
        "reward": request.scorer,
    }
    for name, value in values.items():
        if value:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def read_form(project_id: int) -> WriteRequest:
    """The request that the form asks for."""
    fields = st.session_state
    item = fields.get("write-item") or "" if fields["write-source"] == OF_PROJECT else ""
    if fields["write-source"] == OF_PROJECT and not item:
        raise ValueError("no prompt is chosen: find one of the project, or write one of your own")
    if item:
        prompt = item_prompt(current_store(), current_actor(), project_id, item)
    else:
        prompt = (Message(role="user", content=fields.get("write-prompt") or ""),)
    return WriteRequest(
        writers=tuple(fields["write-policies"]),
        prompt=prompt,
        item=item,
        temperature=float(fields["write-temperature"]),
        max_new_tokens=int(fields["write-length"]),
        n=int(fields["write-n"]),
        seed=int(fields["write-seed"]),
        scorer=fields.get("write-reward") or "",
    )


def draw_answers(project: Project, request: WriteRequest, models: Models) -> None:
    """What the policies wrote, each as soon as it is there; kept until something else is asked."""
    shown = st.session_state.get(ANSWERED)
    writers = models.choose(request.writers)
    st.divider()
    name = key_of(f"{request.prompt}")
    data = {
        "shown": name,
        "project": current_project().id,
        "messages": [turn_data(message) for message in request.prompt],
        "responses": [],
    }
    draw_reader(data, key=f"write-asked-{name}")
    columns = st.columns(len(writers))
    places = {writer.key: column.empty() for writer, column in zip(writers, columns, strict=True)}
    if shown is None or shown[0] != (project.id, request):
        by_key: dict[str, Written] = {}
        for writer in writers:
            loaded = model_processes().is_loaded(MODULE, writer.folder)
            with places[writer.key].container():
                st.caption(f"{writer.source} writes" if loaded else f"{writer.source} is loaded, then writes")
        with st.spinner("Writing", show_time=True):
            for written in write(request, models):
                by_key[written.writer.key] = written
                draw_written(request, written, places[written.writer.key])
        shown = ((project.id, request), by_key)
        if not any(one.problem for one in by_key.values()):  # a problem may be over at the next click
            st.session_state[ANSWERED] = shown
    else:
        for key, written in shown[1].items():
            draw_written(request, written, places[key])
    own = "" if request.item else request.prompt[0].content
    beyond = " but for its prompt, which is too long for an address" if len(own) > LONGEST_LINKED else ""
    st.caption(f"The address of this page asks for the same again{beyond}: the same seed gives the same answers.")
    draw_send(project, request, [shown[1][writer.key] for writer in writers])


def draw_written(request: WriteRequest, written: Written, place: DeltaGenerator) -> None:
    """One policy's answers, each with its figures."""
    with place.container():
        name = key_of(f"{request}")
        if written.problem:
            st.error(f"{written.writer.source} says:", icon=":material/error:")
            st.text(written.problem)
        for one in written.answers:
            title = one.source if request.n == 1 else f"{one.source}, answer {one.number}"
            text = text_data(one.text) if one.text.strip() else text_data("(an empty answer)")
            data = {
                "shown": f"{name}-{one.source}-{one.number}",
                "messages": [],
                "responses": [{"title": title, "source": written.writer.title, "text": text}],
            }
            key = f"write-answer-{key_of(one.source)}-{one.number}-{name}"
            draw_reader(data, key=key)
            st.caption(figures_of(one))
        if written.answers:
            st.caption(f"answered in {written.seconds:.1f} s")


def figures_of(one: WrittenAnswer) -> str:
    """An answer's figures in a line."""
    reward = ""
    if one.reward is not None:
        spread = f" ± {one.reward_std:.2f} between members" if one.reward_std else ""
        reward = f"reward {one.reward:+.2f}{spread}; "
    end = "ended by itself" if one.finished else "cut at the longest answer"
    per_token = one.logp / max(1, one.num_tokens)
    return (
        f"{reward}{counted(one.num_words, 'word')}, {counted(one.num_tokens, 'token')}, {end}; "
        f"log-probability {one.logp:.1f}, {per_token:.2f} a token"
    )


def counted(number: int, thing: str) -> str:
    """`1 word`, `1,200 words`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def draw_send(project: Project, request: WriteRequest, written: Sequence[Written]) -> None:
    """The choice of two answers of different policies, and the button that makes a comparison of them."""
    answers = {f"{one.source}, answer {one.number}": one for policy in written for one in policy.answers}
    by_source: dict[str, list[str]] = {}
    for name, one in answers.items():
        by_source.setdefault(one.source, []).append(name)
    if len(by_source) < 2:
        return
    first, second = (names[0] for names in list(by_source.values())[:2])
    if len(answers) > 2:
        left, right = st.columns(2)
        label = key_of(f"{request}")
        first = left.selectbox("First answer", list(answers), list(answers).index(first), key=f"write-first-{label}")
        second = right.selectbox(
            "Second answer", list(answers), list(answers).index(second), key=f"write-second-{label}"
        )
    st.button(
        "Send these two as a comparison into the project",
        key="write-send",
        icon=":material/send:",
        on_click=send,
        args=(project.id, request, answers, first, second),
        help="People see the two answers and not whose they are.",
    )


def send(project_id: int, request: WriteRequest, answers: Mapping[str, WrittenAnswer], first: str, second: str) -> None:
    """Adds the two answers to the project."""
    one, other = answers[first], answers[second]
    act("Sent: it waits to be judged.", send_pair, current_store(), current_actor(), project_id, request, one, other)
