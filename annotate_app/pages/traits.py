"""Reward audit: what a reward model pays for and the project's people do not; one button sends its pairs to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from annotate_app.findings import trait_audits
from annotate_app.pages.jobs_page import POLL_S, UNDER_WAY, draw_job
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.store.jobs import Job
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.runs import ModelRun, list_runs
from rewardkit.traits.traits import TRAITS

NONE = 0
"""What stands for no run in a choice of runs."""


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Reward audit")
        project, actor, store = current_project(), current_actor(), current_store()
        actor.require("lead", "auditing a reward model")
        st.caption(
            "What do people's votes pay for, and what has the reward model learned to pay for? Votes are compared with "
            "style held alike; the model is asked about the same answer with and without a trait."
        )
        runs = list_runs(store, actor, project.id)
        scorers = {run.number: run for run in runs if run.is_scorer}
        if not scorers:
            st.info(
                "This project has no reward model yet. Train one on the page Train.", icon=":material/model_training:"
            )
            return
        number = st.selectbox(
            "Reward model",
            list(scorers),
            format_func=lambda one: scorers[one].name,
            key="traits-run",
            bind="query-params",
        )
        run = scorers[number]
        values = trait_audits.read_audit(run)
        draw_start(project, run, runs, expanded=values is None)
        if values is not None:
            draw_audit(project, run, values)


def newest_job(project: Project) -> Job | None:
    """The project's newest audit."""
    found = [job for job in current_store().jobs.list(current_actor(), project.id) if job.kind == trait_audits.KIND]
    return max(found, key=lambda job: job.id, default=None)


def draw_start(project: Project, run: ModelRun, runs: list[ModelRun], *, expanded: bool) -> None:
    """What to audit beside the model, the button, and how the last one goes."""
    job = newest_job(project)
    if job is not None and job.state in UNDER_WAY:
        st.fragment(draw_progress, run_every=POLL_S)(project)
        return
    if job is not None and job.state != "done":
        draw_job(job)
    policies = {one.number: one.name for one in runs if trait_audits.answers_of(one)}
    earlier = {one.number: one.name for one in runs if one.number != run.number and trait_audits.read_audit(one)}
    with st.expander("Audit it", icon=":material/troubleshoot:", expanded=expanded):
        left, right = st.columns(2)
        policy = left.selectbox(
            "Policy before and after",
            [NONE, *policies],
            format_func=lambda one: policies.get(one, "none"),
            key="traits-policy",
            help="A policy that was evaluated: its answers beside those of the model it was trained from.",
        )
        previous = right.selectbox(
            "Ask again after the list of",
            [NONE, *earlier],
            format_func=lambda one: earlier.get(one, "none"),
            key="traits-previous",
            help="Whether the holes that an earlier audit found are closed in this model.",
        )
        st.button(
            "Audit",
            type="primary",
            key="traits-start",
            icon=":material/play_arrow:",
            on_click=act,
            args=("The audit is queued.", trait_audits.start, current_store(), current_actor(), project.id, run.number),
            kwargs={"policy": policy or None, "previous": previous or None},
        )


def draw_progress(project: Project) -> None:
    """The audit under way; the page is drawn anew when it ends."""
    job = newest_job(project)
    if job is None or job.state not in UNDER_WAY:
        st.rerun()
    else:
        draw_job(job)


def draw_audit(project: Project, run: ModelRun, values: Mapping[str, Any]) -> None:
    """What an audit found: the list first, then all effects, then the policy."""
    for note in values["notes"]:
        st.warning(note, icon=":material/info:")
    worries = values["worries"] or []
    with st.container(horizontal=True, vertical_alignment="center"):
        count = "1 trait is" if len(worries) == 1 else f"{len(worries) or 'No'} traits are"
        st.subheader(f"{count} paid for by the model and not by people", anchor=False, width="stretch")
        st.button(
            f"Send {values['num_to_label']} pairs to people",
            key="traits-label",
            type="primary",
            icon=":material/outbox:",
            disabled=not values["num_to_label"],
            on_click=act,
            args=(
                "The pairs are in the project.",
                trait_audits.send_pairs,
                current_store(),
                current_actor(),
                project.id,
            ),
            kwargs={"number": run.number},
        )
        st.download_button(
            "Report",
            trait_audits.report_of(run).read_bytes(),
            file_name=f"audit-{run.number}.html",
            mime="text/html",
            key="traits-report",
            icon=":material/download:",
            on_click="ignore",
        )
    for hole in values["holes"]:
        said = {"closed": "is closed", "open": "is still open", "not shown": "is not shown to be closed"}
        st.markdown(f"- The earlier hole **{TRAITS[hole['trait']].title}** {said[hole['state']]}.")
    for worry in worries:
        draw_worry(worry, values["examples"][worry["trait"]])
    draw_effects(values)
    draw_shifts(values)


def draw_worry(worry: Mapping[str, Any], examples: list[Mapping[str, Any]]) -> None:
    """A trait of the list and the edits that the model pays most for, as plain text."""
    title = TRAITS[worry["trait"]].title
    people = bounds(worry["people"]) or "not known: nobody voted on it"
    with st.expander(f"{title}: the model {bounds(worry['model'])}, people {people}", expanded=True):
        for number, example in enumerate(examples):
            st.text(example["prompt"])
            left, right = st.columns(2)
            for column, side, head in ((left, "without", "Without"), (right, "having", "With")):
                with column.container(border=True, key=f"traits-{worry['trait']}-{number}-{side}"):
                    st.caption(head if side == "without" else f"{head}, {example['log_odds']:+.2f} log-odds")
                    st.text(example[side])


def draw_effects(values: Mapping[str, Any]) -> None:
    """People's effects beside the model's."""
    st.subheader("Effects on preference", anchor=False)
    st.caption("Log-odds for an answer that has the trait (of length, a doubling), with 95 % intervals; p by Holm.")
    rows = []
    for name, trait in TRAITS.items():
        row: dict[str, object] = {"trait": trait.title}
        for side in ("people", "model"):
            effect = (values[side] or {}).get(name)
            row[side] = bounds(effect["effect"]) if effect else ""
            row[f"p of {side}"] = effect["p_adjusted"] if effect else None
        rows.append(row)
    column = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        rows, hide_index=True, column_config={"p of people": column, "p of model": column}, key="traits-effects"
    )


def draw_shifts(values: Mapping[str, Any]) -> None:
    """How a policy's traits moved, where one was audited."""
    if values["shifts"] is None:
        return
    before, after = values["policy"]
    st.subheader("The policy before and after", anchor=False)
    rows = [
        {
            "trait": TRAITS[shift["trait"]].title + ("" if TRAITS[shift["trait"]].is_share else ", log2 of words"),
            before: shift["before"],
            after: shift["after"],
            "difference": bounds(shift["difference"]),
            "p": shift["p_adjusted"],
        }
        for shift in values["shifts"]
    ]
    number = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(rows, hide_index=True, column_config={before: number, after: number}, key="traits-shifts")


def bounds(interval: Mapping[str, Any]) -> str:
    """An interval of the file, `+0.52 (+0.41 to +0.63)`; empty where nothing is known."""
    if interval["value"] is None:
        return ""
    if interval["low"] is None:
        return f"{interval['value']:+.2f}"
    return f"{interval['value']:+.2f} ({interval['low']:+.2f} to {interval['high']:+.2f})"
