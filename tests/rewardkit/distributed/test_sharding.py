"""What a launcher may ask for about weights in parts. That the parts compute as the whole is alignment's test."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from rewardkit.distributed.sharding import full_tensor, is_launched_sharded, is_sharded, local, rows_of

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"WORLD_SIZE": "2"}, False),
        ({"ACCELERATE_USE_FSDP": "false", "WORLD_SIZE": "2"}, False),
        (FSDP2, True),
        (FSDP2 | {"WORLD_SIZE": "1"}, False),  # the one process holds all of them
        (FSDP2 | {"FSDP_OFFLOAD_PARAMS": "false", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}, True),
    ],
)
def test_weights_are_in_parts_where_a_launcher_asks(
    environment: dict[str, str], asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_launched_sharded() is asked


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed, which is not known here"),
        ({"FSDP_VERSION": "1"}, "fsdp_version of the launcher is 1, allowed is 2"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params of the launcher is true, allowed is false"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "fsdp_activation_checkpointing of the launcher is true"),
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fsdp_cpu_ram_efficient_loading of the launcher is true"),
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "fsdp_auto_wrap_policy of the launcher is SIZE_BASED_WRAP"),
        ({"FSDP_TRANSFORMER_CLS_TO_WRAP": "Layer"}, "fsdp_transformer_layer_cls_to_wrap .* Layer, allowed is none"),
        ({"FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}, "fsdp_state_dict_type of the launcher is FULL_STATE_DICT"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision of the launcher is bf16, allowed is no"),
    ],
)
def test_what_is_not_known_is_refused(environment: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (FSDP2 | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=says):
        is_launched_sharded()


def test_a_whole_tensor_stays_what_it_is() -> None:
    tensor = torch.arange(3.0)
    assert not is_sharded(tensor)
    assert full_tensor(tensor) is tensor
    assert local(tensor) is tensor
    assert rows_of(tensor) == slice(0, 3)
