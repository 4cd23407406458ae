"""Leaderboard: which model people prefer, how sure that is, and who beats whom."""

from __future__ import annotations

import math

import streamlit as st

from annotate_app.agreement.reports.report_files import report_json
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_project
from annotate_app.pages.kit.filtered_links import draw_links, link_to, open_comparisons, picked
from annotate_app.pages.views.figures import leaderboard_of, win_rates_of
from annotate_app.ranking.bradley_terry import TIES, Ties
from annotate_app.ranking.leaderboard import Leaderboard, Standing
from annotate_app.ranking.win_rates import WinRates
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

MOST_MODELS = 20  # drawn at once
MOST_PAIRS = 30
RANK_HELP = "Overlapping intervals share a rank, and so does a model with fewer than ten comparisons."
TIE_WORDS = {"half": "Ties count as half a win", "davidson": "Ties are modelled (Davidson)"}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Leaderboard")
        project = current_project()
        ties: Ties | None = st.segmented_control(
            "Ties",
            TIES,
            default=TIES[0],
            required=True,
            format_func=TIE_WORDS.__getitem__,
            key="leaderboard-ties",
            label_visibility="collapsed",
        )
        board = leaderboard_of(project, ties or TIES[0])
        if not board.standings:
            draw_nothing(board)
            return
        draw_notes(board)
        groups = sorted({standing.group for standing in board.standings})
        for group in groups:
            draw_strengths([row for row in board.standings if row.group == group], group if len(groups) > 1 else None)
        draw_table(board)
        draw_win_rates(board)
        draw_pairs(win_rates_of(project))
        name = f"leaderboard-{project.name}.json"
        icon = ":material/download:"
        st.download_button("Download JSON", report_json(board), name, "application/json", icon=icon, on_click="ignore")


def draw_nothing(board: Leaderboard) -> None:
    """Says why there is no leaderboard."""
    words = "No two named models have been compared yet. Import responses with the names of their models."
    st.info(words, icon=":material/leaderboard:")
    if board.num_left_out:
        st.caption(f"{board.num_left_out:,} votes compare a model with itself, or with a response of no known source.")


def draw_notes(board: Leaderboard) -> None:
    """Whether all models stand on one scale, and what else a reader has to know."""
    votes = "vote" if board.num_votes == 1 else "votes"
    if board.connected:
        st.caption(
            f"Bradley-Terry strengths from {board.num_votes:,} {votes}, on a log scale with mean zero: a model 1.0 "
            "above another is preferred in about 73% of their votes. Whiskers are 95% intervals over comparisons."
        )
    else:
        words = "Not all models are connected by votes: strengths of different groups cannot be compared."
        st.warning(words, icon=":material/link_off:")
    for note in board.notes:
        st.text(note)


def draw_strengths(standings: list[Standing], group: int | None) -> None:
    """One dot with its interval per model, best first."""
    if group is not None:
        st.header(f"Group {group + 1}", anchor=False)
    rows = [
        {"label": row.name, "value": row.log_strength, "low": row.low, "high": row.high, "num": row.num_votes}
        for row in standings[:MOST_MODELS]
    ]
    chart = charts.intervals(rows, axis="strength", reference=0.0, reference_label="mean of all models", clickable=True)
    mark = picked(st.altair_chart(chart, key=f"leaderboard-strengths-{group}", on_select="rerun"), "label")
    if mark is not None:
        open_comparisons(ComparisonFilter(models=(mark["label"],)))
    if len(standings) > MOST_MODELS:
        st.caption(f"The {MOST_MODELS} best of {len(standings)}; all are in the table.")


