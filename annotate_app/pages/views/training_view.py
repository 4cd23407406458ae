"""Draws one training: its state, curves while they grow, results, and buttons.

Of a policy that learns from its own samples it shows what it wrote, by step, and sends an audit's pairs to people.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st

from annotate_app.jobs.jobs import read_log, read_progress
from annotate_app.pages.charts import curves
from annotate_app.pages.kit.button_feedback import act, say
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.best_view import draw_best, draw_best_figures
from annotate_app.pages.views.online_view import draw_alarms, draw_online_curves, draw_online_figures
from annotate_app.times import ago, duration
from annotate_app.trainings.audit_rounds import list_rounds, list_sent, send_round
from annotate_app.trainings.figures import calibration_rows, curve, seconds_left, suite_rows
from annotate_app.trainings.runs import Metrics, ModelRun, get_run
from annotate_app.trainings.training_jobs import go_on

ROW_HEIGHT = 104  # about four lines of an answer
STATE_LOOK: dict[str, tuple[str, Literal["gray", "blue", "green", "red", "orange"], str]] = {
    "queued": ("Waiting", "gray", "hourglass_empty"),
    "running": ("Running", "blue", "sync"),
    "done": ("Done", "green", "check"),
    "failed": ("Failed", "red", "error"),
    "cancelled": ("Cancelled", "gray", "block"),
    "lost": ("Lost", "orange", "help"),
}
POLL_S = 2.5


def draw_written(run: ModelRun, key_prefix: str) -> None:
    """Prompts, answers and their rewards of a step that is picked."""
    by_step = run.samples
    if not by_step:
        return
    with st.expander("What it writes", icon=":material/edit_note:", expanded=True):
        steps = list(by_step)[::-1]
        left, right = st.columns([2, 7], vertical_alignment="bottom")
        key = f"{key_prefix}-{run.job.id}-step"
        step = left.selectbox("Step", steps, format_func=lambda step: f"{step:,}", key=key)
        right.caption(
            "Answers that this step drew to a few prompts, and what each was paid; of several to a prompt the best "
            "and the worst."
        )
        rows = pd.DataFrame(
            {
                "prompt": "\n".join(str(turn["content"]) for turn in sample["prompt"]),
                "answer": sample["completion"] or "(nothing)",
                "reward": sample.get("reward"),
                "ended": "" if sample.get("finished", True) else "cut",
            }
            for sample in by_step[step or steps[0]]
        )
        columns = {
            "prompt": st.column_config.TextColumn("prompt", width="medium"),
            "answer": st.column_config.TextColumn("answer", width="large"),
            "reward": st.column_config.NumberColumn("reward", format="%.3f", width="small"),
            "ended": st.column_config.TextColumn("ended", width="small"),
        }
        if not bool((rows["ended"] != "").any()):
            rows = rows.drop(columns="ended")
        st.dataframe(
            rows,
            hide_index=True,
            column_config=columns,
            row_height=ROW_HEIGHT,
            height=36 + ROW_HEIGHT * min(len(rows), 4) + 2,
            key=f"{key_prefix}-{run.job.id}-written",
        )


def draw_rounds(run: ModelRun, key_prefix: str) -> None:
    """A round of an audit, a project to send it to, the button, and where rounds went."""
    rounds = list_rounds(run)
    if not rounds:
        return
    key = f"{key_prefix}-{run.job.id}-round"
    with st.expander("Ask people: blind rounds", icon=":material/balance:"):
        say()  # the outcome of a click, which draws this part alone again
        st.caption(
            "Each audit kept pairs: what the policy answers at that step, beside what it answered before the first "
            "one. People who judge them do not see which is which; the Leaderboard of the project tells who won. "
            "A project of its own keeps these judgments apart from what models are trained on."
        )
        projects = {one.id: one.name for one in current_store().projects.list(current_actor()) if not one.archived}
        left, middle, right = st.columns([2, 4, 3], vertical_alignment="bottom")
        steps = list(rounds)[::-1]
        step = left.selectbox("Audit at step", steps, format_func=lambda step: f"{step:,}", key=f"{key}-step")
        names = projects.__getitem__
        project = middle.selectbox("Into the project", list(projects), format_func=names, key=f"{key}-project")
        step = step or steps[0]
        right.button(
            f"Send {rounds[step]:,} pairs",
            key=f"{key}-send",
            icon=":material/send:",
            on_click=act,
            args=("Sent.", send_round, current_store(), current_actor(), run.job.id, step, project),
        )
        st.page_link(page_at("projects"), label="Make a project for it", icon=":material/arrow_forward:")
        for sent in list_sent(run):
            there = f", {sent.num_existing:,} were there" if sent.num_existing else ""
            out = f", {sent.num_left_out:,} without any answer left out" if sent.num_left_out else ""
            st.text(
                f"Step {sent.step:,} went into {sent.project}: {sent.num_added:,} pairs added{there}{out}; "
                f"{sent.by}, {ago(sent.at)}."
            )


def watch(run: ModelRun, *, key_prefix: str, log: bool = True) -> None:
    """Draws a training, again every few seconds while it is under way, and the whole page once it ended."""
    st.fragment(draw_again, run_every=POLL_S if run.under_way else None)(run.job.id, run.under_way, key_prefix, log)


def draw_again(job_id: int, busy: bool, key_prefix: str, log: bool) -> None:
    """Draws the training as it is now; `busy` says whether it was under way when the page was drawn."""
    run = get_run(current_store(), current_actor(), job_id)
    if busy and not run.under_way:
        st.rerun()
    draw_run(run, key_prefix, log)


def draw_run(run: ModelRun, key_prefix: str, log: bool = True) -> None:
    """State, progress, figures, curves, buttons and the log's end."""
    with st.container(border=True, key=f"{key_prefix}-run-{run.job.id}"):
        word, color, icon = STATE_LOOK[run.job.state]
        left, right = st.columns([5, 2], vertical_alignment="center")
        with left.container(horizontal=True, vertical_alignment="center"):
            st.badge(word, color=color, icon=f":material/{icon}:")
            st.text(run.name)
            if run.said.name:
                st.caption(as_markdown(run.job.title))
        right.caption(f"{as_markdown(run.job.created_by)}, {ago(run.job.created_at)}", text_alignment="right")
        metrics = run.metrics()
        if run.under_way:
            draw_progress(run, metrics)
        if run.job.message:
            st.text(run.job.message)
        if run.is_best_of_n:
            draw_best_figures(run)
        elif run.is_online:
            draw_online_figures(run)
        elif run.is_reward_model:
            draw_figures(run)
        else:
            draw_policy_figures(run)
        draw_suite(run, key_prefix)
        draw_buttons(run, key_prefix)
        draw_alarms(run, key_prefix)
        draw_curves(run, metrics, key_prefix)
        draw_calibration(run, key_prefix)
        if run.is_best_of_n:
            draw_best(run, key_prefix)
        elif run.is_online:
            draw_written(run, key_prefix)
            draw_rounds(run, key_prefix)
        else:
            draw_samples(run)
        text = read_log(run.job) if log else ""
        if text:
            with st.expander("Log", expanded=run.job.state in ("failed", "lost")):
                st.code(text, language=None, height=180)


