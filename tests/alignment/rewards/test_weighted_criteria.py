"""`--reward FOLDER#helpful=1,safe=2`, a reward model by its criteria: read, refused, and used by commands."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from alignment.__main__ import main
from alignment.config.rewards import RewardOptions, RewardSpec, read_reward, read_reward_model
from alignment.config.sampling import EvaluatePolicyConfig
from alignment.rewards.rewards import load_rewards
from alignment.rewards.source import RewardBatch
from rewardkit.data.files import read_rows
from rewardkit.data.records import Message
from rewardkit.reward.metadata import Card
from rewardkit.reward.tfidf import TfidfFeatures, TfidfReward

TEXTS = ["the kettle is safe", "a helpful reply about the kettle", "no", "boats and kettles in the harbour"]
BATCH = RewardBatch(prompts=[(Message(role="user", content="q"),)] * len(TEXTS), completions=TEXTS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds `judge`, a model of two members and the criteria helpful and safe, and `plain`, one without criteria."""
    monkeypatch.chdir(tmp_path)
    features = TfidfFeatures.fit("words", TEXTS)
    heads = np.random.default_rng(0).standard_normal((4, features.num_features))
    statistics = {"score_mean": 5.0, "score_std": 3.0}
    card = Card(kind="tfidf", num_members=2, criteria=("helpful", "safe"), member_offsets=(0.5, -0.5), **statistics)
    TfidfReward(features, heads, card).save(tmp_path / "judge")
    TfidfReward(features, heads[:1], Card(kind="tfidf", **statistics)).save(tmp_path / "plain")
    return tmp_path


def head_scores(folder: Path) -> np.ndarray:
    """(4, B) of the two members, then of helpful and of safe."""
    model = TfidfReward.load(folder / "judge")
    return (model.features.transform(TEXTS) @ model.heads.T).T


def test_weights_of_criteria_are_read(folder: Path) -> None:
    spec = read_reward("0.5*judge#helpful=1, safe=-2.5")
    assert spec == RewardSpec(kind="model", target="judge", argument="helpful=1, safe=-2.5", weight=0.5, name="judge")
    assert spec.criterion_weights == {"helpful": 1.0, "safe": -2.5}
    assert spec.model_source == "judge#helpful=1, safe=-2.5"
    assert read_reward("judge").criterion_weights == {}
    assert read_reward("judge").model_source == "judge"
    assert read_reward("regex:#a=1").criterion_weights == {}


@pytest.mark.parametrize("name", ["a#b", "c#", "run#helpful=1"])
def test_a_folder_whose_name_holds_the_mark_is_that_folder(folder: Path, name: str) -> None:
    for each in (name, f"{name}#d"):
        (folder / "judge").rename(folder / each)
        assert read_reward(f"2*{each}").target == each
        spec = read_reward(f"{each}#safe=2")
        assert (spec.target, spec.criterion_weights) == (each, {"safe": 2.0})
        (folder / each).rename(folder / "judge")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("judge#kind=1", "names 'kind', of which the model has no head: its heads are overall, helpful, safe"),
        ("judge#helpful=much", "'helpful=much' is not NAME=NUMBER"),
        ("judge#helpful", "'helpful' is not NAME=NUMBER"),
        ("judge#helpful=1,helpful=2", "'helpful=2' is not NAME=NUMBER, each name once"),
        ("judge#helpful=0", "'helpful=0', allowed is one weight or more that is not 0"),
        ("judge#", "no weight after the #, allowed is NAME=NUMBER,... of overall, helpful, safe"),
        ("plain#helpful=1", "plain has no heads of criteria, which `rewardkit train --criteria` trains"),
        ("nowhere#helpful=1", "neither a folder nor any other source of rewards"),
    ],
)
def test_what_cannot_be_weighed_is_one_line_before_anything_starts(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=r"^--reward ") as caught:
        RewardOptions(reward=[f"0.5*{text}"])
    assert f"--reward 0.5*{text}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert main(["grpo", "--model=none", "--prompts=none", "--out=run", f"--reward={text}"]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_evaluation_reads_them_too_and_leaves_a_missing_folder_to_the_loading(folder: Path) -> None:
    assert read_reward_model("judge#safe=2").criterion_weights == {"safe": 2.0}
    assert read_reward_model("nowhere#safe=2").target == "nowhere#safe=2"
    with pytest.raises(ValueError, match="--reward judge#kind=1: criterion_weights names 'kind'"):
        EvaluatePolicyConfig(model="m", base="b", prompts="p", out="o", reward="judge#kind=1")


