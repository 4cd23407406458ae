"""One webhook as leads see it: its address, what it is told, what became of the last deliveries, and its buttons."""

from __future__ import annotations

import streamlit as st

from annotate_app.access import Actor
from annotate_app.jobs.webhook_sending import send_test
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.store.projects.projects import Project
from annotate_app.store.projects.webhooks import EVENTS, Delivery, Webhook
from annotate_app.times import ago

EVENT_WORDS = {
    "judgment": "judgments, edits and undos",
    "item.complete": "a comparison has all its judgments",
    "project.complete": "nothing is left to judge",
    "job.ended": "a job has ended",
}
STATE_LOOK = {
    "waiting": ("waiting", "blue", "schedule"),
    "sent": ("arrived", "green", "check"),
    "failed": ("given up", "red", "error"),
}
SECRET = "webhook-secret"
SHOWN = 20


def draw_made() -> None:
    """The secret of a webhook that was just made or renewed: here and never again."""
    secret = st.session_state.pop(SECRET, None)
    if secret is not None:
        with st.container(border=True, key="webhook-secret-box"):
            st.text("This secret signs what the address is sent. It is shown only now.")
            st.code(secret, language=None, wrap_lines=True)


def draw_webhook(hook: Webhook) -> None:
    """Draws one webhook."""
    with st.container(border=True, key=f"webhook-{hook.id}"):
        st.text(hook.url)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("on" if hook.active else "off", color="green" if hook.active else "gray")
            if hook.private:
                st.badge("own network", color="orange", icon=":material/lan:")
            if hook.num_waiting:
                st.badge(f"{hook.num_waiting:,} waiting", color="blue", icon=":material/schedule:")
            if hook.num_failed:
                st.badge(f"{hook.num_failed:,} given up", color="red", icon=":material/error:")
        st.caption("Told: " + "; ".join(EVENT_WORDS[name] for name in hook.events) + ".")
        with st.container(horizontal=True):
            draw_buttons(hook)
        deliveries = current_store().webhooks.deliveries(current_actor(), hook.project_id, hook.id, limit=SHOWN)
        if deliveries:
            with st.expander("Deliveries", expanded=bool(hook.num_failed)):
                for delivery in deliveries:
                    draw_delivery(hook, delivery)


def draw_buttons(hook: Webhook) -> None:
    """Test, switch, new secret, remove."""
    webhooks, actor = current_store().webhooks, current_actor()
    st.button("Send a test", key=f"webhook-test-{hook.id}", on_click=run_test, args=(hook,))
    switch = "Switch off" if hook.active else "Switch on"
    said = "Switched off; what happens meanwhile is told later." if hook.active else "Switched on."
    st.button(
        switch,
        key=f"webhook-switch-{hook.id}",
        on_click=act,
        args=(said, webhooks.change, actor, hook.project_id, hook.id),
        kwargs={"active": not hook.active},
    )
    st.button("New secret", key=f"webhook-renew-{hook.id}", on_click=renew, args=(hook,))
    with st.popover("Remove"):
        st.text("The address is told nothing more, not even what waits.")
        arguments = ("Removed.", webhooks.remove, actor, hook.project_id, hook.id)
        st.button("Remove it", type="primary", key=f"webhook-remove-{hook.id}", on_click=act, args=arguments)


def draw_delivery(hook: Webhook, delivery: Delivery) -> None:
    """One line about what was told."""
    word, color, icon = STATE_LOOK[delivery.state]
    with st.container(horizontal=True, vertical_alignment="center", key=f"delivery-{delivery.id}"):
        st.badge(word, color=color, icon=f":material/{icon}:")  # type: ignore[arg-type]  # one of its colours
        st.text(f"{delivery.event}: {delivery.subject}")
        tries = f"{delivery.tries} tries" if delivery.tries != 1 else "1 try"
        st.caption(f"{tries}, {ago(delivery.sent_at or delivery.created_at)}")
        if delivery.message and delivery.state != "sent":
            st.text(delivery.message)
        if delivery.state == "waiting" and delivery.tries:
            st.caption(f"again {minute_of(delivery.next_at)} ({zone_name()})")
        if delivery.state != "sent" and (delivery.tries or delivery.state == "failed"):
            webhooks = current_store().webhooks
            arguments = (
                "Sent again by the worker.",
                webhooks.send_again,
                current_actor(),
                hook.project_id,
                delivery.id,
            )
            st.button("Send again", key=f"again-{delivery.id}", on_click=act, args=arguments)


def draw_form(project: Project, actor: Actor) -> None:
    """The form for a new webhook."""
    with st.form("webhook", border=False, width=640):
        st.text_input("Address", key="webhook-url", placeholder="https://example.org/tiebreak")
        st.multiselect("Told when", EVENTS, default=EVENTS, key="webhook-events", format_func=EVENT_WORDS.__getitem__)
        if actor.is_at_least("admin"):
            st.toggle(
                "May reach the own network",
                key="webhook-private",
                help="Also http, and addresses of this machine and its network. Never addresses of the link itself.",
            )
        st.form_submit_button("Make webhook", on_click=make, args=(project,))


def make(project: Project) -> None:
    """Makes the webhook of the form and keeps its secret for one drawing."""
    fields = st.session_state
    made = act(
        "Webhook made.",
        current_store().webhooks.create,
        current_actor(),
        project.id,
        fields["webhook-url"],
        fields["webhook-events"],
        private=bool(fields.get("webhook-private")),
    )
    if made is not None:
        st.session_state[SECRET] = made.secret


def renew(hook: Webhook) -> None:
    """Makes a new secret and keeps it for one drawing."""
    secret = act("New secret.", current_store().webhooks.renew_secret, current_actor(), hook.project_id, hook.id)
    if secret is not None:
        st.session_state[SECRET] = secret


def run_test(hook: Webhook) -> None:
    """Sends a test and says what the receiver answered."""
    act("The test has arrived.", send_test, current_store(), current_actor(), hook.project_id, hook.id)
