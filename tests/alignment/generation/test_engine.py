"""Which loop decodes which model: ours only where it gives the model's own logits."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest
import torch
from toy_architectures import make_folder
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForCausalLM

from alignment.generation import engine
from alignment.generation.engine import PlainDecoding, WholeDecoding, engine_of
from alignment.generation.generate import Sampling, generate
from alignment.generation.llama_decoding import LlamaDecoding
from rewardkit.network.models import load_policy

SMALL = {"num_hidden_layers": 3, "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
OURS = {
    "llama": lambda: llama_config(**SMALL),
    "llama with biases": lambda: llama_config(**SMALL, attention_bias=True, mlp_bias=True),
    "llama 3": lambda: llama_config(**SMALL, rope_parameters=LLAMA_3),
    "llama, yarn": lambda: llama_config(**SMALL, rope_parameters=YARN),
    "llama, tied": lambda: llama_config(**SMALL, tie_word_embeddings=True),
    "mistral": lambda: config_of("mistral", **SMALL, sliding_window=None, head_dim=16),
    "qwen2": lambda: config_of("qwen2", **SMALL),
    "qwen3": lambda: config_of("qwen3", **SMALL, head_dim=16),
    "granite, nothing multiplied": lambda: config_of("granite", **SMALL, attention_multiplier=8**-0.5),
}
OTHERS = {
    "gpt2": (
        gpt2_config,
        "it has no embed_tokens",
    ),
    "gemma": (lambda: config_of("gemma", **SMALL, head_dim=8), "its embedding is a GemmaTextScaledWordEmbedding"),
    "mistral": (lambda: config_of("mistral", **SMALL, sliding_window=64), "sliding_attention"),
    "olmo2": (lambda: config_of("olmo2", **SMALL), "its layer has a part post_feedforward_layernorm"),
    "phi3": (lambda: config_of("phi3", **SMALL), "its layer has a part resid_attn_dropout"),
    "granite": (
        lambda: config_of("granite", **SMALL, residual_multiplier=0.5),
        "its logits are not those of whole forward passes",
    ),
    "smollm3": (
        lambda: config_of("smollm3", **SMALL, no_rope_layer_interval=2),
        "its logits are not those of whole forward passes",
    ),
    "dynamic rotation": (
        lambda: llama_config(**SMALL, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
        "its rotary frequencies are dynamic",
    ),
}


def make_policy(config, dtype: torch.dtype = torch.float32):
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype).eval()
    with torch.no_grad():  # biases and norms are zeros and ones otherwise: leaving them out would not be seen
        for name, parameter in policy.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def decoding_of(policy, precision="fp32"):
    with torch.no_grad():
        return engine_of(policy, precision)([(5, 6, 7), (8,)], 2, 4)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_llama_shaped_models_are_decoded_here(name: str, precision) -> None:
    policy = make_policy(OURS[name]())
    decoding = decoding_of(policy, precision)
    assert isinstance(decoding, LlamaDecoding)
    assert decoding.weights.dtype == (torch.float32 if precision == "fp32" else torch.bfloat16)
    with torch.no_grad():
        expected = torch.stack([policy(input_ids=torch.tensor([ids])).logits[0, -1] for ids in ((5, 6, 7), (8,))])
        difference = decoding.start().float() - expected.repeat_interleave(2, 0)
    assert difference.norm() / expected.repeat_interleave(2, 0).norm() < (1e-4 if precision == "fp32" else 0.1)


def test_a_policy_in_bf16_is_decoded_in_bf16() -> None:
    decoding = decoding_of(make_policy(llama_config(**SMALL), torch.bfloat16))
    assert isinstance(decoding, LlamaDecoding)
    assert decoding.weights.dtype == torch.bfloat16


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_others_are_decoded_by_transformers_and_the_reason_is_told_once(
    name: str, precision, caplog: pytest.LogCaptureFixture
) -> None:
    make_config, reason = OTHERS[name]
    policy = make_policy(make_config())
    engine._tell.cache_clear()
    with caplog.at_level(logging.INFO, "alignment.generation.engine"):
        assert isinstance(decoding_of(policy, precision), PlainDecoding)
        decoding_of(policy, precision)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "alignment.generation.engine"]
    assert line.startswith(f"{type(policy).__name__} decodes by transformers, which is slower: ")
    assert reason in line


@pytest.mark.parametrize("name", ["Falcon (ALiBi)", "MPT", "Bloom", "GPT-Neo", "Mixtral", "Mamba"])
def test_samples_have_the_log_probabilities_of_whole_forward_passes(name: str, tmp_path: Path) -> None:
    policy, _ = load_policy(make_folder(name, tmp_path, classifier=False))
    prompts = [(15, 16, 17, 18, 19), (20,), (21, 22, 23)]
    for prompt, samples in zip(
        prompts, generate(policy, prompts, Sampling(max_new_tokens=4), num_samples=2), strict=True
    ):
        for sample in samples:
            ids = torch.tensor([[*prompt, *sample.completion]])
            with torch.no_grad():
                logits = policy(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(-1)
            places = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            expected = logits[places, ids[0, places + 1]]
            assert torch.allclose(torch.tensor(sample.logps), expected, atol=1e-4)
    with torch.no_grad():
        decoding = engine_of(policy, "fp32")(prompts, 2, 4)
    assert isinstance(decoding, WholeDecoding if name == "Mamba" else PlainDecoding)


def test_a_cache_that_gives_other_logits_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(OTHERS["gpt2"][0]())
    forward = type(policy).forward

    def forgetful(self, *args, past_key_values=None, use_cache=None, **kwargs):
        answer = forward(self, *args, use_cache=use_cache, past_key_values=past_key_values, **kwargs)
        if past_key_values is not None:
            answer.logits = answer.logits.roll(1, -1)
        return answer

    forgetful.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(type(policy), "forward", forgetful)
    assert isinstance(decoding_of(policy), WholeDecoding)


def test_bf16_is_autocast_where_transformers_decodes() -> None:
    policy = make_policy(OTHERS["gpt2"][0]())
    with torch.no_grad():
        exact, rounded = (decoding_of(policy, precision).start() for precision in ("fp32", "bf16"))
    assert rounded.dtype == torch.bfloat16
    assert 0 < (exact - rounded.float()).abs().max() < 0.1


def test_a_weight_that_is_not_a_number_is_left_to_transformers() -> None:
    policy = make_policy(llama_config(**SMALL))
    with torch.no_grad():
        policy.lm_head.weight[3, 3] = float("nan")
    assert isinstance(decoding_of(policy), PlainDecoding)


def test_logits_that_the_next_step_overwrites_are_tried_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a CUDA graph, which are in the same place after every step."""
    step, place = LlamaDecoding.step, []

    def overwriting(self: LlamaDecoding, tokens: torch.Tensor) -> torch.Tensor:
        logits = step(self, tokens)
        if not place or place[0].shape != logits.shape:
            place[:] = [torch.empty_like(logits)]
        return place[0].copy_(logits)

    monkeypatch.setattr(LlamaDecoding, "step", overwriting)
    assert isinstance(decoding_of(make_policy(llama_config(**SMALL))), LlamaDecoding)


