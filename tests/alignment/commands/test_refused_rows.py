"""Conversations that a chat template refuses: each command names the row, or leaves it out and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from toy_models import config_for, save_model, save_policy

from alignment.__main__ import main as alignment
from rewardkit.__main__ import main as rewardkit
from rewardkit.network.classifier import make_classifier
from rewardkit.network.tokens import train_tokenizer

REFUSING = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
REFUSED = "System role not supported"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`policy` and `reward`, with a template that knows no system role."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(["Question 1? Gladly. No."] * 3, vocab_size=300)
    tokenizer.chat_template = REFUSING
    config = config_for(tokenizer, num_key_value_heads=4, max_position_embeddings=256)
    save_policy(root / "policy", config, tokenizer, seed=1)
    save_model(root / "reward", make_classifier(config, seed=1), tokenizer)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pairs, of which those of lines 3 and 9 begin with a system prompt."""
    file = tmp_path / "pairs.jsonl"
    rows = []
    for number in range(1, 13):
        system = [{"role": "system", "content": "Be brief."}] if number in (3, 9) else []
        prompt = [*system, {"role": "user", "content": f"Question {number}?"}]
        rows.append({"prompt": prompt, "chosen": f"Gladly {number}.", "rejected": "No."})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(main, models: Path, data: Path, out: Path, command: str) -> int:
    words = command.format(policy=models / "policy", reward=models / "reward", data=data, out=out).split()
    return main(words)


@pytest.mark.parametrize(
    ("main", "command"),
    [
        (rewardkit, "train --model {reward} --data {data} --out {out} --eval-share 0.3"),
        (rewardkit, "score --model {reward} --input {data} --output {out}.jsonl"),
        (rewardkit, "rank --model {reward} --input {data} --out {out}.jsonl --rule random"),
        (rewardkit, "evaluate --model {reward} --data {data} --out {out}"),
        (alignment, "sft --model {policy} --data {data} --out {out} --max-steps 1 --eval-share 0.3"),
        (alignment, "dpo --model {policy} --data {data} --out {out} --max-steps 1 --eval-share 0.3"),
        (alignment, "kto --model {policy} --data {data} --out {out} --max-steps 1 --eval-share 0.3"),
        (alignment, "grpo --model {policy} --prompts {data} --reward {reward} --out {out} --max-steps 1"),
        (alignment, "sample --model {policy} --prompts {data} --out {out}.jsonl --max-new-tokens 2"),
        (alignment, "bon --model {policy} --prompts {data} --reward {reward} --out {out}.jsonl --n 2"),
        (alignment, "evaluate --base {policy} --model {policy} --prompts {data} --out {out}"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_refused_row_is_named(
    main, command: str, models: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(main, models, data, tmp_path / "out", command) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{data}:3: field prompt is 'system, user'" in error
    assert REFUSED in error
    assert "and 1 more bad rows" in error


def test_refused_rows_are_left_out_of_a_training_and_of_its_evaluation(
    models: Path, data: Path, tmp_path: Path
) -> None:
    command = "train --model {reward} --data {data} --out {out} --eval-share 0.3 --on-bad-row skip"
    assert run(rewardkit, models, data, tmp_path / "run", command) == 0
    listed = [json.loads(line) for line in (tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()]
    assert [(bad["place"], bad["reason"]) for bad in listed] == [(f"{data}:{n}", "template") for n in (3, 9)]
    # without the template at hand the same rows are left out, so that the data is the one that was trained on
    assert rewardkit(["evaluate", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "evaluation")]) == 0
    assert [json.loads(line) for line in (tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()] == listed


def test_refused_rows_get_no_reward_and_no_sample(
    models: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = "score --model {reward} --input {data} --output {out}.jsonl --on-bad-row skip"
    assert run(rewardkit, models, data, tmp_path / "scored", score) == 0
    scored = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [row["chosen_reward"] is None for row in scored] == [number in (3, 9) for number in range(1, 13)]
    assert REFUSED in scored[2]["reward_problem"]
    sample = "sample --model {policy} --prompts {data} --out {out}.jsonl --max-new-tokens 2 --on-bad-row skip"
    assert run(alignment, models, data, tmp_path / "samples", sample) == 0
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 10
    assert "2 bad rows left out" in capsys.readouterr().out
