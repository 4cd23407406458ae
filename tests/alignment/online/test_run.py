"""Whole runs of PPO, GRPO and online DPO on a policy of random weights: what they leave, and that they go on alike."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import metrics_of
from toy_architectures import make_tokenizer
from toy_models import config_for
from transformers import AutoModelForCausalLM

from alignment import simulated_world
from alignment.__main__ import main
from alignment.online.algorithm import Learned
from alignment.online.audit import read_scores
from alignment.online.grpo import Grpo
from alignment.simulated_world import write_world
from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.reward.metadata import Card
from rewardkit.reward.process_reward import ProcessRewardModel, save_process_reward
from rewardkit.run.directory import read_status

ROOT = Path(__file__).parents[3]
# Rewards replies by how many e they hold: a policy learns that within steps.
REWARD = """
def count(completions):
    return [text.count("e") / 4 for text in completions]


def total(completions):
    return [len(text) / 10 for text in completions]


def letters(completions):
    return [[(end, float(letter == "e")) for end, letter in enumerate(text, start=1)] or 0 for text in completions]


def broken(completions):
    raise RuntimeError("no reward today")
"""


@pytest.fixture
def folder(tmp_path: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prompts and reward functions."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"My kettle {number} arrived broken. What now?", "answer": number} for number in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARD)
    return tmp_path


def words(folder: Path, policy: Path, command: str, out: str, **more: Any) -> list[str]:
    numbers = {"max-steps": 4, "prompts-per-step": 4, "max-new-tokens": 6, "audit-every": 2, "eval-share": 0.25}
    numbers |= {"reward": f"{folder}/rewards.py:count", "learning-rate": 0.003, "precision": "fp32", "sample-every": 2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (numbers | more).items()]
    return [command, f"--model={policy}", f"--prompts={folder}/prompts.jsonl", f"--out={folder}/{out}", *flags]


GRPO = {"completions-per-prompt": 4}
PPO = {"completions-per-prompt": 1, "passes": 2, "minibatches": 2, "prompts-per-step": 8}
DPO = {"completions-per-prompt": 4, "passes": 2, "minibatches": 2}


@pytest.mark.parametrize(("command", "options"), [("grpo", GRPO), ("ppo", PPO), ("online-dpo", DPO)])
def test_a_run_leaves_a_policy_and_its_record(
    folder: Path, policy_folders: tuple[Path, Path], command: str, options: dict[str, Any]
) -> None:
    more = {"audit-reward": f"{folder}/rewards.py:total", "audit-samples": 2}
    assert main(words(folder, policy_folders[0], command, "run", **options, **more)) == 0
    run_dir = folder / "run"
    rows = metrics_of(run_dir)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        for name in ("reward/mean", "kl", "kl/k3", "loss", "grad_norm", "completions/length", "groups/unique_share"):
            assert math.isfinite(row[name] or 0.0), name
            assert row[name] is not None, name
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert "entropy" in rows[0]
    assert "entropy" not in rows[1]
    assert {"audit/reward", "audit/raw", "audit/kl"} <= rows[1].keys()
    assert "audit/raw" not in rows[0]
    results = read_status(run_dir)["results"]
    assert isinstance(results, dict)
    assert results["eval/reward"] == rows[3]["audit/reward"]
    AutoModelForCausalLM.from_pretrained(run_dir)
    card = (run_dir / "README.md").read_text()
    assert any(word in card for word in ("reinforcement", "proximal", "online direct preference"))
    audits = read_scores(run_dir)
    assert [audit["step"] for audit in audits] == [0, 2, 4]
    assert {len(audit[name]) for audit in audits for name in ("raw", "reward", "kl")} == {7}
    for name in ("raw", "reward", "kl"):
        assert np.mean(audits[2][name]) == pytest.approx(rows[3][f"audit/{name}"], rel=1e-6)
    rounds = [json.loads(line) for line in (run_dir / "audit" / "step-000004.jsonl").read_text().splitlines()]
    assert [[one["model"] for one in row["responses"]] for row in rounds] == [["reference", "step-4"]] * 2
    samples = [json.loads(line) for line in (run_dir / "samples.jsonl").read_text().splitlines()]
    assert {row["step"] for row in samples} == {1, 2, 4}
    assert not list((run_dir / "checkpoints").glob("*.pt"))


def test_audits_of_a_policy_that_stands_still_are_all_the_same(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    """What differs between audits is what was learned: each prompt's answer is drawn with the same luck."""
    more: dict[str, Any] = {"learning-rate": 1e-12, "audit-reward": f"{folder}/rewards.py:total"}
    assert main(words(folder, policy_folders[0], "grpo", "still", **GRPO, **more)) == 0
    audits = read_scores(folder / "still")
    assert len({tuple(audit["raw"]) for audit in audits}) == 1
    assert len({tuple(audit["reward"]) for audit in audits}) == 1
    assert np.abs([audit["kl"] for audit in audits]).max() < 1e-4
    assert np.ptp(audits[0]["raw"]) > 0


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("grpo", GRPO | {"beta": 0.05}),
        ("ppo", PPO | {"kl-target": 0.1}),
        ("online-dpo", DPO | {"reference-every": 2}),
    ],
)
def test_a_run_that_is_stopped_goes_on_bit_for_bit(
    folder: Path,
    policy_folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    options: dict[str, Any],
) -> None:
    from alignment.online import loop as online_loop

    assert main(words(folder, policy_folders[0], command, "whole", **options)) == 0
    step = online_loop.OnlineLoop._step

    def killed(self: online_loop.OnlineLoop, number: int) -> tuple[dict[str, float], str]:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(online_loop.OnlineLoop, "_step", killed)
        assert main(words(folder, policy_folders[0], command, "stopped", **options)) == 1
    assert main([*words(folder, policy_folders[0], command, "stopped", **options), "--resume"]) == 0
    assert read_scores(folder / "stopped") == read_scores(folder / "whole")
    assert metrics_of(folder / "stopped") == metrics_of(folder / "whole")
    whole, stopped = (AutoModelForCausalLM.from_pretrained(folder / name).state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.parametrize("command", ["grpo", "online-dpo"])
def test_rewards_rise(folder: Path, policy_folders: tuple[Path, Path], command: str) -> None:
    more = {"max-steps": 25, "completions-per-prompt": 8, "learning-rate": 0.01, "audit-every": 25}
    assert main(words(folder, policy_folders[0], command, "long", **more)) == 0
    rewards = [row["reward/mean"] or 0.0 for row in metrics_of(folder / "long")]
    assert sum(rewards[-5:]) > sum(rewards[:5]) + 0.5


@pytest.mark.parametrize(("command", "options"), [("grpo", GRPO), ("ppo", PPO)])
def test_letters_are_credited_one_by_one(
    folder: Path, policy_folders: tuple[Path, Path], command: str, options: dict[str, Any]
) -> None:
    """A completion is worth its number of e, which the rewards of its tokens add up to."""
    more = {"reward": f"{folder}/rewards.py:letters", "step-reward": "steps", "max-steps": 2}
    assert main([*words(folder, policy_folders[0], command, "run", **options, **more), "--keep-rollouts"]) == 0
    drawn = [json.loads(line) for line in (folder / "run" / "rollouts.jsonl").read_text().splitlines()]
    completions = [one for row in drawn for one in row["completions"]]
    assert any(one["reward"] for one in completions)
    for one in completions:
        assert one["reward"] == sum(reward for _, reward in one["step_rewards"]) == one["text"].count("e")
        assert one["step_rewards"][-1][0] == len(one["ids"])
    row = metrics_of(folder / "run")[-1]
    assert row["rewards/letters/spans"] == pytest.approx(np.mean([len(one["text"]) or 1 for one in completions[-8:]]))


@pytest.mark.slow
@pytest.mark.parametrize(("command", "options"), [("grpo", GRPO), ("ppo", PPO)])
def test_steps_are_credited_by_a_process_reward_model(
    folder: Path, policy_folders: tuple[Path, Path], command: str, options: dict[str, Any]
) -> None:
    """Steps part at the letter e; what each earns is the model's probability, where the step ends."""
    tokenizer = make_tokenizer("llama")
    scorer = RewardScorer(make_classifier(config_for(tokenizer), seed=0, per_token=True), seed=1)
    layout = {"separator": "\n", "plain_prompt": False}
    card = Card(kind="steps", num_members=1, max_length=200, steps=layout)
    save_process_reward(scorer, tokenizer, card, folder / "prm")
    more = {"reward": f"{folder}/prm", "step-reward": "steps", "steps-by": "e", "max-steps": 2, "max-new-tokens": 24}
    assert main([*words(folder, policy_folders[0], command, "run", **options, **more), "--keep-rollouts"]) == 0
    drawn = [json.loads(line) for line in (folder / "run" / "rollouts.jsonl").read_text().splitlines()]
    model, num_steps, num_apart = ProcessRewardModel.load(folder / "prm"), [], 0
    for row in drawn:
        prompt = tuple(Message(**turn) for turn in row["prompt"])
        for one in row["completions"]:
            steps = split_steps(one["text"], "e")
            num_steps.append(len(steps) or 1)
            expected = model.score_steps([prompt], [steps])[0].mean.tolist() if steps else [0.0]
            credits = [reward for _, reward in one["step_rewards"]]
            if len(credits) == len(expected):  # steps that end in one token are credited together
                assert credits == pytest.approx(expected, abs=1e-5)
                num_apart += len(credits) > 1
            assert sum(credits) == pytest.approx(sum(expected), abs=1e-5)
            assert one["reward"] == pytest.approx(sum(expected), abs=1e-5)
            assert one["step_rewards"][-1][0] == len(one["ids"])
    rows = metrics_of(folder / "run")
    assert num_apart
    assert np.mean([row["rewards/prm/spans"] or 0.0 for row in rows]) == pytest.approx(np.mean(num_steps))
    assert all(math.isfinite(row["loss"] or math.nan) for row in rows)


def test_a_stored_run_is_learned_from_again(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    assert main([*words(folder, policy_folders[0], "grpo", "kept", **GRPO), "--keep-rollouts"]) == 0
    stored = folder / "kept" / "rollouts.jsonl"
    assert len(stored.read_text().splitlines()) == 16
    assert main(words(folder, policy_folders[0], "grpo", "again", **GRPO, replay=stored)) == 0
    for before, after in zip(metrics_of(folder / "kept"), metrics_of(folder / "again"), strict=True):
        for name in ("reward/mean", "loss", "grad_norm", "completions/length", "sampling/logp_difference"):
            assert after[name] == pytest.approx(before[name], abs=1e-5), name
    short = folder / "short.jsonl"
    short.write_text(stored.read_text().splitlines(keepends=True)[0])
    assert main(words(folder, policy_folders[0], "grpo", "more", **GRPO, replay=short)) == 2


@pytest.mark.parametrize(("command", "options"), [("grpo", GRPO), ("ppo", PPO)])
def test_a_gradient_that_is_not_finite_stops_and_notes_the_batch(
    folder: Path,
    policy_folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
    options: dict[str, Any],
) -> None:
    one_a_step = options | {"passes": 1, "minibatches": 1}
    given = [*words(folder, policy_folders[0], command, "run", **one_a_step), "--keep-rollouts"]
    clip, norms = torch.nn.utils.clip_grad_norm_, iter((1.0, 1.0, float("nan")))

    def clip_grad_norm_(parameters: list[torch.nn.Parameter], max_norm: float) -> torch.Tensor:
        return clip(parameters, max_norm) * next(norms)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", clip_grad_norm_)
        assert main(given) == 1
    noted = folder / "run" / "checkpoints" / "not_finite.jsonl"
    last_line = capfd.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"alignment {command}: step 3: loss ")
    assert last_line.endswith(f", gradient norm nan, batch noted in {noted}")
    drawn = (folder / "run" / "rollouts.jsonl").read_text().splitlines()
    assert noted.read_text().splitlines() == [line for line in drawn if json.loads(line)["step"] == 3]
    assert [row["step"] for row in metrics_of(folder / "run")] == [1, 2]
    assert main([*given, "--resume"]) == 0
    assert len(metrics_of(folder / "run")) == 4


def test_a_reward_that_raises_ends_in_one_line(
    folder: Path, policy_folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, policy_folders[0], "grpo", "run", **GRPO, reward=f"{folder}/rewards.py:broken")) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("alignment grpo: reward broken")
    assert "no reward today" in said
    assert "rewards.py:15" in said


