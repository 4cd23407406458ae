"""Actions on all that a filter chooses, or on chosen rows: what will happen to how many, then one click."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from annotate_app.exchange.export_jobs import EVERYTHING, FORM_NAMES, start_export
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.judges import jobs as judge_jobs
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.figures import consensus_of
from annotate_app.pages.views.workbench.one_view import GOLD_WORDS, USE_WORDS
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.browsing import Listed, Vocabulary
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

CONSENSUS = "consensus"
ACTIONS = {
    "tag": "Put a tag on",
    "untag": "Take a tag off",
    "assign": "Assign to people",
    "free": "Free assignments",
    "priority": "Set the priority",
    "overlap": "Set the judgments wanted",
    "gold": "Set a known answer",
    "ungold": "Take known answers away",
    "exclude": "Exclude",
    "include": "Include again",
    "export": "Export",
    "judge": "Send to a judge",
}
# What overwrites or hides is done only after a tick.
CONFIRMED = {
    "gold": "Known answers that are there are replaced, and these leave the work queue.",
    "ungold": "The known answers and their explanations are gone for good.",
    "exclude": "They are kept with their votes, but neither handed out nor counted; “Include again” is the way back.",
    "overlap": "Numbers that were set for single comparisons are replaced.",
    "priority": "Priorities that are there are replaced.",
}


def draw_actions(
    project: Project,
    rubric: Rubric,
    vocabulary: Vocabulary,
    chosen: ComparisonFilter,
    total: int,
    picked: list[Listed],
) -> None:
    """The actions, on the rows that are chosen or on the whole view."""
    if not total:
        return
    if picked:
        chosen, total = ComparisonFilter(keys=tuple(item.comparison.id for item in picked)), len(picked)
    title = f"With the {say_num(total)} chosen" if picked else f"With all {say_num(total)} of this view"
    with st.container(border=True, key="comparisons-actions"):
        left, right = st.columns([2, 3], vertical_alignment="top")
        action = left.selectbox(
            title, list(ACTIONS), format_func=ACTIONS.__getitem__, index=None, key="bulk-action", placeholder="Do …"
        )
        with right:
            if action is not None:
                draw_fields(project, rubric, vocabulary, chosen, say_num(total), action)


def say_num(num: int) -> str:
    """How many comparisons, in words."""
    return f"{num:,} comparison{'' if num == 1 else 's'}"


def draw_fields(
    project: Project, rubric: Rubric, vocabulary: Vocabulary, chosen: ComparisonFilter, words: str, action: str
) -> None:
    """What an action needs to know, and its button."""
    with st.form(f"bulk-{action}", border=False):
        FIELDS.get(action, draw_none)(project, rubric, vocabulary)
        sure = f"bulk-{action}-sure"
        if action in CONFIRMED:
            st.caption(CONFIRMED[action])
            st.checkbox(f"Yes, for {words}", key=sure)
        st.form_submit_button(
            f"{ACTIONS[action]}: {words}", type="primary", on_click=run, args=(project, chosen, action, words)
        )


def draw_none(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """An action that needs to know nothing more."""


def draw_tag(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """A tag that there is, or a new one."""
    st.selectbox("Tag", vocabulary.tags, index=None, accept_new_options=True, key="bulk-tag-name")


def draw_untag(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """A tag that there is."""
    st.selectbox("Tag", vocabulary.tags, index=None, key="bulk-untag-name")


def draw_people(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """Members who may work."""
    members = current_store().projects.members(current_actor(), project.id)
    names = {member.user_id: member.name for member in members if member.state in ("active", "qualifying")}
    st.multiselect("People", list(names), format_func=names.__getitem__, key="bulk-assign-people")
    st.caption("One judgment of each comparison is kept for each of them, and comes before all their other work.")
    kept = current_store().assignments.counts(current_actor(), project.id)
    if kept:
        st.caption("Kept now: " + ", ".join(f"{name} {count:,}" for name, count in kept.items()))


def draw_gold(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """One answer for all, or what people came to for each."""
    choices = [CONSENSUS, "a", "b", "tie", *(["both_bad"] if rubric.both_bad else [])]
    words = GOLD_WORDS | {CONSENSUS: "what people came to"}
    left, right = st.columns(2)
    left.selectbox("Known answer", choices, format_func=words.__getitem__, key="bulk-gold-choice")
    right.selectbox("Used as", list(USE_WORDS), format_func=USE_WORDS.__getitem__, key="bulk-gold-use")
    st.text_input("Explanation", key="bulk-gold-why", help="Told where feedback is on.")


def draw_priority(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """A number."""
    words = "Higher goes first, where the order of work in the settings is “By priority”."
    st.number_input("Priority", value=1.0, key="bulk-priority-value", help=words)


def draw_overlap(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """A number, or none for what the settings ask."""
    st.number_input(
        "Judgments wanted",
        min_value=1,
        max_value=1000,
        value=None,
        placeholder=f"{project.design.votes_wanted}, as the settings ask",
        key="bulk-overlap-value",
    )


def draw_judge(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """A judge of the project."""
    judges = current_store().judges.list(current_actor(), project.id)
    names = [judge.name for judge in judges if judge.spec.kind != "imported"]
    st.selectbox("Judge", names, key="bulk-judge-name", placeholder="There is no judge yet", index=0 if names else None)
    st.caption(
        "A job asks it; what it answered already is not asked again. It is never asked about comparisons that are "
        "excluded, show images or have more than two responses."
    )


def draw_export(project: Project, rubric: Rubric, vocabulary: Vocabulary) -> None:
    """The form of the rows; more is on the page Export."""
    forms = [form for form in FORM_NAMES if form != EVERYTHING]
    st.selectbox("What", forms, format_func=FORM_NAMES.__getitem__, key="bulk-export-form")
    st.caption("A job writes JSON Lines; the file is on the page Export when it is done.")


FIELDS: dict[str, Callable[[Project, Rubric, Vocabulary], None]] = {
    "tag": draw_tag,
    "untag": draw_untag,
    "assign": draw_people,
    "gold": draw_gold,
    "priority": draw_priority,
    "overlap": draw_overlap,
    "judge": draw_judge,
    "export": draw_export,
}


def run(project: Project, chosen: ComparisonFilter, action: str, words: str) -> None:
    """Does an action by one call of the store, and says what came of it."""
    if action in CONFIRMED and not st.session_state.get(f"bulk-{action}-sure"):
        act("", refuse, f"tick “Yes, for {words}” first: {CONFIRMED[action]}")
        return
    said = act("", DOING[action], project, chosen, st.session_state)
    if said is not None:
        act(said, lambda: None)
        st.session_state["bulk-action"] = None


def refuse(words: str) -> None:
    """Says why something is not done."""
    raise ValueError(words)


def _called(project: Project, chosen: ComparisonFilter, function: Callable[..., int], *arguments: Any) -> int:
    return function(current_actor(), project.id, chosen, *arguments)


def _say(num: int, what: str) -> str:
    return f"{say_num(num)} {what}."


def do_tag(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Tags."""
    return _say(_called(project, chosen, current_store().bulk.tag, fields["bulk-tag-name"] or ""), "tagged")


