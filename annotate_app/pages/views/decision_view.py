"""The decision on a comparison that people disagree on: the overall answer by one key, each criterion, and why."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.comparison_view import describe_choice, describe_criterion
from annotate_app.pages.views.steps_view import WORDS
from annotate_app.protocol.rubric import Criterion, Rubric, Scale
from annotate_app.store.judgments.judgments import Decision

Settled = int | tuple[int, int]
STEP_ANSWERS = [("1", "a", 1), ("2", "tie", 0), ("3", "b", 1), ("x", "discard", 0)]
"""Shortcut, choice and strength of every decision on a step."""


def describe(choice: str, strength: int, rubric: Rubric) -> str:
    """A decision in words: of a step, whether it is right."""
    return WORDS[choice] if rubric.task == "steps" else describe_choice(choice, strength, rubric.scale)


def draw_decision(decision: Decision, rubric: Rubric) -> None:
    """Draws what was decided, by whom, why."""
    with st.container(border=True):
        st.text(f"Decided by {decision.user}: {describe(decision.choice, decision.strength, rubric)}")
        for criterion in rubric.criteria:
            if criterion.name in decision.criteria:
                settled = describe_criterion(decision.criteria[criterion.name], criterion)
                st.caption(as_markdown(f"{criterion.name}: {settled}"))
        if decision.rationale:
            st.text(decision.rationale)


def draw_form(project_id: int, rubric: Rubric, key: str, before: Decision | None) -> None:
    """Draws the form: one button or key per overall answer, which decides, and what is settled and said with it.

    Args:
        key: the comparison's.
        before: the decision that stands, which the form begins with.
    """
    name = key_of(key)
    with st.form(f"decide-{name}", border=False, enter_to_submit=False):
        with st.container(horizontal=True, gap="small"):
            for shortcut, choice, strength in STEP_ANSWERS if rubric.task == "steps" else answers(rubric.scale):
                st.form_submit_button(
                    as_markdown(describe(choice, strength, rubric)),
                    key=f"decide-{name}-{choice}-{strength}",
                    shortcut=shortcut,
                    on_click=decide,
                    args=(project_id, rubric, key, choice, strength),
                )
        if rubric.criteria:
            st.caption("Settled with it, where you say so:")
        for criterion in rubric.criteria:
            draw_criterion(criterion, name, None if before is None else before.criteria.get(criterion.name))
        st.text_area(
            "Why",
            key=f"why-{name}",
            height=68,
            value="" if before is None else before.rationale,
            placeholder="Optional; kept with the decision.",
        )


def draw_criterion(criterion: Criterion, name: str, settled: Settled | None) -> None:
    """Draws one criterion's answers; none is chosen where it is not settled."""
    label = as_markdown(criterion.name.replace("_", " "))
    match criterion.kind:
        case "compare":
            st.segmented_control(
                label,
                degrees(criterion.scale),
                default=settled if isinstance(settled, int) else None,
                format_func=lambda degree: describe_criterion(degree, criterion),
                key=f"settle-{name}-{criterion.name}",
                help=as_markdown(criterion.question),
            )
        case "rate":
            ratings = range(criterion.low, criterion.high + 1)
            columns = st.columns(2)
            for place, side in enumerate("ab"):
                columns[place].selectbox(
                    f"{label} of {side.upper()}",
                    ratings,
                    index=ratings.index(settled[place]) if isinstance(settled, tuple) else None,
                    key=f"settle-{name}-{criterion.name}-{side}",
                    help=as_markdown(criterion.question),
                    placeholder="not settled",
                )


def degrees(scale: Scale) -> list[int]:
    """The signed degrees of a scale, from A at its strongest to B; 0 where it has a tie."""
    reach = range(-scale.degrees, scale.degrees + 1)
    return [degree for degree in reach if degree or scale.tie]


def answers(scale: Scale) -> list[tuple[str, str, int]]:
    """Shortcut, choice and strength of every possible decision, from A at its strongest to B."""
    strengths = range(1, scale.degrees + 1)
    ordered = [*(("a", degree) for degree in reversed(strengths)), ("tie", 0), *(("b", degree) for degree in strengths)]
    numbered = [(str(number), *answer) for number, answer in enumerate(ordered, start=1)]
    return [*numbered, ("n", "both_bad", 0), ("x", "discard", 0)]


def decide(project_id: int, rubric: Rubric, key: str, choice: str, strength: int) -> None:
    """Stores the decision; the list moves up by one."""
    decision = act("", make_decision, rubric, key, choice, strength)
    if decision is not None:
        act("Decided.", current_store().judgments.adjudicate, current_actor(), project_id, key, decision)


def make_decision(rubric: Rubric, key: str, choice: str, strength: int) -> Decision:
    """The decision that a button stands for, with what the form settles beside it.

    Raises:
        ValueError: if one response of a rated criterion is settled and the other is not.
    """
    name = key_of(key)
    settled: dict[str, Settled] = {}
    for criterion in rubric.criteria:
        field = f"settle-{name}-{criterion.name}"
        match criterion.kind:
            case "compare":
                if st.session_state.get(field) is not None:
                    settled[criterion.name] = int(st.session_state[field])
            case "rate":
                a, b = (st.session_state.get(f"{field}-{side}") for side in "ab")
                if (a is None) != (b is None):
                    raise ValueError(f"{criterion.name} is settled for one response only: rate both, or neither")
                if a is not None and b is not None:
                    settled[criterion.name] = (int(a), int(b))
    why = str(st.session_state[f"why-{name}"]).strip()
    return Decision(
        choice=choice,  # type: ignore[arg-type]
        strength=strength,
        criteria={} if choice == "discard" else settled,
        rationale=why,
    )
