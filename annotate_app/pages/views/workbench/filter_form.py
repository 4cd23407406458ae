"""The filter of the page Comparisons: its fields, its parts as buttons that take them away, and the page's address.

The address is the one place where the filter lives: fields are filled from it, and write to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.workbench.browsing import Vocabulary
from annotate_app.store.workbench.comparison_filter import (
    ANYBODY,
    SORTS,
    SPLIT,
    STATES,
    UNANIMOUS,
    WORDS,
    ComparisonFilter,
    from_address,
    to_address,
)

PAGE = "page"
STATE_WORDS = {
    "any": "All",
    "unjudged": "Not judged yet",
    "open": "Votes missing",
    "complete": "Complete",
    "gold": "Known answer",
    "decided": "Adjudicated",
}
SORT_WORDS = {
    "came": "As they came",
    "newest": "Newest judgment",
    "votes": "Most votes",
    "agreement": "Least agreement",
    "longest": "Longest",
    "priority": "Priority",
}
EXCLUDED_WORDS = {"without": "Left out", "only": "Only these", "with": "Shown too"}
PEOPLE = {"missed": "Known answer missed by", "changed": "Answered differently twice by", "fast": "Too fast by"}
# How a part of the filter is called on the button that takes it away.
PARTS = {
    "text": "words",
    "state": "state",
    "keys": "chosen by a link",
    "persons": "judged by",
    "disagree": "disagree",
    "models": "model",
    "flag": "flag",
    "criterion": "differ on",
    "agreement": "agreement",
    "missed": "known answer missed by",
    "changed": "changed by",
    "fast": "too fast by",
    "since": "judged from",
    "until": "judged until",
    "shortest": "characters from",
    "longest": "characters to",
    "tags": "tag",
    "excluded": "excluded",
    "turn": "turn",
    "round": "blind round",
    "asked": "with an open question",
    "assigned": "assigned to",
}
FIELDS = (*(name for name in PARTS if name != "keys"), "sort")
_FILLED = "comparisons-address"


def read_filter() -> ComparisonFilter:
    """The filter that the page's address says.

    Raises:
        ValueError: if the address says what no filter is.
    """
    return from_address({word: st.query_params.get_all(word) for word in WORDS})


def read_page() -> int:
    """The number of the page in the address, 1 where it says none."""
    number = st.query_params.get(PAGE, "1")
    return max(int(number), 1) if number.isdigit() and len(number) < 8 else 1


def write_filter(chosen: ComparisonFilter) -> None:
    """Puts a filter into the page's address; the list begins at its first page."""
    address = to_address(chosen)
    for word in (*WORDS, PAGE):
        st.query_params.pop(word, None)
    for word, values in address.items():
        st.query_params[word] = values


def draw_filter(chosen: ComparisonFilter, vocabulary: Vocabulary, rubric: Rubric) -> None:
    """Draws the fields: words, state and order at once, the rest behind a button."""
    fill(chosen)
    words, state, order, more = st.columns([4, 2, 2, 1], vertical_alignment="bottom")
    words.text_input(
        "Search", placeholder="Words of a prompt or a response, or an id", key=_key("text"), on_change=apply
    )
    state.selectbox("State", STATES, format_func=STATE_WORDS.__getitem__, key=_key("state"), on_change=apply)
    order.selectbox("Order", SORTS, format_func=SORT_WORDS.__getitem__, key=_key("sort"), on_change=apply)
    with more.popover("Filter", icon=":material/tune:", width="stretch"):
        draw_people(chosen, vocabulary)
        draw_answers(chosen, rubric)
        draw_contents(chosen, vocabulary)
    draw_parts(chosen)


def draw_people(chosen: ComparisonFilter, vocabulary: Vocabulary) -> None:
    """Fields about who judged and how."""
    left, right = st.columns(2)
    names = _with(vocabulary.people, chosen.persons, chosen.disagree)
    left.multiselect("Judged by", names, key=_key("persons"), on_change=apply, help="By all of these.")
    right.multiselect(
        "Disagree",
        names,
        key=_key("disagree"),
        max_selections=2,
        on_change=apply,
        help="One person: with the most frequent answer of the others. Two: with each other.",
    )
    columns = st.columns(3)
    for column, (name, label) in zip(columns, PEOPLE.items(), strict=True):
        people = ["", ANYBODY, *_with(vocabulary.people, (getattr(chosen, name),))]
        column.selectbox(label, people, format_func=say_person, key=_key(name), on_change=apply)


def draw_answers(chosen: ComparisonFilter, rubric: Rubric) -> None:
    """Fields about what was answered, and when."""
    left, middle, right = st.columns(3)
    agreements = ["", UNANIMOUS, SPLIT, "0.5-0.8"]
    left.selectbox(
        "Agreement",
        _with(agreements, (chosen.agreement,), sort=False),
        format_func=say_agreement,
        accept_new_options=True,
        key=_key("agreement"),
        on_change=apply,
        help="Share of the most frequent answer; two shares such as 0.6-0.9 may be typed.",
    )
    criteria = ["", *_with([criterion.name for criterion in rubric.criteria], (chosen.criterion,))]
    middle.selectbox("Differ on", criteria, format_func=say_none, key=_key("criterion"), on_change=apply)
    flags = ["", *_with([flag.name for flag in rubric.flags], (chosen.flag,))]
    right.selectbox("Flag", flags, format_func=say_none, key=_key("flag"), on_change=apply)
    left, right = st.columns(2)
    left.date_input("Judged from", value=None, key=_key("since"), on_change=apply, help="Days in UTC.")
    right.date_input("Judged until", value=None, key=_key("until"), on_change=apply)


