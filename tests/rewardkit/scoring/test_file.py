import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rewardkit.config import ScoreConfig
from rewardkit.data.files import read_rows, write_rows
from rewardkit.reward.reward import Reward
from rewardkit.scoring.file import read_input, score_file

ROOT = Path(__file__).parents[3]


class Stopping:
    """Rewards that depend on the whole batch, and an end after some batches, as by a power cut."""

    def __init__(self, after=float("inf")):
        self.left = after
        self.asked = []

    def __call__(self, prompts, completions):
        if self.left <= 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked.append(list(completions))
        base = np.array([len(text) for text in completions], dtype=float)
        return Reward(members=np.stack([base + len(completions), base * 2]))


@pytest.fixture
def make(tmp_path):
    """Configurations for 10 rows in windows of 4."""
    source = tmp_path / "in.jsonl"
    write_rows(source, [{"prompt": f"p{n}", "completion": "x" * n, "n": n} for n in range(1, 11)])

    def make(output="out.jsonl", **options):
        options = {"model": "m", "input": str(source), "window": 4} | options
        return ScoreConfig(output=str(tmp_path / output), **options)

    return make


def rows_of(config):
    return [row for _, row in read_rows(config.output)]


def run(config, reward_fn=None):
    return score_file(config, read_input(config), reward_fn or Stopping())


def test_windows_are_scored_in_the_order_of_the_input(make):
    config, reward_fn, told = make(), Stopping(), []
    scored = score_file(config, read_input(config), reward_fn, tell=lambda done, total: told.append((done, total)))
    assert [len(batch) for batch in reward_fn.asked] == [4, 4, 2]
    assert told == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert (scored.num_rows, scored.num_continued, scored.bad_rows) == (10, 0, [])
    rows = rows_of(config)
    assert [row["n"] for row in rows] == list(range(1, 11))
    # Row 3: members 3 + 4 = 7 and 6; row 10, in a window of two: 12 and 20.
    assert [rows[2]["reward"], rows[9]["reward"]] == [6.5, 16.0]
    assert sorted(os.listdir(Path(config.output).parent)) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("output", ["out.jsonl", "out.jsonl.gz", "out.json", "out.csv", "out.parquet"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_that_goes_on_gives_what_an_unbroken_one_gives(make, output, after):
    whole = make("whole.jsonl")
    run(whole)
    config = make(output)
    with pytest.raises(KeyboardInterrupt):
        run(config, Stopping(after))
    assert not Path(config.output).exists()
    if after:  # a run that scored nothing leaves nothing
        with pytest.raises(ValueError, match="is of an unfinished run: --resume continues it"):
            run(config)
    going_on = make(output, resume=True)
    reward_fn = Stopping()
    assert run(going_on, reward_fn).num_continued == 4 * after
    assert len(reward_fn.asked) == 3 - after
    found = rows_of(going_on)
    assert [float(row["reward"]) for row in found] == [row["reward"] for row in rows_of(whole)]
    assert not Path(f"{config.output}.partial").exists()


def test_after_a_kill_at_any_byte_half_written_lines_and_windows_are_scored_anew(make):
    config = make()
    with pytest.raises(KeyboardInterrupt):
        run(config, Stopping(2))
    partial = Path(f"{config.output}.partial")
    data = partial.read_bytes()
    whole = make("whole.jsonl")
    run(whole)
    edges = [number + 1 for number, byte in enumerate(data) if byte == 10]
    for cut in sorted({*edges, *(edge - 1 for edge in edges), *range(0, len(data), 41)}):
        partial.write_bytes(data[:cut])
        assert run(make(resume=True)).num_continued in (0, 4, 8)
        assert rows_of(config) == rows_of(whole)
        os.remove(config.output)


def test_a_last_window_that_is_whole_is_not_scored_again(make, monkeypatch):
    config = make()
    monkeypatch.setattr("rewardkit.scoring.file._finish", lambda *_: 1 / 0)  # killed before the output gets its name
    with pytest.raises(ZeroDivisionError):
        run(config)
    monkeypatch.undo()
    assert run(make(resume=True), Stopping(0)).num_continued == 10
    assert len(rows_of(config)) == 10


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "other"}, "model was .* and is"),
        ({"window": 5}, "window was 4 and is 5"),
        ({"criterion_weights": "safe=2,kind=1"}, "model was 'm' and is 'm with criterion_weights kind=1.0, safe=2.0'"),
    ],
)
def test_an_unfinished_run_of_something_else_is_not_continued(make, changes, problem):
    with pytest.raises(KeyboardInterrupt):
        run(make(), Stopping(1))
    with pytest.raises(ValueError, match=f"{problem}.*; remove it to start anew"):
        run(make(resume=True, **changes))


def test_criterion_weights_of_an_unfinished_run_have_to_be_the_same(make):
    with pytest.raises(KeyboardInterrupt):
        run(make(criterion_weights="kind=1,safe=2"), Stopping(1))
    for weights, now in (("", "'m'"), ("kind=1", "'m with criterion_weights kind=1.0'")):
        problem = f"model was 'm with criterion_weights kind=1.0, safe=2.0' and is {now}; remove it to start anew"
        with pytest.raises(ValueError, match=problem):
            run(make(resume=True, criterion_weights=weights))
    assert run(make(resume=True, criterion_weights="safe=2.0, kind=1")).num_continued == 4


def test_an_input_that_changed_is_not_continued(make):
    config = make()
    with pytest.raises(KeyboardInterrupt):
        run(config, Stopping(1))
    write_rows(config.input, [{"prompt": f"p{n}", "completion": "y" * n, "n": n} for n in range(1, 11)])
    with pytest.raises(ValueError, match="row 1 is not that of the input any more; remove it to start anew"):
        run(make(resume=True))


