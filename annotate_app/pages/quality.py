"""Quality: how each annotator works, who is worth a look, and the button that pauses somebody."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

import streamlit as st

from annotate_app.agreement.proportions import Share
from annotate_app.agreement.quality import AnnotatorQuality
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link, draw_links, link_to, open_comparisons, picked
from annotate_app.pages.kit.reader_clock import reader_time
from annotate_app.pages.views.figures import quality_of
from annotate_app.pages.views.workbench.person_list import draw_person_judgments
from annotate_app.store.people.members import Member
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

MOST_PEOPLE = 30  # drawn at once
PERSON = "person"
"""What the address names a person by."""
# By figure: its title, what it says in one sentence, and the value that means nothing special, where there is one.
FIGURES: dict[str, tuple[str, str, float | None]] = {
    "majority": ("Agreement with the others", "Votes equal to the most frequent answer of the others.", None),
    "gold": ("Right on known answers", "Gold items answered as their known answer says.", None),
    "consistency": ("Same answer twice", "Repeated pairs, sides swapped, answered as the first time.", None),
    "left": ("Chose the left side", "Sides are shuffled: far from a half is a habit of the hand.", 0.5),
    "longer": ("Chose the longer response", "Compare people: the longer response may well be better.", None),
    "ties": ("Ties", "Judgments that call it a tie.", None),
    "both_bad": ("Both bad", "Judgments that call both responses bad.", None),
    "skips": ("Skips", "Pairs passed over.", None),
    "fast": ("Faster than anyone reads", "Judgments under one second per hundred characters.", None),
}

WITH_KNOWN = "known answers"
"""The line of weeks that rests on checks."""
SHARES_SHOWN = ("majority", "gold", "consistency", "left", "longer", "ties")


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Quality")
        project = current_project()
        people = quality_of(project)
        if not people:
            st.info("Nobody has judged anything yet.", icon=":material/hourglass_empty:")
            return
        members = {item.name: item for item in current_store().projects.members(current_actor(), project.id)}
        draw_flagged(project, people, members)
        draw_figure(people)
        chosen = draw_table(people, members)
        if chosen is None:
            st.caption("Choose a row for one person's figures.")
        else:
            draw_person(project, chosen, members.get(chosen.name))


def draw_flagged(project: Project, people: tuple[AnnotatorQuality, ...], members: dict[str, Member]) -> None:
    """Draws the flagged annotators with the reasons; a prompt to look, not a verdict."""
    flagged = sorted((person for person in people if person.flags), key=lambda person: -len(person.flags))
    st.header("Worth a look", anchor=False)
    if not flagged:
        st.caption("Nobody stands out.")
    for person in flagged[:8]:
        with st.container(border=True, key=f"flagged-{key_of(person.name)}"):
            words, button = st.columns([5, 1], vertical_alignment="center")
            with words:
                st.text(person.name)
                for flag in person.flags:
                    draw_link(as_markdown(flag), behind_flag(person.name, flag))
            with button.container(horizontal=True, horizontal_alignment="right"):
                draw_pause(project, members.get(person.name), "flagged")
    if len(flagged) > 8:
        st.caption(f"and {len(flagged) - 8} more, marked in the table")


def behind_flag(name: str, flag: str) -> ComparisonFilter:
    """The comparisons behind a sentence about somebody."""
    for words, chosen in (
        ("gold items", ComparisonFilter(missed=name)),
        ("repeated pairs", ComparisonFilter(changed=name)),
        ("faster than", ComparisonFilter(fast=name)),
        ("majority", ComparisonFilter(disagree=(name,))),
        ("agreement falls", ComparisonFilter(disagree=(name,), sort="newest")),
        ("longer response", ComparisonFilter(persons=(name,), sort="longest")),
    ):
        if words in flag:
            return chosen
    return ComparisonFilter(persons=(name,))


def behind_figure(name: str, figure: str) -> ComparisonFilter:
    """The comparisons that a figure of somebody rests on, the telling ones where they can be told."""
    match figure:
        case "majority":
            return ComparisonFilter(disagree=(name,))
        case "gold":
            return ComparisonFilter(missed=name)
        case "consistency":
            return ComparisonFilter(changed=name)
        case "fast":
            return ComparisonFilter(fast=name)
        case "longer":
            return ComparisonFilter(persons=(name,), sort="longest")
        case _:
            return ComparisonFilter(persons=(name,))


def draw_pause(project: Project, member: Member | None, key_part: str) -> None:
    """The button that pauses a member, or lets them work again."""
    if member is None:
        return
    working = member.state in ("active", "qualifying")
    st.button(
        "Pause" if working else "Resume",
        icon=":material/pause:" if working else ":material/play_arrow:",
        key=f"pause-{key_part}-{member.user_id}",
        on_click=act,
        args=(
            f"{'Paused' if working else 'At work again'}.",
            current_store().projects.set_member_state,
            current_actor(),
            project.id,
            member.user_id,
            "paused" if working else "active",
        ),
    )


def draw_figure(people: tuple[AnnotatorQuality, ...]) -> None:
    """All people on one figure, side by side."""
    st.header("Compare people", anchor=False)
    usable = [name for name in FIGURES if any(getattr(person, name).total for person in people)]
    name = st.selectbox(
        "Compare people on",
        usable,
        format_func=lambda name: FIGURES[name][0],
        key="quality-figure",
        label_visibility="collapsed",
    )
    title, meaning, even = FIGURES[name]
    rows = [share_row(person.name, getattr(person, name)) for person in people if getattr(person, name).total]
    rows.sort(key=lambda row: float(str(row["value"])))
    rows_shown = rows if len(rows) <= MOST_PEOPLE else rows[: MOST_PEOPLE // 2] + rows[-MOST_PEOPLE // 2 :]
    reference = {} if even is None else {"reference": even, "reference_label": "no habit"}
    chart = charts.intervals(rows_shown, axis=title.lower(), percent=True, clickable=True, **reference)
    mark = picked(st.altair_chart(chart, key=f"quality-{name}", on_select="rerun"), "label")
    if mark is not None:
        open_comparisons(behind_figure(mark["label"], name))
    more = f" The {MOST_PEOPLE // 2} lowest and highest of {len(rows)}." if len(rows) > MOST_PEOPLE else ""
    st.caption(f"{meaning} Whiskers are 95% intervals.{more}")
    links = [(str(row["label"]), behind_figure(str(row["label"]), name)) for row in rows_shown]
    draw_links("The comparisons behind each", links, key=f"quality-{name}")


def draw_table(people: tuple[AnnotatorQuality, ...], members: dict[str, Member]) -> AnnotatorQuality | None:
    """Draws all annotators' figures in a table; returns the selected one."""
    st.header("Everybody", anchor=False)
    rows = []
    for person in people:
        member = members.get(person.name)
        rows.append(
            {
                "name": person.name,
                "judgments": person.num_judgments,
                "weeks": [value(week.agreement) for week in person.weeks],
                **{name: percent(getattr(person, name)) for name in SHARES_SHOWN},
                "median": None if math.isnan(person.median_s) else person.median_s,
                "flags": len(person.flags),
                "state": member.state if member else "",
                "behind": link_to(ComparisonFilter(persons=(person.name,))),
            }
        )
    bar = {"format": "%.0f%%", "min_value": 0, "max_value": 100, "width": 105}
    columns = {
        "majority": st.column_config.ProgressColumn("agrees", help=FIGURES["majority"][1], **bar),
        "gold": st.column_config.ProgressColumn("gold", help=FIGURES["gold"][1], **bar),
        "consistency": st.column_config.ProgressColumn("same twice", help=FIGURES["consistency"][1], **bar),
        "left": st.column_config.NumberColumn("left", format="%.0f%%", help=FIGURES["left"][1]),
        "longer": st.column_config.NumberColumn("longer", format="%.0f%%", help=FIGURES["longer"][1]),
        "ties": st.column_config.NumberColumn("ties", format="%.0f%%"),
        "median": st.column_config.NumberColumn("seconds", format="%.0f", help="Median active time of a judgment."),
        "weeks": st.column_config.LineChartColumn(
            "by week", y_min=0, y_max=1, width=90, help="Agreement with the others."
        ),
        "flags": st.column_config.NumberColumn("flags"),
        "behind": st.column_config.LinkColumn("judged", display_text="open", width="small"),
    }
    empty = {name: None for name in columns if all(row[name] is None for row in rows)}
    event = st.dataframe(
        rows,
        column_config=columns | empty,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        key="quality-table",
    )
    chosen = event.selection.rows
    if chosen and chosen[0] < len(people):
        st.query_params[PERSON] = people[chosen[0]].name
        return people[chosen[0]]
    named = st.query_params.get(PERSON)  # a link, or a page drawn again
    return next((person for person in people if person.name == named), None)


