"""Judges: annotators that are no people. Add one, see what a run will cost, run it, and hold it against people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import streamlit as st

from alignment.judges.spec import MOST_ROUNDS, WRITES, JudgeSpec
from annotate_app.access import Actor
from annotate_app.judges import jobs
from annotate_app.judges.measured import measure
from annotate_app.judges.report import JudgeReport
from annotate_app.judges.running import RunOptions, estimate, plan_run
from annotate_app.pages.jobs_page import POLL_S, UNDER_WAY, draw_job
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.views.figures import Stamp, stamp_of
from annotate_app.pages.views.judge_view import USE_LOOK, draw_report
from annotate_app.store.jobs import Job
from annotate_app.store.loop.judges import JudgeRow
from annotate_app.store.projects.projects import Project
from annotate_app.times import duration

KINDS: dict[str, str] = {
    "endpoint": "Endpoint that speaks the OpenAI protocol",
    "local": "Language model in a folder",
    "reward": "Reward model in a folder",
    "function": "Python function",
}
TARGETS: dict[str, tuple[str, str]] = {
    "endpoint": ("URL", "http://localhost:8000/v1"),
    "local": ("Folder of the model", "data/runs/12/model"),
    "reward": ("Folder of the reward model", "data/runs/7/model"),
    "function": ("Function", "package.module:function"),
}
ONE = "judge"
"""What the address names a judge by."""
GUARD = (
    "Pairs that people have settled, its own mistakes first, are shown to it with people's answers. It is never asked "
    "about them, and the report leaves them out: nothing is measured on what it was told."
)


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Judges")
        project, actor, store = current_project(), current_actor(), current_store()
        actor.require("lead", "measuring judges")
        st.caption(
            "Machines that answer the rubric. Their votes are kept apart: never in people's agreement or pay, and in a "
            "consensus only where you ask for them."
        )
        judges = store.judges.list(actor, project.id, archived=False)
        reports = {judge.name: report_of(project, judge) for judge in judges if judge.num_votes}
        if judges:
            chosen = draw_list(judges, reports, latest_jobs(project))
        else:
            chosen = None
            st.info("This project has no judge yet.", icon=":material/smart_toy:")
        with st.expander("Add a judge", icon=":material/add:", expanded=not judges):
            draw_form(project, actor)
        if chosen is not None:
            draw_one(project, chosen, reports.get(chosen.name))


def report_of(project: Project, judge: JudgeRow, own: tuple[str, ...] = ()) -> JudgeReport:
    """The report, computed once for a state of the project and of the judge."""
    return _report((*stamp_of(project), judge.num_votes, judge.name), own, current_actor())


@st.cache_data(max_entries=32, show_spinner="Measuring the judge")
def _report(stamp: tuple[Any, ...], own: tuple[str, ...], _actor: Actor) -> JudgeReport:
    project: Stamp = stamp[:-2]
    return measure(current_store(), _actor, project[1], stamp[-1], own=own)


def latest_jobs(project: Project) -> dict[str, Job]:
    """The newest run of each judge, by the judge's name."""
    runs = [job for job in current_store().jobs.list(current_actor(), project.id) if job.kind == jobs.KIND]
    return {job.title.removeprefix("Judge "): job for job in sorted(runs, key=lambda job: job.id)}


def draw_list(judges: list[JudgeRow], reports: dict[str, JudgeReport], runs: dict[str, Job]) -> JudgeRow:
    """The judges as a table; the one that is chosen, the first where none is."""
    rows = []
    for judge in judges:
        report, run = reports.get(judge.name), runs.get(judge.name)
        rows.append(
            {
                "judge": judge.name,
                "use": USE_LOOK[report.advice.use][0] if report else "",
                "kappa": report.overall.kappa.value if report and report.overall.num_items else None,
                "comparisons": report.num_items if report else 0,
                "answers": judge.num_votes,
                "cost": report.spent.cost if report else None,
                "run": run.state if run else "",
                "what answers": judge.spec.described,
            }
        )
    columns = {
        "judge": st.column_config.TextColumn("judge", pinned=True),
        "kappa": st.column_config.NumberColumn("kappa with people", format="%.2f"),
        "cost": st.column_config.NumberColumn("cost", format="%.2f"),
        "run": st.column_config.TextColumn("last run"),
    }
    event = st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        key="judges-list",
    )
    picked = event.selection.rows
    if picked and picked[0] < len(judges):
        st.query_params[ONE] = judges[picked[0]].name
    asked = st.query_params.get(ONE, "")
    return next((judge for judge in judges if judge.name == asked), judges[0])


