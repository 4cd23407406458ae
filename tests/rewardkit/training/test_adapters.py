"""Adapters of a reward model by themselves, on the model they were trained on, in plain PEFT."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from peft import PeftModel
from toy_models import NARROW, config_of
from transformers import AutoModelForSequenceClassification

from rewardkit.network.classifier import make_classifier
from rewardkit.network.models import add_adapters, complete_adapters, head_of, merge_adapters

IDS = torch.tensor([[5, 6, 7, 8, 9]])


@pytest.mark.parametrize(
    ("architecture", "modules"),
    [
        ("llama", ["score"]),
        ("roberta", ["classifier"]),
        ("bert", ["classifier"]),
        ("deberta-v2", ["classifier", "pooler"]),
    ],
)
def test_plain_peft_gives_the_scores_of_the_trained_model(
    architecture: str, modules: list[str], tmp_path: Path
) -> None:
    more = {"head_dim": 8} if architecture == "llama" else {"type_vocab_size": 2}
    classifier = make_classifier(config_of(architecture, **NARROW, **more), seed=0)
    classifier.set_attn_implementation("eager")
    classifier.save_pretrained(tmp_path / "base")
    adapted = add_adapters(classifier, rank=2, num_layers=0, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in (p for p in classifier.parameters() if p.requires_grad):
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    merge_adapters(adapted, tmp_path / "adapter")
    head_of(classifier).weight.data.normal_(generator=generator)  # as saving writes the trained head
    complete_adapters(classifier, tmp_path / "adapter")
    plain = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=1, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        expected, untrained = classifier.eval()(input_ids=IDS).logits, plain(input_ids=IDS).logits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
            theirs = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
        torch.testing.assert_close(theirs(input_ids=IDS).logits, expected, atol=1e-5, rtol=1e-5)
    assert (expected - untrained).abs().max() > 1e-2
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (written["task_type"], written["modules_to_save"]) == ("SEQ_CLS", modules)
