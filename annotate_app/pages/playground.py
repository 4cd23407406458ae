"""Playground: two answers, typed or a pair of the project, and what a reward model says of them and why."""

from __future__ import annotations

import math

import streamlit as st

from annotate_app.findings.moved import Moved, what_moved
from annotate_app.pages.charts import curves
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import ITEM, page_at
from annotate_app.pages.views.comparison_view import draw_reader, text_data
from annotate_app.pages.views.figures import votes_of
from annotate_app.pages.views.moved_view import draw_moved
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.trainings.runs import ModelRun, list_runs
from annotate_app.trainings.scorer import LONGEST_TEXT, Verdict, scorers
from annotate_app.votes import CHOICE_CODES
from rewardkit.data.records import Comparison, Message

PROMPT, FIRST, SECOND = "playground-prompt", "playground-a", "playground-b"
BEFORE = "playground-before"
"""Turns before the prompt, of a pair of the project."""
TAKEN = "playground-taken"
"""The project and the id that the fields were filled from, and the texts of that pair."""
ASKED = "playground-asked"
ANSWERED = "playground-answered"
MOVED = "playground-moved"
MOST_FOUND = 20


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Playground")
        project, actor = current_project(), current_actor()
        actor.require("lead", "asking models")
        runs = {run.number: run for run in list_runs(current_store(), actor, project.id) if run.is_scorer}
        if not runs:
            st.info("There is no trained reward model in this project yet.", icon=":material/model_training:")
            st.page_link(page_at("train"), label="Train one", icon=":material/arrow_forward:")
            return
        take_from_address(project.id, list(runs))
        key = f"playground-model-{project.id}"
        left, right = st.columns(2, vertical_alignment="bottom")
        chosen = left.selectbox("Model", list(runs), format_func=lambda number: runs[number].name, key=key)
        with right:
            draw_search(project.id)
        draw_fields()
        if chosen is not None and chosen in runs:
            draw_answer(runs[chosen])


def take_from_address(project_id: int, numbers: list[int]) -> None:
    """Fills the fields from the pair that the address names, and asks; once, so that they can be edited after."""
    linked_id = st.query_params.get(ITEM, "")
    if not linked_id or (st.session_state.get(TAKEN) or ())[:2] == (project_id, linked_id):
        return
    number = st.query_params.get("run", "")
    if number.isdecimal() and int(number) in numbers:
        st.session_state[f"playground-model-{project_id}"] = int(number)
    pair = current_store().comparisons.get(current_actor(), project_id, linked_id)
    st.session_state[TAKEN] = (project_id, linked_id, pair.completion_a, pair.completion_b)
    if problem := why_not(pair):
        st.error(problem, icon=":material/block:")
        return
    fields = st.session_state
    fields[BEFORE] = pair.prompt[:-1]
    fields[PROMPT], fields[FIRST], fields[SECOND] = pair.prompt[-1].content, pair.completion_a, pair.completion_b
    ask()


def why_not(pair: Comparison) -> str:
    """Why a pair cannot be asked about; empty where it can."""
    if pair.turns_a or pair.turns_b:
        return "The answers of this pair are more than texts, which reward models do not read."
    if not pair.prompt or pair.prompt[-1].role != "user" or pair.prompt[-1].more:
        return "The prompt of this pair does not end with words of a user."
    return ""


def draw_search(project_id: int) -> None:
    """A field that finds pairs of the project."""
    text = st.text_input(
        "A pair of the project", placeholder="Words of a prompt or an answer, or an id", key="playground-search"
    )
    if not text:
        return
    matches = current_store().browsing.find(current_actor(), project_id, ComparisonFilter(text=text), limit=MOST_FOUND)
    if not matches:
        st.caption("No pair is like that.")
        return
    names = {one.comparison.id: words_of(one.comparison) for one in matches}
    st.selectbox(
        "Pairs found",
        list(names),
        index=None,
        format_func=names.__getitem__,
        placeholder=f"{len(names)}{' and more' if len(names) == MOST_FOUND else ''}: choose one",
        key="playground-found",
        on_change=take_found,
    )


def take_found() -> None:
    """Puts the pair that was chosen into the address, from where it is taken."""
    if chosen := st.session_state["playground-found"]:
        st.query_params[ITEM] = chosen


def words_of(pair: Comparison) -> str:
    """A pair for a list: its id and the beginning of its prompt."""
    return f"{pair.id}: {' '.join(pair.prompt[-1].content.split())[:80] if pair.prompt else ''}"


def draw_fields() -> None:
    """What the model is asked about."""
    before = st.session_state.get(BEFORE) or ()
    if before:
        with st.expander(f"{len(before)} turns before the prompt, which the model reads too"):
            for number, message in enumerate(before):
                draw_turn(message, number)
            st.button("Leave them out", key="playground-forget", on_click=forget_turns)
    st.text_area("Prompt", key=PROMPT, height=100, max_chars=LONGEST_TEXT)
    left, right = st.columns(2)
    left.text_area("Answer A", key=FIRST, height=180, max_chars=LONGEST_TEXT)
    right.text_area("Answer B", key=SECOND, height=180, max_chars=LONGEST_TEXT)
    with st.container(horizontal=True):
        st.button("Score", type="primary", key="playground-score", icon=":material/balance:", on_click=ask)
        st.button("Swap A and B", key="playground-swap", icon=":material/swap_horiz:", on_click=swap)
    draw_people()