def draw_one(project: Project, judge: JudgeRow, report: JudgeReport | None) -> None:
    """One judge: its run and its report."""
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(as_markdown(judge.name), anchor=False, width="stretch")
        arguments = (
            "Put away; its votes stay.",
            current_store().judges.archive,
            current_actor(),
            project.id,
            judge.name,
        )
        st.button("Put away", key=f"judge-away-{key_of(judge.name)}", type="tertiary", on_click=act, args=arguments)
    if judge.spec.kind != "imported":
        busy = run_of(project, judge)
        with st.expander("Run it", icon=":material/play_arrow:", expanded=report is None or busy is not None):
            draw_run(project, judge)
    if report is None:
        st.info("It has not judged anything yet.", icon=":material/hourglass_empty:")
        return
    draw_report(project, own_report(project, judge, report))


def own_report(project: Project, judge: JudgeRow, report: JudgeReport) -> JudgeReport:
    """The report with the sources that the reader calls the judge's own."""
    sources = [group.name for group in report.sources]
    if not sources:
        return report
    key = f"judge-own-{key_of(judge.name)}"
    own = st.multiselect("Answers of its own model", sources, key=key, help="To see whether it favours them.")
    return report_of(project, judge, tuple(own)) if own else report


def run_of(project: Project, judge: JudgeRow) -> Job | None:
    """The judge's run that waits or goes on."""
    run = latest_jobs(project).get(judge.name)
    return run if run is not None and run.state in UNDER_WAY else None


def draw_run(project: Project, judge: JudgeRow) -> None:
    """What a run is to do, what it will cost, and its progress."""
    name = key_of(judge.name)
    if run_of(project, judge) is not None:
        st.fragment(draw_progress, run_every=POLL_S)(project, judge)
        return
    run = latest_jobs(project).get(judge.name)
    if run is not None:
        draw_job(run)
    left, middle, right = st.columns(3)
    left.number_input(
        "Comparisons at most", 0, 10_000_000, 0, key=f"judge-most-{name}", help="0 for all that are left."
    )
    middle.number_input(
        "Cost at most",
        0.0,
        value=0.0,
        key=f"judge-cost-{name}",
        disabled=not judge.spec.has_prices,
        help="In the prices' currency; 0 for no limit.",
    )
    if judge.spec.kind in ("endpoint", "local"):
        right.number_input("People's corrections as examples", 0, 32, 0, key=f"judge-examples-{name}", help=GUARD)
        st.caption(GUARD)
    with st.container(horizontal=True):
        st.button(
            "What will it cost?",
            key=f"judge-ask-{name}",
            icon=":material/calculate:",
            on_click=ask_cost,
            args=(project, judge),
        )
        asked = st.session_state.get(f"judge-estimate-{name}")
        ready = asked is not None and asked[0] == wanted(judge) and asked[1]["num_answers"] > 0
        st.button(
            "Run",
            type="primary",
            key=f"judge-run-{name}",
            icon=":material/play_arrow:",
            disabled=not ready,
            on_click=begin,
            args=(project, judge),
        )
    if asked is not None and asked[0] == wanted(judge):
        draw_cost(asked[1])


def draw_progress(project: Project, judge: JudgeRow) -> None:
    """The run under way; the page is drawn anew when it ends."""
    run = run_of(project, judge)
    if run is None:
        st.rerun()
    draw_job(run)


def wanted(judge: JudgeRow) -> dict[str, Any]:
    """The options of a run, as the fields say."""
    fields, name = st.session_state, key_of(judge.name)
    return {
        "max_comparisons": int(fields.get(f"judge-most-{name}", 0)),
        "max_cost": float(fields.get(f"judge-cost-{name}", 0.0)),
        "examples": int(fields.get(f"judge-examples-{name}", 0)),
    }


def ask_cost(project: Project, judge: JudgeRow) -> None:
    """Computes what a run would cost; asks nothing."""
    options = wanted(judge)

    def dry_run() -> dict[str, Any]:
        store, actor = current_store(), current_actor()
        plan = plan_run(store, actor, project, judge.name, RunOptions(**options))
        return {**asdict(estimate(store, actor, plan)), "num_asked": plan.num_asked, "num_images": plan.num_images}

    cost = act("", dry_run)
    if cost is not None:
        st.session_state[f"judge-estimate-{key_of(judge.name)}"] = (options, cost)


