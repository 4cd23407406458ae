"""The fields of a project's design, for the form that creates a project and the one that changes it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.protocol.collection_design import LONGEST_CURRENCY, MOST_HOURLY, POLICIES, RULES, Design

POLICY_WORDS = {
    "sequential": "In the order of import",
    "random": "At random",
    "fewest": "Fewest judgments first",
    "priority": "By priority",
}
RULE_WORDS = {
    "majority": "Majority of votes",
    "gold_weighted": "Votes weighted by gold accuracy",
    "dawid_skene": "Dawid-Skene: reliability learned from the votes",
    "mace": "MACE: who guesses is learned from the votes",
    "most_agreeing_3": "The three that agree most",
}


def draw_design(design: Design, key: str) -> None:
    """Draws the fields inside an open form; `read_design` with the same key reads them."""
    _draw_people(design, key)
    _draw_release(design, key)
    with st.expander("What is most informative next", icon=":material/model_training:"):
        _draw_priorities(design, key)
    with st.expander("Checks on annotators", icon=":material/verified:"):
        _draw_checks(design, key)
    with st.expander("Rarely changed", icon=":material/tune:"):
        _draw_timing(design, key)


def _draw_people(design: Design, key: str) -> None:
    left, middle, right = st.columns(3)
    left.number_input(
        "Judgments per comparison",
        min_value=1,
        max_value=100,
        value=design.overlap,
        key=f"{key}-overlap",
        help="How many people judge the same pair. Three is the least that lets a majority settle a dispute.",
    )
    middle.selectbox(
        "Order of work",
        POLICIES,
        index=POLICIES.index(design.policy),
        format_func=POLICY_WORDS.__getitem__,
        key=f"{key}-policy",
        help="Which open comparison is handed out next. Priorities come from a file, or from a model: see below.",
    )
    right.number_input(
        "Target per annotator",
        min_value=0,
        value=design.target,
        key=f"{key}-target",
        help="Shown to annotators as their progress. 0 shows the project's own progress.",
    )
    st.text_input(
        "Groups",
        value=", ".join(f"{name}: {count}" for name, count in design.groups.items()),
        placeholder="crowd: 2, expert: 2",
        key=f"{key}-groups",
        help="Judgments wanted from each group of annotators, in place of one number for all. Empty for no groups.",
    )


def _draw_release(design: Design, key: str) -> None:
    left, middle, right = st.columns(3)
    left.selectbox(
        "How votes become an answer",
        RULES,
        index=RULES.index(design.rule),
        format_func=RULE_WORDS.__getitem__,
        key=f"{key}-rule",
        help="The consensus of each comparison, and with it the exported p_chosen.",
    )
    middle.number_input(
        "Votes needed",
        min_value=1,
        max_value=100,
        value=design.min_votes,
        key=f"{key}-min_votes",
        help="A comparison with fewer votes is not released into training data.",
    )
    _share(right, "Agreement needed", design.min_agreement, f"{key}-min_agreement", "Below it, an adjudicator decides.")


def _draw_priorities(design: Design, key: str) -> None:
    st.number_input(
        "Judgments between new priorities",
        min_value=0,
        value=design.refresh_every,
        key=f"{key}-refresh_every",
        help="After so many judgments a small model is fitted to all of them, and the open pairs about which it knows "
        "least, on prompts unlike those judged before, go first. Takes seconds, runs beside the labeling, and needs "
        "the order of work By priority. 0 leaves priorities as they were imported.",
    )


def _draw_checks(design: Design, key: str) -> None:
    left, right = st.columns(2)
    _share(left, "Gold items", design.gold_rate, f"{key}-gold_rate", "Share of pairs whose answer is known, mixed in.")
    _share(
        right,
        "Repeats",
        design.repeat_rate,
        f"{key}-repeat_rate",
        "Share of pairs shown again later with sides swapped, to see whether a person agrees with themselves.",
    )
    left.toggle(
        "Tell the answer after a gold item",
        design.gold_feedback,
        key=f"{key}-gold_feedback",
        help="Teaches as people work; leave off where gold items should stay unnoticed.",
    )
    left.number_input(
        "Qualification items",
        min_value=0,
        value=design.qualification_items,
        key=f"{key}-qualification_items",
        help="Items with a known answer that a new annotator judges before real work. 0 asks for none.",
    )
    _share(right, "Right answers to qualify", design.qualification_pass, f"{key}-qualification_pass", "")
    _share(
        left,
        "Pause below this gold accuracy",
        design.pause_below,
        f"{key}-pause_below",
        "An annotator who falls under it is paused and you get a notice. 0 never pauses.",
    )
    right.number_input(
        "Gold items before anyone is paused",
        min_value=1,
        value=design.pause_after,
        key=f"{key}-pause_after",
    )


def _draw_timing(design: Design, key: str) -> None:
    left, middle, right = st.columns(3)
    left.number_input(
        "Seconds a pair is held",
        min_value=5,
        value=design.lease_s,
        key=f"{key}-lease_s",
        help="How long a pair stays with somebody who went silent before it is handed to the next.",
    )
    middle.number_input(
        "Seconds until idle",
        min_value=5,
        value=design.idle_s,
        key=f"{key}-idle_s",
        help="Without a key or a pointer for so long, time on task stops counting.",
    )
    right.number_input(
        "Seed",
        min_value=0,
        value=design.seed,
        key=f"{key}-seed",
        help="Of the random order, of the shuffled sides and of where checks fall.",
    )
    left.number_input(
        "Pay for an hour",
        min_value=0.0,
        max_value=MOST_HOURLY,
        value=float(design.hourly_rate),
        key=f"{key}-hourly_rate",
        help="Of active time. The page Time and pay multiplies, and has a rate for each person.",
    )
    middle.text_input("Currency", design.currency, max_chars=LONGEST_CURRENCY, key=f"{key}-currency")


def _share(container: Any, label: str, value: float, key: str, help_text: str) -> None:
    container.slider(label, 0.0, 1.0, value, 0.01, format="percent", key=key, help=help_text or None)


def read_design(key: str) -> Design:
    """What stands in the fields.

    Raises:
        ValueError: if it makes no design, with the field.
    """
    names = set(Design.__dataclass_fields__) - {"groups"}
    values: dict[str, Any] = {name: st.session_state[f"{key}-{name}"] for name in names}
    return Design(**values, groups=read_groups(st.session_state[f"{key}-groups"]))


def read_groups(text: str) -> dict[str, int]:
    """`crowd: 2, expert: 2` as a mapping.

    Raises:
        ValueError: for a part that is not `name: number`.
    """
    groups: dict[str, int] = {}
    for part in filter(str.strip, text.split(",")):
        name, colon, count = part.partition(":")
        if not (colon and name.strip() and count.strip().isdecimal()):
            raise ValueError(f"groups: {part.strip()!r} is not a name, a colon and a number, such as expert: 2")
        groups[name.strip()] = int(count)
    return groups
