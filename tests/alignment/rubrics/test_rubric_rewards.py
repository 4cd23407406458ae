"""Rubrics and checklists as `--reward`: by value, with a judge at a real endpoint on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from judge_endpoint import Reply, said, serve

from alignment.config.rewards import RewardOptions, read_reward
from alignment.rewards.rewards import ScoredBatch, load_rewards
from alignment.rewards.source import RewardBatch, RewardError
from alignment.rubrics.items import read_checklist, read_rubric
from rewardkit.data.records import Message


def write(path: Path, **values: Any) -> str:
    path.write_text(yaml.safe_dump(values))
    return f"rubric:{path}"


def batch(*completions: str, **columns: list[Any]) -> RewardBatch:
    prompt = (Message(role="user", content="How much?"),)
    return RewardBatch(prompts=[prompt] * len(completions), completions=completions, columns=columns)


def score(reward: str, of: RewardBatch, **options: Any) -> ScoredBatch:
    with load_rewards(RewardOptions(reward=[reward], **options)) as rewards:
        return rewards.score(of)


def by_word(body: dict[str, Any], number: int) -> Reply:
    """Yes where the last word of the criterion stands in the answer."""
    text = body["messages"][-1]["content"]
    answer = text.split("<<answer ")[1].split(">>\n")[1].split("\n<<end")[0]
    word = text.split("# Criterion\n")[1].split("?")[0].split()[-1]
    return said("yes" if word in answer else "no")


def test_weights_gates_and_checks_make_the_reward(tmp_path: Path) -> None:
    with serve(by_word) as endpoint:
        reward = write(
            tmp_path / "desk.yaml",
            judge={"kind": "endpoint", "target": endpoint.url, "model": "m"},
            criteria=[
                {"name": "thanks", "question": "Does it say thanks?", "weight": 2},
                {"name": "rude", "question": "Is it rude?", "weight": -1},
                {"name": "safe", "question": "Is it safe?", "gate": True},
                {"name": "right", "check": "numeric", "weight": 1},
            ],
        )
        scored = score(reward, batch("thanks safe 7", "thanks rude safe 8", "thanks 7", "safe", answer=[7, 7, 7, 7]))
    # P = 3: (2 + 1) / 3; (2 - 1) / 3; not safe: -1 / 3; 0
    np.testing.assert_allclose(scored.total, [1, 1 / 3, -1 / 3, 0])
    metrics = scored.metrics()
    assert metrics["rewards/desk/mean"] == pytest.approx(0.25)
    assert {name: metrics[f"rewards/desk/{name}/mean"] for name in ("thanks", "rude", "safe", "right", "unread")} == {
        "thanks": 0.75, "rude": 0.25, "safe": 0.75, "right": 0.5, "unread": 0
    }  # fmt: skip


def test_samples_are_members_whose_spread_penalties_see(tmp_path: Path) -> None:
    def wavers(body: dict[str, Any], number: int) -> Reply:
        sure = "sure" in body["messages"][-1]["content"]
        return said("yes" if sure or number % 2 else "no")

    with serve(wavers) as endpoint:
        judge = {"kind": "endpoint", "target": endpoint.url, "model": "m", "samples": 4, "temperature": 1.0}
        reward = write(tmp_path / "r.yaml", judge={**judge, "concurrency": 1}, criteria=["Is it good?"])
        scored = score(reward, batch("sure", "perhaps"), penalty="uwo", penalty_strength=0.5)
    assert scored.by_source["r"].members.shape == (4, 2)
    # perhaps: 0, 1, 0, 1: mean 1/2 less half the variance with ddof 1, 1/3
    np.testing.assert_allclose(scored.raw.mean, [1, 0.5])
    np.testing.assert_allclose(scored.total, [1, 0.5 - 0.5 / 3])


def test_each_prompt_has_its_checklist(tmp_path: Path) -> None:
    lists = [
        [{"criterion": "Does it say sorry?", "points": 3}, {"criterion": "Does it say no?", "points": -1, "tags": []}],
        json.dumps(["Does it say sorry?", {"title": "short", "check": "length:1"}]),
    ]
    with serve(by_word) as endpoint:
        judge = {"kind": "endpoint", "target": endpoint.url, "model": "m"}
        reward = write(tmp_path / "r.yaml", judge=judge, checklist="rubrics")
        scored = score(reward, batch("sorry, no", "well", rubrics=lists))
        with pytest.raises(RewardError, match="no column rubrics holds checklists"):
            score(reward, batch("well"))
        with pytest.raises(RewardError, match="column rubrics holds no criterion"):
            score(reward, batch("well", rubrics=[[]]))
    np.testing.assert_allclose(scored.total, [2 / 3, 1 / 2])
    np.testing.assert_allclose(scored.by_source["r/checklist"].mean, [2 / 3, 1 / 2])


def test_what_cannot_be_read_counts_as_the_worse_grade(tmp_path: Path) -> None:
    with serve(lambda body, number: said("Hm.")) as endpoint:
        reward = write(
            tmp_path / "r.yaml",
            judge={"kind": "endpoint", "target": endpoint.url, "model": "m"},
            criteria=["Is it good?", {"name": "fault", "question": "Is it bad?", "weight": -0.5}],
        )
        scored = score(reward, batch("well"))
    np.testing.assert_allclose(scored.total, [-0.5])
    assert scored.by_source["r/unread"].mean == 1


def report(use: str) -> str:
    return json.dumps({"judge": "m", "advice": {"use": use, "why": "Kappa 0.01, and 0 is chance.", "more_votes": 0}})


def test_a_judge_that_people_do_not_agree_with_is_refused_unless_forced(tmp_path: Path) -> None:
    file, agreement = tmp_path / "judge.py", tmp_path / "report.json"
    file.write_text("def grade(completions, questions):\n    return [0.5] * len(completions)\n")
    options = {"judge": {"kind": "function", "target": f"{file}:grade"}, "criteria": ["Is it good?"]}
    options["agreement"] = str(agreement)
    agreement.write_text(report("not at all"))
    with pytest.raises(RewardError, match=r"people do not agree with its judge\. Kappa 0\.01.* `force: true` takes it"):
        score(write(tmp_path / "r.yaml", **options), batch("a"))
    np.testing.assert_allclose(score(write(tmp_path / "r.yaml", **options, force=True), batch("a")).total, [0.5])
    agreement.write_text(report("annotator"))
    np.testing.assert_allclose(score(write(tmp_path / "r.yaml", **options), batch("a")).total, [0.5])
    agreement.write_text("{}")
    with pytest.raises(RewardError, match="is no report of a judge"):
        score(write(tmp_path / "r.yaml", **options), batch("a"))


def test_the_project_says_what_its_ratings_ask(tmp_path: Path) -> None:
    project = tmp_path / "project.yaml"
    tone = {"name": "tone", "kind": "rate", "low": 1, "high": 3, "question": "How warm?", "anchors": {1: "cold"}}
    project.write_text(yaml.safe_dump({"rubric": {"guidelines": "Be fair.", "criteria": [tone, {"name": "best"}]}}))
    path = tmp_path / "r.yaml"
    judge = {"kind": "function", "target": "a:b"}
    write(path, rubric=str(project), judge=judge, criteria=[{"name": "tone", "weight": 2}])
    rubric = read_rubric(str(path))
    assert rubric.guidelines == "Be fair."
    assert (rubric.items[0].question, rubric.items[0].rating, rubric.items[0].anchors) == (
        "How warm?",
        (1, 3),
        {1: "cold"},
    )
    write(path, rubric=str(project), criteria=[{"name": "best"}])
    with pytest.raises(ValueError, match="'best' compares two answers in the project's rubric"):
        read_rubric(str(path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "criteria is no list"),
        ({"criterion": []}, "the field 'criterion' is unknown"),
        ({"criteria": [{"question": "a?", "check": "json"}]}, r"criteria\[0\]: a criterion has a question or a check"),
        ({"criteria": [{"question": "a?", "gate": 2}]}, "gate is 2.0, allowed is 0 to 1"),
        ({"criteria": [{"question": "a?", "rating": [5, 1]}]}, r"rating is \[5, 1\]"),
        ({"criteria": [{"question": "a?", "wieght": 1}]}, "'wieght' is unknown, allowed are name, question, weight"),
        ({"criteria": [{"question": "a?", "weight": -1}]}, "no criterion weighs more than 0"),
        ({"criteria": [{"name": "a", "question": "a?"}] * 2}, "allowed is each name once"),
        ({"criteria": ["a?"], "judge": {"kind": "reward", "target": "x"}}, "a reward model is a --reward"),
    ],
)
def test_files_are_checked(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "r.yaml", **values)
    with pytest.raises(ValueError, match=f"r.yaml: {message}|r.yaml: .*{message}"):
        read_rubric(str(tmp_path / "r.yaml"))


def test_names_and_refusals_on_the_command_line(tmp_path: Path) -> None:
    spec = read_reward(f"0.5*{write(tmp_path / 'my desk.yaml', criteria=['a?'])}")
    assert (spec.kind, spec.name, spec.weight) == ("rubric", "my_desk", 0.5)
    with pytest.raises(ValueError, match="--reward rubric:nowhere: there is no file nowhere"):
        read_reward("rubric:nowhere")
    with pytest.raises(RewardError, match="criteria have questions, and no judge is named"):
        score(f"rubric:{tmp_path / 'my desk.yaml'}", batch("a"))
    assert [item.name for item in read_rubric(str(tmp_path / "my desk.yaml")).items] == ["0"]
    assert [item.name for item in read_checklist(["a?", {"name": "b", "question": "b?"}], "c")] == ["0", "b"]
    with pytest.raises(ValueError, match="column c: 'x' is no list"):
        read_checklist('"x"', "c")