def draw_cost(cost: dict[str, Any]) -> None:
    """An estimate in four figures."""
    if cost["num_images"]:
        st.caption(f"{cost['num_images']:,} comparisons are left out: they show images, which a judge does not see.")
    if not cost["num_answers"]:
        st.info("Everything is asked already.", icon=":material/check:")
        return
    most = "about" if cost["measured"] else "at most"
    figures = (
        ("Answers", f"{cost['num_answers']:,}", f"on {cost['num_comparisons']:,} comparisons"),
        (
            "Tokens",
            f"{cost['prompt_tokens'] + cost['completion_tokens']:,}",
            f"{most} {cost['completion_tokens']:,} written",
        ),
        ("Cost", f"{cost['cost']:.4g}" if cost["cost"] else "–", most if cost["cost"] else "no prices given"),
        (
            "Time",
            duration(cost["seconds"]) if cost["seconds"] is not None else "–",
            "" if cost["seconds"] else "not known yet",
        ),
    )
    for column, (title, value, note) in zip(st.columns(4), figures, strict=True):
        column.metric(title, value)
        column.caption(note)


def begin(project: Project, judge: JudgeRow) -> None:
    """Queues the run."""
    options = wanted(judge)
    if act("The run is queued.", jobs.start, current_store(), current_actor(), project.id, judge.name, **options):
        st.session_state.pop(f"judge-estimate-{key_of(judge.name)}", None)


def draw_form(project: Project, actor: Actor) -> None:
    """The form of a new judge; endpoints and functions are the admin's."""
    allowed = [kind for kind in KINDS if actor.is_at_least("admin") or kind in ("local", "reward")]
    kind = st.selectbox("What answers", allowed, format_func=KINDS.__getitem__, key="judge-kind")
    if len(allowed) < len(KINDS):
        st.caption(
            "Endpoints and functions call other machines or run code: an admin adds them. Folders are those of runs."
        )
    title, placeholder = TARGETS[kind]
    with st.form("judge-new", border=False):
        left, right = st.columns(2)
        left.text_input("Name", key="judge-name", placeholder="careful-8b", max_chars=120)
        right.text_input(title, key="judge-target", placeholder=placeholder)
        if kind == "endpoint":
            left.text_input("Model", key="judge-model", placeholder="what the endpoint calls it")
            right.text_input(
                "Variable that holds the key",
                key="judge-key",
                placeholder="JUDGE_API_KEY",
                help="The name of an environment variable of the server; the key itself is never stored.",
            )
            left.number_input("Price of a million tokens read", 0.0, key="judge-prompt-price")
            right.number_input("Price of a million tokens written", 0.0, key="judge-completion-price")
            left.number_input("Temperature", 0.0, 2.0, 0.0, key="judge-temperature")
            right.number_input(
                "Answers to each question", 1, 64, 1, key="judge-samples", help="Several need a temperature."
            )
        st.toggle(
            "Ask both orders", value=True, key="judge-orders", help="Its preference for what it sees first cancels out."
        )
        if kind in ("endpoint", "local"):
            st.toggle("Let it think in words first", key="judge-reasoning")
            st.number_input(
                "Rounds of debate first",
                0,
                MOST_ROUNDS,
                0,
                key="judge-debate",
                help="It argues for either answer, so many times each, before it decides; each argument is a question.",
            )
        st.form_submit_button("Add", type="primary", on_click=save, args=(project, kind))


def save(project: Project, kind: str) -> None:
    """Stores the judge of the form."""
    fields = st.session_state
    target = str(fields["judge-target"]).strip()

    def add() -> JudgeRow:
        more = {}
        if kind == "endpoint":
            more = {
                "model": fields["judge-model"].strip(),
                "key_variable": fields["judge-key"].strip(),
                "prompt_price": float(fields["judge-prompt-price"]),
                "completion_price": float(fields["judge-completion-price"]),
                "temperature": float(fields["judge-temperature"]),
                "samples": int(fields["judge-samples"]),
            }
        spec = JudgeSpec(
            kind=kind,  # type: ignore[arg-type]
            target=target,
            both_orders=fields["judge-orders"],
            reasoning=bool(fields.get("judge-reasoning", False)) and kind in WRITES,
            debate_rounds=int(fields.get("judge-debate", 0)) if kind in WRITES else 0,
            **more,
        )
        return current_store().judges.add(current_actor(), project.id, fields["judge-name"].strip(), spec)

    act("Added. See what a run will cost, then run it.", add)
