"""Every option of a training as text: types, mistakes, and nothing that says where a training reads and writes."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest
import yaml

from annotate_app.trainings.options import ONLINE, TRAININGS, Trains, advanced_text, make_config, read_advanced

CHOSEN = ("model", "reward", "penalty")


@pytest.mark.parametrize("trains", get_args(Trains))
def test_the_text_offered_holds_every_other_option_once_and_changes_nothing(trains):
    text = advanced_text(trains, CHOSEN)
    options = {option.name for option in fields(TRAININGS[trains].config)}
    assert TRAININGS[trains].app_options <= options
    assert {*yaml.safe_load(text)} == options - TRAININGS[trains].app_options - {*CHOSEN}
    assert read_advanced(text, trains, CHOSEN) == {}


def test_values_get_the_types_of_their_options():
    text = "learning_rate: 5e-4\nepochs: 3\nprecision: bf16\nbootstrap: false\nseed: 0\n"
    options = read_advanced(text, "reward", CHOSEN)
    assert options == {"learning_rate": 5e-4, "epochs": 3, "precision": "bf16", "bootstrap": False}
    assert type(options["epochs"]) is int


@pytest.mark.parametrize("name", ["out", "data", "eval_data", "project", "db", "resume", "eval_share", "allow_leakage"])
def test_what_the_app_sets_is_refused_in_text_and_configuration(name):
    with pytest.raises(ValueError, match=f"{name} is set by the app"):
        read_advanced(f"{name}: /etc", "reward", CHOSEN)
    with pytest.raises(ValueError, match=f"{name} is set by the app"):
        make_config("reward", {"model": "tiny", name: "/etc"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("config: /etc/passwd", "config is no option"),
        ("bogus: 1", "bogus is no option, allowed are .*batch_size"),
        ("learning_rat: 1e-4", "learning_rat is no option, did you mean 'learning_rate'"),
        ("model: tiny", "model is chosen above"),
        ("batch_size: many", "batch_size is 'many', allowed is a whole number"),
        ("seed: 1.5", "seed is 1.5, allowed is a whole number"),
        ("bootstrap: 3", "bootstrap is 3, allowed is true or false"),
        ("precision: fp64", "precision is 'fp64', allowed is auto, fp32, bf16"),
        ("patience:", "patience is None, allowed is a single value"),
        ("seed: [1]", "seed is \\[1\\], allowed is a single value"),
        ("seed: 1\nepochs: [", "line 2"),
        ("- seed", "the text is a list"),
        ("!!python/object/apply:os.system [id]", "constructor"),
        ("#" * 20_001, "20,001 characters"),
    ],
)
def test_a_bad_text_is_refused_with_place_and_what_is_allowed(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_advanced(text, "reward", CHOSEN)


def test_options_of_a_policy_are_read_with_their_types():
    assert read_advanced("max_steps: 7\nlearning_rate: 1e-4", "sft", CHOSEN) == {"max_steps": 7, "learning_rate": 1e-4}
    assert read_advanced("label_smoothing: 0.1", "dpo", CHOSEN) == {"label_smoothing": 0.1}
    with pytest.raises(ValueError, match="label_smoothing is 'much', allowed is a number"):
        read_advanced("label_smoothing: much", "dpo", CHOSEN)
    with pytest.raises(ValueError, match="reference_cache is set by the app"):
        read_advanced("reference_cache: /etc", "dpo", CHOSEN)
    with pytest.raises(ValueError, match="patience is no option"):
        read_advanced("patience: 3", "sft", CHOSEN)


@pytest.mark.parametrize("trains", ONLINE)
def test_options_of_trainings_on_samples_are_read_with_their_types(trains):
    assert read_advanced("temperature: 1\nstop: [END, stop]", trains, CHOSEN)["stop"] == ["END", "stop"]
    assert read_advanced("stop: []", trains, CHOSEN) == {}
    with pytest.raises(ValueError, match=r"stop is \[\[1\]\], allowed is a list of texts"):
        read_advanced("stop: [[1]]", trains, CHOSEN)
    with pytest.raises(ValueError, match="eval_prompts is set by the app"):
        read_advanced("eval_prompts: /etc", trains, CHOSEN)
    with pytest.raises(ValueError, match="reward is chosen above"):
        read_advanced("reward: json", trains, CHOSEN)
