"""The launcher's configurations that are shipped are ones that accelerate takes, and that the loop can run under."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from rewardkit.distributed.sharding import is_launched_sharded

FOLDER = Path(__file__).parents[3] / "alignment" / "accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_is_read_by_accelerate(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == ("FSDP" if file.stem == "fsdp2" else "MULTI_GPU")
    assert config.num_processes >= 2
    assert config.num_processes % config.num_machines == 0
    assert not config.use_cpu
    assert config.mixed_precision == "no"  # autocast is the loop's own
    assert bool(config.fsdp_config) == (file.stem == "fsdp2")  # without it every process holds all weights
    assert not config.deepspeed_config


def test_there_is_one_for_a_machine_one_for_several_and_one_for_weights_in_parts() -> None:
    assert [file.stem for file in FILES] == ["fsdp2", "multi_gpu", "multi_node"]


def test_what_fsdp2_asks_for_is_what_the_loop_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = launch_command_parser()
    words = parser.parse_args([f"--config_file={FOLDER / 'fsdp2.yaml'}", "--main_process_port=0", "train.py"])
    args, *_ = _validate_launch_command(words)
    for name, value in prepare_multi_gpu_env(args).items():
        monkeypatch.setenv(name, value)
    assert is_launched_sharded() is False  # of one process
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert is_launched_sharded() is True
    assert os.environ["FSDP_RESHARD_AFTER_FORWARD"] == "true"
