"""What a training may be told: every option checked, nothing that says where it reads and writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.config.training import DpoConfig, SftConfig
from annotate_app.trainings.options import read_advanced
from annotate_app.trainings.plans import TrainingPlan, check_model, modes_of


def test_the_configuration_checks_the_plan():
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.9"):
        TrainingPlan(project="p", advanced=read_advanced("label_smoothing: 0.9"))
    with pytest.raises(ValueError, match="tfidf has no weights"):
        TrainingPlan(project="p", model="tfidf", mode="full")
    with pytest.raises(ValueError, match=r"held_out is 0\.6"):
        TrainingPlan(project="p", held_out=0.6)
    with pytest.raises(ValueError, match="criterion is ''"):
        TrainingPlan(project="p", teaches="criterion")


def test_a_policy_is_trained_by_its_own_configuration():
    plan = TrainingPlan(
        project="p", trains="dpo", model="/m", mode="lora", loss="ipo", beta=0.3, advanced={"epochs": 2}
    )
    assert TrainingPlan.read(plan.text()) == plan
    config = plan.config(Path("/runs/1/model"), Path("/runs/1/data"))
    assert isinstance(config, DpoConfig)
    assert (config.model, config.lora, config.loss, config.beta, config.epochs) == ("/m", True, "ipo", 0.3, 2)
    assert TrainingPlan(project="p", trains="dpo").config(Path("o"), Path("d")).beta is None
    assert isinstance(TrainingPlan(project="p", trains="sft").config(Path("o"), Path("d")), SftConfig)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model": "tfidf"}, "a policy is trained whole or by adapters"),
        ({"mode": "head"}, "a policy is trained whole or by adapters"),
        ({"ensemble": 3}, "are for reward models"),
        ({"teaches": "all"}, "are for reward models"),
        ({"advanced": {"push_to_hub": "me/mine"}}, "push_to_hub is set by the app"),
        ({"loss": "hinge", "trains": "dpo", "advanced": {"use_margin": True}}, "use_margin is for the losses"),
        ({"trains": "ppo"}, "allowed are reward, sft, dpo"),
    ],
)
def test_what_is_no_training_of_a_policy_is_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        TrainingPlan(**{"project": "p", "trains": "sft", **values})


def test_a_plan_survives_being_written_and_makes_the_configuration_it_says():
    plan = TrainingPlan(project="p: q", teaches="all", model="small", ensemble=3, advanced={"epochs": 2})
    assert TrainingPlan.read(plan.text()) == plan
    config = plan.config(Path("/runs/1/model"), Path("/runs/1/data"))
    assert (config.out, config.data, config.project) == ("/runs/1/model", "/runs/1/data", "")
    assert (config.model, config.ensemble, config.epochs, config.criteria) == ("small", 3, 2, True)
    with pytest.raises(ValueError, match="a training plan has the fields"):
        TrainingPlan.read("out: /etc")


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
    assert modes_of("tfidf") == ("head",)
    assert modes_of("tiny") == ("full", "lora", "head")
    assert modes_of("tiny", "sft") == ("full", "lora")
