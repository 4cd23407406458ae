"""Train, runs and playground as pages: what may be chosen, what is said of a mistake, what is queued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from finished_runs import finished, queued, sft_done
from streamlit.testing.v1 import AppTest
from toy_plans import sampling_plan, training_plan
from train_page import demo_of, start_button, texts

from alignment.config.training import DpoConfig
from annotate_app.access import Actor
from annotate_app.pages import playground
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings import scorer
from annotate_app.trainings.plan_files import read_plan
from annotate_app.trainings.runs import list_runs
from annotate_app.trainings.scorer import Verdict
from annotate_app.trainings.training_jobs import start

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()


def test_train_queues_what_was_chosen(open_page: OpenPage, pages_store: Store) -> None:
    test = open_page("train")
    test.selectbox(key="train-model").set_value("tfidf").run()
    test.number_input(key="train-votes").set_value(2).run()
    test.slider(key="train-agreement").set_value(0.7).run()
    learns = test.selectbox(key=f"train-learns-{demo_of(pages_store).id}")
    learns.set_value("criterion:tone").run()
    test.text_area(key="train-advanced").set_value("seed: 7").run()
    assert "Changed: seed 7" in texts(test)
    start_button(test).click().run()
    assert not test.exception
    [run] = list_runs(pages_store, ADMIN, demo_of(pages_store).id)
    assert run.job.command == ["annotate_app", "train"]
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert plan == training_plan(
        project=demo_of(pages_store).name,
        criterion="tone",
        min_votes=2,
        min_agreement=0.7,
        model="tfidf",
        mode="head",
        seed=7,
    )
    assert "Under way" in [item.value for item in test.header]
    assert test.button(key=f"train-cancel-{run.job.id}")


def test_a_mistake_in_the_advanced_settings_is_said_at_once_and_nothing_can_start(open_page: OpenPage) -> None:
    test = open_page("train")
    assert not start_button(test).disabled
    text = test.text_area(key="train-advanced")
    assert not {"model", "mode", "ensemble", "members", "criteria", "out", "data"} & {*yaml.safe_load(text.value)}
    text.set_value(text.value + "\nout: /etc\n").run()
    assert "out is set by the app" in texts(test)
    assert start_button(test).disabled
    test.text_area(key="train-advanced").set_value("label_smoothing: 0.9").run()
    assert "label_smoothing is 0.9, allowed is 0 up to 0.5" in texts(test)
    assert start_button(test).disabled
    test.text_area(key="train-advanced").set_value("label_smoothing: 0.1").run()
    assert not start_button(test).disabled


def test_a_model_of_ones_own_must_be_there_and_is_shown(open_page: OpenPage, tmp_path: Path) -> None:
    test = open_page("train")
    test.selectbox(key="train-model").set_value("other").run()
    assert start_button(test).disabled
    test.text_input(key="train-model-path").set_value(str(tmp_path)).run()
    assert "has no config.json" in texts(test)
    assert start_button(test).disabled
    (tmp_path / "config.json").write_text("{}")
    test.text_input(key="train-model-path").set_value(f"{tmp_path}/.").run()
    assert str(tmp_path) in [item.value for item in test.code]
    assert not start_button(test).disabled


def test_without_torch_the_page_says_what_to_install_and_offers_tfidf(open_page, monkeypatch) -> None:
    import annotate_app.trainings.plans as plan

    there = plan.importlib.util.find_spec
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None if name == "torch" else there(name))
    test = open_page("train")
    assert test.selectbox(key="train-model").value == "tfidf"
    assert not test.warning
    test.selectbox(key="train-model").set_value("tiny").run()
    assert "Not installed here: torch" in texts(test)
    assert 'pip install "tiebreak[train]"' in [item.value for item in test.code]
    assert "TF-IDF works without it." in texts(test)
    assert start_button(test).disabled


def test_runs_show_one_in_full_and_several_side_by_side(open_page: OpenPage, pages_store: Store) -> None:
    first, second = finished(pages_store), finished(pages_store, min_votes=3)
    test = open_page("runs")
    assert "80.0%" in [item.value for item in test.metric]
    assert len(test.dataframe[0].value) == 2
    assert test.dataframe[0].proto.placeholder == "–"  # where a kind of training has no such figure
    chosen = test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}")
    assert [name.partition(":")[0] for name in chosen.options] == [str(second.id), str(first.id)]
    chosen.set_value(chosen.options).run()
    assert not test.exception
    differing = test.dataframe[1].value
    assert list(differing["option"]) == ["min_votes"]
    assert "fitted in one go" in texts(test)


def test_sft_is_queued_as_it_was_chosen(open_page: OpenPage, pages_store: Store) -> None:
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("sft").run()
    assert not [item for item in test.number_input if item.key == "train-ensemble"]
    test.selectbox(key="train-mode-policy").set_value("lora").run()
    test.text_area(key="train-advanced-sft").set_value("patience: 3").run()
    assert "patience is no option" in texts(test)
    assert start_button(test).disabled
    test.text_area(key="train-advanced-sft").set_value("max_steps: 5").run()
    start_button(test).click().run()
    assert not test.exception
    [run] = list_runs(pages_store, ADMIN, demo_of(pages_store).id)
    assert (run.job.title, run.trains) == ("SFT, tiny, lora", "sft")
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert plan == training_plan("sft", project=demo_of(pages_store).name, lora=True, max_steps=5)


def test_dpo_begins_from_the_policy_of_an_earlier_run(open_page: OpenPage, pages_store: Store) -> None:
    finished(pages_store)  # a reward model, which writes nothing
    sft = sft_done(pages_store)
    test = open_page("train")
    test.segmented_control(key="train-trains").set_value("dpo").run()
    begins = test.selectbox(key="train-policy-dpo")
    assert begins.options[0] == f"Run {sft.id}: SFT, tiny, full"
    assert not any("TF-IDF" in words or "tfidf" in words for words in begins.options)
    test.selectbox(key="train-dpo-loss").set_value("ipo").run()
    test.number_input(key="train-dpo-beta-ipo").set_value(0.25).run()
    start_button(test).click().run()
    assert not test.exception
    run = list_runs(pages_store, ADMIN, demo_of(pages_store).id)[0]
    plan = read_plan((run.folder / "training.yaml").read_text())
    assert isinstance(plan.config, DpoConfig)
    assert (plan.config.loss, plan.config.beta) == ("ipo", 0.25)
    assert plan.config.model == str(Path(sft.run_dir) / "model")


def test_a_policys_run_shows_its_figures_and_what_it_writes(open_page: OpenPage, pages_store: Store) -> None:
    sft_done(pages_store)
    test = open_page("runs")
    assert {"2.500", "40.0%", "90"} <= {item.value for item in test.metric}
    assert "*On* its way." in [item.value for item in test.text]  # as text, never as markdown
    assert any("What it writes, at step 2" in item.label for item in test.expander)
    finished(pages_store)
    test = open_page("playground")
    assert not any("SFT" in words for box in test.selectbox for words in box.options)


def online_run(store: Store, *alarms: dict[str, object]) -> Job:
    """An online training under way that left metrics and these lines of alarms."""
    plan = sampling_plan("grpo", project=demo_of(store).name)
    job = start(store, ADMIN, plan)
    store.jobs.claim(10)
    model = Path(job.run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(
        json.dumps({"state": "running", "step": 60, "num_steps": 90, "pid": os.getpid()})
    )
    names = ("reward/mean", "reward/raw", "audit/reward", "kl", "completions/length", "loss")
    rows = [{"step": n, "time/at": 1.0 * n} | {name: 0.01 * n for name in names} for n in range(1, 61)]
    (model / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (model / "alarms.jsonl").write_text("".join(json.dumps(alarm) + "\n" for alarm in alarms))
    return job


def raised(step: int, kind: str, title: str, severity: str = "warning") -> dict[str, object]:
    words = {"cause": f"*why* {kind}", "figure": f"from 1 to {step}", "advice": f"less {kind}", "metrics": ["kl"]}
    return {"step": step, "kind": kind, "title": title, "severity": severity} | words


def test_alarms_stand_beside_the_curves_newest_first_and_mark_the_run_in_the_list(open_page, pages_store) -> None:
    finished(pages_store)
    lines = [raised(12, "kl_jump", "KL jumps"), {"step": 30, "kind": "kl_jump", "cleared": True}]
    lines += [
        raised(40, "truncated", "Most answers are cut"),
        raised(55, "reward_hacking", "Reward hacking", "critical"),
    ]
    online_run(pages_store, *lines)
    test = open_page("runs")
    assert list(test.dataframe[0].value["alarms"]) == ["Reward hacking, Most answers are cut", ""]
    shown = [item.value for item in test.text]
    assert shown.index("Reward hacking") < shown.index("Most answers are cut") < shown.index("KL jumps")
    assert "From 1 to 55." in shown
    said = "Likely cause: *why* reward_hacking.\nWhat to change: less reward_hacking."
    assert said in shown  # as text, never as markdown
    assert {"step 55", "step 40", "step 12 to 30"} <= {item.value for item in test.caption}
    [over] = [item for item in test.expander if "over" in item.label]
    assert over.label == "Alarms that are over: 1"
    assert "KL jumps" in [item.value for item in over.text]
    # reward with its audit, KL, length; loss is none of an online training's figures
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) == 3


def test_a_run_without_alarms_has_no_column_of_them(open_page: OpenPage, pages_store: Store) -> None:
    job = online_run(pages_store)
    test = open_page("runs")
    assert "alarms" not in test.dataframe[0].value
    assert not any("larm" in item.label for item in test.expander)
    (Path(job.run_dir) / "model" / "alarms.jsonl").write_text('{"step": 1}\nnot json\n')
    test = open_page("runs")  # a file from another hand is no reason to show nothing
    assert list(test.dataframe[0].value["alarms"]) == ["cannot be read"]
    assert "Whether this run raised alarms is not known" in texts(test)


def test_many_alarms_are_folded(open_page: OpenPage, pages_store: Store) -> None:
    online_run(pages_store, *(raised(step, f"kind{step}", f"Title {step}") for step in range(10, 16)))
    test = open_page("runs")
    [earlier] = [item for item in test.expander if "Earlier" in item.label]
    assert earlier.label == "Earlier alarms: 2"
    assert [item.value for item in earlier.text if item.value.startswith("Title")] == ["Title 11", "Title 10"]


def test_a_broken_off_training_says_so_and_can_be_continued(open_page: OpenPage, pages_store: Store) -> None:
    job = queued(pages_store)
    pages_store.jobs.claim()
    pages_store.jobs.finish(job.id, "lost", "the process that watched over this job ended without a word")
    test = open_page("train")
    assert "ended without a word" in texts(test)
    test.button(key=f"train-continue-{job.id}").click().run()
    [run] = list_runs(pages_store, ADMIN, demo_of(pages_store).id)
    assert run.under_way
    assert run.job.id != job.id
    assert run.job.run_dir == job.run_dir


def test_a_running_training_shows_how_far_it_is(open_page: OpenPage, pages_store: Store) -> None:
    job = queued(pages_store)
    pages_store.jobs.claim()
    model = Path(job.run_dir) / "model"
    model.mkdir()
    status = {"state": "running", "step": 25, "num_steps": 100, "pid": os.getpid()}
    (model / "status.json").write_text(json.dumps(status))
    now = time.time()
    rows = [{"step": n, "time/at": now - 2 * (25 - n), "loss": 0.7, "eval/nll": 0.69} for n in range(1, 26)]
    (model / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    test = open_page("train")
    [bar] = test.get("progress")
    assert (bar.value, bar.text) == (25, "Step 25 of 100, 2 min left")
    assert len(test.get("arrow_vega_lite_chart") + test.get("vega_lite_chart")) >= 1


@pytest.mark.parametrize("page", ["train", "runs", "playground"])
def test_the_pages_are_for_leads(open_page: OpenPage, page: str) -> None:
    assert "not yours to see" in texts(open_page(page, "addy"))


def test_the_playground_asks_once_and_says_who_wins_and_how_surely(open_page, pages_store, monkeypatch) -> None:
    finished(pages_store)
    asked: list[tuple[str, ...]] = []

    def judge(model: Path, *question: str, before: object) -> Verdict:
        asked.append(question)
        return Verdict(
            rewards=(1.0, 2.0),
            stds=(0.5, 0.25),
            normalised=(-1.0, 0.0),
            probability=0.3,
            members=(0.2, 0.4),
            low=0.21,
            high=0.39,
            information=0.02,
            seconds=0.1,
        )

    monkeypatch.setattr(playground.scorers(), "judge", judge)
    test = open_page("playground")
    for key, text in (("prompt", "Where is it?"), ("a", "No idea."), ("b", "On its way.")):
        test.text_area(key=f"playground-{key}").set_value(text)
    test.button(key="playground-score").click().run()
    assert not test.exception
    assert asked == [("Where is it?", "No idea.", "On its way.")]
    assert next((item.label, item.value) for item in test.metric) == ("Prefers B", "70.0%")
    assert "nine of ten members: 61% to 79%" in texts(test)
    test.run()
    assert len(asked) == 1
    test.button(key="playground-swap").click().run()
    assert test.text_area(key="playground-a").value == "On its way."
    assert "The texts have changed since" in texts(test)


def test_the_server_and_all_pages_load_without_torch() -> None:
    code = (
        "import sys, annotate_app.server.server, annotate_app.trainings.scorer, annotate_app.trainings.training_jobs\n"
        "from annotate_app.pages import train, runs, playground\nfrom annotate_app.pages.views import training_view\n"
        "train.missing_packages('tiny')\n"
        "print(*sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_table_of_scorers_is_one_a_process() -> None:
    assert scorer.scorers() is scorer.scorers()