def do_untag(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Takes a tag off."""
    return _say(_called(project, chosen, current_store().bulk.untag, fields["bulk-untag-name"] or ""), "lost the tag")


def do_assign(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Assigns to people."""
    people = fields["bulk-assign-people"]
    done = current_store().assignments.assign(current_actor(), project.id, chosen, people)
    left = [
        f"{num:,} {words}"
        for num, words in (
            (done.num_full, "times no judgment was left to keep"),
            (done.num_had, "times it was theirs already or they had seen it"),
        )
        if num
    ]
    return f"{done.num_reserved:,} judgments are kept. {'; '.join(left)}".strip()


def do_free(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Frees assignments."""
    freed = current_store().assignments.free(current_actor(), project.id, chosen)
    return f"{freed:,} judgments are anybody's again."


def do_priority(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Sets the priority."""
    return _say(_called(project, chosen, current_store().bulk.set_priority, fields["bulk-priority-value"]), "changed")


def do_overlap(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Sets the judgments wanted."""
    return _say(_called(project, chosen, current_store().bulk.set_overlap, fields["bulk-overlap-value"]), "changed")


def do_gold(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Sets one known answer for all, or for each what people came to."""
    choice, explanation, use = (fields[f"bulk-gold-{name}"] for name in ("choice", "why", "use"))
    store, actor = current_store(), current_actor()
    if choice != CONSENSUS:
        gold = Gold(choice=choice, explanation=explanation, use=use)
        return _say(_called(project, chosen, store.bulk.set_gold, gold), "are checks now")
    keys = set(store.browsing.keys(actor, project.id, chosen))
    consensus = consensus_of(project)
    golds = {
        key: Gold(choice=row["choice"], explanation=explanation, use=use)  # type: ignore[arg-type]
        for number, key in enumerate(consensus.items)
        if key in keys and (row := consensus.row(number))["state"] == "released"
    }
    num = store.bulk.set_golds(actor, project.id, golds)
    return f"{_say(num, 'are checks now')} Of {len(keys) - num:,} people have come to nothing yet."


def do_ungold(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Takes known answers away."""
    return _say(_called(project, chosen, current_store().bulk.set_gold, None), "are work again")


def do_exclude(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Excludes."""
    return _say(_called(project, chosen, current_store().bulk.exclude), "excluded")


def do_include(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Includes again."""
    return _say(_called(project, chosen, current_store().bulk.exclude, False), "included again")


def do_judge(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Queues the run of a judge over these."""
    name = fields["bulk-judge-name"]
    if not name:
        raise ValueError("there is no judge yet; the page Judges makes one")
    store, actor = current_store(), current_actor()
    excluded = set(store.browsing.keys(actor, project.id, replace(chosen, excluded="only")))
    of_view = store.browsing.keys(actor, project.id, chosen)
    keys = [key for key in of_view if key not in excluded]
    if not keys:
        raise ValueError("all of these are excluded; no judge is asked about them")
    job = judge_jobs.start(store, actor, project.id, name, comparisons=keys)
    num_out = len(of_view) - len(keys)
    without = f", without {num_out:,} that {'is' if num_out == 1 else 'are'} excluded" if num_out else ""
    return f"Job {job.id} asks {name} about {say_num(len(keys))}{without}; the page Jobs shows how far it is."


def do_export(project: Project, chosen: ComparisonFilter, fields: Any) -> str:
    """Queues an export of these."""
    options = ExportOptions(form=fields["bulk-export-form"], format="jsonl", view=chosen)
    job = start_export(current_store(), current_actor(), project, options, names=False)
    return f"Job {job.id} writes it; the file is on the page Export when it is done."


DOING: dict[str, Callable[[Project, ComparisonFilter, Any], str]] = {
    "tag": do_tag,
    "untag": do_untag,
    "assign": do_assign,
    "free": do_free,
    "priority": do_priority,
    "overlap": do_overlap,
    "gold": do_gold,
    "ungold": do_ungold,
    "exclude": do_exclude,
    "include": do_include,
    "export": do_export,
    "judge": do_judge,
}
