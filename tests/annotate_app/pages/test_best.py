"""Several rewards at once, online DPO, best of n and what its rows are offered for, on the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from toy_plans import sampling_plan, training_plan
from train_page import demo_of, start_button, texts

from alignment.config.online import OnlineDpoConfig
from annotate_app.access import Actor
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.options import default_of
from annotate_app.trainings.plan_files import Plan, read_plan
from annotate_app.trainings.runs import list_runs
from annotate_app.trainings.training_jobs import start

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()


def ended(store: Store, plan: Plan) -> Job:
    """A run that is done."""
    job = start(store, ADMIN, plan)
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    return job


def trained(store: Store, plan: Plan, num_members: int = 1) -> str:
    """The folder of a model that is done."""
    model = Path(ended(store, plan).run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(json.dumps({"state": "done", "results": {"num_members": num_members}}))
    for name in ("config.json", "rewardkit.json"):
        (model / name).write_text("{}")
    return str(model)


@pytest.fixture
def policy(pages_store: Store) -> str:
    """The folder of a policy that SFT made."""
    return trained(pages_store, training_plan("sft", project=demo_of(pages_store).name))


def best_run(store: Store, policy: str, keep: str = "pairs", best: float = 0.9) -> Job:
    """A best of n that is done, with the files that one leaves."""
    plan = sampling_plan("bon", project=demo_of(store).name, model=policy, reward=["length:9"], keep=keep, n=2)
    job = ended(store, plan)
    folder = Path(job.run_dir)
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").write_text("{}\n" * 3)
    answers = {"chosen": "On *Monday*.", "rejected": "No."} if keep == "pairs" else {"completion": "On *Monday*."}
    row: dict[str, object] = {"prompt": [{"role": "user", "content": "When?"}], "margin": 0.25}
    row |= {name: [{"role": "assistant", "content": text}] for name, text in answers.items()}
    (folder / "chosen.jsonl").write_text(json.dumps(row) + "\n")
    curve = [
        {"k": k, "reward": {"value": value}, "audit": {"value": 0.2}, "kl": 0.0} for k, value in ((1, 0.4), (2, best))
    ]
    summary = {"num_prompts": 3, "num_rows": 1, "num_without": 2, "num_cut": 0, "curve": curve}
    (folder / "chosen.summary.json").write_text(json.dumps(summary))
    return job


def newest_plan(store: Store) -> Plan:
    run = list_runs(store, ADMIN, demo_of(store).id)[0]
    return read_plan((run.folder / "training.yaml").read_text())


def test_several_rewards_are_added_with_their_weights_and_one_is_taken_out(open_page, pages_store, policy) -> None:
    reward = trained(pages_store, training_plan(project=demo_of(pages_store).name, model="tfidf", mode="head"), 5)
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("online-dpo").run()
    assert not [item for item in test.number_input if "weight" in str(item.key)]  # one reward needs no weight
    for _ in range(2):
        test.button(key="train-reward-add").click().run()
    test.selectbox(key="train-reward-2").set_value("length")
    test.selectbox(key="train-reward-3").set_value("json").run()
    assert start_button(test).disabled  # how many words is not said yet
    test.text_input(key="train-reward-2-length").set_value("40")
    test.number_input(key="train-reward-weight").set_value(2.0)
    test.number_input(key="train-reward-2-weight").set_value(0.5)
    test.button(key="train-reward-3-remove").click().run()
    assert "all are added" in texts(test)
    test.selectbox(key="train-penalty").set_value("wco").run()
    assert not test.exception
    start_button(test).click().run()
    plan = newest_plan(pages_store)
    assert isinstance(plan.config, OnlineDpoConfig)
    assert (plan.config.model, plan.config.penalty) == (policy, "wco")
    assert plan.config.reward == [f"2*{reward}", "0.5*length:40"]
    assert plan.title({reward: "run 2", policy: "run 1"}) == "Online DPO, run 1, full, by 2 run 2 + 0.5 length:40"
    test.button(key="train-reward-2-remove").click().run()
    start_button(test).click().run()
    plan = newest_plan(pages_store)
    assert isinstance(plan.config, OnlineDpoConfig)
    assert plan.config.reward == [reward]
    test.button(key="train-reward-add").click().run()
    test.segmented_control(key="train-trains").set_value("sft").run()
    test.segmented_control(key="train-trains").set_value("grpo").run()
    assert [item.label for item in test.selectbox].count("Reward") == 1  # what was left half said is not kept


@pytest.mark.parametrize("trains", ["grpo", "ppo", "online-dpo"])
def test_the_form_begins_with_the_commands_own_numbers(open_page, pages_store, policy, trains) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value(trains).run()
    test.selectbox(key="train-reward").set_value("json").run()
    start_button(test).click().run()
    plan = newest_plan(pages_store)
    assert plan.trains == trains
    own = {name: default_of(trains, name) for name in ("beta", "prompts_per_step", "completions_per_prompt")}
    if trains == "online-dpo":
        assert own["beta"] is None
        own["beta"] = 0.1  # the loss's own
    assert {name: getattr(plan.config, name) for name in own} == own


def test_each_loss_of_pairs_begins_with_its_own_beta(open_page: OpenPage, policy: str) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("online-dpo").run()
    losses = test.selectbox(key="train-online-dpo-loss")
    assert not {"aot", "aot_unpaired"} & {*losses.options}  # which compare pairs with each other
    losses.set_value("simpo").run()
    assert test.number_input(key="train-online-dpo-beta-simpo").value == 2.0
    test.segmented_control(key="train-trains").set_value("dpo").run()
    assert test.number_input(key="train-dpo-beta-sigmoid").value == 0.1


def test_best_of_n_is_queued_as_it_was_chosen(open_page: OpenPage, pages_store: Store, policy: str) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("bon").run()
    assert start_button(test).label == "Draw and choose"
    assert not [item for item in test.selectbox if item.key == "train-mode-online"]  # nothing is trained
    assert not test.toggle
    test.selectbox(key="train-reward").set_value("json")
    test.selectbox(key="train-bon-keep").set_value("above").run()
    test.selectbox(key="train-bon-measure").set_value("quantile").run()
    test.number_input(key="train-bon-n").set_value(8)
    test.selectbox(key="train-audit").set_value("ifeval")
    test.text_area(key="train-advanced-bon").set_value("temperature: 0.7").run()
    start_button(test).click().run()
    assert not test.exception
    kept = {"keep": "above", "threshold": 0.75, "threshold_of": "quantile", "n": 8, "audit_reward": ["ifeval"]}
    assert newest_plan(pages_store) == sampling_plan(
        "bon",
        project=demo_of(pages_store).name,
        model=policy,
        max_new_tokens=128,
        temperature=0.7,
        **kept,
    )


def test_rows_of_best_of_n_are_shown_and_offered_as_data(open_page: OpenPage, pages_store: Store, policy: str) -> None:
    job = best_run(pages_store, policy)
    test = open_page("runs")
    assert [item.value for item in test.metric] == ["1", "3", "0.900", "0.200"]
    assert "2 prompts gave no row" in texts(test)
    assert "choose SFT or DPO on the Train page, and there this run under Data" in texts(test)
    assert list(test.dataframe[1].value["chosen"]) == ["On *Monday*."]
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) == 1
    row = test.dataframe[0].value.iloc[0]
    assert (row["trains"], row["rows"], row["reward"], row["audit reward"]) == ("best of n", 1, 0.9, 0.2)
    test = open_page("train")
    assert not [item for item in test.selectbox if str(item.key).startswith("train-rows")]  # a reward model
    test.segmented_control(key="train-trains").set_value("dpo").run()
    test.selectbox(key="train-rows-dpo").set_value(job.id).run()
    assert not [item for item in test.number_input if item.key == "train-votes"]
    start_button(test).click().run()
    assert not test.exception
    plan = newest_plan(pages_store)
    assert plan == training_plan("dpo", project=demo_of(pages_store).name, model=policy, rows_of=job.id, beta=0.1)


def test_single_answers_are_offered_for_sft_alone(open_page: OpenPage, pages_store: Store, policy: str) -> None:
    best_run(pages_store, policy, keep="best")
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("dpo").run()
    assert not [item for item in test.selectbox if item.key == "train-rows-dpo"]
    test.segmented_control(key="train-trains").set_value("sft").run()
    assert test.selectbox(key="train-rows-sft").options[0] == "The project's judgments"


def test_several_best_of_n_are_compared_over_how_many_answers_there_are(open_page, pages_store, policy) -> None:
    best_run(pages_store, policy)
    best_run(pages_store, policy, keep="best", best=0.7)
    test = open_page("runs")
    chosen = test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}")
    chosen.set_value(chosen.options[:2]).run()
    assert not test.exception
    assert list(test.dataframe[1].value["option"]) == ["keep"]
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) == 2  # reward and audit reward
    assert "fitted in one go" not in texts(test)


def test_a_best_of_n_under_way_says_how_many_prompts_are_done(open_page, pages_store, policy) -> None:
    plan = sampling_plan("bon", project=demo_of(pages_store).name, model=policy)
    job = start(pages_store, ADMIN, plan)
    pages_store.jobs.claim(10)
    folder = Path(job.run_dir)
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").write_text("{}\n" * 40)
    (folder / "chosen.jsonl.partial").write_text("{}\n" * 11)
    [bar] = open_page("train").get("progress")
    assert (bar.value, bar.text) == (25, "Prompt 10 of 40")