def test_an_algorithm_may_end_the_run(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Grpo.step

    def ending(self: Grpo, draw: Any, **options: Any) -> Learned:
        found = step(self, draw, **options)
        return Learned(rollouts=found.rollouts, scored=found.scored, metrics=found.metrics, stop="far enough")

    monkeypatch.setattr(Grpo, "step", ending)
    assert main(words(folder, policy_folders[0], "grpo", "run", **GRPO)) == 0
    results = read_status(folder / "run")["results"]
    assert isinstance(results, dict)
    assert (results["num_steps"], results["stopped"]) == (1, "far enough")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"max-new-tokens": 400}, "max_new_tokens is 400, the model takes 256 tokens in all"),
        ({"reward": "nothing_here"}, "neither a folder nor any other source of rewards"),
        ({"eval-share": 0.001}, "24 different prompts, none of them held out"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path,
    policy_folders: tuple[Path, Path],
    more: dict[str, Any],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(words(folder, policy_folders[0], "grpo", "run", **(GRPO | more))) == 2
    assert message in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_without_a_model_a_world_is_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulated_world, "write_world", partial(write_world, num_train=40))
    flags = ["--max-steps=2", "--prompts-per-step=4", "--completions-per-prompt=4", "--audit-prompts=4"]
    assert main(["grpo", f"--out={tmp_path}/run", *flags]) == 0
    assert "a tiny policy is fine-tuned on the world's demonstrations first" in capfd.readouterr().err
    rows = metrics_of(tmp_path / "run")
    assert rows[0]["rewards/gold_rewards/mean"] == rows[0]["reward/mean"]
    assert (tmp_path / "run" / "world" / "sft" / "model.safetensors").exists()
    assert main(["ppo", f"--out={tmp_path}/run", *flags[:2]]) == 2  # holds a run already


