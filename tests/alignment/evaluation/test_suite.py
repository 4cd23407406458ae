"""The alignment tax: scores of each part by value, and the whole suite on two tiny policies."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from alignment.config.sampling import EvaluatePolicyConfig, read_suite
from alignment.evaluation.safety_prompts import BENIGN, RED_TEAM
from alignment.evaluation.suite import check_suite, run_suite, score_answers, share_figure, text_figure
from alignment.generation.completion_sampler import load_samplers
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message


def row(**columns: object) -> PromptRow:
    return PromptRow(prompt=(Message(role="user", content="?"),), columns=columns)


def test_declining_is_wrong_of_benign_prompts_and_right_of_others() -> None:
    answers = [["I cannot help with that.", "Use kill."], ["Sure."]]
    assert score_answers("benign", [row(), row()], answers).tolist() == [0.5, 0]
    assert score_answers("red_team", [row(), row()], answers).tolist() == [0.5, 1]


def test_tasks_are_scored_by_their_verifiers() -> None:
    problems = [row(question="a", answer="6 * 7 = <<6*7=42>>42\n#### 42"), row(question="b", answer="#### 5")]
    assert score_answers("gsm8k", problems, [["It is 42.", "41"], ["5"]]).tolist() == [0.5, 1]
    asked = [row(instruction_id_list=["punctuation:no_comma", "detectable_format:title"], kwargs=[{}, {}], key=1)]
    assert score_answers("ifeval", asked, [["No comma here"]]).tolist() == [0.5]


def test_the_difference_is_paired() -> None:
    base, trained = np.array([1.0] * 20 + [0.0] * 20), np.array([1.0] * 10 + [0.0] * 30)
    figure = share_figure("gsm8k", base, trained, seed=0)
    assert (figure.base.value, figure.trained.value, figure.difference.value) == (0.5, 0.25, -0.25)
    assert figure.difference.high < 0
    assert figure.num_items == 40


def test_own_sets_are_pairs_of_different_prompts() -> None:
    assert len(BENIGN) == len(RED_TEAM) == len(set(BENIGN)) == len(set(RED_TEAM)) == 20
    assert not set(BENIGN) & set(RED_TEAM)


@pytest.mark.parametrize(
    ("parts", "said"),
    [(["gsm8k"], "needs a file"), (["piqa=x"], "allowed are text"), (["benign", "benign=x"], "twice")],
)
def test_a_part_that_is_none_is_refused(parts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_suite(parts)


def test_a_file_that_cannot_be_used_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    def check(name: str, row: dict[str, object]) -> None:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"prompt": "a", "text": "b"}) + "\n" + json.dumps(row) + "\n")
        check_suite(EvaluatePolicyConfig(base="b", model="m", prompts="p", out="o", suite=[f"{name}={path}"]))

    with pytest.raises(ValueError, match=r"text\.jsonl:2 has no text in the column text"):
        check("text", {"body": "c"})
    with pytest.raises(ValueError, match=r"suite ifeval: a row of .* has no column instruction_id_list"):
        check("ifeval", {"prompt": "c", "instruction_id_list": [], "kwargs": []})
    with pytest.raises(FileNotFoundError):
        check_suite(EvaluatePolicyConfig(base="b", model="m", prompts="p", out="o", suite=["text=/nowhere.jsonl"]))


def test_a_suite_of_two_policies(policy_folders, tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text(
        "".join(json.dumps({"text": f"The kettle {n} is hot."}) + "\n" for n in range(3))
    )
    base, trained = policy_folders
    config = EvaluatePolicyConfig(
        base=str(base),
        model=str(trained),
        prompts="",
        out=str(tmp_path / "out"),
        max_new_tokens=4,
        max_prompts=3,
        suite=[f"text={tmp_path / 'text.jsonl'}", "benign"],
    )
    samplers = load_samplers([config.base, config.model])
    # by hand: all tokens of all texts but the first of each weigh alike
    losses = []
    for sampler in samplers:
        logps = []
        for n in range(3):
            ids = sampler.tokenizer(f"The kettle {n} is hot.", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = sampler.policy(torch.tensor([ids])).logits[0, :-1]
            logps += torch.log_softmax(logits.double(), -1)[range(len(ids) - 1), ids[1:]].tolist()
        losses.append(-math.fsum(logps) / len(logps))
    text, benign = run_suite(config, samplers)
    assert (text.name, text.num_items, benign.name, benign.num_items) == ("text", 3, "benign", 3)
    assert (text.base.value, text.trained.value) == pytest.approx(losses, rel=1e-5)
    assert text.difference.value == pytest.approx(losses[1] - losses[0], rel=1e-4)
    with pytest.raises(ValueError, match="no text of two tokens"):
        text_figure(samplers, [])