def test_bad_rows_stop_before_anything_is_scored_or_get_no_reward(make, tmp_path):
    source = tmp_path / "bad.jsonl"
    lines = [
        '{"prompt": "p", "completion": "x", "n": 1}',
        '{"prompt": "p", "n": 2}',
        "{broken",
        '{"prompt": "p", "completion": "xx"}',
    ]
    source.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"bad\.jsonl:2: field completion .*and 1 more bad rows.*--on-bad-row skip"):
        read_input(make(input=str(source)))
    config = make("out.csv", input=str(source), on_bad_row="skip", window=2)
    given = read_input(config)
    assert [bad.place for bad in given.bad_rows] == [f"{source}:2", f"{source}:3"]
    score_file(config, given, Stopping())
    assert [(row["n"], row["reward"], row["reward_problem"][:16]) for row in rows_of(config)] == [
        ("1", "2.0", ""),
        ("2", "", "field completion"),
        ("", "3.5", ""),
    ]


def test_outputs_that_cannot_be_written_are_refused_at_once(make):
    with pytest.raises(ValueError, match=r"the name's end says the format, allowed are \.jsonl"):
        run(make("out.txt"))
    Path(make().output).write_text("")
    with pytest.raises(ValueError, match="is there already"):
        run(make(resume=True))
    with pytest.raises(ValueError, match="window is 0, allowed is 1 or more"):
        make(window=0)


# The whole command, with a model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A tiny reward model with random weights and two heads."""
    pytest.importorskip("transformers", reason="needs the [train] extra")
    from toy_models import config_for

    from rewardkit.network.classifier import RewardScorer, make_classifier
    from rewardkit.network.tokens import train_tokenizer
    from rewardkit.reward.metadata import Card
    from rewardkit.reward.reward_model import save

    tokenizer = train_tokenizer(["where is my parcel"] * 3, vocab_size=300)
    config = config_for(tokenizer, num_attention_heads=2, max_position_embeddings=512)
    scorer = RewardScorer(make_classifier(config, seed=0), num_members=2, seed=1)
    folder = tmp_path_factory.mktemp("model")
    save(scorer, tokenizer, Card(num_members=2, max_length=256), folder)
    return folder


def command(*words):
    return [sys.executable, "-m", "rewardkit", "score", *map(str, words)]


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_numbers(tmp_path, model_dir):
    source = tmp_path / "in.jsonl"
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"question {n // 2}", "responses": ["so " * int(rng.integers(1, 60)) for _ in range(3)]}
        for n in range(400)
    ]
    write_rows(source, rows)
    words = ("--model", model_dir, "--input", source, "--window", "16")
    subprocess.run(command(*words, "--output", tmp_path / "whole.jsonl"), cwd=ROOT, check=True, capture_output=True)
    running = subprocess.Popen(command(*words, "--output", tmp_path / "out.jsonl"), cwd=ROOT, stderr=subprocess.DEVNULL)
    partial = tmp_path / "out.jsonl.partial"
    deadline = time.monotonic() + 120
    while not (partial.exists() and partial.stat().st_size > 8_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert partial.exists()
    again = command(*words, "--output", tmp_path / "out.jsonl", "--resume", "--json")
    done = subprocess.run(again, cwd=ROOT, check=True, capture_output=True, text=True)
    assert 0 < json.loads(done.stdout)["num_continued"] < 400
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    done = subprocess.run(again, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "complete already" in done.stdout


@pytest.mark.slow
def test_rewards_of_the_command_are_those_of_plain_transformers(tmp_path, model_dir):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = tmp_path / "in.jsonl"
    answers = ["it is on its way", "it is on its way to you", "", "no", "it is on its way"]
    write_rows(source, [{"prompt": "where is my parcel", "responses": answers}])
    done = subprocess.run(
        command("--model", model_dir, "--input", source, "--output", tmp_path / "out.jsonl"),
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ((_, row),) = read_rows(tmp_path / "out.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    plain = AutoModelForSequenceClassification.from_pretrained(model_dir)
    for answer, reward in zip(answers, row["reward"], strict=True):
        turns = [{"role": "user", "content": "where is my parcel"}, {"role": "assistant", "content": answer}]
        ids = tokenizer(
            tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False, return_tensors="pt"
        )
        with torch.no_grad():
            assert float(plain(**ids).logits[0, 0]) == pytest.approx(reward, abs=1e-5)
    assert min(row["reward_std"]) > 0


@pytest.mark.slow
def test_bf16_moves_rewards_only_a_little(tmp_path, model_dir):
    source = tmp_path / "in.jsonl"
    write_rows(source, [{"prompt": "where is my parcel", "completion": "no " * n} for n in range(1, 9)])
    found = {}
    for precision in ("fp32", "bf16"):
        words = ("--model", model_dir, "--input", source, "--output", tmp_path / f"{precision}.jsonl")
        subprocess.run(command(*words, "--precision", precision), cwd=ROOT, check=True, capture_output=True)
        found[precision] = np.array([row["reward"] for _, row in read_rows(tmp_path / f"{precision}.jsonl")])
    difference = np.abs(found["fp32"] - found["bf16"]).max()
    assert 0 < difference < 0.05


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--input", "missing.jsonl"), "missing.jsonl: there is no such file or folder"),
        (("--input", __file__), Path(__file__).name),
        (("--output", "out.txt"), "the name's end says the format"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(tmp_path, model_dir, words, said):
    source = tmp_path / "in.jsonl"
    write_rows(source, [{"prompt": "p", "completion": "x"}])
    base = ("--model", model_dir, "--input", source, "--output", tmp_path / "out.jsonl")
    done = subprocess.run(command(*base, *words), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
