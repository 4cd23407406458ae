"""Agreement on rankings: Kendall's W, rank correlation and agreement on pairs, over all and by comparison."""

from __future__ import annotations

import streamlit as st

from annotate_app.access import Actor
from annotate_app.agreement.rankings import RankingAgreement, ranking_agreement
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.figures import Stamp, stamp_of
from annotate_app.store.projects.projects import Project

MEANINGS = {
    "w": ("Kendall's W", "1 where all rank alike, 1 / m for m rankings at random; ties are corrected for."),
    "spearman": ("Rank correlation", "Mean Spearman correlation of two people: what of W is beyond chance."),
    "pairs": ("Agreement on pairs", "Share of pairs that two people both compared on which they say the same."),
}


def draw_rankings(project: Project) -> None:
    """Draws the section; nothing where the project ranks no responses."""
    if current_store().projects.rubric(current_actor(), project.id).rubric.task not in ("rank", "best"):
        return
    found = _agreement(stamp_of(project), current_actor())
    st.header("Rankings")
    if not found.comparisons:
        st.caption("No comparison has two rankings yet.")
        return
    for column, (name, (title, meaning)) in zip(st.columns(3), MEANINGS.items(), strict=True):
        figure = getattr(found, name)
        column.metric(title, f"{figure.value:.3f}" if figure.value == figure.value else "–", border=True, help=meaning)
        if figure.low == figure.low:
            column.caption(f"95% interval {figure.low:.3f} to {figure.high:.3f}")
    st.caption(
        f"{len(found.comparisons):,} comparisons with two rankings or more; {found.num_partial:,} of "
        f"{found.num_rankings:,} rankings leave responses out, which count as tied at their end. "
        "Each comparison counts alike; intervals are over comparisons. Figures of votes below are of pairs."
    )
    with st.expander("By comparison, the least agreed first", icon=":material/format_list_numbered:"):
        rows = sorted(found.comparisons, key=lambda one: (one.w == one.w, one.w))
        st.dataframe(
            [
                {
                    "comparison": one.comparison_id,
                    "rankings": one.num_rankings,
                    "responses": one.num_responses,
                    "W": one.w,
                    "correlation": one.spearman,
                    "pairs": one.pairs,
                }
                for one in rows
            ],
            hide_index=True,
            key="agreement-rankings",
        )


@st.cache_data(max_entries=8, show_spinner="Computing agreement on rankings")
def _agreement(stamp: Stamp, _actor: Actor) -> RankingAgreement:
    return ranking_agreement(current_store().judgments.iterate(_actor, stamp[1]))
