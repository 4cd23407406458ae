"""Answers in steps from the command line: trained, scored, evaluated; what goes with pairs alone is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForTokenClassification

from rewardkit.__main__ import main
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.records import Message
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import read_card
from rewardkit.reward.process_reward import ProcessRewardModel
from rewardkit.run.directory import read_status

pytestmark = pytest.mark.slow  # a training


def rows(count: int) -> list[dict[str, Any]]:
    """Steps that say yes are right, those that say no are wrong; every fifth was not judged."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        right = rng.random(3) < 0.6
        labels = [None if (number + place) % 5 == 0 else float(good) for place, good in enumerate(right)]
        steps = [f"{'yes' if good else 'no'} {number} {place}" for place, good in enumerate(right)]
        made.append({"prompt": f"Question {number}?", "completions": steps, "labels": labels, "id": number})
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two members on such rows, which is told by them."""
    folder = tmp_path_factory.mktemp("steps")
    write_rows(folder / "steps.jsonl", rows(120))
    options = ["--batch-size=16", "--epochs=5", "--eval-share=0.2", "--ensemble=2", "--precision=fp32"]
    assert main(["train", f"--data={folder}/steps.jsonl", "--model=tiny", f"--out={folder}/prm", *options]) == 0
    return folder / "prm"


def results_of(run: Path) -> dict[str, Any]:
    results = read_status(run)["results"]
    assert isinstance(results, dict)
    return results


def test_a_run_learns_calibrates_and_reports(run: Path) -> None:
    card, results = read_card(run), results_of(run)
    assert (card.kind, card.num_members, dict(card.calibration)) == ("steps", 2, {})
    assert card.steps["calibration"]["kind"] == "temperature"
    assert results["accuracy"] > 0.8
    assert results["num_judged_steps"] == sum(
        label is not None for row in rows(120) for label in row["labels"]
    ) - _held_out_steps(run)


def _held_out_steps(run: Path) -> int:
    from rewardkit.data.stepwise.stepwise_rows import STEPS
    from rewardkit.data.training_data import read_rows_trained_on

    trained_on = read_rows_trained_on(str(run), STEPS)
    assert trained_on is not None
    return sum(answer.num_judged for answer in trained_on.held_out)


def score(run: Path, given: list[dict[str, Any]], tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    write_rows(tmp_path / "in.jsonl", given)
    words = ["score", f"--model={run}", f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl", *options]
    assert main(words) == 0
    return [dict(row) for _, row in read_rows(tmp_path / "out.jsonl")]


def test_steps_and_whole_answers_are_scored_alike(run: Path, tmp_path: Path) -> None:
    listed = {"prompt": "Question 3?", "completions": ["yes 3 0", "no 3 1"], "labels": [True, None], "id": 3}
    (one,) = score(run, [listed], tmp_path, "--aggregation=product")
    assert {name: one[name] for name in listed} == listed
    assert one["reward"] == pytest.approx(np.prod(one["step_rewards"]), abs=0.02)  # of the mean, not the mean of it
    assert one["step_rewards"][0] > 0.5 > one["step_rewards"][1]
    assert len(one["step_rewards_std"]) == 2
    (tmp_path / "out.jsonl").unlink()
    whole = {"prompt": "Question 3?", "completion": "yes 3 0; no 3 1"}
    (other,) = score(run, [whole], tmp_path, "--aggregation=product", "--steps-by=; ")
    assert other["step_rewards"] == pytest.approx(one["step_rewards"])
    assert other["reward"] == pytest.approx(one["reward"])


def test_pairs_are_scored_by_the_aggregate(run: Path, tmp_path: Path) -> None:
    pair = {"prompt": "Question 3?", "chosen": "yes 3 0\nyes 3 1", "rejected": "yes 3 0\nno 3 1"}
    (one,) = score(run, [pair], tmp_path)
    assert one["reward_margin"] > 0


def test_evaluation_and_its_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", f"--model={run}", f"--out={tmp_path}/held", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["steps"]
    assert found["num_steps"] == _held_out_steps(run)
    assert found["accuracy"]["value"] == pytest.approx(results_of(run)["accuracy"])
    assert set(found["aggregated"]) == {"min", "product", "last", "mean"}
    write_rows(tmp_path / "new.jsonl", [row | {"prompt": f"New {row['prompt']}"} for row in rows(30)])
    assert main(["evaluate", f"--model={run}", f"--data={tmp_path}/new.jsonl", f"--out={tmp_path}/new"]) == 0
    told = capsys.readouterr().out
    assert "It names the first wrong step, or that there is none, of" in told
    page = (tmp_path / "new" / "report.html").read_text()
    assert "Steps and first errors" in page
    assert "nats a step" in page


def test_prompts_that_were_trained_on_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", f"--model={run}", f"--data={run.parent}/steps.jsonl", f"--out={tmp_path}/e"]
    assert main(words) == 2
    assert "--allow-leakage evaluates on them all the same" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_members_have_all_weights_of_their_own(tmp_path: Path, mode: str) -> None:
    """The ensemble's probabilities are sigma(z_k / T) of its members' logits; the folder itself is their average."""
    write_rows(tmp_path / "steps.jsonl", rows(40))
    options = ["--batch-size=16", "--ensemble=2", "--members=full", "--precision=fp32", f"--mode={mode}"]
    words = ["train", f"--data={tmp_path}/steps.jsonl", "--model=tiny", f"--out={tmp_path}/prm", *options]
    assert main(words) == 0
    folder = tmp_path / "prm"
    card, results = read_card(folder), results_of(folder)
    assert (card.kind, card.num_members) == ("steps", 2)
    statuses = [results_of(folder / "members" / name) for name in ("0", "1")]
    assert results["num_steps"] == sum(status["num_steps"] for status in statuses)
    ensemble = load_reward_fn(str(folder))
    members = [load_reward_fn(str(folder / "members" / name)) for name in ("0", "1")]
    assert isinstance(ensemble, ProcessRewardModel)
    prompts, steps = [(Message(role="user", content="Question 3?"),)] * 2, [["yes 3 0", "no 3 1"], ["no 3 2"]]
    scores = ensemble.score_steps(prompts, steps)
    for number, member in enumerate(members):
        assert isinstance(member, ProcessRewardModel)
        temperature = member.card.steps["calibration"].get("temperature", 1.0)
        for own, together in zip(member.score_steps(prompts, steps), scores, strict=True):
            logits = np.log(own.members[0] / (1 - own.members[0])) * temperature
            expected = 1 / (1 + np.exp(-logits / card.steps["calibration"]["temperature"]))
            np.testing.assert_allclose(together.members[number], expected, rtol=1e-4)
    assert not np.allclose(scores[0].members[0], scores[0].members[1])  # heads and bootstraps differ
    assert ensemble(prompts, ["yes 3 0\nno 3 1", ""]).members.shape == (2, 2)
    weights = [
        AutoModelForTokenClassification.from_pretrained(one).state_dict()
        for one in (folder, folder / "members" / "0", folder / "members" / "1")
    ]
    for name, average in weights[0].items():
        torch.testing.assert_close(average, (weights[1][name] + weights[2][name]) / 2, atol=1e-6, rtol=1e-5)
    assert any(not torch.equal(weights[1][name], weights[2][name]) for name in weights[0])
    assert (folder / "members" / "0" / "adapter").exists() == (mode == "lora")
    shutil.rmtree(folder / "members" / "1")
    with pytest.raises(ValueError, match=r"members/1 is missing"):
        load_reward_fn(str(folder))


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--mode=head", "train modes full and lora"),
        ("--likelihood=davidson", "which is one of pairs"),
        ("--use-margin", "use_margin is True"),
        ("--calibration=isotonic", "temperature or none"),
        ("--mode=lora --ensemble=2 --members=lora", "members is lora, a process reward model has heads or full"),
    ],
)
def test_what_goes_with_pairs_is_refused(
    option: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "steps.jsonl", rows(8))
    assert (
        main(["train", f"--data={tmp_path}/steps.jsonl", "--model=tiny", f"--out={tmp_path}/o", *option.split()]) == 2
    )
    assert problem in capsys.readouterr().err


def test_rows_named_otherwise_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "Q", "chosen": "a", "rejected": "b"}])
    words = ["train", f"--data={tmp_path}/pairs.jsonl", "--model=tiny", f"--out={tmp_path}/o", "--rows=steps"]
    assert main(words) == 2
    assert "no form of answers in steps fits the columns prompt, chosen, rejected" in capsys.readouterr().err