def draw_progress(run: ModelRun, metrics: Metrics) -> None:
    """A bar with the time left while steps are taken, words before and after."""
    step, num_steps = int(run.status.get("step") or 0), int(run.status.get("num_steps") or 0)
    left = seconds_left(run, metrics)
    if run.job.state == "queued":
        st.progress(0.0, "Waits until the worker is free")
    elif run.job.cancel:
        text = "Stopping; what was drawn is kept" if run.is_best_of_n else "Stopping after this step, with a checkpoint"
        st.progress(step / num_steps if num_steps else 0.0, text)
    elif num_steps and 0 < step < num_steps and run.status.get("state") == "running":
        text = f"{'Prompt' if run.is_best_of_n else 'Step'} {step:,} of {num_steps:,}"
        st.progress(step / num_steps, f"{text}, {duration(left)} left" if left is not None else text)
    else:
        trained = run.status.get("state") == "done" or (num_steps and step == num_steps)
        what = stage(read_progress(run.job).text.partition(" ")[2] or "starting")
        if run.is_best_of_n:
            st.progress(1.0 if trained else 0.0, "Choosing" if trained else "Loading the policy and its judges")
        else:
            st.progress(1.0 if trained else 0.0, f"Trained; {what}" if trained else what.capitalize())


def stage(what: str) -> str:
    """Says at which step of its work the job is."""
    words = {"exporting": "taking the snapshot", "training": "reading the data", "evaluating": "writing the report"}
    return next((text for name, text in words.items() if name in what), "starting")


