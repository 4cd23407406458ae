"""How many tokens models take: no more than that fits, and that fits."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import NARROW, config_of
from transformers import AutoModel, DebertaV2Config, GPT2Config, MptConfig, OPTConfig, T5Config, XLNetConfig

from rewardkit.network.models import num_positions

DEBERTA = {
    **NARROW,
    "vocab_size": 60,
    "num_hidden_layers": 1,
    "relative_attention": True,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (config_of("roberta", **NARROW, max_position_embeddings=20, pad_token_id=1), 18),
        (config_of("bert", **NARROW, max_position_embeddings=20), 20),
        (OPTConfig(vocab_size=60, hidden_size=16, ffn_dim=16, num_attention_heads=2, num_hidden_layers=1,
                   word_embed_proj_dim=16, max_position_embeddings=20), 20),
        (GPT2Config(vocab_size=60, n_embd=16, n_head=2, n_layer=1, n_positions=20), 20),
        (MptConfig(vocab_size=60, d_model=16, n_heads=2, n_layers=1, max_seq_len=20), 20),
        (DebertaV2Config(**DEBERTA), 20),
    ],
    ids=["roberta", "bert", "opt", "gpt2", "mpt", "deberta"],
)  # fmt: skip
def test_a_model_takes_that_many_tokens_and_no_more(config, limit: int) -> None:
    assert num_positions(config) == limit
    network = AutoModel.from_config(config).eval()
    with torch.no_grad():
        network(input_ids=torch.full((1, limit), 7))
        with pytest.raises((IndexError, RuntimeError)):
            network(input_ids=torch.full((1, limit + 1), 7))


@pytest.mark.parametrize(
    "config",
    [
        DebertaV2Config(**DEBERTA, position_biased_input=False, position_buckets=4),
        T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=60),
        XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=16, vocab_size=60),
    ],
    ids=["deberta-v3", "t5", "xlnet"],
)
def test_relative_positions_set_no_limit(config) -> None:
    assert num_positions(config) is None


def test_rotary_positions_are_limited_by_what_the_configuration_says() -> None:
    assert num_positions(config_of("llama", **NARROW, max_position_embeddings=20)) == 20
