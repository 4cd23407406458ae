"""States of pretrained networks without a head: means as transformers gives them one text at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_architectures import make_folder, make_tokenizer, sentences
from transformers import AutoModel, AutoTokenizer

from rewardkit.data.records import Message
from rewardkit.network.models import check_policy_folder
from rewardkit.reward import load
from rewardkit.reward.load import installed_encoder, is_bare_trunk, load_states, template_check
from rewardkit.reward.pretrained_trunk import PretrainedTrunk

TEXTS = [*sentences(20), "yes", "please say " * 300]
KINDS = {"bert": "BERT, MiniLM", "llama": "Llama 2", "t5": "T5"}


def bare_folder(kind: str, folder: Path) -> Path:
    """An encoder, a decoder or both, as its maker saves it: no head."""
    made = make_folder(KINDS[kind], folder / "made", classifier=True)
    AutoModel.from_pretrained(made).save_pretrained(folder / "trunk")
    make_tokenizer(kind).save_pretrained(folder / "trunk")
    return folder / "trunk"


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_means_of_each_text_alone(kind, tmp_path):
    folder = bare_folder(kind, tmp_path)
    trunk = PretrainedTrunk.load(folder)
    network, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    network = network.get_encoder() if kind == "t5" else network
    for number, row in enumerate(trunk.means(TEXTS)):
        ids = tokenizer(TEXTS[number]).input_ids
        if len(ids) > 256:
            ids = [*ids[:255], ids[-1]] if kind in ("bert", "t5") else ids[:256]  # what ends a text stays
        with torch.no_grad():
            states = network(torch.tensor([ids])).last_hidden_state[0].double().numpy()
        assert row == pytest.approx(states.mean(0) / np.linalg.norm(states.mean(0)), abs=1e-5)


def test_long_texts_keep_their_start_or_their_end(tmp_path):
    trunk = PretrainedTrunk.load(bare_folder("bert", tmp_path))
    long = "who will call " + "about broken lamp " * 200 + "before noon today"
    start, end = trunk.means([long])[0], trunk.means([long], keeps="end")[0]
    assert trunk.means([long + " late"])[0] == pytest.approx(start)
    assert trunk.means(["late " + long], keeps="end")[0] == pytest.approx(end)
    assert np.abs(start - end).max() > 1e-3


def test_folders_with_a_head_are_read_as_reward_models(tmp_path):
    bare = bare_folder("bert", tmp_path)
    assert is_bare_trunk(str(bare))
    assert template_check(str(bare)) is None
    assert not is_bare_trunk(str(tmp_path / "made"))
    prompts = [(Message(role="user", content="who will call"),)] * 2
    states = load_states(str(bare))(prompts, TEXTS[:2])["states"]
    assert states == pytest.approx(PretrainedTrunk.load(bare).means(TEXTS[:2]))
    of_heads = load_states(str(tmp_path / "made"))(prompts, TEXTS[:2])
    assert list(of_heads) == ["states"]
    assert of_heads["states"].shape == (2, 32)


def test_nearness_is_the_cosine_of_prompt_and_answer(tmp_path):
    trunk = PretrainedTrunk.load(bare_folder("bert", tmp_path))
    asked = (Message(role="user", content=TEXTS[0]),)
    blocks = trunk([asked, asked, ()], [TEXTS[0], TEXTS[1], TEXTS[1]])
    first, second = trunk.means(TEXTS[:2])
    assert blocks["nearness"].ravel() == pytest.approx([1.0, first @ second, 0.0])
    assert 0.0 < abs(first @ second) < 0.999


def test_a_trunk_that_lacks_layers_is_refused(tmp_path):
    folder = bare_folder("bert", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"no whole model, its file has no .*layer\.2\."):
        PretrainedTrunk.load(check_policy_folder(folder))


def test_the_package_is_found_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(load, "ENCODER_PACKAGE", "some_package_of_weights")
    assert installed_encoder() == ""
    (tmp_path / "some_package_of_weights" / "model").mkdir(parents=True)
    (tmp_path / "some_package_of_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    assert installed_encoder() == ""
    (tmp_path / "some_package_of_weights" / "model" / "config.json").write_text("{}")
    assert installed_encoder() == str(tmp_path / "some_package_of_weights" / "model")