def draw_figures(run: ModelRun) -> None:
    """Accuracy with its interval, on validation and on test rows, and what they rest on."""
    results, overall = run.results, run.evaluation.get("overall") or {}
    if not results:
        return
    columns = st.columns(4)
    test = overall.get("accuracy") or {}
    if test.get("value") is not None:
        columns[0].metric("Test accuracy", f"{test['value']:.1%}", help="On pairs of prompts the model has never seen.")
        columns[0].caption(f"{test['low']:.0%} to {test['high']:.0%}, {overall['num_pairs']:,} pairs")
    if results.get("accuracy") is not None:
        low, high = results.get("accuracy_interval") or (None, None)
        columns[1].metric("Validation accuracy", f"{results['accuracy']:.1%}", help="Used to stop and to calibrate.")
        columns[1].caption(
            f"{low:.0%} to {high:.0%}, {results.get('num_held_out', 0):,} pairs" if low is not None else ""
        )
    if results.get("nll") is not None:
        columns[2].metric("Validation NLL", f"{results['nll']:.3f}", help="Nats a pair; a coin has 0.693.")
    columns[3].metric("Trained on", f"{results.get('num_train', 0):,}", help="Pairs of the snapshot.")
    members = results.get("num_members") or run.option("ensemble") or 1
    spread = f", margins differ by {results['margin_std']:.2f}" if results.get("margin_std") is not None else ""
    columns[3].caption(f"pairs; {members} member{'' if members == 1 else 's'}{spread}")


def draw_policy_figures(run: ModelRun) -> None:
    """What held-out rows and, where it was held against its base, its own completions say of a policy."""
    results = run.results
    if not results:
        return
    columns = st.columns(4)
    if (loss := results.get("eval/loss")) is not None:
        unit = "Nats a token." if run.trains == "sft" else "Of a pair; DPO begins at 0.693."
        columns[0].metric("Validation loss", f"{loss:.3f}", help=unit)
    if (accuracy := results.get("eval/rewards/accuracies")) is not None:
        meaning = "Pairs in which training made the chosen answer the likelier one."
        columns[1].metric("Validation accuracy", f"{accuracy:.1%}", help=meaning)
    elif (accuracy := results.get("eval/mean_token_accuracy")) is not None:
        columns[1].metric("Token accuracy", f"{accuracy:.1%}", help="Tokens of held-out answers it puts first.")
    for kl in run.evaluation.get("kl") or []:
        if kl["estimator"] == "k1" and kl["per_sequence"]["value"] is not None:
            meaning = "How far it moved from where it began, on its own answers, estimator k1."
            columns[2].metric("KL, nats an answer", f"{kl['per_sequence']['value']:.2f}", help=meaning)
    columns[3].metric("Trained on", f"{results.get('num_train', 0):,}", help="Rows of the snapshot.")


def draw_suite(run: ModelRun, key_prefix: str) -> None:
    """What training cost elsewhere, a row for each part of the suite; nothing where none was asked."""
    if rows := suite_rows(run):
        st.dataframe(pd.DataFrame(rows), hide_index=True, key=f"{key_prefix}-{run.job.id}-suite")
        st.caption(
            "What training cost elsewhere: the same items before and after, the difference paired, 95 % interval."
        )


def draw_samples(run: ModelRun) -> None:
    """What a policy writes to held-out prompts, at the last evaluation."""
    by_step = run.samples
    if not by_step:
        return
    step, samples = list(by_step.items())[-1]
    with st.expander(f"What it writes, at step {step:,}", expanded=True):
        for sample in samples:
            st.caption("Prompt")
            st.text("\n".join(str(turn["content"]) for turn in sample["prompt"]))
            st.caption("Answer" if sample["finished"] else "Answer, cut")
            st.text(sample["completion"] or "(nothing)")


