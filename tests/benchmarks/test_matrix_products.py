"""Counted products are those that are worked out by hand for a layer of Llama's shape."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from matrix_products import Product, ProductCounter, alone, flops, measure

from alignment.generation.generate import Sampling, generate
from alignment.policy.policy import make_network
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.models import preset_shape
from rewardkit.network.packed_rows import Branched

WIDTH, INNER, HEADS = 128, 352, 4  # of the preset tiny
VOCABULARY = 64


def one_layer():
    config = preset_shape("tiny", vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1, bos_token_id=2)
    config.num_hidden_layers = 1
    return config


def pairs() -> list[Branched]:
    """Of 5 + 3 + 4 and of 2 + 6 + 1 tokens."""
    return [
        Branched(prompt=(3, 4, 5, 6, 7), branches=((8, 9, 10), (11, 12, 13, 14))),
        Branched(prompt=(3, 4), branches=((8, 9, 10, 11, 12, 13), (5,))),
    ]


def test_a_step_of_a_reward_model_has_the_products_of_a_layer() -> None:
    scorer = RewardScorer(make_classifier(one_layer(), seed=0))
    assert scorer.packed
    with ProductCounter() as forward:
        scores = scorer(pairs())
    with ProductCounter() as backward:
        scores.sum().backward()
    # 21 tokens have queries, keys and values; behind the attention only the 4 last ones of branches go on.
    tokens, read = 21, 4
    linear = 3 * tokens * WIDTH * WIDTH + read * WIDTH * WIDTH + 3 * read * WIDTH * INNER + read * WIDTH
    attended = (12 * 12 + 9 * 9) * WIDTH  # of all heads together: every token of a row with every other
    assert flops(forward.counts) == 2 * (linear + 2 * attended)
    # Backward has two products for each of forward's linear ones, five of attention, and one row for the weights of
    # each norm: before the attention, after it, and at the end.
    norms = (tokens + 2 * read) * WIDTH
    assert flops(backward.counts) == 2 * (2 * linear + 5 * attended + norms)


def test_a_causal_row_counts_half() -> None:
    scorer = RewardScorer(make_classifier(one_layer(), seed=0))
    with ProductCounter() as counter, torch.no_grad():
        scorer([Branched(prompt=(3, 4, 5), branches=((6, 7, 8, 9, 10),))])
    of_attention = {product: times for product, times in counter.counts.items() if product.sizes[0] == HEADS}
    assert {product.sizes: times for product, times in of_attention.items()} == {(4, 8, 32, 8): 0.5, (4, 8, 8, 32): 0.5}


def test_a_decode_step_has_the_products_of_its_rows() -> None:
    policy = make_network(one_layer(), seed=0).eval()
    counted = []
    for num_new in (2, 3):
        with ProductCounter() as counter:
            generate(policy, [(3, 4, 5, 6)] * 2, Sampling(max_new_tokens=num_new, end_ids=()), num_samples=3)
        counted.append(counter.counts)
    # Of three tokens, the first comes from the prompt, so the second step is the difference: 6 rows in 2 prompts.
    rows, own, prompt = 6, 2, 4
    linear = rows * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER + WIDTH * VOCABULARY)
    attended = 2 * rows * WIDTH * (prompt + own)
    assert flops(counted[1]) - flops(counted[0]) == 2 * (linear + attended)


def test_the_time_alone_grows_with_the_work() -> None:
    small, large = Product(sizes=(1, 64, 64, 64)), Product(sizes=(1, 512, 512, 512), turned=(False, True))
    assert (small.flops, large.flops) == (2 * 64**3, 2 * 512**3)
    costs = {product: measure(product) for product in (small, large)}
    assert costs[large].wall > costs[small].wall > 0.0
    both = alone({small: 4.0, large: 0.5}, costs)
    assert both.wall == pytest.approx(4 * costs[small].wall + 0.5 * costs[large].wall)