def test_the_reward_is_the_weighted_sum_of_the_heads(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, helpful, safe = head_scores(folder)
    sources = ["judge#helpful=1,safe=2", "0.5*judge#overall=3,safe=-1"]
    with caplog.at_level(logging.WARNING), load_rewards(RewardOptions(reward=sources, penalty="wco")) as rewards:
        scored = rewards.score(BATCH)
    np.testing.assert_allclose(scored.by_source["judge"].members, [helpful + 2 * safe])
    members = np.array([3 * first - safe, 3 * second - safe])
    np.testing.assert_allclose(scored.by_source["judge_2"].members, members)
    np.testing.assert_allclose(scored.total, helpful + 2 * safe + 0.5 * members.min(0))
    unscaled = "reward judge has no saved statistics of its weighted criteria: its rewards stay on their own scale"
    assert caplog.text.count(unscaled) == 1


def test_the_overall_head_keeps_its_statistics(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, *_ = head_scores(folder)
    with caplog.at_level(logging.WARNING), load_rewards(RewardOptions(reward=["judge"])) as rewards:
        scored = rewards.score(BATCH)
    np.testing.assert_allclose(scored.by_source["judge"].members, [(first - 5.5) / 3, (second - 4.5) / 3])
    assert "own scale" not in caplog.text


def weighed(texts: list[str]) -> np.ndarray:
    model = TfidfReward.load("judge")
    helpful, safe = (model.features.transform(texts) @ model.heads[2:].T).T
    return helpful + 2 * safe


def test_best_of_n_chooses_by_them(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    write_prompts(folder)
    words = [f"--model={policy_folders[0]}", "--prompts=prompts.jsonl", "--n=4", "--max-new-tokens=6"]
    assert main(["bon", *words, "--out=best.jsonl", "--reward=judge#helpful=1,safe=2", "--keep=pairs"]) == 0
    rows = [dict(row) for _, row in read_rows(folder / "best.jsonl")]
    assert rows
    for row in rows:
        texts = [row[side][-1]["content"] for side in ("chosen", "rejected")]
        assert [row["reward_chosen"], row["reward_rejected"]] == pytest.approx(weighed(texts))


def test_grpo_learns_from_them(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    write_prompts(folder)
    words = [f"--model={policy_folders[0]}", "--prompts=prompts.jsonl", "--out=run", "--precision=fp32"]
    words += ["--max-steps=2", "--prompts-per-step=3", "--completions-per-prompt=3", "--max-new-tokens=6"]
    words += ["--sample-every=1", "--eval-share=0.25", "--audit-every=2"]
    assert main(["grpo", *words, "--reward=0.5*judge#helpful=1,safe=2"]) == 0
    samples = [json.loads(line) for line in (folder / "run" / "samples.jsonl").read_text().splitlines()]
    assert {row["step"] for row in samples} == {1, 2}
    found = [row["reward"] for row in samples]
    assert found == pytest.approx(0.5 * weighed([row["completion"] for row in samples]))


def test_evaluate_judges_by_them(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    write_prompts(folder)
    words = [f"--base={policy_folders[0]}", f"--model={policy_folders[1]}", "--prompts=prompts.jsonl"]
    words += ["--out=evaluation", "--max-new-tokens=6", "--reward=judge#helpful=1,safe=2"]
    assert main(["evaluate", *words]) == 0
    lines = (folder / "evaluation" / "completions.jsonl").read_text().splitlines()
    responses = [one for line in lines for one in json.loads(line)["responses"]]
    found = [one["model_reward"] for one in responses]
    assert found == pytest.approx(weighed([one["text"] for one in responses]))
    assert json.loads((folder / "evaluation" / "evaluation.json").read_text())["about"]["reward model"] == words[-1][9:]


def write_prompts(folder: Path) -> None:
    rows = [{"prompt": f"My kettle {number} arrived broken."} for number in range(8)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
