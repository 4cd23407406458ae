"""Packed rows with shared prompts give the scores, losses and gradients of padded ones, however a batch is split."""

from __future__ import annotations

import logging
from typing import Literal

import pytest
import torch
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForSequenceClassification

from rewardkit.config import RewardConfig
from rewardkit.distributed import collectives
from rewardkit.network import attention
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.models import head_of
from rewardkit.network.packed_rows import Branched, divide, epoch_order, pack, pad, token_budget_batches
from rewardkit.training.loop import sum_parts
from rewardkit.training.reward_objective import RewardObjective
from rewardkit.training.rows import TrainingRows

CONFIGS = {
    "llama": lambda: llama_config(vocab_size=300),
    "qwen2": lambda: config_of("qwen2", vocab_size=300),
    "gpt2": lambda: gpt2_config(vocab_size=300),
}


def random_rows(shapes: list[tuple[int, tuple[int, ...]]], seed: int = 0) -> list[Branched]:
    generator = torch.Generator().manual_seed(seed)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 300, (length,), generator=generator).tolist())

    return [Branched(prompt=ids(prompt), branches=tuple(map(ids, branches))) for prompt, branches in shapes]


PAIRS = random_rows([(7, (3, 5)), (1, (4, 2)), (11, (2, 6)), (3, (9, 1)), (20, (12, 7)), (5, (5, 5))])


def training_rows(rows: list[Branched]) -> TrainingRows:
    count = len(rows)
    return TrainingRows(
        rows=rows,
        p_chosen=torch.linspace(0.5, 1.0, count),
        weight=torch.linspace(0.5, 2.0, count),
        margin=torch.zeros(count),
        outcome_shares=torch.tensor([[0.6, 0.3, 0.1]]).repeat(count, 1),
        reliability_logits=torch.linspace(0, 2, count),
        prompt=torch.arange(count),
    )


