"""What a training on samples of the policy may be told, and who may tell it that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_plans import sampling_plan

from alignment.config.online import GrpoConfig, OnlineDpoConfig, PpoConfig
from annotate_app.trainings.options import Trains, default_of, place_config
from annotate_app.trainings.plan_files import read_plan, write_plan
from annotate_app.trainings.sampling_plans import uploaded_name


def test_a_plan_makes_the_configuration_it_says() -> None:
    values: dict[str, Any] = {"lora": True, "loss": "dr_grpo", "beta": 0.1, "max_steps": 7, "completions_per_prompt": 4}
    values |= {"penalty": "uwo", "penalty_strength": 0.5, "audit_reward": ["length:9"], "on_alarm": "stop"}
    config = place_config(sampling_plan(**values, temperature=0.8).config, Path("/runs/1"))
    assert isinstance(config, GrpoConfig)
    assert (config.prompts, config.eval_prompts) == ("/runs/1/data/train.jsonl", "/runs/1/data/test.jsonl")
    assert (config.model, config.out, config.lora, config.loss) == ("/m", "/runs/1/model", True, "dr_grpo")
    assert (config.reward, config.audit_reward, config.on_alarm) == (["json"], ["length:9"], "stop")
    assert (config.penalty, config.penalty_strength, config.beta) == ("uwo", 0.5, 0.1)
    assert (config.max_steps, config.completions_per_prompt, config.temperature) == (7, 4, 0.8)
    assert isinstance(sampling_plan("ppo").config, PpoConfig)
    pairs = sampling_plan("online-dpo", loss="ipo", beta=0.2).config
    assert isinstance(pairs, OnlineDpoConfig)
    assert (pairs.loss, pairs.beta, pairs.completions_per_prompt) == ("ipo", 0.2, 8)


@pytest.mark.parametrize("trains", ["ppo", "grpo", "online-dpo"])
def test_what_a_plan_leaves_open_is_the_commands_own(trains: Trains) -> None:
    for name in ("beta", "prompts_per_step", "completions_per_prompt"):
        assert getattr(sampling_plan(trains).config, name) == default_of(trains, name)


def test_several_rewards_go_to_the_command_with_their_weights(tmp_path: Path) -> None:
    plan = sampling_plan(reward=[str(tmp_path), "0.5*length:9", "-2*regex:sorry"])
    assert plan.config.reward == [str(tmp_path), "0.5*length:9", "-2*regex:sorry"]
    assert [spec.weight for spec in plan.reward_specs] == [1.0, 0.5, -2.0]
    assert plan.title({str(tmp_path): "run 2"}) == "GRPO, m, full, by run 2 + 0.5 length:9 + -2 regex:sorry"
    assert plan.reward_model == str(tmp_path)
    assert read_plan(write_plan(plan)) == plan


def test_any_plan_survives_being_written() -> None:
    plan = sampling_plan(project="p: q", stop=["\n\n"], clip_high=0.28, prompts="prompts.csv")
    assert read_plan(write_plan(plan)) == plan


@pytest.mark.parametrize(
    ("trains", "values", "reason"),
    [
        ("grpo", {"model": ""}, "model is missing"),
        ("grpo", {"mode": "head"}, "mode is no option"),
        ("grpo", {"held_out": 0.6}, r"held_out is 0\.6"),
        ("grpo", {"reward": []}, "reward is missing"),
        ("grpo", {"reward": [""]}, "neither a folder nor any other source"),
        ("grpo", {"reward": ["regex:("]}, "no regular expression"),
        ("grpo", {"audit_reward": ["nobody"]}, "neither a folder nor any other source"),
        ("grpo", {"prompts": "../up.jsonl"}, "allowed is the whole path"),
        ("grpo", {"reward": ["0*json"]}, "the weight is 0"),
        ("ppo", {"loss": "grpo"}, "loss is no option"),
        ("online-dpo", {"loss": "aot"}, "loss aot compares the pairs of a whole batch"),
        ("online-dpo", {"completions_per_prompt": 1}, "allowed is 2 or more"),
        ("grpo", {"completions_per_prompt": 1}, "a group of one has nothing to be compared with"),
        ("grpo", {"replay": "/r"}, "replay is set by the app"),
        ("grpo", {"epochs": 3}, "epochs is set by the app"),
        ("grpo", {"temperature": 0}, "temperature is 0"),
        ("grpo", {"penalty_strength": 0.0}, r"penalty_strength is 0\.0"),
    ],
)
def test_what_does_not_go_together_is_refused(trains: Trains, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        sampling_plan(trains, **values)


def test_a_reward_model_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rm").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="reward is 'rm', allowed is the whole path"):
        sampling_plan(reward=["rm"])
    plan = sampling_plan(reward=[str(tmp_path / "rm")])
    assert plan.reward_model == str(tmp_path / "rm")
    assert plan.title({}) == "GRPO, m, full, by rm"
    assert plan.title({"/m": "run 1", plan.config.reward[0]: "run 2"}) == "GRPO, run 1, full, by run 2"
    assert sampling_plan(lora=True, loss="dapo", reward=["length:9"]).title({}) == "GRPO, m, lora, dapo, by length:9"
    audited = sampling_plan(reward=[str(tmp_path)], audit_reward=[str(tmp_path / "rm")])
    assert audited.reward_model == str(tmp_path / "rm")  # the report asks the judge that was never trained on
    assert sampling_plan(reward=["length:9"]).reward_model == ""


def test_a_rubric_is_for_admins_and_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its judge may be an endpoint or a function, its checks code."""
    (tmp_path / "kind.yaml").write_text("criteria: [{name: kind, check: json}]")
    monkeypatch.chdir(tmp_path)
    assert sampling_plan(reward=["json", f"0.5*rubric:{tmp_path / 'kind.yaml'}"]).needs_admin
    with pytest.raises(ValueError, match=r"reward is 'kind\.yaml', allowed is the whole path of a file"):
        sampling_plan(reward=["rubric:kind.yaml"])


@pytest.mark.parametrize(
    ("values", "needs"),
    [
        ({}, False),
        ({"prompts": "prompts.jsonl"}, False),
        ({"reward": ["0.5*length:3", "json"], "audit_reward": ["numeric"]}, False),
        ({"prompts": "/data/prompts.jsonl"}, True),
        ({"reward": ["json", "os:system"]}, True),
        ({"reward": ["0.1*https://example.org/reward"]}, True),
        ({"audit_reward": ["os:system"]}, True),
    ],
)
def test_code_servers_and_files_of_the_server_are_for_admins(values: dict[str, object], needs: bool) -> None:
    assert sampling_plan(**values).needs_admin is needs


def test_a_rubric_which_names_an_address_or_a_function_is_for_admins(tmp_path: Path) -> None:
    (tmp_path / "rubric.yaml").write_text("judge: {kind: function, target: os:system}\n")
    assert sampling_plan(reward=[f"rubric:{tmp_path}/rubric.yaml"]).needs_admin


def test_an_upload_is_called_by_its_form_alone() -> None:
    assert uploaded_name("../My prompts.v2.JSONL") == "prompts.jsonl"
    assert uploaded_name("a.parquet") == "prompts.parquet"
    assert uploaded_name("a.csv.gz") == "prompts.csv.gz"
    with pytest.raises(ValueError, match=r"ends in '\.exe', allowed are \.jsonl"):
        uploaded_name("a.exe")
