"""Overview: how far the project is, who works on it, and what to do next.

For the demo a line says which of its models is being trained, and leads to what came of them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import streamlit as st

from annotate_app.access import Actor
from annotate_app.demo_models import demo_jobs
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link, draw_links, link_to, open_comparisons, picked
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.projects import draw_start_cards
from annotate_app.pages.views.figures import count_of
from annotate_app.pages.views.team.first_steps_view import draw_first_steps
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.people.members import Member
from annotate_app.store.projects.progress import Progress
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import SPLIT, ComparisonFilter
from annotate_app.trainings.runs import read_run

POLL_S = 2.0
RECENT_DAYS = 7  # the pace that the projected end rests on
STATE_WORDS = {
    "active": "active",
    "qualifying": "qualifying",
    "paused": "paused",
    "failed": "did not qualify",
}


def page() -> None:
    """Draws the page; where there is no project yet, the two ways to one."""
    with plainly():
        st.title("Overview")
        if draw_start_cards():
            return
        store, actor, project = current_store(), current_actor(), current_project()
        progress = store.projects.progress(actor, project.id)
        members = store.projects.members(actor, project.id)
        if project.description:
            st.text(project.description)
        draw_demo_models(project)
        draw_first_steps(project)
        if progress.num_comparisons:
            draw_figures(progress)
            draw_counts(project)
            draw_days(progress)
        draw_members(actor, project, progress, members)
        draw_notices(actor, project)
        st.page_link(page_at("settings"), query_params={"project": project.name})


def draw_figures(progress: Progress) -> None:
    """The four figures of progress, each with a link to the comparisons behind it, and a bar."""
    left = progress.slots_wanted - progress.slots_judged
    today = datetime.now(UTC).date()
    with st.container(horizontal=True):
        with st.container(border=True):
            help_text = f"Comparisons with all their judgments, of {progress.num_comparisons:,}."
            st.metric("Complete", f"{progress.num_complete:,}", help=help_text)
            draw_link("Complete comparisons", ComparisonFilter(state="complete"))
        with st.container(border=True):
            st.metric("Judgments left", f"{left:,}", help="Open places for a judgment, checks not counted.")
            draw_link("Comparisons that wait", ComparisonFilter(state="open"))
        with st.container(border=True):
            end = projected_end(progress, today)
            st.metric("Projected end", end, help=f"At the pace of the last {RECENT_DAYS} days.")
            recent = ComparisonFilter(since=today - timedelta(days=RECENT_DAYS - 1))
            draw_link(f"Judged in {RECENT_DAYS} days", recent)
        with st.container(border=True):
            help_text = f"People who have a pair in hand; {progress.slots_leased:,} pairs are."
            st.metric("At work now", f"{len(progress.at_work)}", help=help_text)
            if progress.at_work:
                draw_links("Who", [(name, ComparisonFilter(persons=(name,))) for name in progress.at_work], key="work")
            else:
                st.caption("Nobody has a pair.")
    share = progress.slots_judged / progress.slots_wanted if progress.slots_wanted else 0.0
    st.progress(share, f"{progress.slots_judged:,} of {progress.slots_wanted:,} judgments, {share:.0%}")
    with st.container(horizontal=True):
        for where in ("label", "adjudicate", "agreement", "export"):
            st.page_link(page_at(where))


COUNTED = {
    "Not judged": ComparisonFilter(state="unjudged"),
    "Votes missing": ComparisonFilter(state="open"),
    "Complete": ComparisonFilter(state="complete"),
    "Known answer": ComparisonFilter(state="gold"),
    "Adjudicated": ComparisonFilter(state="decided"),
    "Split": ComparisonFilter(agreement=SPLIT, sort="agreement"),
    "Excluded": ComparisonFilter(excluded="only"),
}


def draw_counts(project: Project) -> None:
    """How many comparisons are how far, each count a link to them."""
    with st.container(horizontal=True, key="overview-counts"):
        for words, chosen in COUNTED.items():
            num = count_of(project, chosen)
            if num:
                draw_link(f"{words}: {num:,}", chosen)


def projected_end(progress: Progress, today: date) -> str:
    """The day the last judgment falls on if the pace of the last days holds, in words."""
    left = progress.slots_wanted - progress.slots_judged
    if left <= 0:
        return "done" if progress.slots_wanted else "–"
    recent = [count for day, count in progress.judgments_by_day if day > today - timedelta(days=RECENT_DAYS)]
    days_running = RECENT_DAYS
    if progress.judgments_by_day:
        days_running = min(RECENT_DAYS, (today - progress.judgments_by_day[0][0]).days + 1)
    if not sum(recent):
        return "no pace yet"
    end = today + timedelta(days=round(left * days_running / sum(recent)))
    return f"{end:%-d %b}" if end.year == today.year else f"{end:%-d %b %Y}"


def draw_days(progress: Progress) -> None:
    """Judgments per day, as bars that open the comparisons judged on the day."""
    if not progress.judgments_by_day:
        return
    st.header("Judgments per day", anchor=False)
    rows = [{"day": day.isoformat(), "name": "judgments", "count": count} for day, count in progress.judgments_by_day]
    mark = picked(st.altair_chart(charts.per_day(rows[-90:]), key="overview-days", on_select="rerun"), "date")
    if mark is not None:
        day = date.fromisoformat(mark["date"])
        open_comparisons(ComparisonFilter(since=day, until=day))


def draw_members(actor: Actor, project: Project, progress: Progress, members: list[Member]) -> None:
    """Who is in the project, what they did, and whether they may work."""
    st.header("People", anchor=False)
    done = {row.name: row for row in progress.by_member}
    inside = {member.name: member for member in members}
    rows = []
    for name in sorted(done.keys() | inside.keys(), key=lambda name: (name not in done, name)):
        row, member = done.get(name), inside.get(name)
        rows.append(
            {
                "name": name,
                "judgments": row.num_judgments if row else 0,
                "behind": link_to(ComparisonFilter(persons=(name,))) if row else None,
                "last": datetime.fromtimestamp(row.last_at, UTC) if row and row.last_at else None,
                "hours": row.seconds / 3600 if row else 0.0,
                "role": member.role if member else "",
                "group": member.group if member else "",
                "state": STATE_WORDS[member.state] if member else "not a member",
            }
        )
    if not rows:
        st.caption("Nobody yet. Members are added, and others invited, on the page People.")
        return
    most = max(project.design.target, *(row["judgments"] for row in rows), 1)
    columns = {
        "judgments": st.column_config.ProgressColumn("judgments", format="%d", min_value=0, max_value=most),
        "behind": st.column_config.LinkColumn("judged", display_text="open", width="small"),
        "hours": st.column_config.NumberColumn("hours", format="%.1f", help="Active time, idle time taken out."),
        "last": st.column_config.DatetimeColumn("last judgment", format="distance"),
        "group": st.column_config.TextColumn("group") if any(row["group"] for row in rows) else None,
    }
    st.dataframe(rows, column_config=columns, hide_index=True, placeholder="–", key="overview-people")
    stopped = [member for member in members if member.state in ("paused", "failed")]
    for member in stopped:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(f"{member.name}: {STATE_WORDS[member.state]}")
            st.button(
                "Let work again",
                key=f"resume-{member.user_id}",
                on_click=act,
                args=("Done.", current_store().projects.set_member_state, actor, project.id, member.user_id, "active"),
            )


def draw_notices(actor: Actor, project: Project) -> None:
    """All notices of the project, newest first."""
    notices = current_store().notices.list(actor, project.id)
    if notices:
        st.header("Notices", anchor=False)
        rows = [{"when": datetime.fromtimestamp(item.created_at, UTC), "what": item.text} for item in notices]
        when = st.column_config.DatetimeColumn("when", format="distance", width="small")
        st.dataframe(rows, column_config={"when": when}, hide_index=True, key="overview-notices")


def draw_demo_models(project: Project) -> None:
    """A line for the leads of the demo, drawn again while something is trained; nothing where there are no models."""
    if not project.simulated:
        return
    jobs = demo_jobs(current_store(), current_actor(), project.id)
    if jobs:
        busy = any(job.state not in ENDED for job in jobs)
        st.fragment(draw_line, run_every=POLL_S if busy else None)(project.id)


def draw_line(project_id: int) -> None:
    """A bar and a sentence, and the pages on which the models are."""
    jobs = demo_jobs(current_store(), current_actor(), project_id)
    with st.container(border=True, key="demo-models", horizontal=True, vertical_alignment="center"):
        under_way = next((job for job in jobs if job.state not in ENDED), None)
        if under_way is None:
            st.markdown(say_ended(jobs))
        else:
            st.progress(share_of(jobs), say_under_way(jobs, under_way))
        st.page_link(page_at("runs"))
        if any(job.state == "done" for job in jobs):
            st.page_link(page_at("playground"))


def share_of(jobs: list[Job]) -> float:
    """Computes the trained share of the demo's models; a running one counts by its steps."""
    return sum(1.0 if job.state in ENDED else _steps_done(job) for job in jobs) / len(jobs)


def say_under_way(jobs: list[Job], job: Job) -> str:
    """What is being trained, and which of how many."""
    doing = "Waiting for the worker to train" if job.state == "queued" else "Training"
    ended = [job for job in jobs if job.state in ENDED]
    undone = sum(job.state != "done" for job in ended)
    what = as_markdown(f"reward model {job.title}" if read_run(job).is_reward_model else job.title)
    words = f"{doing} model {len(ended) + 1} of {len(jobs)} from these judgments: {what}"
    return f":material/model_training: {words}{f'; {undone} did not get done' if undone else ''}"


def say_ended(jobs: list[Job]) -> str:
    """Summarises how the demo's trainings ended."""
    done = sum(job.state == "done" for job in jobs)
    if done == len(jobs):
        plural = f"{done} models have" if done > 1 else "A model has"
        return f":material/check_circle: {plural} been trained from these judgments."
    return f":material/error: {done} of {len(jobs)} models have been trained from these judgments; Runs says why."


def _steps_done(job: Job) -> float:
    status = read_run(job).status
    num_steps = int(status.get("num_steps") or 0)
    return 0.9 * int(status.get("step") or 0) / num_steps if num_steps else 0.0  # its report takes the rest
