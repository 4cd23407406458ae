"""Training from rankings: packed rows, equality with pairs at two responses, a rule that is learned from lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import NARROW, llama_config

from rewardkit.config import RewardConfig
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Preference
from rewardkit.distributed.checkpoint import Checkpoint
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.packed_rows import Branched
from rewardkit.run.directory import Run, read_metrics
from rewardkit.training import loop
from rewardkit.training.loop import step_batches
from rewardkit.training.ranking_objective import RankingObjective, make_objective, pack_rankings
from rewardkit.training.reward_objective import RewardObjective, loop_options
from rewardkit.training.rows import TrainingRows

LLAMA = llama_config(**NARROW)


def rows_of(lists: list[list[tuple[int, ...]]], *, named: bool) -> TrainingRows:
    """Rows of all pairs of lists of completions, best first; a list of n weighs 1."""
    rows, weight, rankings = [], [], []
    for number, completions in enumerate(lists):
        count = len(completions) * (len(completions) - 1) // 2
        for first, chosen in enumerate(completions):
            for rejected in completions[first + 1 :]:
                rows.append(Branched(prompt=(10 + number % 40, 11), branches=(chosen, rejected)))
                weight.append(1 / count)
                rankings.append(f"r{number}" if named else "")
    return TrainingRows(
        rows=rows,
        p_chosen=torch.ones(len(rows)),
        weight=torch.tensor(weight),
        margin=torch.zeros(len(rows)),
        outcome_shares=torch.tensor([[1.0, 0.0, 0.0]]).repeat(len(rows), 1),
        reliability_logits=torch.full((len(rows),), 3.0),
        prompt=torch.arange(len(rows)),
        rankings=rankings,
    )


def lists(size: int, count: int = 24) -> list[list[tuple[int, ...]]]:
    """The more of token 5 a completion holds, the better it is."""
    generator = torch.Generator().manual_seed(size)
    filled = torch.randint(20, 60, (count, size, 4), generator=generator).tolist()
    return [[(*text, *[5] * (size - place), 9) for place, text in enumerate(texts)] for texts in filled]


def curve(tmp_path: Path, rows: TrainingRows, likelihood: str, **options: object) -> list[float]:
    values = {"model": "tiny", "data": "x", "batch_size": 6, "precision": "fp32", "epochs": 2, "learning_rate": 0.01}
    out = str(tmp_path / f"{likelihood}-{len(rows)}-{bool(rows.rankings[0])}-{len(options)}")
    config = RewardConfig(**(values | {"likelihood": likelihood, "out": out} | options))  # type: ignore[arg-type]
    run = Run(config.out, config)
    scorer = RewardScorer(make_classifier(LLAMA, seed=0), num_members=config.ensemble)
    objective = make_objective(scorer, rows, rows, config)
    batches = step_batches(objective.num_examples, batch_size=6, epochs=config.epochs, seed=0)
    loop.train(objective, batches, loop_options(config), run, checkpoint=Checkpoint(run.dir / "checkpoints"))
    return [row["loss"] for row in read_metrics(run.dir) if "loss" in row]


@pytest.mark.parametrize("options", [{}, {"ensemble": 2}])
def test_rankings_of_two_train_as_pairs_do(tmp_path: Path, options: dict) -> None:
    pairs = curve(tmp_path, rows_of(lists(2), named=False), "bradley_terry", **options)
    assert len(pairs) >= 8
    for likelihood in ("plackett_luce", "bradley_terry"):
        ranked = curve(tmp_path, rows_of(lists(2), named=True), likelihood, **options)
        assert ranked == pytest.approx(pairs, abs=1e-6)


def test_all_pairs_of_a_ranking_in_one_row_have_the_loss_of_single_rows(tmp_path: Path) -> None:
    rows = rows_of(lists(4, 5), named=True)
    config = RewardConfig(model="tiny", data="x", out=str(tmp_path / "a"), precision="fp32", likelihood="bradley_terry")
    scorer = RewardScorer(make_classifier(LLAMA, seed=0), num_members=1)
    packed, single = RankingObjective(scorer, rows, rows, config), RewardObjective(scorer, rows, rows, config)
    assert (packed.num_examples, single.num_examples) == (5, 30)
    together = packed.part(range(5), packed.prepare(range(5)), measures=True).loss
    apart = single.part(range(30), single.prepare(range(30)), measures=True).loss
    assert float(together.detach()) == pytest.approx(float(apart.detach()), abs=1e-6)
    assert packed.num_tokens(range(5)) < single.num_tokens(range(30)) / 2  # each completion once, not three times
    # A ranking of four weighs as one of two.
    mixed = rows_of([*lists(4, 1), *lists(2, 1)], named=True)
    objective = RankingObjective(scorer, mixed, mixed, replace(config, likelihood="plackett_luce"))
    assert objective.prepare([0]).tolist() == pytest.approx(objective.prepare([1]).tolist())


def test_a_listwise_training_learns_the_rule(tmp_path: Path) -> None:
    losses = curve(tmp_path, rows_of(lists(4), named=True), "plackett_luce", epochs=8)
    assert losses[0] > 2.5  # near log 4!, 3.18
    assert losses[-1] < losses[0] / 3


def ranks_back(preferences: Sequence[Preference], texts: list[str]) -> list[list[int | None]]:
    """By ranking, the ranks that its pairs give back, in the order of the texts."""
    tokens = {text: (20 + index, 9) for index, text in enumerate(texts)}
    rows = TrainingRows(
        rows=[Branched(prompt=(1,), branches=(tokens[row.chosen], tokens[row.rejected])) for row in preferences],
        p_chosen=torch.tensor([row.p_chosen for row in preferences]),
        weight=torch.tensor([row.weight for row in preferences]),
        margin=torch.zeros(len(preferences)),
        outcome_shares=torch.zeros(len(preferences), 3),
        reliability_logits=torch.zeros(len(preferences)),
        prompt=torch.zeros(len(preferences), dtype=torch.int64),
        rankings=[str(row.meta["ranking"]) for row in preferences],
    )
    packed = pack_rankings(rows)
    back = []
    for row, ranks in zip(packed.rows, packed.ranks, strict=True):
        by_text = dict(zip([branch[0] - 20 for branch in row.branches], ranks, strict=True))
        back.append([by_text[index] for index in range(len(texts))])
    return back


def test_rankings_of_one_comparison_by_several_people_stay_apart(tmp_path: Path) -> None:
    file, texts = tmp_path / "ranked.jsonl", ["one", "two", "three"]
    given = {"ann": [1, 2, 2], "bob": [2, 1, 2], "cleo": [1, 2, 2]}
    rows = [{"id": "p1", "prompt": "p", "completions": texts, "ranks": given[who], "annotator": who} for who in given]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert ranks_back(read_preferences(str(file)).rows, texts) == list(given.values())


def test_ranks_come_back_from_the_pairs_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ranked.jsonl"
    texts = ["one", "two", "three", "four"]
    given = [[2, 1, 3, 4], [1, 1, 2, None], [None, 1, None, None], [1, 1, 1, 1], [2, 1, None, 2]]
    file.write_text(
        "\n".join(
            json.dumps({"prompt": f"p{number}", "completions": texts, "ranks": ranks})
            for number, ranks in enumerate(given)
        )
    )
    preferences = read_preferences(str(file)).rows
    assert [len([row for row in preferences if row.prompt[0].content == f"p{number}"]) for number in range(5)] == [
        *(6, 6, 3, 6, 6)
    ]
    assert sum(row.weight for row in preferences if row.prompt[0].content == "p2") == pytest.approx(1.0)
    # The last of all, alone, has nothing below: to a likelihood it is as if it were not ranked.
    assert ranks_back(preferences, texts) == [
        [2, 1, 3, None],
        [1, 1, 2, None],
        [None, 1, None, None],
        [1, 1, 1, 1],
        [2, 1, None, 2],
    ]
