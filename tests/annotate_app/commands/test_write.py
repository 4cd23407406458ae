"""`annotate-app write` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_stand_ins import ADMIN, finish_run, write_stand_ins

from annotate_app.__main__ import main
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """A database with a project of two policies and a reward model, which are stand-ins; its URL and their numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(write_stand_ins(tmp_path / "code")))
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    store = Store.open(url)
    store.projects.create(ADMIN, "desk", rubric_text="title: x\nguidelines: Choose.\n", design=Design())
    runs = [finish_run(store), finish_run(store), finish_run(store, "reward", model="tfidf", mode="head")]
    store.close()
    return url, [str(run) for run in runs]


def test_policies_answer_side_by_side_and_their_answers_are_sent(desk, capsys):
    url, (one, other, reward) = desk
    words = ["write", "desk", "--db", url, "--run", one, "--run", other, "--prompt", "Where?", "--seed", "5"]
    assert main([*words, "--reward", reward, "--send", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    [asked] = said["prompts"]
    assert [part["source"] for part in asked["written"]] == [f"run-{one}", f"run-{other}"]
    [answer] = asked["written"][0]["answers"]
    assert answer["text"].endswith("seed 5")
    assert answer["reward"] == pytest.approx(1.5 * len(answer["text"]))
    store = Store.open(url)
    project = store.projects.get(ADMIN, "desk")
    assert store.comparisons.get(ADMIN, project.id, asked["sent"][0]).completion_a.startswith("Where? 1 of")
    store.close()
    assert main(words) == 0
    assert f"[run-{one}, answer 1: 6 words, 4 tokens, log-probability -2.00]" in capsys.readouterr().out


def test_prompts_of_a_file_and_of_a_comparison_are_answered(desk, tmp_path, capsys):
    url, (one, *_) = desk
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "First?"}\n{"prompt": "Second?"}\n{"prompt": "First?"}\n')
    words = ["write", "desk", "--db", url, "--run", one, "--json"]
    assert main([*words, "--prompts", str(tmp_path / "prompts.jsonl")]) == 0
    texts = [part["written"][0]["answers"][0]["text"] for part in json.loads(capsys.readouterr().out)["prompts"]]
    assert [text[:7] for text in texts] == ["First? ", "Second?"]
    assert main([*words, "--item", "none"]) == 2
    assert "none" in capsys.readouterr().err


def test_mistakes_end_with_code_2_and_one_line_and_a_model_that_fails_with_1(desk, capsys):
    url, (one, *_) = desk
    words = ["write", "desk", "--db", url, "--run", one]
    for more, said in (
        ((), "give one of --prompt, --item and --prompts"),
        (("--prompt", "x", "--item", "y"), "give one of"),
        (("--prompt", "x", "--run", "99"), "run 99 is no policy of this project"),
        (("--prompt", "x", "--reward", one), f"run {one} is no reward model"),
        (("--prompt", "x", "--n", "99"), "n is 99"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1, error
    assert main([*words, "--prompt", "refuse this"]) == 1
    assert f"[run-{one}: " in capsys.readouterr().out
