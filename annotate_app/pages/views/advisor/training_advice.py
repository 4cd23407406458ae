"""The question which training to take, as a form, and the answer of `alignment plan` as a page.

The answer is that of the command, run as a process of its own: the page server counts no networks.
"""

from __future__ import annotations

import json
import math
import shlex
from typing import Any

import streamlit as st

from annotate_app.jobs.processes import ask_module
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.views.figures import votes_of
from annotate_app.store.projects.projects import Project

ASKED = "asked"
"""In the address of a question that was asked."""
MOST = 10**9
# Address and flag, label, default, step, help.
NUMBERS: tuple[tuple[str, str, float, float, str], ...] = (
    ("days", "Days", 14.0, 1.0, "The GPUs are there for so long; 0 sets no limit."),
    ("price-per-hour", "Price of a GPU hour", 0.0, 0.1, "In any currency; 0 tells no cost."),
    ("prompts", "Prompts to draw for", 0, 1000, "For what draws completions; 0 takes as many as pairs."),
    ("prompt-tokens", "Tokens of a prompt", 512, 64, "Of a usual one."),
    ("completion-tokens", "Tokens of an answer", 256, 64, "Of a usual one in the pairs."),
    ("new-tokens", "Tokens of a drawn answer", 0, 64, "0 takes those of an answer in the pairs."),
)
SWITCHES = {
    "tuned": ("The model answers as an assistant already", "No supervised fine-tuning comes first."),
    "verifiable": ("A program can check answers", "No reward model is needed where completions are drawn."),
}


def draw_training(project: Project) -> None:
    """Draws the form, and the answer to the question that the address holds."""
    words = draw_question(len(votes_of(project).items))
    if ASKED not in st.query_params:
        st.caption("Nothing is downloaded or trained: the answer is computed from the model's shape.")
        return
    try:
        advice = answer(words)
    except ValueError as error:
        st.error(as_markdown(str(error)), icon=":material/error:")
        return
    draw_recommendation(advice)
    draw_ways(advice)
    for way in advice["ways"]:
        draw_way(way)
    with st.expander("Where the hours come from", icon=":material/timer:"):
        st.text(f"{advice['rates']}.")
        st.text(f"{advice['published']}.")
    st.caption("The same on the command line:")
    st.code(shlex.join(["alignment", *words]), language=None, wrap_lines=True)


def draw_question(num_pairs: int) -> tuple[str, ...]:
    """The form; the words after `alignment` that ask what it holds, or the address."""
    address = st.query_params
    with st.form("advisor-form"):
        first = st.columns(3)
        pairs = first[0].number_input(
            "Preference pairs",
            min_value=1,
            max_value=MOST,
            value=int(_number(address.get("pairs"), max(1, num_pairs))),
            step=100,
            key="advisor-pairs",
            help="This project's comparisons to begin with.",
        )
        model = first[1].text_input(
            "Model", address.get("model", "7B"), key="advisor-model", help="7B, 13B or 70B, a folder or a hub id."
        )
        gpus = first[2].text_input(
            "GPUs", address.get("gpus", "4xA100-80"), key="advisor-gpus", help="Number, name and GB, as in 8xH100-80."
        )
        values: dict[str, float] = {}
        columns = st.columns(3)
        for place, (name, label, default, step, meaning) in enumerate(NUMBERS):
            value = _number(address.get(name), default)
            values[name] = columns[place % 3].number_input(
                label,
                min_value=type(default)(0),
                max_value=type(default)(MOST),
                value=type(default)(value),
                step=type(default)(step),
                key=f"advisor-{name}",
                help=meaning,
            )
        switches = {
            name: st.checkbox(label, address.get(name) == "yes", key=f"advisor-{name}", help=meaning)
            for name, (label, meaning) in SWITCHES.items()
        }
        asked = st.form_submit_button("Ask", type="primary", icon=":material/lightbulb:", key="advisor-ask")
    if asked:
        st.query_params.update(
            {
                **{"pairs": str(pairs), "model": model, "gpus": gpus, ASKED: "yes"},
                **{name: f"{value:g}" if value < 1e6 else str(int(value)) for name, value in values.items()},
                **{name: "yes" if on else "no" for name, on in switches.items()},
            }
        )
    words = ["plan", f"--pairs={pairs}", f"--model={model.strip()}", f"--gpus={gpus.strip()}"]
    defaults = {name: default for name, _, default, _, _ in NUMBERS if name not in ("days",)}
    words += [f"--{name}={value}" for name, value in values.items() if value != defaults.get(name)]
    return (*words, *(f"--{name}" for name, on in switches.items() if on))


@st.cache_data(max_entries=64, show_spinner="Asking what fits, and how long it takes")
def answer(words: tuple[str, ...]) -> dict[str, Any]:
    """What the command says, as a dictionary.

    Raises:
        ValueError: with its own words, if the question cannot be answered.
    """
    return json.loads(ask_module("alignment", *words, "--json"))


def draw_recommendation(advice: dict[str, Any]) -> None:
    """The one way to take, and why."""
    recommended = advice["recommendation"]
    title = next((way["title"] for way in advice["ways"] if way["name"] == recommended["way"]), None)
    with st.container(border=True, key="advisor-recommendation"):
        st.subheader(f"Recommended: {title}" if title else "Nothing to recommend", anchor=False)
        st.markdown(as_markdown(recommended["reason"]))
        if recommended["after"]:
            st.markdown(as_markdown(recommended["after"]))


def draw_ways(advice: dict[str, Any]) -> None:
    """All ways in a table."""
    rows = [
        {
            "way": way["title"],
            "fits": "yes" if way["fits"] else "no",
            "hours": round(way["hours"], 1) if way["fits"] else None,
            "from": round(way["low"], 1) if way["fits"] else None,
            "to": round(way["high"], 1) if way["fits"] else None,
            "cost": way["cost"],
            "in time": {True: "yes", False: "no", None: ""}[way["in_time"]],
            "GiB on each GPU": round(way["peak"], 1) if way["fits"] else None,
            "data": ", ".join(f"{need['what']}: {need['verdict']}" for need in way["needs"]) or "nothing",
        }
        for way in advice["ways"]
    ]
    st.dataframe(rows, hide_index=True, key="advisor-ways", placeholder="–")


def draw_way(way: dict[str, Any]) -> None:
    """One way in full."""
    with st.expander(way["title"], key=f"advisor-way-{way['name']}"):
        if way["fits"]:
            options = ", ".join(name if value is True else f"{name} {value}" for name, value in way["options"].items())
            st.text(f"Fits with: {options or 'no option changed'}")
            st.text("\n".join(way["models"]))
            st.text("\n".join(f"{stage['hours']:.1f} hours: {stage['name']}" for stage in way["stages"]))
        else:
            st.text("Does not fit in any configuration that was tried.")
        for need in way["needs"]:
            st.text(f"{need['what']}: {need['verdict']}. {need['words']}")
        st.markdown("**How it fails, and the sign**")
        for failure in way["failures"]:
            st.text(f"{failure['title']}: {failure['cause']}.\nSign: {failure['sign']}\nThen: {failure['advice']}")


def _number(text: str | None, default: float) -> float:
    """The number in an address; the default where there is none."""
    try:
        number = float(text or default)
    except ValueError:
        return default
    return min(max(number, 0), MOST) if math.isfinite(number) else default
