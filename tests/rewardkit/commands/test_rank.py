"""`rewardkit rank` as it is typed, on a TF-IDF model trained here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewardkit.__main__ import main
from rewardkit.data.files import read_rows, write_rows
from rewardkit.simulation.support_desk_world import World

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there is no TF-IDF model")
COLUMNS = ["comparison_id", "priority", "rule", "mutual_information", "std", "margin"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `labelled.jsonl`, the `model` trained on it, and `pool.jsonl` of other prompts."""
    folder = tmp_path_factory.mktemp("rank")
    items = list(World(seed=3, num_prompts=150).comparisons())
    labelled = [item if item.gold_a >= item.gold_b else None for item in items[:120]]
    rows = [
        {
            "prompt": item.comparison.prompt[-1].content,
            "chosen": item.comparison.completion_a,
            "rejected": item.comparison.completion_b,
        }
        for item in labelled
        if item
    ]
    write_rows(folder / "labelled.jsonl", rows)
    pool = [
        {
            "id": item.comparison.id,
            "prompt": item.comparison.prompt[-1].content,
            "response_a": item.comparison.completion_a,
            "response_b": item.comparison.completion_b,
        }
        for item in items[120:]
    ]
    write_rows(folder / "pool.jsonl", pool)
    words = [
        "--model=tfidf",
        "--mode=head",
        f"--data={folder / 'labelled.jsonl'}",
        f"--out={folder / 'model'}",
        "--eval_share=0.2",
    ]
    subprocess.run([sys.executable, "-m", "rewardkit", "train", *words], check=True, capture_output=True)
    return folder


def ranked(files: Path, out: Path, *options: str) -> list[dict]:
    words = [f"--model={files / 'model'}", f"--input={files / 'pool.jsonl'}", f"--out={out}"]
    assert main(["rank", *words, *options]) == 0
    return [row for _, row in read_rows(out)]


@pytest.mark.parametrize(
    "rule", ["probability", "mutual_information", "std", "margin", "bal_pm", "epig", "log_det", "random"]
)
def test_every_rule_orders_the_whole_file(files, tmp_path, capsys, rule):
    rows = ranked(files, tmp_path / "p.jsonl", "--rule", rule, "--labelled", str(files / "labelled.jsonl"))
    assert [list(row) for row in rows] == [COLUMNS] * 30
    assert {row["comparison_id"] for row in rows} == {f"world-3-{number}-0-1" for number in range(120, 150)}
    assert np.all(np.diff([row["priority"] for row in rows]) <= 0)
    assert {row["rule"] for row in rows} == {rule}
    assert f"30 of 30 comparisons by {rule}" in capsys.readouterr().out
    again = ranked(files, tmp_path / "again.jsonl", "--rule", rule, "--labelled", str(files / "labelled.jsonl"))
    assert again == rows


def test_the_first_few_alone_and_a_summary_for_programs(files, tmp_path, capsys):
    everything = ranked(files, tmp_path / "all.csv")
    capsys.readouterr()
    assert ranked(files, tmp_path / "top.csv", "--top", "4", "--json") == everything[:4]
    summary = json.loads(capsys.readouterr().out)
    assert (summary["num_comparisons"], summary["num_written"]) == (30, 4)
    assert [row["comparison_id"] for row in summary["first"]] == [row["comparison_id"] for row in everything[:4]]