def gradients(scorer: RewardScorer, batch: list[int], **options: object) -> tuple[float, dict[str, torch.Tensor]]:
    values = {"model": "tiny", "data": "x", "out": "y", "ensemble": len(scorer.heads), "precision": "fp32"}
    config = RewardConfig(**(values | options))  # type: ignore[arg-type]
    rows = training_rows(PAIRS)
    scorer.zero_grad(set_to_none=True)
    sums = sum_parts(RewardObjective(scorer, rows, rows, config), batch, measures=False, learns=True)
    return float(sums[0, 0]), {name: p.grad.clone() for name, p in scorer.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_equal_those_of_plain_transformers(name: str) -> None:
    scorer = RewardScorer(make_classifier(CONFIGS[name](), seed=0))
    assert scorer.packed
    rows = random_rows([(7, (3, 5)), (0, (4,)), (11, (2, 6, 3))])
    config = CONFIGS[name]()
    config.num_labels = 1
    plain = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa").eval()
    plain.load_state_dict(scorer.classifier.state_dict())
    head_of(plain).weight.data.copy_(scorer.heads.data)
    padded = pad(rows, 0)
    expected = plain(input_ids=padded.input_ids, attention_mask=padded.attention_mask).logits[:, 0]
    torch.testing.assert_close(scorer.eval()(rows)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("likelihood", ["bradley_terry", "rao_kupper", "davidson", "crowd"])
def test_packed_and_padded_steps_have_one_loss_and_gradient(name: str, likelihood: str) -> None:
    scorer = RewardScorer(make_classifier(CONFIGS[name](), seed=0), num_members=2)
    packed_loss, packed = gradients(scorer, [0, 1, 2, 3, 4, 5], likelihood=likelihood)
    scorer.layout = "padded"
    scorer.classifier.set_attn_implementation("sdpa")
    padded_loss, padded = gradients(scorer, [0, 1, 2, 3, 4, 5], likelihood=likelihood)
    assert packed_loss == pytest.approx(padded_loss, abs=1e-5)
    assert packed.keys() == padded.keys()
    for parameter, gradient in packed.items():
        torch.testing.assert_close(gradient, padded[parameter], atol=1e-5, rtol=1e-4, msg=parameter)


@pytest.mark.parametrize("token_budget", [1, 20, 45])
def test_the_split_into_micro_batches_changes_nothing(token_budget: int) -> None:
    scorer = RewardScorer(make_classifier(CONFIGS["llama"](), seed=0), num_members=3)
    whole_loss, whole = gradients(scorer, [5, 0, 3, 1], token_budget=10_000)
    split_loss, split = gradients(scorer, [5, 0, 3, 1], token_budget=token_budget)
    assert split_loss == pytest.approx(whole_loss, abs=1e-6)
    for parameter, gradient in whole.items():
        torch.testing.assert_close(split[parameter], gradient, atol=1e-6, rtol=1e-4)


def test_members_of_one_pass_equal_members_alone() -> None:
    classifier = make_classifier(CONFIGS["llama"](), seed=0)
    together = RewardScorer(classifier, num_members=3, seed=4).eval()
    scores = together(PAIRS)
    for member in range(3):
        alone = RewardScorer(classifier).eval()
        alone.heads.data.copy_(together.heads.data[member : member + 1])
        torch.testing.assert_close(alone(PAIRS)[0], scores[member])


def test_branches_do_not_see_each_other() -> None:
    scorer = RewardScorer(make_classifier(CONFIGS["llama"](), seed=0)).eval()
    row = PAIRS[0]
    other = Branched(prompt=row.prompt, branches=(row.branches[0], (9, 9, 9, 9, 9, 9)))
    torch.testing.assert_close(scorer([row])[0, 0], scorer([other])[0, 0])


def test_tree_mask_by_hand() -> None:
    mask = attention.tree_mask(Branched(prompt=(1, 2), branches=((3,), (4, 5))))
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_packing_by_hand() -> None:
    batch = pack([Branched(prompt=(1, 2), branches=((3,), (4, 5))), Branched(prompt=(6,), branches=((7, 8),))])
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 2, 3, 0, 1, 2]]
    assert batch.last_index.tolist() == [2, 4, 7]
    assert batch.completion_index.tolist() == [1, 1, 3, 5, 6]
    assert batch.completion_ids.tolist() == [3, 4, 5, 7, 8]
    assert batch.completion_branch.tolist() == [0, 1, 1, 2, 2]


def test_an_encoder_falls_back_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scorer = RewardScorer(make_classifier(config_of("bert", vocab_size=300), seed=0)).eval()
    assert not scorer.packed
    assert [record.message for record in caplog.records if "runs padded" in record.message] != []
    assert len(caplog.records) == 1
    alone = torch.cat([scorer([Branched(prompt=row.prompt, branches=(b,))])[0] for row in PAIRS for b in row.branches])
    torch.testing.assert_close(scorer(PAIRS)[0], alone, atol=1e-5, rtol=1e-5)


def test_token_budget_batches_cover_every_row_once_within_the_budget() -> None:
    lengths = [5, 30, 7, 7, 1, 12, 50, 3]
    batches = token_budget_batches(lengths, token_budget=31)
    assert sorted(index for batch in batches for index in batch) == list(range(8))
    assert all(sum(lengths[i] for i in batch) <= 31 or len(batch) == 1 for batch in batches)
    assert batches[0] == [6]