def draw_turn(message: Message, number: int) -> None:
    """One turn of the conversation before."""
    shown = f"playground-turn-{number}"
    parts = [{"title": message.role.capitalize(), "source": "", "text": text_data(message.content)}]
    data = {
        "shown": f"{shown}-{hash(message.content)}",
        "project": current_project().id,
        "messages": [],
        "responses": parts,
    }
    draw_reader(data, key=shown)


def draw_people() -> None:
    """What people said of the pair, while the fields are still that pair."""
    project, fields = current_project(), st.session_state
    project_id, key, *texts = fields.get(TAKEN) or (0, "")
    if project_id != project.id or texts != [fields[FIRST], fields[SECOND]]:
        return
    votes = votes_of(project).counted()
    if key not in votes.items:
        return
    choices = votes.choice[votes.item == votes.items.index(key)]
    counts = {name: int((choices == CHOICE_CODES[name]).sum()) for name in ("a", "b", "tie", "both_bad")}
    words = ", ".join(
        f"{count} {word}"
        for count, word in zip(counts.values(), ("for A", "for B", "tied", "both bad"), strict=True)
        if count
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Pair {as_markdown(key)}; people: {words or 'nobody has judged it'}.")
        st.page_link(page_at("comparisons"), label="Its votes", query_params={"project": project.name, ITEM: key})


def ask() -> None:
    """Stores the question; the page asks the model while it draws, so that it can show that it waits."""
    fields = st.session_state
    fields[ASKED] = tuple(fields[name] for name in (PROMPT, FIRST, SECOND))


def swap() -> None:
    """Exchanges the two answers."""
    fields = st.session_state
    fields[FIRST], fields[SECOND] = fields[SECOND], fields[FIRST]


def forget_turns() -> None:
    """Leaves the turns before the prompt out."""
    st.session_state[BEFORE] = ()


def draw_answer(run: ModelRun) -> None:
    """What the model says of the texts asked last; kept until other texts, or another model, are asked."""
    asked = st.session_state.get(ASKED)
    if asked is None:
        return
    before = st.session_state.get(BEFORE) or ()
    question = (run.job.id, run.job.run_dir, *asked, before)
    answered = st.session_state.get(ANSWERED)
    if answered is None or answered[0] != question:
        loaded = scorers().is_loaded(run.model)
        waiting = "Scoring" if loaded else "Loading the model into a process of its own; the next answers come at once"
        try:
            with st.spinner(waiting, show_time=True):
                answered = (question, scorers().judge(run.model, *asked, before=before))
        except ValueError as error:
            st.error("The model gave no answer:", icon=":material/error:")
            st.text(str(error))
            return
        st.session_state[ANSWERED] = answered
    if asked != tuple(st.session_state[name] for name in (PROMPT, FIRST, SECOND)):
        st.caption("The texts have changed since; Score asks again.")
    draw_verdict(answered[1])
    draw_why(run, question)


def draw_why(run: ModelRun, question: tuple) -> None:
    """What moved the scores, once it is asked for."""
    last_moved: tuple[tuple, Moved] | None = st.session_state.get(MOVED)
    if last_moved is None or last_moved[0] != question:
        st.button(
            "What moved the score",
            key="playground-why",
            icon=":material/query_stats:",
            help="Asks the model again without each sentence of both answers.",
            on_click=act,
            args=("Asked.", keep_moved, run, question),
        )
        return
    draw_moved(last_moved[1], question[3], question[4])


def keep_moved(run: ModelRun, question: tuple) -> None:
    """Asks what moved the scores, and keeps it while the question is the same."""
    _, _, prompt, first, second, before = question
    moved = what_moved(scorers(), run.model, prompt, first, second, before=before)
    st.session_state[MOVED] = (question, moved)


def draw_verdict(verdict: Verdict) -> None:
    """Who wins, how surely, and what each answer is worth."""
    better = "A" if verdict.probability >= 0.5 else "B"
    share = max(verdict.probability, 1 - verdict.probability)
    with st.container(border=True, key="playground-verdict"):
        left, middle, right = st.columns(3)
        left.metric(f"Prefers {better}", f"{share:.1%}", help="Calibrated probability, the members averaged out.")
        low, high = (verdict.low, verdict.high) if better == "A" else (1 - verdict.high, 1 - verdict.low)
        left.caption(f"nine of ten members: {low:.0%} to {high:.0%}" if len(verdict.members) > 1 else "a single member")
        for column, name, number in ((middle, "A", 0), (right, "B", 1)):
            column.metric(f"Reward of {name}", f"{verdict.rewards[number]:+.2f}")
            spread = f"± {verdict.stds[number]:.2f} between members, " if len(verdict.members) > 1 else ""
            column.caption(f"{spread}{verdict.normalised[number]:+.1f} sd from a chosen answer")
        st.altair_chart(curves.members(verdict.members, verdict.probability), key="playground-members")
        told = verdict.information / math.log(2)  # of the bit that one vote can tell
        information = f", a vote here would tell {told:.0%} of the most a vote can tell" if verdict.members[1:] else ""
        st.caption(f"answered in {verdict.seconds:.1f} s{information}")