def draw_contents(chosen: ComparisonFilter, vocabulary: Vocabulary) -> None:
    """Fields about what is compared, and what it was put into."""
    left, right = st.columns(2)
    models = _with(vocabulary.models, chosen.models)
    left.multiselect(
        "Model", models, key=_key("models"), max_selections=2, on_change=apply, help="Two: against each other."
    )
    right.multiselect("Tags", _with(vocabulary.tags, chosen.tags), key=_key("tags"), on_change=apply)
    one, two, three, four = st.columns(4)
    for column, name, label in ((one, "shortest", "Characters from"), (two, "longest", "to")):
        column.number_input(label, min_value=0, step=100, key=_key(name), on_change=apply, help="0 is no bound.")
    for column, name, label in ((three, "turn", "Turn"), (four, "round", "Blind round")):
        column.number_input(label, min_value=0, step=1, key=_key(name), on_change=apply, help="0 is no matter.")
    left, middle, right = st.columns(3)
    people = ["", ANYBODY, *_with(vocabulary.people, (chosen.assigned,))]
    left.selectbox("Assigned to", people, format_func=say_person, key=_key("assigned"), on_change=apply)
    middle.selectbox(
        "Excluded", list(EXCLUDED_WORDS), format_func=EXCLUDED_WORDS.__getitem__, key=_key("excluded"), on_change=apply
    )
    right.checkbox("With an open question", key=_key("asked"), on_change=apply)


def draw_parts(chosen: ComparisonFilter) -> None:
    """Each part of the filter as a button that takes it away."""
    blank = ComparisonFilter()
    parts = [name for name in PARTS if getattr(chosen, name) != getattr(blank, name)]
    if not parts:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="comparisons-parts"):
        for name in parts:
            st.button(
                as_markdown(say_part(name, getattr(chosen, name))),
                icon=":material/close:",
                key=f"comparisons-drop-{name}",
                on_click=write_filter,
                args=(replace(chosen, **{name: getattr(blank, name)}),),
                help="Take this away",
            )
        if len(parts) > 1 or "keys" in parts:
            st.button(
                "Show all",
                key="comparisons-all",
                type="tertiary",
                on_click=write_filter,
                args=(ComparisonFilter(sort=chosen.sort),),
            )


def fill(chosen: ComparisonFilter) -> None:
    """Fills the fields from the filter where the address has changed since, or they were not drawn before."""
    address = repr(to_address(chosen))
    changed = st.session_state.get(_FILLED) != address
    st.session_state[_FILLED] = address
    for name in FIELDS:
        if changed or _key(name) not in st.session_state:
            value = getattr(chosen, name)
            st.session_state[_key(name)] = list(value) if isinstance(value, tuple) else value


def apply() -> None:
    """Puts what the fields hold into the address."""
    values: dict[str, Any] = {name: st.session_state[_key(name)] for name in FIELDS if _key(name) in st.session_state}
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    fields["agreement"] = (fields.get("agreement") or "").strip()
    try:
        chosen = ComparisonFilter(**replace_missing(fields), keys=read_filter().keys)
    except ValueError as error:
        st.session_state["comparisons-refused"] = str(error)
        return
    write_filter(chosen)


def replace_missing(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields whose empty value Streamlit says as None, as a filter says it."""
    blank = ComparisonFilter()
    return {name: getattr(blank, name) if value is None else value for name, value in fields.items()}


def say_part(name: str, value: object) -> str:
    """A part of a filter in words."""
    match name:
        case "keys":
            return f"{len(value)} chosen by a link"  # type: ignore[arg-type]
        case "state":
            return STATE_WORDS[str(value)].lower()
        case "asked":
            return PARTS[name]
        case "excluded":
            return "only excluded" if value == "only" else "excluded shown too"
        case "disagree" if len(value) == 1:  # type: ignore[arg-type]
            return f"{value[0]} apart from the others"  # type: ignore[index]
        case "disagree":
            return f"{' and '.join(value)} disagree"  # type: ignore[arg-type]
        case "models" if len(value) == 2:  # type: ignore[arg-type]
            return " against ".join(value)  # type: ignore[arg-type]
        case "agreement":
            return f"agreement: {say_agreement(str(value)).lower()}"
    words = ", ".join(map(str, value)) if isinstance(value, tuple) else say_person(str(value))
    return f"{PARTS[name]}: {words}"


def say_person(name: str) -> str:
    """A name of a person in a choice, where none and anybody are said as well."""
    return {"": "–", ANYBODY: "anybody"}.get(name, name)


def say_none(name: str) -> str:
    """A name in a choice, where none is said as well."""
    return name or "–"


def say_agreement(agreement: str) -> str:
    """An agreement in words: `Unanimous`, `50 % to 80 %`."""
    match agreement:
        case "":
            return "–"
        case "unanimous" | "split":
            return agreement.capitalize()
        case _:
            try:
                low, high = ComparisonFilter(agreement=agreement).shares() or (0.0, 1.0)
            except ValueError:
                return agreement
            return f"{low:.0%} to {high:.0%}"


def _key(name: str) -> str:
    return f"comparisons-{name}"


def _with(names: Any, *more: Any, sort: bool = True) -> list[str]:
    """The names, and those that the filter holds already: a choice must offer what is chosen."""
    extra = [name for part in more for name in part if name not in ("", ANYBODY)]
    both = list(dict.fromkeys([*names, *extra]))
    return sorted(both) if sort else both
