"""What a training on judgments may be told: every option checked, nothing that says where it reads and writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_plans import training_plan

from alignment.config.training import DpoConfig, SftConfig
from annotate_app.trainings.options import place_config
from annotate_app.trainings.plans import check_model, modes_of
from rewardkit.config import RewardConfig


def test_the_configuration_checks_its_options():
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.9"):
        training_plan(label_smoothing=0.9)
    with pytest.raises(ValueError, match="tfidf has no weights"):
        training_plan(model="tfidf", mode="full")
    with pytest.raises(ValueError, match=r"held_out is 0\.6"):
        training_plan(held_out=0.6)
    with pytest.raises(ValueError, match="criterion is 'tone' with criteria"):
        training_plan(criterion="tone", criteria=True)


def test_a_policy_is_trained_by_its_own_configuration():
    plan = training_plan("dpo", model="/m", lora=True, loss="ipo", beta=0.3, epochs=2)
    config = plan.config
    assert isinstance(config, DpoConfig)
    assert (config.model, config.lora, config.loss, config.beta, config.epochs) == ("/m", True, "ipo", 0.3, 2)
    assert plan.title({"/m": "run 1"}) == "DPO, run 1, lora, ipo"
    assert isinstance(training_plan("sft").config, SftConfig)


@pytest.mark.parametrize(
    ("trains", "values", "reason"),
    [
        ("sft", {"model": "tfidf"}, "a policy is trained whole or by adapters"),
        ("sft", {"mode": "head"}, "mode is no option"),
        ("sft", {"ensemble": 3}, "ensemble is no option"),
        ("sft", {"criteria": True}, "criteria is no option"),
        ("sft", {"push_to_hub": "me/mine"}, "push_to_hub is set by the app"),
        ("sft", {"model": ""}, "model is missing"),
        ("dpo", {"loss": "hinge", "use_margin": True}, "use_margin is for the losses"),
    ],
)
def test_what_is_no_training_of_a_policy_is_refused(trains, values, reason):
    with pytest.raises(ValueError, match=reason):
        training_plan(trains, **values)


def test_a_plan_makes_the_configuration_it_says():
    plan = training_plan(criteria=True, model="small", ensemble=3, epochs=2)
    config = place_config(plan.config, Path("/runs/1"))
    assert isinstance(config, RewardConfig)
    assert (config.out, config.data, config.project) == ("/runs/1/model", "/runs/1/data", "")
    assert (config.model, config.ensemble, config.epochs, config.criteria) == ("small", 3, 2, True)
    assert plan.title({}) == "small, full, all criteria x3"


def test_a_model_is_a_preset_a_folder_that_holds_one_or_a_hub_id(tmp_path):
    assert check_model(" tiny ") == "tiny"
    assert check_model("owner/name-7B.v2") == "owner/name-7B.v2"
    with pytest.raises(ValueError, match=r"has no config\.json"):
        check_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert check_model(f"{tmp_path}/../{tmp_path.name}") == str(tmp_path)
    for bad in ("", "name", "../up/and/away", "owner/name/more", "--out=/etc", "owner/na me", "./here"):
        with pytest.raises(ValueError, match="allowed are the whole path"):
            check_model(bad)


def test_tfidf_has_nothing_to_train_but_its_head():
    assert modes_of("tfidf", "reward") == ("head",)
    assert modes_of("tiny", "reward") == ("full", "lora", "head")
    assert modes_of("tiny", "sft") == ("full", "lora")