def start(*words: str, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "alignment", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("command", "options"), [("grpo", GRPO | {"beta": 0.05, "passes": 2}), ("ppo", PPO)])
def test_two_processes_equal_one(
    folder: Path, policy_folders: tuple[Path, Path], command: str, options: dict[str, Any]
) -> None:
    """Where both learn from the same completions in every step; those they draw themselves, in the first."""
    launched = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    drawn = f"--replay={folder}/one/rollouts.jsonl"
    runs = (("one", ("-m",), "--keep-rollouts"), ("two", launched, "--keep-rollouts"), ("replayed", launched, drawn))
    for name, launcher, flag in runs:
        process = start(*words(folder, policy_folders[0], command, name, **options), flag, launcher=launcher)
        _, said = process.communicate(timeout=280)
        assert process.returncode == 0, said
    assert json.loads((folder / "two" / "status.json").read_text())["num_processes"] == 2
    one, two, replayed = (metrics_of(folder / name) for name in ("one", "two", "replayed"))
    # Later, rounding may turn a sample: other batches of the same prompts would do so too.
    for alone, together in [(one[0], two[0]), *zip(one, replayed, strict=True)]:
        for name in ("reward/mean", "loss", "grad_norm", "kl", "completions/length"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=2e-4), name


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the processes of `start` have: another number adds up in another order."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_goes_on(
    folder: Path, policy_folders: tuple[Path, Path], number: signal.Signals
) -> None:
    more: dict[str, Any] = {"max-steps": 40, "checkpoint-every": 3, "audit-every": 20, "completions-per-prompt": 4}
    assert main(words(folder, policy_folders[0], "grpo", "whole", **more)) == 0
    process = start(*words(folder, policy_folders[0], "grpo", "killed", **more))
    file = folder / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (file.exists() and len(file.read_text().splitlines()) >= 8) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGKILL, 1)
    assert len(metrics_of(folder / "killed")) < 40
    assert main([*words(folder, policy_folders[0], "grpo", "killed", **more), "--resume"]) == 0
    assert metrics_of(folder / "killed") == metrics_of(folder / "whole")
