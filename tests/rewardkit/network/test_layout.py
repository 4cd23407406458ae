"""How rows run: whatever an architecture announces, a batch gives what each row gives alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from toy_architectures import DECODERS, ENCODERS, make_folder, make_tokenizer, sentences
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rewardkit.config import PRESET_NAMES
from rewardkit.network import attention
from rewardkit.network.classifier import RewardScorer, load_classifier, own_head
from rewardkit.network.layout import attend_plainly, attended_plainly, choose_layout, set_attention, trial_rows
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import PRESETS, load_network, recompute_activations
from rewardkit.network.packed_rows import Branched, pack, pad
from rewardkit.network.tokens import load_tokenizer

PADDED = ("Bloom", "Falcon (ALiBi)", "Falcon", "MPT", "GPT-Neo", "Gemma 2", "GPT-OSS", "T5", "RoBERTa")
ROWS = [
    Branched(prompt=(15, 16, 17), branches=((18, 1), (19, 20, 1))),
    Branched(prompt=tuple(range(20, 60)), branches=((18, 19, 1),)),
]


def own_logits(classifier, rows) -> torch.Tensor:
    """(S,) what transformers scores each branch alone."""
    sequences = [torch.tensor([row.prompt + branch]) for row in rows for branch in row.branches]
    with attended_plainly(classifier), torch.no_grad():
        logits = [classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for ids in sequences]
    return torch.cat(logits)[:, 0]


@pytest.mark.parametrize("name", ["Llama 2", "OPT", *PADDED])
def test_a_batch_of_any_architecture_scores_as_each_row_alone(name: str, tmp_path: Path) -> None:
    folder = make_folder(name, tmp_path, classifier=True)
    tokenizer = load_tokenizer(folder)
    scorer = RewardScorer(load_classifier(folder, tokenizer, dtype=torch.float32)).eval()
    scorer.take_own_head()
    with torch.no_grad():
        scores = scorer(ROWS)[0]
    assert torch.allclose(scores, own_logits(scorer.classifier, ROWS), rtol=1e-4, atol=1e-4)
    assert scorer.layout == {"Llama 2": "packed", "OPT": "packed"}.get(name, "padded")


@pytest.mark.parametrize("name", ["Mistral (window)", "Gemma 3", "Falcon", "RoBERTa", "T5"])
def test_padded_models_recompute_their_activations_with_the_same_gradient(name: str, tmp_path: Path) -> None:
    folder = make_folder(name, tmp_path, classifier=True)
    tokenizer = make_tokenizer((DECODERS | ENCODERS)[name][0])

    def gradient(*, recomputes: bool) -> torch.Tensor:
        scorer = RewardScorer(load_classifier(folder, tokenizer, dtype=torch.float32)).train()
        if recomputes:
            recompute_activations(scorer.classifier)
        scorer(ROWS).sum().backward()
        return scorer.classifier.get_input_embeddings().weight.grad

    assert torch.allclose(gradient(recomputes=True), gradient(recomputes=False), rtol=1e-3, atol=1e-5)


def test_an_attention_that_was_not_set_is_an_error(tmp_path: Path) -> None:
    attention.register()
    bloom = AutoModelForCausalLM.from_pretrained(make_folder("Bloom", tmp_path, classifier=False))
    before = bloom.config._attn_implementation
    with pytest.raises(ValueError, match="takes no attention by name"):
        set_attention(bloom, attention.NAME)
    attend_plainly(bloom)
    assert bloom.config._attn_implementation == before != attention.NAME


@pytest.mark.parametrize(
    ("differing", "part"),
    [({"attn_logit_softcapping": 50.0}, "softcap"), ({}, "")],
)
def test_an_attention_that_caps_its_scores_never_runs_packed(differing, part: str) -> None:
    """A cap of 50 changes nothing on small rows, so that numbers alone would not tell."""
    fields = {"head_dim": 8, "layer_types": ["full_attention"] * 2, "sliding_window": 16}
    config = config_of("gemma2", **fields | {"attn_logit_softcapping": None} | differing)
    model = AutoModelForCausalLM.from_config(config).eval()
    if not part:
        assert can_pack_policy(model)
        return
    attention.register()
    assert not can_pack_policy(model)
    model.config._attn_implementation = attention.NAME
    with pytest.raises(ValueError, match=part):
        completion_logps(model, ROWS[:1], packed=True)


def test_a_model_that_reads_what_it_is_to_predict_is_no_policy() -> None:
    config = config_of("bert", num_key_value_heads=4, is_decoder=False)
    with pytest.raises(ValueError, match="sees the tokens that it is to predict"):
        can_pack_policy(AutoModelForCausalLM.from_config(config).eval())


def test_rows_that_fit_no_layout_run_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = AutoModelForSequenceClassification.from_config(llama_config(num_labels=1)).eval()

    def run(rows, packed):
        return torch.full((sum(len(row.branches) for row in rows),), float(len(rows)))

    with caplog.at_level(logging.WARNING):
        assert choose_layout(model, run, trial_rows(model.config), tolerance=1e-3) == "alone"
    assert ["runs padded" in line or "runs row by row" in line for line in caplog.messages] == [True, True]


def test_a_model_that_gives_no_number_is_refused_by_name() -> None:
    model = AutoModelForSequenceClassification.from_config(llama_config(num_labels=1)).eval()

    def run(rows, packed):
        raise IndexError("index out of range\nin self")

    with pytest.raises(ValueError, match=r"LlamaForSequenceClassification cannot be run here: index out of range$"):
        choose_layout(model, run, trial_rows(model.config), tolerance=1e-3)


@pytest.mark.parametrize("skipped", [None, 1, 18])
def test_the_place_that_is_read_is_the_last_token_that_is_not_skipped(skipped: int | None) -> None:
    batch, padded = pack(ROWS), pad(ROWS, 0, skipped=skipped)
    sequences = [row.prompt + branch for row in ROWS for branch in row.branches]
    expected = [max(place for place, token in enumerate(ids) if token != skipped) for ids in sequences]
    assert padded.read_index.tolist() == expected
    packed = batch.input_ids[0, batch.read_index(skipped)].tolist()
    assert packed == [ids[place] for ids, place in zip(sequences, expected, strict=True)]
    # By hand: the first row is 15 16 17 | 18 1 | 19 20 1, the second begins at 8.
    assert batch.read_index(1).tolist() == [3, 6, 8 + 40 + 1]


def test_a_head_keeps_its_bias(tmp_path: Path) -> None:
    folder = make_folder("RoBERTa", tmp_path, classifier=True)
    classifier = load_classifier(folder, make_tokenizer("roberta"), dtype=torch.float32)
    weight, bias = own_head(classifier)
    assert float(bias) == pytest.approx(float(classifier.classifier.out_proj.bias.detach()))
    assert weight.shape == (1, 32)


def test_tokens_without_weights_take_no_share_of_a_distribution(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_folder("Llama 2", tmp_path, classifier=False)
    tokenizer = make_tokenizer("llama")
    tokenizer.add_tokens(["<new>"])
    with caplog.at_level(logging.WARNING):
        assert load_network(folder, tokenizer, may_grow=False).config.vocab_size == len(tokenizer) - 1
    assert "no weights for 1 tokens of its tokenizer: ['<new>']" in caplog.text
    assert load_network(folder, tokenizer).config.vocab_size == len(tokenizer)
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    with pytest.raises(ValueError, match="no weights for the token that ends a turn"):
        load_network(folder, tokenizer, may_grow=False)


def test_made_sentences_differ() -> None:
    assert len(set(sentences(96))) == 96


def test_gpt2_gets_rows_within_its_positions() -> None:
    assert can_pack_policy(AutoModelForCausalLM.from_config(gpt2_config(n_positions=40)).eval())


def test_every_preset_that_is_named_has_a_shape() -> None:
    assert tuple(PRESETS) == PRESET_NAMES
