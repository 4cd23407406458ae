"""Time and pay: active minutes of each person in a period, what they come to, and a file for whoever pays."""

from __future__ import annotations

import math
from datetime import date

import streamlit as st

from annotate_app.exchange.people_tables import pay_csv
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link, open_comparisons, picked
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.protocol.collection_design import MOST_HOURLY
from annotate_app.store.people.pay import PersonPay
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.times import PERIODS, Period, today

CHOICES = (*PERIODS, "dates")
CHOICE_WORDS = {"day": "Day", "week": "Week", "month": "Month", "dates": "From - to"}
MOST_PEOPLE = 8  # with a colour of their own
EVERYBODY_ELSE = "everybody else"
COUNTED = (
    "Every answer counts with its active seconds: checks, repeats, the qualification round, skips, and answers that "
    "were undone or changed. Time stops while nobody touches keys or pointer. Reading the guidelines is not in it. "
    "Each amount is rounded once."
)


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Time and pay")
        project = current_project()
        period = choose_period()
        people = current_store().pay.people(current_actor(), project.id, period)
        st.caption(f"{words_of(period)}, days of {period.zone}. {COUNTED}")
        if not people:
            st.info("Nobody works on this project yet. Invite people on the page People.", icon=":material/group:")
            return
        draw_totals(people, project)
        draw_days(people, period)
        draw_table(people)
        draw_doubts(people)
        draw_rates(people, project)
        name = f"pay-{project.name}-{period.first}-{period.last}.csv"
        st.download_button(
            "Download CSV", pay_csv(people, period), name, "text/csv", icon=":material/download:", on_click="ignore"
        )


def choose_period() -> Period:
    """The period that the address names, or the reader chooses; this week to begin with."""
    zone = zone_name()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        length = st.segmented_control(
            "Period",
            CHOICES,
            default="week",
            required=True,
            format_func=CHOICE_WORDS.__getitem__,
            key="pay-period",
            bind="query-params",
        )
        now = today(zone)
        if length == "dates":
            first = st.date_input("From", now.replace(day=1), key="pay-from", bind="query-params", width=160)
            last = st.date_input("To", now, key="pay-to", bind="query-params", width=160)
            return Period(first=first, last=last, zone=zone)
        day: date = st.date_input(f"The {length} of", now, key="pay-day", bind="query-params", width=160)
    return Period.around(day, length or "week", zone)


def words_of(period: Period) -> str:
    """The days of a period in words."""
    if period.first == period.last:
        return f"{period.first:%A, %-d %B %Y}"
    return f"{period.first:%-d %B %Y} to {period.last:%-d %B %Y}"


def money(amount: float, currency: str) -> str:
    """An amount with its currency."""
    return f"{amount:,.2f} {currency}".strip()


def draw_totals(people: list[PersonPay], project: Project) -> None:
    """What all of them come to."""
    seconds = math.fsum(person.seconds for person in people)
    judgments = sum(person.judgments for person in people)
    amount = math.fsum(person.amount for person in people)
    figures = {
        "People at work": f"{sum(person.answers > 0 for person in people):,}",
        "Judgments": f"{judgments:,}",
        "Active hours": f"{seconds / 3600:,.1f}",
        "Amount": money(amount, project.design.currency),
    }
    for column, (title, value) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(title, value, border=True)
    if judgments and amount:
        st.caption(f"{as_markdown(money(amount / judgments, project.design.currency))} a judgment.")
    if not any(person.rate for person in people):
        st.caption("Nobody has a rate yet. The project's is a part of its design, that of one person is set below.")


def draw_days(people: list[PersonPay], period: Period) -> None:
    """Minutes a day, each person in a colour, the busiest first; a bar opens what the person judged on the day."""
    busiest = sorted((person for person in people if person.seconds), key=lambda person: -person.seconds)
    if not busiest:
        st.info("Nobody worked in this period.", icon=":material/hourglass_empty:")
        return
    named = {person.user_id for person in (busiest if len(busiest) <= MOST_PEOPLE else busiest[: MOST_PEOPLE - 1])}
    rows = [
        {
            "day": day.isoformat(),
            "name": person.name if person.user_id in named else EVERYBODY_ELSE,
            "count": round(seconds / 60, 1),
        }
        for person in busiest
        for day, seconds in sorted(person.by_day.items())
    ]
    st.header("Active minutes a day", anchor=False)
    chart, key = charts.per_day(rows, axis="minutes"), f"pay-days-{period.first}-{period.last}"
    mark = picked(st.altair_chart(chart, key=key, on_select="rerun"), "date", "name")
    if mark is not None:
        judged_on = date.fromisoformat(mark["date"])
        persons = () if mark["name"] == EVERYBODY_ELSE else (mark["name"],)
        open_comparisons(ComparisonFilter(persons=persons, since=judged_on, until=judged_on))


