"""PPO and GRPO on the pages: what may be chosen and by whom, what is queued, what a run shows, rounds for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from toy_plans import sampling_plan, training_plan
from train_page import demo_of, start_button, texts

from alignment.config.online import PpoConfig
from annotate_app.access import AccessError, Actor
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.plan_files import Plan, read_plan
from annotate_app.trainings.runs import list_runs
from annotate_app.trainings.training_jobs import start

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()


def ended(store: Store, plan: Plan, results: dict[str, object]) -> tuple[Job, Path]:
    """A training that is done, and the folder of its model."""
    job = start(store, ADMIN, plan)
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    model = Path(job.run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(json.dumps({"state": "done", "step": 2, "num_steps": 2, "results": results}))
    for name in ("config.json", "rewardkit.json"):
        (model / name).write_text("{}")
    return job, model


@pytest.fixture
def policy(pages_store: Store) -> Path:
    """The folder of a policy that SFT made."""
    return ended(pages_store, training_plan("sft", project=demo_of(pages_store).name), {})[1]


def reward_model(store: Store, num_members: int) -> Path:
    """The folder of a reward model with so many members."""
    plan = training_plan(project=demo_of(store).name, model="tfidf", mode="head")
    return ended(store, plan, {"num_members": num_members})[1]


def online_run(store: Store, policy: Path, **values: object) -> Job:
    """A GRPO run that is done, with the files that one leaves; its audits kept pairs for people."""
    values = {"model": str(policy), "reward": ["length:9"]} | values
    plan = sampling_plan("grpo", project=demo_of(store).name, **values)  # type: ignore[arg-type]
    results = {"eval/raw": 0.75, "eval/reward": 0.5, "eval/kl": 1.25, "num_train": 90, "num_steps": 2}
    job, model = ended(store, plan, results | {"stopped": "alarm: KL jumps: from 0 to 5"})
    names = ("reward/mean", "reward/raw", "reward/penalised", "kl", "entropy", "ratio/clipfrac", "loss", "reward/std")
    rows = [{"step": n, "time/at": 1.0 * n} | {name: 0.1 * n for name in names} for n in (1, 2)]
    timed = {"time/generate_s": 1.0, "time/reward_s": 0.5, "time/update_s": 2.0, "audit/reward": 0.3}
    (model / "metrics.jsonl").write_text("".join(json.dumps(row | timed) + "\n" for row in rows))
    prompt = [{"role": "user", "content": "Where is it?"}]
    written = [
        {"step": step, "prompt": prompt, "completion": f"*answer* {step} {reward}", "finished": True, "reward": reward}
        for step in (1, 2)
        for reward in (0.9, 0.1)
    ]
    (model / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    (model / "audit").mkdir()
    texts = {"reference": "Soon.", "step-2": "On Monday."}
    pair = {"prompt": prompt, "responses": [{"model": name, "text": text} for name, text in texts.items()]}
    for step in (1, 2):
        (model / "audit" / f"step-{step:06}.jsonl").write_text(json.dumps(pair) + "\n")
    return job


def test_grpo_is_queued_as_it_was_chosen(open_page: OpenPage, pages_store: Store, policy: Path) -> None:
    reward = reward_model(pages_store, 5)
    online_run(pages_store, policy)  # newer, and yet what SFT made is offered first
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    assert test.selectbox(key="train-reward").value == str(reward)
    test.selectbox(key="train-penalty").set_value("uwo_scaled").run()
    assert test.number_input(key="train-penalty-strength-scaled").value == 0.1
    test.selectbox(key="train-penalty").set_value("uwo").run()
    test.number_input(key="train-penalty-strength").set_value(0.5)
    test.selectbox(key="train-grpo-loss").set_value("dr_grpo")
    for name, value in {"beta": 0.1, "max_steps": 7, "completions_per_prompt": 4, "learning_rate": 2e-5}.items():
        test.number_input(key=f"train-grpo-{name}").set_value(value)
    test.selectbox(key="train-audit").set_value("length").run()
    assert start_button(test).disabled  # how many words is not said yet
    test.text_input(key="train-audit-length").set_value("30")
    test.toggle(key="train-on-alarm").set_value(True)
    test.text_area(key="train-advanced-grpo").set_value("temperature: 0.9\nstop: [END]").run()
    assert "Changed: temperature 0.9, stop ['END']" in texts(test)
    start_button(test).click().run()
    assert not test.exception
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    assert read_plan((run.folder / "training.yaml").read_text()) == sampling_plan(
        "grpo",
        project=demo_of(pages_store).name,
        model=str(policy),
        reward=[str(reward)],
        penalty="uwo",
        penalty_strength=0.5,
        loss="dr_grpo",
        beta=0.1,
        max_steps=7,
        prompts_per_step=16,
        completions_per_prompt=4,
        learning_rate=2e-5,
        audit_reward=["length:30"],
        audit_samples=20,
        max_new_tokens=128,
        on_alarm="stop",
        temperature=0.9,
        stop=["END"],
    )
    assert run.job.command == ["annotate_app", "train"]
    assert test.button(key=f"train-cancel-{run.job.id}")


def test_an_empty_learning_rate_is_chosen_for_the_reader(open_page: OpenPage, pages_store: Store, policy: Path):
    reward_model(pages_store, 3)
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    field = test.number_input(key="train-grpo-learning_rate")
    assert (field.value, field.placeholder) == (None, "chosen for you")
    start_button(test).click().run()
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert plan.config.learning_rate == 0.0  # the command's word for it


def test_ppo_has_its_own_defaults_and_no_choice_of_losses(open_page: OpenPage, pages_store: Store, policy: Path):
    reward_model(pages_store, 1)
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("ppo").run()
    keys = {item.key for item in test.selectbox}
    assert not {"train-grpo-loss", "train-penalty"} & keys  # one member has nothing to disagree with
    assert "has one member" in texts(test)
    test.selectbox(key="train-reward").set_value("json").run()
    start_button(test).click().run()
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert isinstance(plan.config, PpoConfig)
    assert (plan.config.reward, plan.config.model) == (["json"], str(policy))
    assert (plan.config.completions_per_prompt, plan.config.prompts_per_step, plan.config.beta) == (1, 64, 0.05)


def test_without_policy_or_reward_nothing_starts_and_what_to_do_is_said(open_page: OpenPage) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    assert "No policy has been trained in this project" in texts(test)
    assert "No reward model has been trained in this project" in texts(test)
    assert start_button(test).disabled


def test_steps_of_a_process_reward_model_and_a_suite_are_queued_as_chosen(
    open_page: OpenPage, pages_store: Store, policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "rewardkit.json").write_text(json.dumps({"kind": "steps", "steps": {"separator": "\n"}}))
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("online-dpo").run()
    test.selectbox(key="train-reward").set_value("folder").run()
    test.text_input(key="train-reward-folder").set_value(str(tmp_path)).run()
    assert "Each step is paid where it ends" not in test.selectbox(key="train-step-reward-online-dpo").options
    test.segmented_control(key="train-trains").set_value("grpo").run()
    test.selectbox(key="train-step-reward-grpo").set_value("mean")
    test.selectbox(key="train-steps-by").set_value("sentence")
    test.multiselect(key="train-suite").set_value(["benign"]).run()
    assert len(test.multiselect(key="train-suite").options) == 2  # files of the server are for admins
    start_button(test).click().run()
    assert not test.exception
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert (plan.config.step_reward, plan.config.steps_by, plan.suite) == ("mean", "sentence", ("benign",))


def test_sources_that_cannot_be_used_here_are_refused_in_a_line(
    open_page: OpenPage, pages_store: Store, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)  # as where it is not installed
    pages_store.people.add(ADMIN, "ada", role="admin")
    test = open_page("train", "ada")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    test.selectbox(key="train-reward").set_value("math").run()
    assert "pip install 'tiebreak[math]'" in texts(test)
    assert start_button(test).disabled
    (tmp_path / "report.json").write_text('{"advice": {"use": "not at all", "why": "It tosses a coin."}}')
    rubric = tmp_path / "kind.yaml"
    rubric.write_text(
        f"criteria: [{{name: kind, question: 'Is it kind?'}}]\nagreement: {tmp_path / 'report.json'}\n"
        "judge: {kind: local, target: /judge}\n"
    )
    test.selectbox(key="train-reward").set_value("rubric").run()
    test.text_input(key="train-reward-rubric").set_value(str(rubric)).run()
    assert "people do not agree with its judge. It tosses a coin." in texts(test)
    assert start_button(test).disabled
    rubric.write_text("criteria: [{name: kind, check: json}]")
    test.run()
    start_button(test).click().run()
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    assert run.option("reward") == [f"rubric:{rubric}"]


def test_an_uploaded_file_of_prompts_goes_with_the_run(open_page: OpenPage, pages_store: Store, policy: Path) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    test.selectbox(key="train-reward").set_value("numeric")
    test.selectbox(key="train-prompts").set_value("upload").run()
    assert start_button(test).disabled
    uploader = test.file_uploader(key="train-prompts-file")
    uploader.set_value(("mine.jsonl", b'{"word": "no prompt"}\n', "application/json")).run()
    assert "no column holds a prompt" in texts(test)
    assert start_button(test).disabled
    content = b'{"prompt": "1 + 1?", "answer": "2"}\n{"prompt": "2 + 2?", "answer": "4"}\n'
    test.file_uploader(key="train-prompts-file").set_value(("mine.jsonl", content, "application/json")).run()
    assert "2 different prompts" in texts(test)
    start_button(test).click().run()
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    assert (run.folder / "prompts.jsonl").read_bytes() == content
    assert run.plan["prompts"] == "prompts.jsonl"


def test_code_servers_and_files_of_the_server_are_for_admins_in_form_and_start(
    open_page: OpenPage, pages_store: Store, policy: Path
) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    assert not any("function" in words for words in test.selectbox(key="train-reward").options)
    assert not any("server" in words for words in test.selectbox(key="train-prompts").options)
    pages_store.people.add(ADMIN, "ada", role="admin")
    test = open_page("train", "ada")
    test.segmented_control(key="train-trains").set_value("grpo").run()
    test.selectbox(key="train-reward").set_value("own").run()
    test.text_input(key="train-reward-own").set_value("not a reward").run()
    assert "neither a folder nor any other source" in texts(test)
    test.text_input(key="train-reward-own").set_value("my_rewards:politeness").run()
    start_button(test).click().run()
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    assert run.option("reward") == ["my_rewards:politeness"]
    lead = next(each for each in pages_store.people.list(ADMIN) if each.name == "lea")
    plan = read_plan((run.folder / "training.yaml").read_text())
    with pytest.raises(AccessError, match="asks for the role admin"):
        start(pages_store, pages_store.people.actor_of(lead), plan)


def test_a_run_shows_figures_curves_what_it_wrote_and_why_it_ended(open_page, pages_store, policy) -> None:
    job = online_run(pages_store, policy)
    test = open_page("runs")
    assert [item.value for item in test.metric] == ["0.750", "0.500", "1.25", "90"]
    assert "Ended early, at step 2: alarm: KL jumps: from 0 to 5." in texts(test)
    # reward with its audit, KL, entropy, spread, clipped tokens, time; the loss says nothing
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) == 6
    written = test.dataframe[1].value
    assert list(written["answer"]) == ["*answer* 2 0.9", "*answer* 2 0.1"]
    assert "ended" not in written  # none was cut
    test.selectbox(key=f"runs-{job.id}-step").set_value(1).run()
    assert list(test.dataframe[1].value["reward"]) == [0.9, 0.1]
    assert list(test.dataframe[1].value["answer"]) == ["*answer* 1 0.9", "*answer* 1 0.1"]
    row = test.dataframe[0].value.iloc[0]
    assert (row["trains"], row["teaches"], row["reward"], row["audit reward"]) == ("GRPO", "length:9", 0.75, 0.5)


def test_a_round_is_sent_from_the_run_and_the_page_says_where_it_went(open_page, pages_store, policy) -> None:
    job = online_run(pages_store, policy)
    empty = next(project for project in pages_store.projects.list(ADMIN) if not project.simulated)
    test = open_page("runs")
    key = f"runs-{job.id}-round"
    assert test.selectbox(key=f"{key}-step").value == 2
    test.selectbox(key=f"{key}-project").set_value(empty.id).run()
    test.button(key=f"{key}-send").click().run()
    assert not test.exception
    assert f"Step 2 went into {empty.name}: 1 pairs added; lea, just now." in texts(test)
    [pair] = pages_store.comparisons.iterate(ADMIN, empty.id)
    assert {pair.source_a, pair.source_b} == {f"run-{job.id}-reference", f"run-{job.id}-step-2"}


def test_online_runs_are_compared_in_the_same_charts(open_page, pages_store, policy) -> None:
    online_run(pages_store, policy)
    online_run(pages_store, policy, beta=0.2)
    test = open_page("runs")
    chosen = test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}")
    chosen.set_value(chosen.options[:2]).run()
    assert not test.exception
    assert list(test.dataframe[1].value["option"]) == ["beta"]
    assert [item.value for item in test.metric] == ["0.750", "0.500", "1.25", "90"] * 2
    # reward, audit reward, KL and entropy, each run a line
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) == 4
