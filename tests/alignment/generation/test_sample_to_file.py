"""`alignment sample`: what it writes is read by rewardkit and by the app; an unbroken and a continued run agree."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alignment.commands.sample import sample
from alignment.config.sampling import SampleConfig
from alignment.generation.completion_sampler import load_samplers, policy_names
from alignment.generation.sample_to_file import read_different_prompts, sample_file
from rewardkit.data.columns import detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.files import check_output, read_rows
from rewardkit.scoring.rows import detect_scorable, read_completions

QUESTIONS = [f"Order {number}: where is my kettle?" for number in range(7)]


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in [*QUESTIONS, QUESTIONS[0]]))
    return str(path)


def configured(prompts: str, out: Path, models: tuple[Path, ...], **options) -> SampleConfig:
    return SampleConfig(
        model=[str(model) for model in models], prompts=prompts, out=str(out), max_new_tokens=6, **options
    )


def rows_of(path: Path) -> list[dict]:
    return [row for _, row in read_rows(path)]


def test_one_completion_a_prompt_is_a_row_that_can_be_scored(policy_folders, prompts: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert sample(configured(prompts, out, policy_folders[:1])) == 0
    rows = rows_of(out)
    assert [row["prompt"][0]["content"] for row in rows] == QUESTIONS  # the one that occurs again is answered once
    assert {row["model"] for row in rows} == {"base"}
    ((prompt, text),) = read_completions(rows[2], detect_scorable(rows, "out"))
    assert prompt[0].content == QUESTIONS[2]
    assert text == rows[2]["completion"][0]["content"]
    assert all(row["num_tokens"] == 6 or row["finished"] for row in rows)


def test_two_policies_give_a_blind_round(policy_folders, prompts: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert sample(configured(prompts, out, policy_folders, n=2)) == 0
    rows = rows_of(out)
    assert len(rows) == 2 * len(QUESTIONS)
    reading = detect_reading(rows)
    assert reading.form == "responses"
    for row in rows:
        (comparison,) = parse_row(row, reading).comparisons
        assert (comparison.source_a, comparison.source_b) == ("base", "trained")
    assert rows[0]["prompt"] == rows[1]["prompt"]
    assert rows[0]["responses"] != rows[1]["responses"]


def test_completions_of_one_policy_stand_in_one_row(policy_folders, prompts: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert sample(configured(prompts, out, policy_folders[:1], n=3)) == 0
    assert [len(row["responses"]) for row in rows_of(out)] == [3] * len(QUESTIONS)


def test_a_continued_run_is_the_unbroken_one(
    policy_folders, prompts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    sample(configured(prompts, whole, policy_folders))
    config = configured(prompts, broken, policy_folders, window=3)
    samplers = load_samplers(config.model)
    given = read_different_prompts(config)

    def interrupt(done: int, _total: int) -> None:
        if done > 6:  # in the second window
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_file(config, given.prompts, samplers, told=interrupt)
    partial = tmp_path / "broken.jsonl.partial"
    assert partial.read_text().count("\n") == 1 + 3
    partial.write_bytes(partial.read_bytes()[:-5])  # killed while it wrote
    with pytest.raises(ValueError, match="--resume continues it"):
        check_output("--out", config.out, resume=config.resume)
    with pytest.raises(ValueError, match=r"temperature was 1.0 and is 0.5"):
        sample(configured(prompts, broken, policy_folders, resume=True, temperature=0.5))
    assert sample(configured(prompts, broken, policy_folders, resume=True)) == 0
    assert rows_of(broken) == rows_of(whole)
    assert not partial.exists()


def test_a_stop_text_is_left_out(policy_folders, prompts: str, tmp_path: Path) -> None:
    free, stopped = tmp_path / "free.jsonl", tmp_path / "stopped.jsonl"
    sample(configured(prompts, free, policy_folders[:1]))
    texts = [row["completion"][0]["content"] for row in rows_of(free)]
    number, stop = next((number, found[0]) for number, text in enumerate(texts) if (found := re.findall("[a-z]", text)))
    text = texts[number]
    sample(configured(prompts, stopped, policy_folders[:1], stop=[stop]))
    row = rows_of(stopped)[number]
    assert row["completion"][0]["content"] == text[: text.index(stop)]
    assert row["finished"]


def test_names_are_told_apart() -> None:
    assert policy_names(["runs/sft", "runs/dpo/"]) == ["sft", "dpo"]
    assert policy_names(["sft/model", "dpo/model"]) == ["sft/model", "dpo/model"]


def test_the_command_line_takes_a_policy_as_often_as_given(
    policy_folders, prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from alignment.__main__ import main

    out = tmp_path / "out.jsonl"
    models = [f"--model={folder}" for folder in policy_folders]
    words = ["sample", *models, "--prompts", prompts, "--out", str(out), "--max-new-tokens", "4", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["num_rows"] == len(QUESTIONS)
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 2, "temperature": 0}, "where all completions of a prompt are the same"),
        ({"n": 0}, "n is 0, allowed is 1 or more"),
        ({"model": []}, "name one policy or more"),
        ({"model": ["a", "a"]}, "given twice"),
        ({"top_p": 0.0}, "top_p is 0.0"),
    ],
)
def test_options_are_checked(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SampleConfig(**{"model": ["m"], "prompts": "p", "out": "o.jsonl", **options})


def test_what_is_no_policy_is_refused(tmp_path: Path, prompts: str) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        sample(configured(prompts, tmp_path / "out.jsonl", (tmp_path / "absent",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds neither config.json nor adapter_config.json"):
        sample(configured(prompts, tmp_path / "out.jsonl", (tmp_path / "empty",)))
