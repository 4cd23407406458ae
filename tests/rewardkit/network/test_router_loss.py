"""A mixture of experts is balanced in training: the loss of transformers, its gradient, and where it is left out."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from toy_architectures import make_folder, make_tokenizer, sentences

from alignment.__main__ import main
from rewardkit.network.layout import attended_plainly
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import load_network
from rewardkit.network.packed_rows import Branched
from rewardkit.network.router_loss import has_router_loss, router_losses

ROWS = [Branched(prompt=(15, 16, 17), branches=((18, 19, 1),)), Branched(prompt=(21, 22), branches=((23, 1),))]


@pytest.mark.parametrize("name", ["Mixtral", "Qwen 2 MoE", "OLMoE"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_loss_is_the_one_of_transformers(name: str, packed: bool, tmp_path: Path) -> None:
    network = load_network(make_folder(name, tmp_path, classifier=False), make_tokenizer("llama"))
    assert has_router_loss(network)
    assert can_pack_policy(network)
    with router_losses() as losses, nullcontext() if packed else attended_plainly(network):
        completion_logps(network, ROWS, packed=packed)
    sequences = [row.prompt + row.branches[0] for row in ROWS]
    ids = torch.zeros(2, 6, dtype=torch.int64)
    mask = torch.zeros(2, 6, dtype=torch.int64)
    for place, sequence in enumerate(sequences):
        ids[place, : len(sequence)], mask[place, : len(sequence)] = torch.tensor(sequence), 1
    network.set_attn_implementation("sdpa")
    expected = network(input_ids=ids, attention_mask=mask, output_router_logits=True).aux_loss
    assert losses[0].item() == pytest.approx(network.router_aux_loss_coef * expected.item(), rel=1e-5)
    losses[0].backward()
    gates = [weight for key, weight in network.named_parameters() if ".gate.weight" in key]
    assert gates
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in gates)


def test_nothing_is_collected_without_a_gradient_or_a_mixture(tmp_path: Path) -> None:
    mixture = load_network(make_folder("Mixtral", tmp_path / "mixture", classifier=False), make_tokenizer("llama"))
    with router_losses() as losses, torch.no_grad():
        completion_logps(mixture, ROWS, packed=False)
    assert losses == []
    mixture.config.output_router_logits = False
    assert not has_router_loss(mixture)
    llama = load_network(make_folder("Llama 2", tmp_path / "llama", classifier=False), make_tokenizer("llama"))
    with router_losses() as losses:
        completion_logps(llama, ROWS, packed=False)
    assert losses == []
    assert not has_router_loss(llama)


@pytest.mark.parametrize("budget", [64, 4096])
def test_a_training_adds_it_and_logs_it_whatever_its_micro_batches(budget: int, tmp_path: Path) -> None:
    folder = make_folder("Mixtral", tmp_path / "model", classifier=False)
    texts = sentences(24)
    for name, part in (("train", texts[:16]), ("held-out", texts[16:])):
        rows = [{"prompt": prompt, "completion": answer} for prompt, answer in zip(part[::2], part[1::2], strict=True)]
        (tmp_path / name).with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "run"
    words = f"sft --model {folder} --data {tmp_path}/train.jsonl --eval-data {tmp_path}/held-out.jsonl --max-steps 2"
    assert main(f"{words} --token-budget {budget} --sample-every 0 --out {out}".split()) == 0
    (first, _) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][:2]
    # With 4 experts of which 2 are chosen, the loss is 2 where they are in balance, times 0.001.
    assert 0.0019 < first["aux_loss"] < 0.004
