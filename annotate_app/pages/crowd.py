"""Crowd links: addresses for people of a crowd platform, and what became of who came by them."""

from __future__ import annotations

import math
import secrets
from urllib.parse import urlsplit

import streamlit as st

from annotate_app.exchange.people_tables import visits_csv
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.server.crowd_pages import PRESETS, crowd_address
from annotate_app.store.people.crowd import CrowdLink, LinkPlan
from annotate_app.store.people.crowd_visits import Visit, VisitSummary, summarize
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

OUTCOME_WORDS = {
    "started": "Started",
    "working": "Working",
    "completed": "Completed",
    "screened_out": "Screened out",
    "over_quota": "Over quota",
    "dropped_out": "Dropped out",
}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Crowd links")
        project = current_project()
        store, actor = current_store(), current_actor()
        st.caption(
            "People of a platform come in by their id there, without a password, work to the link's target, and get a "
            "code to be paid by. The id is no secret: pay by the list below, not by the code alone."
        )
        links = store.crowd.links(actor, project.id)
        draw_form(project, first=not links)
        visits = store.crowd.visits(actor, project.id)
        for link in links:
            draw_crowd_link(project, link, [visit for visit in visits if visit.link_id == link.id])


def draw_form(project: Project, *, first: bool) -> None:
    """The form that makes a link; the platform chosen above it fills in what that one wants."""
    with st.expander("Make a link", icon=":material/add_link:", expanded=first):
        platform = st.segmented_control(
            "Platform",
            list(PRESETS),
            default="prolific",
            required=True,
            format_func=lambda name: PRESETS[name].title,
            key="crowd-platform",
        )
        preset = PRESETS[platform or "prolific"]
        with st.form("crowd-link", border=False):
            left, right = st.columns(2)
            left.text_input("Title", project.name, max_chars=120, key="crowd-name", help="People read it first.")
            right.text_input(
                "Parameter of the id", preset.id_parameter, max_chars=64, key=f"crowd-id_parameter-{platform}"
            )
            st.text_area("What people read above the start button", key="crowd-text", max_chars=4000, height=100)
            one, two, three, four = st.columns(4)
            one.number_input("Judgments a person", 1, 100_000, project.design.target or 20, key="crowd-target")
            two.number_input("People let in", 0, 1_000_000, 0, key="crowd-quota", help="0 lets in any number.")
            three.number_input(
                "Free a place after minutes",
                5,
                10_080,
                60,
                key="crowd-dropout_minutes",
                help="Without a judgment for so long, somebody has dropped out.",
            )
            four.number_input(
                f"Reward {project.design.currency}".strip(),
                0.0,
                1e6,
                0.0,
                key="crowd-reward",
                help="For who completes.",
            )
            one, two, three, four = st.columns(4)
            one.text_input("Completion code", draft_code(), max_chars=64, key="crowd-completion_code")
            two.text_input("Screen-out code", max_chars=64, key="crowd-screen_out_code", help="Failed or paused.")
            three.text_input("Over-quota code", max_chars=64, key="crowd-over_quota_code")
            groups = list(project.design.groups)
            if groups:
                four.selectbox("Group", groups, key="crowd-group")
            else:
                four.text_input("Group", max_chars=64, key="crowd-group")
            st.text_input(
                "Address to go back to",
                preset.return_url,
                key=f"crowd-return_url-{platform}",
                help="{code} in it stands for the code. Empty shows the code alone.",
            )
            st.form_submit_button("Make the link", type="primary", on_click=add_link, args=(project.id, platform))


def draft_code() -> str:
    """A completion code to begin with, the same until the link is made."""
    return st.session_state.setdefault("crowd-draft-code", secrets.token_hex(4).upper())


def add_link(project_id: int, platform: str) -> None:
    """Makes the link of the form."""
    if act("Link made.", _add_link, project_id, platform) is not None:
        st.session_state.pop("crowd-draft-code", None)
        st.session_state.pop("crowd-completion_code", None)