def draw_buttons(run: ModelRun, key_prefix: str) -> None:
    """Cancel, go on, report, download."""
    with st.container(horizontal=True):
        if run.under_way:
            words = "Stopping…" if run.job.cancel else "Cancel"
            arguments = ("Asked to stop.", current_store().jobs.cancel, current_actor(), run.job.id)
            st.button(
                words,
                key=f"{key_prefix}-cancel-{run.job.id}",
                icon=":material/stop_circle:",
                disabled=run.job.cancel,
                on_click=act,
                args=arguments,
            )
        if run.report is not None:
            st.link_button("Open the report", f"/runs/{run.job.id}/report", icon=":material/summarize:")
        if run.has_model:
            st.link_button("Download the model", f"/runs/{run.job.id}/model.zip", icon=":material/download:")
        if run.rows is not None:
            st.link_button("Download the rows", f"/runs/{run.job.id}/rows.jsonl", icon=":material/download:")
        if run.can_go_on:
            arguments = ("Queued.", go_on, current_store(), current_actor(), run.job.id)
            st.button(
                "Continue",
                key=f"{key_prefix}-continue-{run.job.id}",
                icon=":material/play_arrow:",
                help="From its last checkpoint, or from what was done before.",
                on_click=act,
                args=arguments,
            )


def draw_curves(run: ModelRun, metrics: Metrics, key_prefix: str) -> None:
    """Loss, accuracy and the spread of members over steps; for a head its validation by strength of the prior."""
    key = f"{key_prefix}-{run.job.id}"
    if any("prior_precision" in row for row in metrics):
        rows = curve(metrics, "eval/nll", "cross-validated", over="prior_precision")
        chart = curves.curves(rows, axis="NLL", across="prior precision: how far weights are held at 0", log=True)
        st.altair_chart(chart, key=f"{key}-prior")
        return
    if run.is_online:
        draw_online_curves(run, metrics, key_prefix)
        return
    losses = [
        *curve(metrics, "loss", "training loss"),
        *curve(metrics, "eval/nll", "validation NLL"),
        *curve(metrics, "eval/loss", "validation loss"),
    ]
    right = [
        *curve(metrics, "rewards/accuracies", "training batch"),
        *curve(metrics, "eval/accuracy", "validation"),
        *curve(metrics, "eval/rewards/accuracies", "validation"),
        *(
            row
            for name in dict.fromkeys(name for row in metrics for name in row if name.startswith("eval/accuracy/"))
            for row in curve(metrics, name, f"validation, {name.removeprefix('eval/accuracy/')}")
        ),
    ]
    spread = [*curve(metrics, "eval/reward/std", "between members"), *curve(metrics, "eval/rewards/margins", "margin")]
    left, middle = st.columns(2)
    if losses:
        unit = "token" if run.trains == "sft" else "pair"
        left.altair_chart(curves.curves(losses, axis=f"loss, nats a {unit}"), key=f"{key}-loss")
    if right:
        chart = curves.curves(right, axis="accuracy", percent=True, reference=0.5, reference_label="a coin")
        middle.altair_chart(chart, key=f"{key}-accuracy")
    tokens = curve(metrics, "eval/mean_token_accuracy", "validation") if run.trains == "sft" else []
    if tokens:
        chart = curves.curves(tokens, axis="tokens put first", percent=True)
        middle.altair_chart(chart, key=f"{key}-tokens")
    if any(row["series"] == "between members" for row in spread):
        st.altair_chart(curves.curves(spread, axis="reward, std and mean margin"), key=f"{key}-std")


def draw_calibration(run: ModelRun, key_prefix: str) -> None:
    """Before and after calibration, and how sure the model is beside how often it is right."""
    rows = calibration_rows(run)
    bins = [
        {"predicted": bin_["predicted"], "observed": bin_["observed"], "num": bin_["count"]}
        for bin_ in run.evaluation.get("bins") or []
        if bin_.get("count")
    ]
    if not rows and not bins:
        return
    left, right = st.columns(2)
    if rows:
        left.caption("Calibration on validation rows, before and after")
        left.altair_chart(curves.before_and_after(rows), key=f"{key_prefix}-{run.job.id}-calibration")
    if bins:
        right.caption("How sure it is, and how often people agree (test rows)")
        right.altair_chart(curves.reliability(bins), key=f"{key_prefix}-{run.job.id}-reliability")
