"""The labeling form of a rubric that is being written, on pairs of the project; what is answered is not stored."""

from __future__ import annotations

import streamlit as st

from annotate_app.labeling.trial import TrialDesk
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.labeler_component import mount_labeler
from annotate_app.protocol.rubric import parse_rubric
from rewardkit.data.records import Comparison, Message, content_id
from rewardkit.data.tables.yaml_nodes import YamlError

NUM_PAIRS = 3
MADE_UP = (
    Comparison(
        id="example",
        prompt=(Message(role="user", content="How do I descale a coffee grinder?"),),
        completion_a="You don't: a grinder is brushed out, never descaled. Unplug it and brush the burrs.",
        completion_b="Fill it with descaling liquid, run it twice and rinse well.",
    ),
)


STEPS = ("Half of 18 is 9.", "9 and 4 are 14.", "So the answer is 14.")
MADE_UP_STEPS = (
    Comparison(
        id="example",
        prompt=(Message(role="user", content="What is half of 18, and 4 more?"),),
        completion_a="\n".join(STEPS),
        completion_b="\n".join(STEPS),
        steps=STEPS,
    ),
)


def draw_trial(project_id: int, text: str) -> None:
    """Draws the labeling page for the rubric in `text`, on the first pairs of the project."""
    try:
        rubric = parse_rubric(text, "rubric")
    except YamlError as error:
        st.warning("The labeling form is shown once the YAML has no mistake.", icon=":material/edit_off:")
        st.text(str(error))
        return
    actor, store = current_actor(), current_store()
    name = content_id("trial", project_id, text)
    trial: TrialDesk | None = st.session_state.get(f"trial-desk-{name}")
    if trial is None:
        asks_for_steps = rubric.task == "steps"
        found = [listed.comparison for listed in store.browsing.find(actor, project_id, limit=NUM_PAIRS)]
        fitting = [one for one in found if bool(one.steps) == asks_for_steps]
        made_up = MADE_UP_STEPS if asks_for_steps else MADE_UP
        trial = TrialDesk.open(actor, rubric, fitting or made_up, images_of=project_id)
        st.session_state[f"trial-desk-{name}"] = trial
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("As annotators will meet it, on pairs of this project. Nothing that is answered here is stored.")
        st.button("Start again", key=f"trial-again-{name}", on_click=st.session_state.pop, args=(f"trial-desk-{name}",))
    draw_labeler(name)


@st.fragment
def draw_labeler(name: str) -> None:
    """The component alone reruns with every answer."""
    trial: TrialDesk = st.session_state[f"trial-desk-{name}"]
    message = st.session_state.pop(f"trial-message-{name}", None)

    def receive() -> None:
        sent = st.session_state[f"trial-{name}"].message
        if sent is not None:
            st.session_state[f"trial-message-{name}"] = sent
            trial.receive(sent)

    mount_labeler()(key=f"trial-{name}", data=trial.data(message), on_message_change=receive, height="content")