def test_each_rollout_reads_the_weights_as_they_are() -> None:
    policy = make_policy(llama_config(**SMALL))
    sampling = Sampling(temperature=0, max_new_tokens=6)
    before = generate(policy, [(5, 6, 7)], sampling)
    with torch.no_grad():
        policy.model.layers[0].mlp.down_proj.weight.neg_()
    after = generate(policy, [(5, 6, 7)], sampling)
    assert before != after
    with torch.no_grad():
        policy.model.layers[0].mlp.down_proj.weight.neg_()
    assert generate(policy, [(5, 6, 7)], sampling) == before


def adapted(**options):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, lora_alpha=6, target_modules="all-linear", init_lora_weights=False, **options)
    torch.manual_seed(1)
    return get_peft_model(make_policy(llama_config(**SMALL)), lora).eval()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT's own making
def test_adapters_are_folded_in_and_the_weights_are_not_touched() -> None:
    policy = adapted()
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    decoding = decoding_of(policy)
    assert isinstance(decoding, LlamaDecoding)
    assert isinstance(decoding_of(policy.get_base_model()), LlamaDecoding)  # as training holds it
    ids = torch.tensor([(5, 6, 7)])
    with torch.no_grad():
        torch.testing.assert_close(decoding.start()[0], policy(input_ids=ids).logits[0, -1], atol=1e-4, rtol=1e-4)
        with policy.disable_adapter():
            off = decoding_of(policy)
            assert isinstance(off, LlamaDecoding)
            expected = policy(input_ids=ids).logits[0, -1]
        torch.testing.assert_close(off.start()[0], expected, atol=1e-4, rtol=1e-4)
        assert (off.start()[0] - decoding_of(policy).start()[0]).abs().max() > 0.1
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_that_are_merged_are_folded_in_once() -> None:
    policy = adapted()
    expected = decoding_of(policy)
    policy.merge_adapter()
    found = decoding_of(policy)
    assert isinstance(found, LlamaDecoding)
    with torch.no_grad():
        torch.testing.assert_close(found.start(), expected.start(), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_of_other_kinds_are_left_to_transformers() -> None:
    from peft import PromptTuningConfig, TaskType, get_peft_model

    assert isinstance(decoding_of(adapted(use_dora=True)), PlainDecoding)
    prompt = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3)
    assert isinstance(decoding_of(get_peft_model(make_policy(llama_config(**SMALL)), prompt)), PlainDecoding)
