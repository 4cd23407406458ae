"""Steps of our own give the states and gradients of the model's modules, and step aside for what is unusual."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from rewardkit.network import attention, llama
from rewardkit.network.classifier import classifier_layout
from rewardkit.network.llama import check, packed_states, try_steps
from rewardkit.network.logps import can_pack_policy
from rewardkit.network.models import recompute_activations
from rewardkit.network.packed_rows import Branched, pack

SMALL = {"intermediate_size": 48, "initializer_range": 0.3}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 100.0}
CONFIGS = {
    "llama": lambda: llama_config(**SMALL),
    "llama, tied": lambda: llama_config(**SMALL, tie_word_embeddings=True),
    "llama, biases": lambda: llama_config(**SMALL, attention_bias=True, mlp_bias=True, hidden_act="gelu"),
    "llama, yarn": lambda: llama_config(**SMALL, rope_parameters=YARN, max_position_embeddings=64),
    "qwen2": lambda: config_of("qwen2", **SMALL),
    "qwen3": lambda: config_of("qwen3", **SMALL, head_dim=16),
    "mistral": lambda: config_of("mistral", **SMALL, sliding_window=None),
}
BATCH = pack(
    [
        Branched(prompt=(5, 6, 7), branches=((8, 9), (10, 11, 12))),
        Branched(prompt=(9,), branches=((7, 3, 2, 0),)),
        Branched(prompt=(4, 4), branches=((6,), (5, 21), (40, 41, 42))),
    ]
)
INDEX = BATCH.completion_index


def make_policy(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    attention.register()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME).to(dtype)
        for parameter in policy.parameters():
            if parameter.dim() == 1:  # norms and biases that are not all alike
                torch.nn.init.normal_(parameter, 0.5, 0.3)
    return policy


def adapted(policy: PreTrainedModel, **options: Any) -> Any:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        torch.manual_seed(1)
        found = get_peft_model(policy, LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", **options))
        for name, parameter in found.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return found


def states_and_gradients(policy: PreTrainedModel, by_steps: bool) -> dict[str, Tensor]:
    policy.takes_own_steps = by_steps  # pyright: ignore
    if by_steps:
        check(policy)
    policy.zero_grad(set_to_none=True)
    states = packed_states(policy, BATCH, INDEX)
    (states * torch.linspace(-1.0, 2.0, states.numel()).view_as(states)).sum().backward()
    gradients = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    return {"states": states.detach(), **gradients}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """To a share of the largest number of each tensor, or of 1 where all are smaller."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= tolerance * value.abs().max().clamp_min(1.0), name


@contextmanager
def exact_norms() -> Iterator[None]:
    """Within the block transformers' norms of float64 are computed in it, not in float32."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.mistral.modeling_mistral import MistralRMSNorm
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.nn.functional.rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon)

    with pytest.MonkeyPatch.context() as patch:
        for kind in (LlamaRMSNorm, MistralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm):
            patch.setattr(kind, "forward", forward)
        yield


@pytest.mark.parametrize("has_adapters", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("name", CONFIGS)
def test_states_and_all_gradients_equal_those_of_the_modules(name: str, has_adapters: bool) -> None:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        policy = make_policy(CONFIGS[name](), dtype)
        if has_adapters:
            policy = adapted(policy).get_base_model()
        with exact_norms():
            expected = states_and_gradients(policy, by_steps=False)
            found = states_and_gradients(policy, by_steps=True)
        assert len(found) > 10
        assert_same(found, expected, tolerance)


def test_adapters_that_are_off_do_not_act() -> None:
    policy = make_policy(CONFIGS["llama"]())
    bare = states_and_gradients(policy, by_steps=False)["states"]
    wrapped = adapted(policy)
    assert (states_and_gradients(policy, by_steps=True)["states"] - bare).abs().max() > 0.1
    with wrapped.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(packed_states(policy, BATCH, INDEX), bare)


def test_autocast_multiplies_in_bf16_and_keeps_the_rest() -> None:
    for policy in (make_policy(CONFIGS["qwen3"]()), adapted(make_policy(CONFIGS["llama"]())).get_base_model()):
        exact = states_and_gradients(policy, by_steps=True)["states"]
        with torch.autocast("cpu", torch.bfloat16):
            found, expected = (states_and_gradients(policy, by_steps=by_steps)["states"] for by_steps in (True, False))
        assert found.dtype == expected.dtype == torch.float32
        assert 0 < (found - exact).norm() < 1.5 * (expected - exact).norm()


def test_the_trial_accepts_what_is_llama_shaped_and_only_that() -> None:
    policy = make_policy(CONFIGS["qwen2"]())
    assert can_pack_policy(policy)
    assert policy.takes_own_steps
    assert copy.deepcopy(policy).takes_own_steps  # a reference is a copy
    config = llama_config(**SMALL, num_labels=1)
    classifier = AutoModelForSequenceClassification.from_config(config)
    assert classifier_layout(classifier) == "packed"
    assert classifier.takes_own_steps
    other = make_policy(gpt2_config()).eval()
    assert can_pack_policy(other)
    assert not other.takes_own_steps


def test_a_model_that_computes_something_else_fails_the_trial() -> None:
    policy = make_policy(CONFIGS["llama"]())
    layer: Any = policy.base_model.layers[1]  # pyright: ignore

    class OnePlus(type(layer.input_layernorm)):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return super().forward(hidden_states) + hidden_states

    layer.input_layernorm.__class__ = OnePlus
    try_steps(policy, BATCH)
    assert not policy.takes_own_steps
    with attention.packed_rows(BATCH):  # it runs on by its modules
        states = policy.base_model(BATCH.input_ids, position_ids=BATCH.position_ids, use_cache=False).last_hidden_state[
            0
        ]
    torch.testing.assert_close(packed_states(policy, BATCH, INDEX), states[INDEX])


def several(policy: PreTrainedModel) -> None:
    wrapped = adapted(policy)
    wrapped.add_adapter("second", LoraConfig(r=2, target_modules="all-linear"))
    wrapped.base_model.set_adapter(["default", "second"])


UNUSUAL = {
    "hooks": lambda policy: policy.base_model.layers[0].mlp.register_forward_hook(lambda *_: None),
    "again in backward": recompute_activations,
    "all hidden states": lambda policy: setattr(policy.config, "output_hidden_states", True),
    "sliding_attention": lambda policy: setattr(policy.config, "layer_types", ["sliding_attention"] * 2),
    "dropout": lambda policy: adapted(policy, lora_dropout=0.1),
    "no plain LoRA": lambda policy: adapted(policy, use_dora=True),
    "several adapters": several,
    "number formats": lambda policy: policy.base_model.layers[0].mlp.up_proj.to(torch.float64),
    "part extra": lambda policy: setattr(policy.base_model.layers[0].mlp, "extra", torch.nn.Identity()),
    "weights lie in parts": lambda policy: setattr(policy.base_model.norm.weight, "full_tensor", None),
}


@pytest.mark.parametrize("reason", UNUSUAL)
def test_what_is_unusual_runs_by_the_modules(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(CONFIGS["llama"]())
    try_steps(policy, BATCH)
    assert policy.takes_own_steps
    UNUSUAL[reason](policy)
    policy.train()
    with pytest.raises(ValueError, match=reason):
        check(policy)
    asked = []
    monkeypatch.setattr(llama, "_states_by_modules", lambda *_: asked.append(1) or torch.zeros(99, 1))
    packed_states(policy, BATCH, INDEX)
    assert asked
