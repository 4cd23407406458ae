"""Log-probabilities of the reference: precomputed, live from a copy, live without adapters, all the same."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import NARROW, llama_config

from alignment.policy.policy import Policy, make_network
from alignment.policy.policy_forward import Forward
from alignment.policy.reference import LiveReference, hash_of_model, hash_of_rows, with_reference
from alignment.policy.rows import PolicyRows
from rewardkit.network.logps import can_pack_policy
from rewardkit.network.models import adapt
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import train_tokenizer

LLAMA = llama_config(**NARROW | {"num_key_value_heads": 2})
ROWS = [
    Branched(prompt=(11, 12, 13), branches=((14, 15, 9), (16, 9))),
    Branched(prompt=(21,), branches=((22, 9), (23, 24, 25, 9))),
    Branched(prompt=(31, 32), branches=((33, 9), (34, 9))),
]


def rows_of(rows: list[Branched]) -> PolicyRows:
    count = len(rows)
    return PolicyRows(
        rows=rows,
        keep=None,
        weight=torch.ones(count),
        p_chosen=torch.ones(count),
        margin=torch.zeros(count),
        desirable=torch.ones(count, dtype=torch.bool),
        prompts=[()] * count,
        partners=[Branched(prompt=row.prompt, branches=row.branches[1:]) for row in rows],
    )


def policy_of(*, lora: bool) -> tuple[Policy, Forward]:
    network = make_network(LLAMA, seed=0)
    packed = can_pack_policy(network)
    adapted = adapt(network, rank=4, num_layers=0, seed=0, task="CAUSAL_LM") if lora else None
    policy = Policy(network=network, tokenizer=train_tokenizer(["a b"], vocab_size=300), adapted=adapted, packed=packed)
    return policy, Forward(network=network, packed=packed, token_budget=64, precision="fp32")


def move(policy: Policy) -> None:
    """Trained parameters go elsewhere, as a step would move them."""
    with torch.no_grad():
        for number, parameter in enumerate(p for p in policy.network.parameters() if p.requires_grad):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))


@pytest.mark.parametrize("lora", [False, True], ids=["copy", "adapter off"])
def test_precomputed_equals_live_after_the_policy_has_moved(lora: bool, tmp_path: Path) -> None:
    policy, forward = policy_of(lora=lora)
    live = LiveReference(policy, forward)
    (found,) = with_reference(rows_of(ROWS), forward=forward, cache_dir=tmp_path, is_first=True)
    before = forward.sums(ROWS)
    move(policy)
    assert (forward.sums(ROWS) - before).abs().min() > 0.01
    assert found.reference is not None
    assert found.partner_reference is not None
    torch.testing.assert_close(live.sums(ROWS), found.reference, rtol=0, atol=1e-5)
    torch.testing.assert_close(live.all_sums(ROWS), found.reference, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.partner_reference, found.reference[:, 1:], rtol=0, atol=1e-5)
    moved = forward.sums(ROWS)  # asking for the reference leaves the policy as it is
    assert (moved - before).abs().min() > 0.01


def test_adapters_need_no_copy_of_the_weights() -> None:
    policy, forward = policy_of(lora=True)
    live = LiveReference(policy, forward)
    assert live.forward.network is policy.network
    policy, forward = policy_of(lora=False)
    live = LiveReference(policy, forward)
    assert live.forward.network is not policy.network
    assert not any(p.requires_grad for p in live.forward.network.parameters())


def test_the_cache_is_read_again_and_a_broken_file_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, forward = policy_of(lora=False)
    (first,) = with_reference(rows_of(ROWS), forward=forward, cache_dir=tmp_path / "cache", is_first=True)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 2  # of rows and of partners, and no temporary file
    with monkeypatch.context() as patched:
        patched.setattr(Forward, "sums", lambda *_: pytest.fail("computed again"))
        (again,) = with_reference(rows_of(ROWS), forward=forward, cache_dir=tmp_path / "cache", is_first=True)
    assert first.reference is not None
    assert again.reference is not None
    torch.testing.assert_close(again.reference, first.reference, rtol=0, atol=0)
    for file in files:
        file.write_bytes(b"half")
    (third,) = with_reference(rows_of(ROWS), forward=forward, cache_dir=tmp_path / "cache", is_first=True)
    assert third.reference is not None
    torch.testing.assert_close(third.reference, first.reference, rtol=0, atol=0)


def test_the_hash_is_of_weights_and_tokens_and_not_of_new_adapters() -> None:
    policy, forward = policy_of(lora=False)
    model = hash_of_model(forward)
    assert hash_of_model(policy_of(lora=False)[1]) == model
    seeds = [0, 1]
    adapted = []
    for seed in seeds:
        network = make_network(LLAMA, seed=0)
        adapt(network, rank=4, num_layers=0, seed=seed)
        adapted.append(hash_of_model(Forward(network=network, packed=True, token_budget=64, precision="fp32")))
    assert adapted[0] == adapted[1]
    move(policy)
    assert hash_of_model(forward) != model
    assert len({hash_of_rows(rows, model) for rows in (ROWS, ROWS[:2], ROWS[::-1])}) == 3
    assert hash_of_rows(ROWS, model) != hash_of_rows(ROWS, hash_of_model(forward))


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, forward = policy_of(lora=False)

    def full(_values: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("alignment.policy.reference.save_file", full)
    with pytest.raises(OSError, match=r"safetensors could not be written: .*No space left"):
        with_reference(rows_of(ROWS), forward=forward, cache_dir=tmp_path, is_first=True)
    assert list(tmp_path.iterdir()) == []


MEASURE = """
import ctypes, gc, os, sys
from transformers import LlamaConfig
from alignment.policy.policy_forward import Forward
from alignment.policy.policy import Policy, make_network
from alignment.policy.reference import LiveReference
from rewardkit.network.models import adapt
from rewardkit.network.packed_rows import Branched
from rewardkit.network.logps import can_pack_policy

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

config = LlamaConfig(
    vocab_size=4096, hidden_size=512, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=8
)
network = make_network(config, seed=0)
weights_mb = sum(p.nbytes for p in network.parameters()) / 2**20
adapted = adapt(network, rank=4, num_layers=0, seed=0, task="CAUSAL_LM") if "lora" in sys.argv else None
policy = Policy(network=network, tokenizer=None, adapted=adapted, packed=can_pack_policy(network))
forward = Forward(network=network, packed=policy.packed, token_budget=4096, precision="fp32")
row = Branched(prompt=(5, 6), branches=((7, 8), (9,)))
forward.logps([row])  # what a first pass allocates is there
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what making the weights freed is no room for the copy
before = resident_mb()
reference = LiveReference(policy, forward)
reference.sums([row])
print((resident_mb() - before) / weights_mb)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lora", [True, False])
def test_with_adapters_the_weights_are_in_memory_once(lora: bool) -> None:
    """What a live reference of 23 million weights adds, as a share of them: nothing with adapters, all without."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("NO /proc: resident memory is not read here")
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("NO malloc_trim: the C library keeps what was freed")
    command = [sys.executable, "-c", MEASURE, *(["lora"] if lora else [])]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    grown = float(done.stdout.splitlines()[-1])
    assert grown < 0.15 if lora else 0.85 < grown < 1.3