def test_bad_input_ends_with_code_2_and_one_line(files, tmp_path, capsys):
    model, pool = f"--model={files / 'model'}", f"--input={files / 'pool.jsonl'}"
    (tmp_path / "there.jsonl").write_text("{}\n")
    write_rows(tmp_path / "bad.jsonl", [{"prompt": "x", "response_a": "y", "response_b": "y"}] * 2)
    for words, said in (
        ([model, pool, f"--out={tmp_path / 'there.jsonl'}"], "is there already"),
        ([model, pool, f"--out={tmp_path / 'p.txt'}"], "says the format"),
        ([model, f"--input={tmp_path / 'absent.jsonl'}", f"--out={tmp_path / 'p.jsonl'}"], "absent.jsonl"),
        ([model, f"--input={tmp_path / 'bad.jsonl'}", f"--out={tmp_path / 'p.jsonl'}"], "bad.jsonl:1: "),
        ([f"--model={tmp_path}", pool, f"--out={tmp_path / 'p.jsonl'}"], "no reward model"),
        ([f"--model={tmp_path / 'no'}", pool, f"--out={tmp_path / 'p.jsonl'}"], str(tmp_path / "no")),
        ([model, pool, f"--out={tmp_path / 'p.jsonl'}", "--top=-1"], "top is -1"),
        ([model, pool, f"--out={tmp_path / 'p.jsonl'}", "--rule=best"], "best"),
    ):
        assert main(["rank", *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1, error
    assert not (tmp_path / "p.jsonl").exists()


def test_bad_rows_are_left_out_and_said_when_told_to(files, tmp_path, capsys):
    rows = [row for _, row in read_rows(files / "pool.jsonl")]
    write_rows(tmp_path / "some.jsonl", [*rows[:3], {**rows[3], "response_a": None}])
    words = [f"--model={files / 'model'}", f"--input={tmp_path / 'some.jsonl'}", f"--out={tmp_path / 'p.jsonl'}"]
    assert main(["rank", *words, "--on-bad-row", "skip"]) == 0
    captured = capsys.readouterr()
    assert "some.jsonl:4: " in captured.err
    assert "3 of 3 comparisons by probability, 1 bad rows left out" in captured.out


def test_features_of_prompt_and_answer_need_no_model_and_tell_the_headroom_first(files, tmp_path, capsys):
    words = [f"--input={files / 'pool.jsonl'}", f"--labelled={files / 'labelled.jsonl'}", "--features=joint"]
    assert main(["rank", *words, f"--out={tmp_path / 'p.jsonl'}", "--rule=epig"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("headroom: ")
    assert "30 of 30 comparisons by epig" in last
    rows = [row for _, row in read_rows(tmp_path / "p.jsonl")]
    assert [row["priority"] for row in rows] == list(range(30, 0, -1))
    assert all(row["std"] > 0 for row in rows)
    assert main(["rank", *words, f"--out={tmp_path / 'top.jsonl'}", "--rule=log_det", "--top=4", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_written"] == 4
    value, low, high = summary["headroom"]["accuracy"]
    assert low <= value <= high
    for more, said in (
        ([f"--model={files / 'model'}"], "has no states of whole answers"),
        (["--criterion_weights=overall=1"], "features joint use none"),
    ):
        assert main(["rank", *words, f"--out={tmp_path / 'no.jsonl'}", *more]) == 2
        assert said in capsys.readouterr().err
    assert main(["rank", words[0], f"--out={tmp_path / 'no.jsonl'}", "--features=joint"]) == 2
    assert "name preferences with labelled" in capsys.readouterr().err
    assert main(["rank", words[0], f"--out={tmp_path / 'no.jsonl'}"]) == 2
    assert "model is missing" in capsys.readouterr().err


def test_what_has_a_label_already_is_left_out_of_joint_ranking(files, tmp_path, capsys):
    labelled = [row for _, row in read_rows(files / "labelled.jsonl")]
    pool = [row for _, row in read_rows(files / "pool.jsonl")]
    turned = [  # sides, and the tie's label, do not matter
        {"id": str(n), "prompt": row["prompt"], "response_a": row["rejected"], "response_b": row["chosen"]}
        for n, row in enumerate(labelled[:5])
    ]
    write_rows(tmp_path / "all.jsonl", [*turned, *pool])
    write_rows(tmp_path / "known.jsonl", turned)
    known, out = f"--labelled={files / 'labelled.jsonl'}", tmp_path / "p.jsonl"
    words = [f"--input={tmp_path / 'all.jsonl'}", known, "--features=joint"]
    assert main(["rank", *words, f"--out={out}", "--rule=epig"]) == 0
    assert "30 of 30 comparisons by epig, 5 that have a label already left out" in capsys.readouterr().out
    rows = [row for _, row in read_rows(out)]
    assert {row["comparison_id"] for row in rows} == {row["id"] for row in pool}
    assert (
        main(["rank", f"--input={files / 'pool.jsonl'}", *words[1:], f"--out={tmp_path / 'b.jsonl'}", "--rule=epig"])
        == 0
    )
    assert rows == [row for _, row in read_rows(tmp_path / "b.jsonl")]
    # an item that waits for more people's judgments keeps its place where a model is asked
    words = [f"--model={files / 'model'}", f"--input={tmp_path / 'all.jsonl'}", known]
    assert main(["rank", *words, f"--out={tmp_path / 'm.jsonl'}"]) == 0
    assert "35 of 35 comparisons by probability\n" in capsys.readouterr().out
    words = [f"--input={tmp_path / 'known.jsonl'}", known, "--features=joint"]
    assert main(["rank", *words, f"--out={tmp_path / 'no.jsonl'}"]) == 2
    assert "all 5 comparisons have a label already" in capsys.readouterr().err