def _add_link(project_id: int, platform: str) -> CrowdLink:
    fields = st.session_state
    names = ("name", "text", "target", "quota", "dropout_minutes", "reward")
    codes = ("completion_code", "screen_out_code", "over_quota_code", "group")
    plan = LinkPlan(
        **{name: fields[f"crowd-{name}"] for name in names},
        **{name: fields[f"crowd-{name}"].strip() for name in codes},
        id_parameter=fields[f"crowd-id_parameter-{platform}"].strip(),
        return_url=fields[f"crowd-return_url-{platform}"].strip(),
    )
    return current_store().crowd.add_link(current_actor(), project_id, plan)


def draw_crowd_link(project: Project, link: CrowdLink, visits: list[Visit]) -> None:
    """One link: its address, figures, and everybody who came by it."""
    plan, summary = link.plan, summarize(visits, link.plan.reward)
    with st.container(border=True, key=f"crowd-link-{link.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(plan.name)
            st.badge("open" if link.active else "off", color="green" if link.active else "gray")
            st.space("stretch")
            st.button(
                "Switch off" if link.active else "Switch on",
                key=f"crowd-switch-{link.id}",
                on_click=switch,
                args=(project.id, link.id, not link.active),
            )
        parts = urlsplit(st.context.url or "http://localhost:8501")
        st.code(crowd_address(f"{parts.scheme}://{parts.netloc}", link), language=None, wrap_lines=True)
        places = f"{plan.quota:,} places" if plan.quota else "any number of people"
        st.caption(
            f"{plan.target:,} judgments a person, {places}, free again after {plan.dropout_minutes} min of silence. "
            f"Completion code {as_markdown(plan.completion_code)}. Made by {as_markdown(link.created_by)} "
            f"at {minute_of(link.created_at)} ({zone_name()})."
        )
        if not visits:
            st.caption("Nobody has opened it yet.")
            return
        draw_summary(summary, project.design.currency)
        draw_visits(link, visits)


def draw_summary(summary: VisitSummary, currency: str) -> None:
    """People by outcome, and time and pay of who completed."""
    figures = {OUTCOME_WORDS[name]: f"{count:,}" for name, count in summary.counts.items()}
    if not math.isnan(summary.median_minutes):
        figures["Median minutes"] = f"{summary.median_minutes:.1f}"
    if not math.isnan(summary.hourly):
        figures["Pay by the hour"] = f"{summary.hourly:,.2f} {currency}".strip()
    with st.container(horizontal=True):
        for title, value in figures.items():
            st.metric(title, value, width="content")


def draw_visits(link: CrowdLink, visits: list[Visit]) -> None:
    """Everybody who came, with a file of it; a row leads to the person's judgments."""
    rows = [
        {
            "id": visit.platform_id,
            "outcome": OUTCOME_WORDS[visit.outcome],
            "judgments": visit.judgments,
            "minutes": round(visit.seconds / 60, 1),
            "started": minute_of(visit.started_at),
            "last": minute_of(visit.last_at) if visit.last_at else "",
        }
        for visit in visits
    ]
    column, zone = st.column_config, zone_name()
    chosen = st.dataframe(
        rows,
        hide_index=True,
        key=f"crowd-visits-{link.id}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(38 * (len(rows) + 1), 320),
        column_config={
            "id": column.TextColumn("Id on the platform", pinned=True),
            "outcome": column.TextColumn("Outcome"),
            "judgments": column.NumberColumn("Judgments"),
            "minutes": column.NumberColumn("Active minutes", format="%.1f"),
            "started": column.TextColumn(f"Started ({zone})"),
            "last": column.TextColumn(f"Last judgment ({zone})"),
        },
    )
    selected = chosen["selection"]["rows"] if chosen else []
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download CSV",
            visits_csv(visits),
            f"visits-{link.id}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"crowd-csv-{link.id}",
        )
        if selected and visits[selected[0]].person:
            draw_link("Judgments of this person", ComparisonFilter(persons=(visits[selected[0]].person,)))


def switch(project_id: int, link_id: int, active: bool) -> None:
    """Switches a link off, or on again."""
    words = "Link is open." if active else "Link is off; who is in already works on."
    act(words, current_store().crowd.set_active, current_actor(), project_id, link_id, active)
