"""K LoRA members in one pass: equal to members one by one, forward and backward, and after saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_models import config_of, llama_config

from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.packed_rows import Branched
from rewardkit.reward.lora_ensemble import SCALE, LoraEnsemble, MemberLinear, read_ensemble

SMALL = {"vocab_size": 300, "num_hidden_layers": 3}
CONFIGS = {
    "llama": lambda: llama_config(**SMALL),
    "qwen2": lambda: config_of("qwen2", **SMALL),
}
ROWS = [
    Branched(prompt=(5, 6, 7, 8), branches=((9, 10), (11, 12, 13))),
    Branched(prompt=(20,), branches=((21, 22, 23), (24,))),
    Branched(prompt=(30, 31), branches=((32,), (33, 34), (35, 36, 37))),
]


def ensemble(name: str, *, num_criteria: int = 0, num_layers: int = 2) -> LoraEnsemble:
    """Three members with random adapters, not the zeros they start from."""
    made = LoraEnsemble(
        make_classifier(CONFIGS[name](), seed=0),
        num_members=3,
        num_criteria=num_criteria,
        rank=4,
        num_layers=num_layers,
    )
    generator = torch.Generator().manual_seed(7)
    for module in made.modules():
        if isinstance(module, MemberLinear):
            module.up.data.normal_(0.0, 0.1, generator=generator)
    return made.eval()


def member_alone(name: str, together: LoraEnsemble, member: int) -> RewardScorer:
    """An ordinary model whose weights have the member's updates added."""
    alone = RewardScorer(make_classifier(CONFIGS[name](), seed=0)).eval()
    for place, module in together.classifier.named_modules():
        if isinstance(module, MemberLinear):
            update = SCALE * (module.down[member] @ module.up[member]).T
            alone.classifier.get_submodule(place).weight.data += update.detach()
    alone.heads.data.copy_(together.heads.data[member : member + 1])
    return alone


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_scores_equal_those_of_members_one_by_one(name: str, num_layers: int) -> None:
    together = ensemble(name, num_layers=num_layers)
    scores = together(ROWS)
    assert scores.shape == (3, 7)
    for member in range(3):
        expected = member_alone(name, together, member)(ROWS)[0]
        torch.testing.assert_close(scores[member], expected, atol=1e-5, rtol=1e-5)
    assert (scores[0] - scores[1]).abs().max() > 1e-3


def test_members_in_bf16_are_near_those_in_fp32() -> None:
    together = ensemble("llama")
    with torch.autocast("cpu", torch.bfloat16):
        scores = together(ROWS)
    torch.testing.assert_close(scores, together(ROWS), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_equal_those_of_members_one_by_one(name: str) -> None:
    together = ensemble(name)
    together(ROWS).square().sum().backward()
    for member in range(3):
        alone = member_alone(name, together, member)
        alone(ROWS).square().sum().backward()
        torch.testing.assert_close(together.heads.grad[member], alone.heads.grad[0], atol=1e-4, rtol=1e-4)
        for place, module in together.classifier.named_modules():
            if isinstance(module, MemberLinear):
                # chain rule through W + SCALE (A B)^T: dA = SCALE G^T B^T, dB = SCALE A^T G^T
                weight_grad = alone.classifier.get_submodule(place).weight.grad.T
                down = SCALE * weight_grad @ module.up[member].T
                up = SCALE * module.down[member].T @ weight_grad
                torch.testing.assert_close(module.down.grad[member], down, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(module.up.grad[member], up, atol=1e-4, rtol=1e-4)


def test_only_adapters_and_heads_are_trained() -> None:
    together = ensemble("llama", num_layers=1)
    trained = {name for name, p in together.named_parameters() if p.requires_grad}
    assert "heads" in trained
    assert all(name == "heads" or (".layers.2." in name and name.endswith((".down", ".up"))) for name in trained)
    assert len(trained) == 1 + 2 * 7


def test_before_training_members_differ_by_their_heads_alone() -> None:
    fresh = LoraEnsemble(make_classifier(CONFIGS["llama"](), seed=0), num_members=2, rank=4, num_layers=2).eval()
    features = fresh.member_features(ROWS)
    torch.testing.assert_close(features[0], features[1])
    plain = RewardScorer(make_classifier(CONFIGS["llama"](), seed=0), num_members=2).eval()
    torch.testing.assert_close(fresh(ROWS), plain(ROWS))


def test_criterion_heads_read_the_mean_features() -> None:
    together = ensemble("llama", num_criteria=2)
    scores = together(ROWS)
    assert scores.shape == (5, 7)
    expected = together.heads[3:] @ together.member_features(ROWS).mean(0).T
    torch.testing.assert_close(scores[3:], expected)


def test_written_and_read_members_score_the_same(tmp_path: Path) -> None:
    together = ensemble("qwen2", num_criteria=1)
    expected, averages = together(ROWS).detach(), {}
    for place, module in together.classifier.named_modules():
        if isinstance(module, MemberLinear):
            updates = [SCALE * (module.down[k] @ module.up[k]).T for k in range(3)]
            averages[place] = (module.base.weight + sum(updates) / 3).detach()
    together.write_members(tmp_path)
    for place, weight in averages.items():
        torch.testing.assert_close(together.classifier.get_submodule(place).weight.data, weight)
    assert not any(isinstance(module, MemberLinear) for module in together.classifier.modules())
    again = read_ensemble(together.classifier, together.heads.data, 3, tmp_path).eval()
    torch.testing.assert_close(again(ROWS), expected, atol=1e-5, rtol=1e-5)


def test_models_that_cannot_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="lora_layers is 9, the model has 3 layers"):
        ensemble("llama", num_layers=9)
    bert = make_classifier(config_of("bert", **SMALL), seed=0)
    with pytest.raises(ValueError, match="needs a decoder that runs packed rows, not Bert"):
        LoraEnsemble(bert, num_members=2, rank=4, num_layers=1)


def test_heads_begin_with_a_spread_of_one_by_the_root_of_their_inputs() -> None:
    """N(0, 1 / (h + 1)) (Stiennon et al. 2020, whose details are Huang et al. 2024's)."""
    heads = RewardScorer(make_classifier(CONFIGS["llama"](), seed=0), num_members=1000).heads.detach()
    assert float(heads.std()) == pytest.approx(33**-0.5, rel=0.02)
    assert float(heads.mean()) == pytest.approx(0.0, abs=4 * 33**-0.5 / 32000**0.5)