def draw_table(board: Leaderboard) -> None:
    """All standings in figures."""
    rows = [
        {
            "rank": row.rank,
            "model": row.name,
            "win rate": 100 * row.win_rate,
            "strength": row.log_strength,
            "95% interval": f"{row.low:.2f} to {row.high:.2f}",
            "votes": row.num_votes,
            "comparisons": row.num_items,
            "group": row.group + 1,
            "behind": link_to(ComparisonFilter(models=(row.name,))),
        }
        for row in board.standings
    ]
    columns = {
        "rank": st.column_config.NumberColumn("rank", width="small", help=RANK_HELP),
        "win rate": st.column_config.ProgressColumn("win rate", format="%.0f%%", min_value=0, max_value=100),
        "strength": st.column_config.NumberColumn("strength", format="%.2f"),
        "behind": st.column_config.LinkColumn("behind it", display_text="open", width="small"),
        "group": None if board.connected else st.column_config.NumberColumn("group"),
    }
    st.dataframe(rows, column_config=columns, hide_index=True, key="leaderboard-table")
    if len({row.rank for row in board.standings}) < len(board.standings):
        st.caption(RANK_HELP)
    links = [(row.name, ComparisonFilter(models=(row.name,))) for row in board.standings[:MOST_MODELS]]
    draw_links("The comparisons of each model", links, key="leaderboard")


def draw_win_rates(board: Leaderboard) -> None:
    """Who beats whom, as a matrix."""
    st.header("Who beats whom", anchor=False)
    index_of = {name: index for index, name in enumerate(board.sources)}
    shown = [row.name for row in board.standings[:MOST_MODELS]]
    rates, games = board.win_rates, board.wins + board.wins.T + board.tied
    rows = []
    for one in shown:
        for other in shown:
            rate = float(rates[index_of[one], index_of[other]])
            num = int(games[index_of[one], index_of[other]])
            rows.append({"row": one, "column": other, "value": None if math.isnan(rate) else rate, "num": num})
    chart = charts.heatmap(
        rows, value="win rate", percent=True, row_title="model", column_title="against", clickable=True
    )
    mark = picked(st.altair_chart(chart, key="leaderboard-win-rates", on_select="rerun"), "row", "column")
    if mark is not None and mark["row"] != mark["column"]:
        open_comparisons(ComparisonFilter(models=(mark["row"], mark["column"])))
    st.caption("Share of votes that the model of the row wins against that of the column; a tie is half a win.")


def draw_pairs(win_rates: WinRates) -> None:
    """Each pair of models that met: the win rate with its interval, and how many votes were ties."""
    st.header("Win rates", anchor=False)
    shown = win_rates.pairs[:MOST_PAIRS]
    rows = [
        {
            "label": f"{pair.one} against {pair.other}",
            "value": pair.rate.value,
            "low": None if math.isnan(pair.rate.low) else pair.rate.low,
            "high": None if math.isnan(pair.rate.high) else pair.rate.high,
            "num": pair.num_votes,
        }
        for pair in shown
    ]
    chart = charts.intervals(
        rows, axis="win rate", percent=True, domain=(0.0, 1.0), reference=0.5, reference_label="even", clickable=True
    )
    met = {f"{pair.one} against {pair.other}": ComparisonFilter(models=(pair.one, pair.other)) for pair in shown}
    mark = picked(st.altair_chart(chart, key="leaderboard-pairs", on_select="rerun"), "label")
    if mark is not None and mark["label"] in met:
        open_comparisons(met[mark["label"]])
    table = [
        {
            "model": pair.one,
            "against": pair.other,
            "win rate": 100 * pair.rate.value,
            "95% interval": f"{pair.rate.low:.1%} to {pair.rate.high:.1%}" if pair.rate.is_known else "",
            "ties": 100 * pair.tie_share.value,
            "won": pair.wins,
            "tied": pair.ties,
            "both bad": pair.both_bad,
            "lost": pair.losses,
            "comparisons": pair.num_items,
            "behind": link_to(met[f"{pair.one} against {pair.other}"]),
        }
        for pair in shown
    ]
    columns = {name: st.column_config.NumberColumn(name, format="%.1f%%") for name in ("win rate", "ties")}
    columns["behind"] = st.column_config.LinkColumn("behind it", display_text="open", width="small")
    st.dataframe(table, column_config=columns, hide_index=True, key="leaderboard-pairs-table")
    draw_links("The comparisons of each pair", list(met.items()), key="leaderboard-pairs")
    num_pairs = len(win_rates.pairs)
    more = f" The {MOST_PAIRS} pairs with most votes of {num_pairs}." if num_pairs > MOST_PAIRS else ""
    st.caption(f"Ties and both-bad votes are half a win; intervals are over comparisons.{more}")