def test_epochs_shuffle_by_seed_and_cover_every_row() -> None:
    first = list(epoch_order(10, batch_size=4, seed=3, epoch=0))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(index for batch in first for index in batch) == list(range(10))
    assert first == list(epoch_order(10, batch_size=4, seed=3, epoch=0))
    assert first != list(epoch_order(10, batch_size=4, seed=3, epoch=1))


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_and_padded_steps_agree_in_bf16_as_far_as_it_goes(name: str) -> None:
    # 8 bits of mantissa: each side is as far from the float32 gradient as the other, and not further than rounding
    scorer = RewardScorer(make_classifier(CONFIGS[name](), seed=0))

    def gradient(*, packed: bool, precision: Literal["fp32", "bf16"]) -> torch.Tensor:
        scorer.layout = "packed" if packed else "padded"
        scorer.classifier.set_attn_implementation(attention.NAME if packed else "sdpa")
        scorer.zero_grad(set_to_none=True)
        config = RewardConfig(model="tiny", data="x", out="y", precision=precision)
        rows = training_rows(PAIRS)
        sum_parts(RewardObjective(scorer, rows, rows, config), list(range(6)), measures=False, learns=True)
        return torch.cat([p.grad.flatten() for p in scorer.parameters() if p.grad is not None])

    exact = gradient(packed=True, precision="fp32")
    errors = {packed: float((gradient(packed=packed, precision="bf16") - exact).norm()) for packed in (True, False)}
    assert errors[True] < 0.03 * float(exact.norm())
    assert errors[True] < 2 * errors[False]


@pytest.mark.parametrize("shapes", [[(7, (3, 5))], [(0, (4,)), (5, (6,))], [(9, (2, 6, 3)), (4, (1, 1, 1, 1))]])
@pytest.mark.parametrize("num_key_heads", [4, 2])
def test_explicit_products_equal_the_fused_kernel(shapes: list, num_key_heads: int) -> None:
    rows = random_rows(shapes)
    total = sum(row.num_tokens for row in rows)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, total, 8, generator=generator).bfloat16().requires_grad_()
    key, value = (
        torch.randn(1, num_key_heads, total, 8, generator=generator).bfloat16().requires_grad_() for _ in range(2)
    )
    upstream = torch.randn(1, total, 4, 8, generator=generator)
    found = []
    for dtype in (torch.bfloat16, torch.float32):  # float32 takes the fused kernel
        with attention.packed_rows(pack(rows)):
            parts = [part.detach().to(dtype).requires_grad_() for part in (query, key, value)]
            output, _ = attention._packed_attention(torch.nn.Identity(), *parts, None)
        output.backward(upstream.to(dtype))
        found.append([output.float(), *(part.grad.float() for part in parts)])
    for products, fused in zip(*found, strict=True):
        torch.testing.assert_close(products, fused, atol=0.06, rtol=0.05)


def test_the_gradient_of_explicit_products_is_that_of_their_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)
    )
    mask = attention.additive(attention.tree_mask(random_rows([(2, (1, 2))])[0]), torch.float64)
    assert torch.autograd.gradcheck(lambda *parts: attention._Products.apply(*parts, mask, 0.7), (query, key, value))


def test_rows_are_dealt_out_evenly() -> None:
    lengths = [100, 1, 40, 30, 30, 99]
    shares = divide(lengths, 2)
    assert sorted(shares[0] + shares[1]) == list(range(6))
    assert [sum(lengths[i] for i in share) for share in shares] == [160, 140]
    assert divide(lengths, 1) == [[0, 5, 2, 3, 4, 1]]
    assert divide([5], 3) == [[0], [], []]


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_processes_add_up_to_the_whole_step(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = RewardScorer(make_classifier(CONFIGS["llama"](), seed=0), num_members=2)
    rows, batch = training_rows(PAIRS), [4, 0, 1, 2]
    config = RewardConfig(model="tiny", data="x", out="y", ensemble=2, precision="fp32")
    objective = RewardObjective(scorer, rows, rows, config)
    whole_loss, whole = gradients(scorer, batch)
    scorer.zero_grad(set_to_none=True)
    monkeypatch.setattr(collectives, "world_size", lambda: world)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(collectives, "rank", lambda rank=rank: rank)
        parts.append(sum_parts(objective, batch, measures=False, learns=True))
    sums = torch.stack(parts).sum(0)
    assert float(sums[0, 0]) == pytest.approx(whole_loss, abs=1e-6)
    assert sums[1].tolist() == [1.0, 8.0, 8.0]  # every margin of 4 pairs and 2 members in one process
    for name, parameter in scorer.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, whole[name], atol=1e-6, rtol=1e-4)