def draw_person(project: Project, person: AnnotatorQuality, member: Member | None) -> None:
    """One person: all shares with their intervals, and the weeks."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(f"{person.name}: {person.num_judgments:,} judgments")
            draw_pause(project, member, "person")
        for flag in person.flags:
            st.text(f"• {flag}")
        shares = [share_row(title, getattr(person, name)) for name, (title, _, _) in FIGURES.items()]
        rows = [row for row in shares if row["num"]]
        chart = charts.intervals(rows, axis="share", percent=True, domain=(0, 1), clickable=True)
        event = st.altair_chart(chart, key=f"quality-person-{key_of(person.name)}", on_select="rerun")
        figures = {title: name for name, (title, _, _) in FIGURES.items()}
        mark = picked(event, "label")
        if mark is not None:
            open_comparisons(behind_figure(person.name, figures[mark["label"]]))
        weeks = [
            {"at": day(week.start), "value": figure.value, "num": figure.total, "series": words}
            for week in person.weeks
            for words, figure in (("with the others", week.agreement), (WITH_KNOWN, week.gold))
            if figure.total
        ]
        if len({row["at"] for row in weeks}) > 1:
            chart = charts.over_time(weeks, axis="share", percent=True, domain=(0, 1), clickable=True)
            key = f"quality-weeks-{key_of(person.name)}"
            mark = picked(st.altair_chart(chart, key=key, on_select="rerun"), "day", "series")
            if mark is not None:
                open_comparisons(behind_week(person.name, mark["day"], mark["series"] == WITH_KNOWN))
        draw_person_judgments(project, person.name)


def behind_week(name: str, start: str, checks: bool) -> ComparisonFilter:
    """Comparisons that a person judged, or checks that they missed, judged in the week from an ISO date on."""
    first = date.fromisoformat(start)
    days = ComparisonFilter(since=first, until=first + timedelta(days=6))
    return replace(days, missed=name) if checks else replace(days, persons=(name,))


def share_row(label: str, figure: Share) -> dict[str, object]:
    """A row for `charts.intervals`."""
    return {"label": label, "value": value(figure), "low": figure.low, "high": figure.high, "num": figure.total}


def percent(figure: Share) -> float | None:
    """The share in percent, None where it rests on nothing."""
    return 100 * figure.value if figure.total else None


def value(figure: Share) -> float | None:
    """The share, None where it rests on nothing."""
    return figure.value if figure.total else None


def day(at: float) -> str:
    """The day of a unix time on the reader's clock."""
    return reader_time(at).date().isoformat()
