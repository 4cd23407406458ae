"""`alignment evaluate`: base against trained, figures checked against what the completions themselves say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alignment.commands.evaluate import evaluate
from alignment.config.sampling import EvaluatePolicyConfig
from alignment.evaluation.evaluation import evaluate_policies, seen_in_training, write_evaluation
from alignment.evaluation.report import screen_lines
from alignment.generation.completion_sampler import load_samplers
from alignment.generation.sample_to_file import read_different_prompts
from rewardkit.data.columns import detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.files import read_rows
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

QUESTIONS = [f"Order {number}: where is my kettle?" for number in range(6)]


def letters(prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
    """Two members: one counts letters, the other does too and is half as sure of it."""
    counts = np.array([sum(map(str.isalpha, text)) for text in completions], dtype=float)
    return Reward(members=np.stack([counts, counts / 2]))


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in QUESTIONS))
    return str(path)


def configured(policy_folders, prompts: str, out: Path, **options) -> EvaluatePolicyConfig:
    base, trained = policy_folders
    return EvaluatePolicyConfig(
        **{
            "base": str(base),
            "model": str(trained),
            "prompts": prompts,
            "out": str(out),
            "max_new_tokens": 6,
            **options,
        }
    )


def run(config: EvaluatePolicyConfig, out: Path, reward_fn=letters):
    out.mkdir(exist_ok=True)
    samplers = load_samplers([config.base, config.model])
    given = read_different_prompts(config)
    return evaluate_policies(config, given, samplers, reward_fn, told=lambda _done, _total: None, out_dir=out)


def test_figures_are_those_of_the_completions(policy_folders, prompts: str, tmp_path: Path) -> None:
    found = run(configured(policy_folders, prompts, tmp_path, n=3), tmp_path)
    rows = [row for _, row in read_rows(tmp_path / "completions.jsonl")]
    assert len(rows) == 3 * len(QUESTIONS)
    base, trained = ([row["responses"][side]["text"] for row in rows] for side in (0, 1))
    counts = [np.array([sum(map(str.isalpha, text)) for text in texts]) for texts in (base, trained)]
    assert found.base.reward.value == pytest.approx(0.75 * counts[0].mean())
    # two members c and c / 2: their standard deviation with ddof 1 is c / (2 sqrt 2)
    assert found.trained.reward_std == pytest.approx((counts[1] / 8**0.5).mean())
    wins = (counts[1] > counts[0]).sum() + (counts[1] == counts[0]).sum() / 2
    assert found.win_rate.rate.value == pytest.approx(wins / len(rows))
    assert found.win_rate.num_pairs == len(rows)
    assert found.reward_gain.value == pytest.approx(found.trained.reward.value - found.base.reward.value)
    assert found.member_win_rates == pytest.approx([found.win_rate.rate.value] * 2)
    assert found.trained.length.value == pytest.approx(np.mean([row["responses"][1]["num_tokens"] for row in rows]))
    comparison = parse_row(rows[0], detect_reading(rows)).comparisons[0]
    assert (comparison.source_a, comparison.source_b) == ("base", "trained")
    assert not parse_row(rows[0], detect_reading(rows)).labels  # the app's people see no verdict of a model


def test_kl_is_that_of_the_two_policies(policy_folders, prompts: str, tmp_path: Path) -> None:
    import torch

    config = configured(policy_folders, prompts, tmp_path, n=2, temperature=0.8)
    found = run(config, tmp_path, None)
    base, trained = load_samplers([config.base, config.model])
    drawn = trained.draw(read_different_prompts(config).prompts, config, n=2)
    ratios = []
    for group in drawn:
        for one in group:
            ids = torch.tensor([[*one.sampled.prompt, *one.sampled.completion]])
            place = len(one.sampled.prompt) - 1
            sums = [
                torch.log_softmax(sampler.policy(input_ids=ids).logits[0, place:-1] / 0.8, -1)
                .gather(1, ids[0, place + 1 :, None])
                .sum()
                .item()
                for sampler in (trained, base)
            ]
            ratios.append(sums[0] - sums[1])
    k1, k3 = found.kl
    assert (k1.estimator, k3.estimator) == ("k1", "k3")
    assert k1.per_sequence.value == pytest.approx(np.mean(ratios), rel=1e-3)
    assert k3.per_sequence.value > 0
    assert found.win_rate is None


def test_a_policy_beside_itself_moved_nowhere(policy_folders, prompts: str, tmp_path: Path) -> None:
    base, _ = policy_folders
    found = run(configured((base, base), prompts, tmp_path, n=4), tmp_path)
    for kl in found.kl:
        assert kl.per_sequence.value == pytest.approx(0, abs=1e-4)
    assert found.win_rate.rate.low < 0.5 < found.win_rate.rate.high


def test_the_command_leaves_figures_and_a_report(
    policy_folders, prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evaluation"
    assert evaluate(configured(policy_folders, prompts, out)) == 0
    said = capsys.readouterr().out
    assert "KL to base (k1)" in said
    values = json.loads((out / "evaluation.json").read_text())
    assert values["num_prompts"] == len(QUESTIONS)
    assert values["win_rate"] is None
    report = (out / "report.html").read_text()
    assert "trained beside base" in report
    assert "<script" not in report
    assert QUESTIONS[0] in report
    assert json.loads((out / "status.json").read_text())["state"] == "done"


def test_the_report_says_who_wins(policy_folders, prompts: str, tmp_path: Path) -> None:
    found = run(configured(policy_folders, prompts, tmp_path), tmp_path)
    write_evaluation(found, tmp_path)
    assert "Who wins" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "evaluation.json").read_text())["win_rate"]["tie_share"] == found.win_rate.tie_share
    assert any("By the reward model trained is" in line for line in screen_lines(found))


def test_no_kl_is_claimed_where_nothing_was_sampled(policy_folders, prompts: str, tmp_path: Path) -> None:
    found = run(configured(policy_folders, prompts, tmp_path, temperature=0.0), tmp_path, None)
    assert found.kl == []
    assert any("No KL: at temperature 0" in note for note in found.notes)


def test_prompts_that_were_trained_on_are_told(policy_folders, prompts: str, tmp_path: Path) -> None:
    asked = [(Message(role="user", content=text),) for text in (*QUESTIONS[:2], "Never asked?")]
    base, _ = policy_folders
    assert "records no training" in seen_in_training(str(base), asked)[0]
    (tmp_path / "config.yaml").write_text(f"data: {prompts}\n")
    (tmp_path / "data.json").write_text("{}")
    assert seen_in_training(str(tmp_path), asked) == [
        "2 of 3 prompts stand in the data that the policy was trained from: not held out."
    ]
    assert seen_in_training(str(tmp_path), asked[2:]) == []