def draw_table(people: list[PersonPay]) -> None:
    """Everybody, who worked most first; a name leads to the person's judgments."""
    st.header("Everybody", anchor=False)
    rows = [
        {
            "person": person.name,
            "judgments": person.judgments,
            "minutes": round(person.minutes, 1),
            "median": None if math.isnan(person.median_s) else person.median_s,
            "rate": person.rate or None,
            "amount": person.amount if person.rate else None,
            "last": minute_of(person.last_at) if person.last_at else "",
            "group": person.group,
        }
        for person in sorted(people, key=lambda person: (-person.seconds, person.name))
    ]
    currency = people[0].currency
    column = st.column_config
    chosen = st.dataframe(
        rows,
        hide_index=True,
        key="pay-people",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "person": column.TextColumn("Person", pinned=True),
            "judgments": column.NumberColumn("Judgments", help="That stand; skips and undone ones are left out."),
            "minutes": column.NumberColumn("Active minutes", format="%.1f"),
            "median": column.NumberColumn("Median", format="%.0f s", help="Active seconds of the middle answer."),
            "rate": column.NumberColumn("Rate", format="%.2f", help="For an hour."),
            "amount": column.NumberColumn(f"Amount {currency}".strip(), format="%.2f"),
            "last": column.TextColumn("Last answer"),
            "group": column.TextColumn("Group"),
        },
    )
    selected = chosen["selection"]["rows"] if chosen else []
    if not selected:
        st.caption("Choose a row to go to one person's judgments.")
        return
    name = str(rows[selected[0]]["person"])
    draw_link("Judgments of this person", ComparisonFilter(persons=(name,)))


def draw_doubts(people: list[PersonPay]) -> None:
    """Whose seconds are more than the clock allows for."""
    doubtful = [person for person in people if person.beyond_clock_s >= 60]
    if not doubtful:
        return
    with st.container(border=True, key="pay-doubts"):
        st.markdown(":material/warning: **More active time than the clock allows for**")
        for person in doubtful:
            st.text(f"{person.name}: {person.beyond_clock_s / 60:,.0f} min")
        st.caption(
            "Active seconds come from the browser. Of these people they add up, on some day, to more than the time "
            "from the first answer to the last. Two tabs at once or answers sent after a time offline can do that, "
            "and so can a forged number. Nothing was taken off."
        )


def draw_rates(people: list[PersonPay], project: Project) -> None:
    """The rate of one person, where it differs from the project's."""
    with st.expander("A rate of one person's own", icon=":material/tune:"):
        own = [person for person in people if person.own_rate is not None]
        for person in own:
            st.text(f"{person.name}: {money(person.own_rate or 0.0, person.currency)} an hour")
        everybody = money(project.design.hourly_rate, project.design.currency)
        st.caption(f"Everybody else: {as_markdown(everybody)} an hour.")
        with st.form("pay-rate", border=False):
            left, middle, right = st.columns([3, 2, 3], vertical_alignment="bottom")
            left.selectbox("Person", people, format_func=lambda person: person.name, key="pay-rate-person")
            middle.number_input("For an hour", 0.0, MOST_HOURLY, project.design.hourly_rate, key="pay-rate-value")
            with right.container(horizontal=True):
                st.form_submit_button("Set rate", on_click=set_rate, args=(project.id, True))
                st.form_submit_button("Project's rate", on_click=set_rate, args=(project.id, False))


def set_rate(project_id: int, own: bool) -> None:
    """Gives the chosen person a rate of their own, or the project's."""
    fields = st.session_state
    rate = float(fields["pay-rate-value"]) if own else None
    act("Rate set.", current_store().pay.set_rate, current_actor(), project_id, fields["pay-rate-person"].user_id, rate)
