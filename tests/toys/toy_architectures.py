"""Models of random weights of every kind people bring: an architecture and its tokenizer's habits, in a folder.

Each is a network of two layers. A tokenizer is trained on made sentences and behaves as the family's own does: where
BOS or [CLS] and [SEP] stand, which token pads, whether a chat template comes with it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

SPECIAL = [
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "<|im_start|>",
    "<|im_end|>",
    "<turn>",
    "</turn>",
    "<|endoftext|>",
]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + ']\n' + (m['content'] | trim) + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[assistant]\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<turn>' + role + '\n' + m['content'] | trim + '</turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
WORDS = (
    *("please", "say", "how", "the", "parcel", "came", "late", "and", "who", "will"),
    *("call", "about", "broken", "lamp", "before", "noon", "today", "or"),
)


def sentences(count: int) -> list[str]:
    """Made sentences, each of other words."""
    randomness = random.Random(0)
    return [" ".join(randomness.sample(WORDS, 6)) for _ in range(count)]


@cache
def _byte_pairs() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(200), trainer)
    return tokenizer.to_str()


def _around(first: str, last: str) -> processors.TemplateProcessing:
    """A post-processor that puts tokens before and behind a text, as encoders want it."""
    return processors.TemplateProcessing(
        single=[part for part in (first, "$A", last) if part],
        pair=[part for part in (first, "$A", last, "$B", last) if part],
        special_tokens=[(token, SPECIAL.index(token)) for token in {first, last} - {""}],
    )


TOKENIZERS: dict[str, tuple[tuple[str, str], str | None, dict[str, str]]] = {
    # what stands around a text, the chat template, the special tokens by role
    "llama": (("<s>", ""), LLAMA, {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}),
    "padded with eos": (("", ""), LLAMA, {"bos": "<s>", "eos": "</s>", "pad": "</s>"}),
    "chatml": (("", ""), CHATML, {"eos": "<|im_end|>", "pad": "<pad>"}),
    "gemma": (("<s>", ""), GEMMA, {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}),
    "gpt2": (("", ""), None, {"bos": "</s>", "eos": "</s>", "unk": "</s>"}),
    "bert": (
        ("[CLS]", "[SEP]"),
        None,
        {"cls": "[CLS]", "sep": "[SEP]", "pad": "<pad>", "mask": "[MASK]", "unk": "<unk>"},
    ),
    "roberta": (
        ("<s>", "</s>"),
        None,
        {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"},
    ),
    "t5": (("", "</s>"), None, {"eos": "</s>", "pad": "<pad>", "unk": "<unk>"}),
}


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer with the habits of a family; `kind` is a key of TOKENIZERS."""
    around, template, special = TOKENIZERS[kind]
    tokens = Tokenizer.from_str(_byte_pairs())
    if any(around):
        tokens.post_processor = _around(*around)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, **{f"{role}_token": token for role, token in special.items()}
    )
    if template:
        tokenizer.chat_template = template
    return tokenizer


NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = NARROW | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
PLAIN = NARROW | {"intermediate_size": 64, "max_position_embeddings": 256}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 10000.0,
}
# By name: the tokenizer's kind, transformers' model type, the fields of the configuration.
DECODERS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "Llama 2": ("llama", "llama", GATED),
    "Llama 3": ("llama", "llama", GATED | {"rope_parameters": ROPE}),
    "Mistral (window)": ("padded with eos", "mistral", GATED | {"sliding_window": 16}),
    "Ministral (no window)": ("padded with eos", "mistral", GATED | {"sliding_window": None}),
    "Qwen 2": ("chatml", "qwen2", GATED | {"tie_word_embeddings": True}),
    "Qwen 3": ("chatml", "qwen3", GATED | {"head_dim": 8}),
    "Gemma": ("gemma", "gemma", GATED | {"head_dim": 8}),
    "Gemma 2": (
        "gemma",
        "gemma2",
        GATED
        | {"head_dim": 8, "sliding_window": 16, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}
        | {"query_pre_attn_scalar": 8},
    ),
    "Gemma 3": ("gemma", "gemma3_text", GATED | {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}),
    "Mixtral": ("llama", "mixtral", GATED | EXPERTS | {"output_router_logits": True, "sliding_window": None}),
    "Qwen 2 MoE": (
        "chatml",
        "qwen2_moe",
        GATED
        | {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4}
        | {"num_experts_per_tok": 2, "output_router_logits": True},
    ),
    "Qwen 3 MoE": (
        "chatml",
        "qwen3_moe",
        GATED | {"head_dim": 8, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    ),
    "OLMoE": ("llama", "olmoe", GATED | {"num_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}),
    "GPT-OSS": ("llama", "gpt_oss", GATED | EXPERTS | {"head_dim": 8, "sliding_window": 16}),
    "DeepSeek 3": (
        "llama",
        "deepseek_v3",
        GATED
        | LATENT
        | {"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1}
        | {"n_shared_experts": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1},
    ),
    "GPT-2": ("gpt2", "gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "GPT-Neo": (
        "gpt2",
        "gpt_neo",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
        | {"window_size": 16, "max_position_embeddings": 256},
    ),
    "GPT-J": ("gpt2", "gptj", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "rotary_dim": 4}),
    "GPT-NeoX, Pythia": ("gpt2", "gpt_neox", PLAIN | {"hidden_dropout": 0.1}),
    "Phi 2": ("gpt2", "phi", PLAIN | {"partial_rotary_factor": 0.5}),
    "Phi 3": ("llama", "phi3", GATED),
    "OPT": (
        "llama",
        "opt",
        {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32}
        | {"max_position_embeddings": 256, "dropout": 0.1},
    ),
    "Bloom": ("llama", "bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.1}),
    "Falcon (ALiBi)": ("gpt2", "falcon", NARROW | {"alibi": True, "new_decoder_architecture": False}),
    "Falcon": ("gpt2", "falcon", NARROW | {"alibi": False, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "MPT": ("gpt2", "mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}),
    "Cohere": ("llama", "cohere", GATED | {"logit_scale": 0.25}),
    "Granite": (
        "llama",
        "granite",
        GATED
        | {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5}
        | {"attention_multiplier": 0.3},
    ),
    "OLMo 2": ("llama", "olmo2", GATED),
    "SmolLM 3": ("llama", "smollm3", GATED),
    "StableLM": ("gpt2", "stablelm", GATED),
    "StarCoder 2": ("gpt2", "starcoder2", GATED | {"sliding_window": None}),
    "GLM 4": ("llama", "glm4", GATED | {"head_dim": 8}),
    "Mamba": ("gpt2", "mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "time_step_rank": 4}),
}
ENCODERS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "BERT, MiniLM": ("bert", "bert", PLAIN),
    "RoBERTa": ("roberta", "roberta", PLAIN | {"max_position_embeddings": 260}),
    "DeBERTa 3": (
        "bert",
        "deberta-v2",
        PLAIN | {"relative_attention": True, "position_buckets": 32, "pos_att_type": ["p2c", "c2p"]},
    ),
    "ModernBERT": ("bert", "modernbert", PLAIN | {"cls_token_id": 4, "sep_token_id": 5}),
    "DistilBERT": (
        "bert",
        "distilbert",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 256},
    ),
    "ELECTRA": ("bert", "electra", PLAIN | {"embedding_size": 32}),
    "ALBERT": ("bert", "albert", PLAIN | {"embedding_size": 16}),
    "XLNet": ("bert", "xlnet", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}),
    "T5": (
        "t5",
        "t5",
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 3},
    ),
    "BART": (
        "roberta",
        "bart",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
        | {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 256},
    ),
}
ARCHITECTURES = DECODERS | ENCODERS


def make_folder(name: str, folder: Path, *, classifier: bool, seed: int = 0) -> Path:
    """Writes an architecture with random weights and its tokenizer; with `classifier` a reward model of one label.

    Weights are larger than an initialisation's and biases are not 0, so that what is left out shows.

    Raises:
        ValueError: if transformers has no such model of the architecture.
    """
    kind, model_type, fields = ARCHITECTURES[name]
    tokenizer = make_tokenizer(kind)
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    config = transformers.AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        **{key: value for key, value in ids.items() if value is not None} | fields,
    )
    if classifier:
        config.num_labels = 1
    make: Callable[..., Any] = (AutoModelForSequenceClassification if classifier else AutoModelForCausalLM).from_config
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = make(config)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4.0)
            else:
                weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
