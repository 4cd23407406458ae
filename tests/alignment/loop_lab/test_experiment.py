"""The experiment whole and tiny, as people type it: what its parts hold, and that a finished one is not done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.config.lab import LoopLabConfig
from alignment.loop_lab import seed_turns
from alignment.loop_lab.arms import ARMS, TURNS, Arm, Label
from alignment.loop_lab.seed_turns import SeedLab
from alignment.loop_lab.text_reward import JointFeatures, fit_reward
from rewardkit.run.training_command import Interruption
from rewardkit.simulation.support_desk_world import World

WORDS = ["--turns=2", "--labels=20", "--prompts=30", "--n=3", "--steps=1", "--seeds=1", "--judge-price=0.5"]


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """120 demonstrations, an SFT policy of three steps, 20 held-out messages, answers of 24 tokens."""
    monkeypatch.setattr(seed_turns, "NUM_DEMONSTRATIONS", 120)
    monkeypatch.setattr(seed_turns, "NUM_JUDGED", 20)
    monkeypatch.setattr(seed_turns, "SFT_STEPS", 3)
    monkeypatch.setattr(seed_turns, "SFT_SHARE", 0.2)
    monkeypatch.setattr("alignment.lab.gold_evaluation.MAX_NEW_TOKENS", 24)


def part(out: Path, arm: str, turn: int) -> dict[str, Any]:
    return json.loads((out / "seed-0" / arm / f"turn-{turn}" / "part.json").read_text())


@pytest.mark.slow
def test_the_experiment_whole_and_tiny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch)
    out, config = tmp_path / "lab", LoopLabConfig(out="o", turns=2, labels=20, prompts=30)
    assert main(["loop-lab", "--out", str(out), *WORDS]) == 0
    assert "on-policy turns against all labels in turn 1" in capsys.readouterr().out
    values = json.loads((out / "loop-lab.json").read_text())
    assert {(row["arm"], row["turn"]) for row in values["turns"]} == {
        (arm.name, turn) for arm in ARMS for turn in arm.turns(config)
    }
    spent = {row["arm"]: (row["labels"], row["money"], row["num_steps"]) for row in values["turns"] if row["turn"] == 2}
    assert spent.pop("judge") == (40, 20.0, 2)
    assert spent.pop("judge_money") == (80, 40.0, 2)
    assert set(spent.values()) == {(40, 40.0, 2)}
    assert part(out, "uncertain", 1)["labels"] == part(out, "turns", 1)["labels"]
    assert part(out, "one_shot", 1)["labels"][:20] == part(out, "turns", 1)["labels"]
    assert part(out, "dpo", 2)["labels"] == part(out, "one_shot", 1)["labels"]
    assert part(out, "stale", 2)["labels"] != part(out, "turns", 1)["labels"]
    assert (out / "report.html").exists()
    assert (out / "loop-lab.md").read_text().count("| on-policy turns |") == 2
    rows = [row for arm in ARMS for turn in arm.turns(config) for row in part(out, arm.name, turn)["labels"]]
    labelled = {row["prompt"][0]["content"] for row in rows}
    lab = SeedLab(config, 0, out / "seed-0", Interruption())
    assert not labelled & {prompt[-1].content for prompt in lab.held_out}


def test_parts_of_a_world_share_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_turns, "NUM_DEMONSTRATIONS", 1000)
    lab = SeedLab(LoopLabConfig(out="o"), 0, Path("nowhere"), Interruption())
    groups = [lab.held_out, *(lab.prompts(turn) for turn in (1, 2, 3))]
    demonstrations = list(World(seed=0, num_prompts=seed_turns.NUM_DEMONSTRATIONS, num_numbers=8).prompts())
    texts = [{prompt[-1].content for prompt in group} for group in groups]
    assert [len(group) for group in groups] == [120, 80, 80, 80]
    texts.append({prompt.prompt[-1].content for prompt in demonstrations})
    assert len(set.union(*texts)) == sum(map(len, texts))


def labels_of(world: World, first: int, count: int) -> list[Label]:
    prompts = list(world.prompts())[first : first + count]
    return [
        Label(
            prompt=prompt.prompt,
            a=prompt.responses[0].text,
            b=prompt.responses[1].text,
            p_a=float(prompt.responses[0].gold > prompt.responses[1].gold),
            gold=prompt.responses[0].gold - prompt.responses[1].gold,
        )
        for prompt in prompts
    ]


def test_a_stale_reward_model_is_that_of_the_first_turn_and_a_refreshed_one_knows_all_labels(tmp_path: Path) -> None:
    world = World(seed=3, num_prompts=200, num_numbers=8)
    lab = SeedLab(LoopLabConfig(out="o"), 3, tmp_path, Interruption())
    parts = [
        seed_turns.Part(row=None, labels=labels_of(world, first, 40), policy=tmp_path, held_out=[])  # type: ignore[arg-type]
        for first in (0, 40)
    ]
    stale = next(arm for arm in ARMS if not arm.refreshed)
    of = {arm.name: lab._reward(arm, parts) for arm in (TURNS, stale)}
    first = lab._reward(TURNS, parts[:1])
    assert lab._reward(TURNS, []) is None
    assert first
    assert of["turns"]
    assert of["stale"]
    assert (of["turns"].num_labels, of["stale"].num_labels) == (80, 40)
    assert np.array_equal(of["stale"].posterior.mean, first.posterior.mean)
    assert not np.array_equal(of["turns"].posterior.mean, first.posterior.mean)


def test_a_reward_model_reads_whether_the_reply_fits_the_message() -> None:
    """Of 400 noiseless pairs: it ranks held-out ones, and prefers the amount that the message names."""
    world = World(seed=5, num_prompts=700, num_numbers=8)
    prompts = list(world.prompts())
    features = JointFeatures(
        [prompt.prompt[-1].content for prompt in prompts[:400]],
        [reply.text for prompt in prompts[:400] for reply in prompt.responses],
        seed=0,
    )
    reward = fit_reward(features, labels_of(world, 0, 400), seed=0)
    tests = labels_of(world, 500, 200)
    margins = reward([label.prompt for label in tests], [label.a for label in tests]) - reward(
        [label.prompt for label in tests], [label.b for label in tests]
    )
    gold = np.array([label.gold for label in tests])
    assert np.mean((margins > 0)[gold != 0] == (gold > 0)[gold != 0]) > 0.8
    amounts = ["The 35 euros are safe in any case.", "The 163 euros are safe in any case."]
    message = next(prompt.prompt for prompt in prompts if ", 35 euros" in prompt.prompt[-1].content)
    right, wrong = reward([message, message], amounts)
    assert right > wrong
    with pytest.raises(ValueError, match="9 labels, a reward model takes 10 or more"):
        fit_reward(features, labels_of(world, 0, 9), seed=0)


def test_a_part_that_is_done_is_read_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = SeedLab(LoopLabConfig(out="o"), 0, tmp_path, Interruption())
    told: list[tuple[str, int]] = []
    world = World(seed=0, num_prompts=20, num_numbers=8)
    labels = labels_of(world, 0, 12)
    row = made_row("turns", 1)

    def new_part(arm: Arm, turn: int, folder: Path) -> seed_turns.Part:
        told.append((arm.name, turn))
        return seed_turns.Part(row=row, labels=labels, policy=folder / "policy", held_out=[["x", "y"]])

    monkeypatch.setattr(lab, "_new_part", new_part)
    stale = next(arm for arm in ARMS if arm.name == "stale")
    for _ in range(2):
        assert lab.take_turn(TURNS, 1).gain == row.gain
        assert lab.take_turn(stale, 1).arm == "stale"
    assert told == [("turns", 1)]  # the stale arm's first turn is the same one
    back = lab._read(stale, 1)
    assert back.labels == labels
    assert back.policy == tmp_path / "turns" / "turn-1" / "policy"


def made_row(arm: str = "turns", turn: int = 1) -> seed_turns.TurnRow:
    values = dict.fromkeys(seed_turns.TurnRow.__dataclass_fields__, 0.25) | {"arm": arm, "turn": turn, "traits": {}}
    return seed_turns.TurnRow(**values)  # type: ignore[arg-type]
