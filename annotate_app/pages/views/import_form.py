"""Fields of the import of comparisons: what a row is, and what becomes of the responses in it."""

from __future__ import annotations

from typing import Literal, cast

from streamlit.delta_generator import DeltaGenerator

from annotate_app.protocol.rubric import Task

FORM_NAMES = {
    None: "Told from the columns",
    "pairs": "A prompt and two responses",
    "responses": "A prompt and a list of responses",
    "ranked": "A prompt and a list of responses, best first",
    "chosen_rejected": "Chosen and rejected",
    "dialogues": "Chosen and rejected whole dialogues (HH-RLHF)",
    "stepwise": "A prompt and the steps of an answer (TRL's stepwise form)",
    "prm800k": "Steps with rated candidates (PRM800K)",
    "math_shepherd": "Steps that end in a tag (Math-Shepherd)",
    "answers": "A prompt and a whole answer, or a list of them",
}


def read_responses(place: DeltaGenerator, task: Task, key: str) -> tuple[Literal["pairs", "rankings", "steps"], str]:
    """What N responses become, and how an answer that comes whole is split into steps; as the rubric's task asks."""
    if task == "steps":
        split = place.text_input(
            "Whole answers are split by",
            "line",
            key=f"{key}-split",
            help="`line`, `blank_line`, `sentence`, or a text that stands between two steps. Answers that come in "
            "steps stay as they are.",
        )
        return "steps", split
    chosen = place.segmented_control(
        "N responses become",
        ["pairs", "rankings"],
        default="pairs" if task == "compare" else "rankings",
        required=True,
        key=f"{key}-as",
        help="Pairs of them to compare, or one comparison to rank them in: that asks for `task: rank` or "
        "`task: best` in the rubric.",
    )
    return cast(Literal["pairs", "rankings"], chosen), "line"
