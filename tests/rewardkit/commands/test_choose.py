"""`rewardkit choose` as it is typed, on candidates of a world, with a TF-IDF model trained here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewardkit.__main__ import main
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.records import Message
from rewardkit.scoring.ranking import read_comparisons
from rewardkit.simulation.support_desk_world import World

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there is no TF-IDF model")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `judged.jsonl`, the `model` trained on it, and `candidates.jsonl` of two policies."""
    folder = tmp_path_factory.mktemp("choose")
    judged = [
        {"prompt": item.comparison.prompt[0].content, "chosen": pair.completion_a, "rejected": pair.completion_b}
        for item in World(seed=3, num_prompts=100).comparisons()
        for pair in [item.comparison if item.gold_a >= item.gold_b else item.comparison.swap()]
    ]
    write_rows(folder / "judged.jsonl", judged)
    rows = [
        {
            "prompt": [{"role": "user", "content": one.prompt[0].content}],
            "responses": [
                {"model": f"policy-{number % 2}", "text": reply.text, "finished": number < 3, "num_tokens": 9}
                for number, reply in enumerate(one.responses)
            ],
        }
        for one in World(seed=4, num_prompts=30, num_responses=4).prompts()
    ]
    write_rows(folder / "candidates.jsonl", rows)
    words = ["--model=tfidf", f"--data={folder / 'judged.jsonl'}", f"--out={folder / 'model'}", "--ensemble=3"]
    subprocess.run([sys.executable, "-m", "rewardkit", "train", *words], check=True, capture_output=True)
    return folder


def words_for(files: Path, out: Path, *options: str) -> list[str]:
    return ["choose", f"--input={files / 'candidates.jsonl'}", f"--out={out}", "--num-pairs=10", *options]


@pytest.mark.parametrize("rule", ["uncertainty", "epig", "log_det", "coverage", "disagreement", "random"])
def test_every_rule_writes_pairs_that_are_read_as_comparisons(files, tmp_path, capsys, rule):
    options = ["--rule", rule, "--model", str(files / "model"), "--judged", str(files / "judged.jsonl"), "--json"]
    assert main(words_for(files, tmp_path / "pairs.jsonl", *options)) == 0
    summary = json.loads(capsys.readouterr().out)
    rows = [row for _, row in read_rows(tmp_path / "pairs.jsonl")]
    num_random = 10 if rule == "random" else 2
    assert (summary["num_pairs"], summary["num_random"]) == (len(rows), num_random) == (10, num_random)
    assert [row["metadata"]["rule"] for row in rows].count("random") == num_random
    assert summary["left_out"]["cut"] == 30
    assert summary["num_eligible_pairs"] == 90
    comparisons = read_comparisons(str(tmp_path / "pairs.jsonl")).comparisons
    assert [one.id for one in comparisons] == [row["id"] for row in rows]
    assert comparisons[0].source_a.startswith("policy-")
    assert comparisons[0].meta["response_a"] == {"finished": True, "num_tokens": 9}


def test_features_of_prompt_and_answer_learn_from_judged_pairs_alone(files, tmp_path, capsys):
    joint = ["--features=joint", f"--judged={files / 'judged.jsonl'}"]
    assert main(words_for(files, tmp_path / "pairs.jsonl", *joint)) == 0
    headroom, last = capsys.readouterr().out.splitlines()
    assert headroom.startswith("headroom: 100 labels give ")
    assert "8 by epig and 2 at random" in last
    world = World(seed=4, num_prompts=1)
    differences, signs = [], []
    for _, row in read_rows(tmp_path / "pairs.jsonl"):
        message = (Message(role="user", content=row["prompt"][0]["content"]),)
        differences.append(world.gold(message, row["response_a"]) - world.gold(message, row["response_b"]))
        signs.append(row["metadata"]["margin"])
    assert np.corrcoef(differences, signs)[0, 1] > 0.3  # the margin is of a over b, and knows the gold reward
    assert main(words_for(files, tmp_path / "no.jsonl", "--features=joint")) == 2
    assert "name preferences with judged" in capsys.readouterr().err


def test_the_same_pair_has_the_same_id_and_sides_whatever_chose_it(files, tmp_path):
    by_id: dict[str, list[tuple[str, str]]] = {}
    for seed in range(3):
        out = tmp_path / f"{seed}.jsonl"
        assert main(words_for(files, out, "--rule=random", "--num-pairs=60", f"--seed={seed}")) == 0
        for _, row in read_rows(out):
            by_id.setdefault(row["id"], []).append((row["response_a"], row["response_b"]))
    assert all(len(set(sides)) == 1 for sides in by_id.values())
    assert any(len(sides) == 3 for sides in by_id.values())


def test_the_margin_is_of_a_over_b_and_small_for_uncertain_pairs(files, tmp_path):
    from rewardkit.reward.load import load_reward_fn
    from rewardkit.scoring.ranking import rank_comparisons

    assert main(words_for(files, tmp_path / "p.jsonl", "--rule=uncertainty", "--model", str(files / "model"))) == 0
    rows = {row["id"]: row["metadata"] for _, row in read_rows(tmp_path / "p.jsonl")}
    comparisons = read_comparisons(str(tmp_path / "p.jsonl")).comparisons
    ranked = rank_comparisons(comparisons, load_reward_fn(str(files / "model")), "probability")
    assert {row.comparison_id: row.margin for row in ranked} == pytest.approx(
        {key: meta["margin"] for key, meta in rows.items()}, abs=1e-6
    )
    by_rule = [row for row in ranked if rows[row.comparison_id]["rule"] == "uncertainty"]
    assert [row.priority for row in by_rule] == pytest.approx(
        [rows[row.comparison_id]["score"] for row in by_rule], abs=1e-6
    )


def test_the_summary_says_in_words_what_was_left_out(files, tmp_path, capsys):
    assert main(words_for(files, tmp_path / "p.jsonl", "--rule=coverage", "--pairs=between", "--num-pairs=200")) == 0
    said = capsys.readouterr().out
    # policy 0 wrote answers 1 and 3, policy 1 the second; the fourth was cut: two pairs of 30 prompts
    assert "60 pairs of 30 prompts, 20 by coverage and 40 at random, from 60 that may be labelled" in said
    assert "140 fewer than wanted" in said
    assert "left out: 30 answers cut, 30 pairs not of the wanted policies" in said


def test_bad_input_ends_with_code_2_and_one_line(files, tmp_path, capsys):
    model, judged = f"--model={files / 'model'}", f"--judged={files / 'judged.jsonl'}"
    (tmp_path / "there.jsonl").write_text("{}\n")
    for words, said in (
        (words_for(files, tmp_path / "p.jsonl"), "rule epig asks a reward model"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=disagreement", model), "judged preferences with judged"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=coverage", "--random-share=0"), "random_share is 0.0"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=coverage", "--per-prompt=0"), "per_prompt is 0"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=disagreement", "--features=joint", judged), "that did not"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=best", judged), "best"),
        (words_for(files, tmp_path / "there.jsonl", "--rule=random"), "is there already"),
        (words_for(files, tmp_path / "p.jsonl", "--rule=random", "--input", str(tmp_path / "no.jsonl")), "no.jsonl"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1, error
    assert not (tmp_path / "p.jsonl").exists()
