"""The launcher's configurations that are shipped are ones that accelerate takes, and that the loop can run under."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

FOLDER = Path(__file__).parents[2] / "alignment" / "accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_is_read_by_accelerate(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == "MULTI_GPU"
    assert config.num_processes >= 2
    assert config.num_processes % config.num_machines == 0
    assert not config.fsdp_config  # every process holds all weights
    assert not config.deepspeed_config


def test_there_is_one_for_a_machine_and_one_for_several() -> None:
    assert [file.stem for file in FILES] == ["multi_gpu", "multi_node"]
