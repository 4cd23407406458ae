"""The process that holds a model for the playground: what it answers, when it ends, what a mistake does to it."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from annotate_app.jobs.model_processes import MOST_MODELS, ModelProcesses
from annotate_app.trainings.scorer import LONGEST_TEXT, MODULE, Scorers, verdict
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward
from rewardkit.run.line_server import serve
from rewardkit.scoring.lines import answer

# A process that answers as `rewardkit.scoring.lines` does, without a model: rewards are lengths.
PROCESS = """
import json, sys, time
if "broken" in sys.argv[1]:
    print(json.dumps({"error": "no reward model"}), flush=True); sys.exit(2)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["completions"][0] == "die": sys.exit(1)
    if asked["completions"][0] == "sleep": time.sleep(60)
    if asked["completions"][0] == "refuse": print(json.dumps({"id": asked["id"], "error": "too long"}), flush=True)
    else:
        members = [[len(text) * weight for text in asked["completions"]] for weight in (1, 2)]
        print(json.dumps({"id": asked["id"], "members": members}), flush=True)
"""


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorers]:
    """Scorers whose processes are PROCESS."""
    folder = tmp_path / "code" / "rewardkit" / "scoring"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").write_text("")
    (folder / "lines.py").write_text(PROCESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.chdir(tmp_path)
    table = ModelProcesses(idle_s=0.5)
    yield Scorers(table)
    table.close()


def model_at(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rewardkit.json").write_text(json.dumps({"score_mean": 1.0, "score_std": 2.0}))
    return folder


def test_two_questions_are_answered_by_one_process(processes, tmp_path):
    model = model_at(tmp_path / "model")
    assert not processes.is_loaded(model)
    found = processes.judge(model, "Hi", "abc", "a")
    assert found.rewards == (4.5, 1.5)  # lengths 3 and 1, by members that weigh 1 and 2
    process = processes.processes._processes[MODULE, model]._process.pid
    assert processes.judge(model, "Hi", "a", "abc").rewards == (1.5, 4.5)
    assert processes.processes._processes[MODULE, model]._process.pid == process


def test_a_process_nobody_asks_is_ended(processes, tmp_path):
    model = model_at(tmp_path / "model")
    processes.judge(model, "Hi", "abc", "a")
    process = processes.processes._processes[MODULE, model]._process
    deadline = time.monotonic() + 20
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not processes.is_loaded(model)
    assert processes.judge(model, "Hi", "abc", "a").rewards == (4.5, 1.5)


def test_what_goes_wrong_is_said_and_the_next_question_is_answered(processes, tmp_path):
    processes.processes.idle_s = 60
    model = model_at(tmp_path / "model")
    with pytest.raises(ValueError, match="too long"):
        processes.judge(model, "Hi", "refuse", "a")
    with pytest.raises(ValueError, match="ended; ask again"):
        processes.judge(model, "Hi", "die", "a")
    assert processes.judge(model, "Hi", "abc", "a").rewards == (4.5, 1.5)
    with pytest.raises(ValueError, match="did not answer in time"):
        processes.processes.ask(MODULE, model, {"completions": ["sleep", "a"]}, timeout_s=0.3)
    assert processes.judge(model, "Hi", "abc", "a").rewards == (4.5, 1.5)
    with pytest.raises(ValueError, match="no reward model"):
        processes.judge(model_at(tmp_path / "broken"), "Hi", "abc", "a")


def test_only_so_many_models_are_held_the_longest_unasked_goes(processes, tmp_path):
    processes.processes.idle_s = 60
    models = [model_at(tmp_path / f"model{number}") for number in range(MOST_MODELS + 1)]
    for model in models:
        processes.judge(model, "Hi", "abc", "a")
    assert [processes.is_loaded(model) for model in models] == [False, *[True] * MOST_MODELS]


@pytest.mark.parametrize(
    "texts", [("", "a", "b"), ("p", " ", "b"), ("p", "a", ""), ("p", "a", "x" * (LONGEST_TEXT + 1))]
)
def test_empty_and_endless_texts_are_refused_before_a_process_starts(processes, tmp_path, texts):
    with pytest.raises(ValueError, match=r"is empty|50,001 characters"):
        processes.judge(model_at(tmp_path / "model"), *texts)
    assert not processes.processes._processes


def test_the_verdict_is_calibrated_and_turns_with_the_answers(tmp_path):
    card = {"score_mean": 1.0, "score_std": 2.0, "calibration": {"kind": "temperature", "temperature": 2.0}}
    (tmp_path / "rewardkit.json").write_text(json.dumps(card))
    members = np.array([[3.0, 1.0], [1.0, 1.0]])
    found = verdict(tmp_path, members, 0.1)
    # Margins 2 and 0, halved by the temperature: sigma(1) = 0.7311 and 0.5.
    assert found.members == pytest.approx((0.7310586, 0.5))
    assert found.probability == pytest.approx(0.6155293)
    assert found.rewards == (2.0, 1.0)
    assert found.stds == (pytest.approx(2**0.5), 0.0)
    assert found.normalised == (0.5, 0.0)
    assert 0.5 < found.low < found.high < 0.7311
    turned = verdict(tmp_path, members[:, ::-1], 0.1)
    assert turned.probability == pytest.approx(1 - found.probability)
    assert turned.information == pytest.approx(found.information)
    single = verdict(tmp_path, members[:1], 0.1)
    assert (single.stds, single.information) == ((0.0, 0.0), 0.0)


def length_reward(prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
    if "bad" in completions:
        raise ValueError("too\nlong")
    return Reward(members=np.array([[float(len(text)) for text in completions]]))


def test_lines_are_answered_in_order_and_mistakes_end_nothing():
    prompt = [{"role": "user", "content": "Hi"}]
    lines = [
        json.dumps({"id": 1, "prompt": prompt, "completions": ["a", "bcd"]}),
        "no json",
        json.dumps({"id": 2, "completions": ["a"]}),
        json.dumps({"id": 3, "prompt": prompt, "completions": ["bad"]}),
        json.dumps({"id": 4, "prompt": prompt, "completions": ["é"]}),
    ]
    out = io.StringIO()
    serve(lines, out, lambda request: answer(request, length_reward))
    first, second, third, fourth, fifth = map(json.loads, out.getvalue().splitlines())
    assert first == {"id": 1, "members": [[1.0, 3.0]]}
    assert "not readable as JSON" in second["error"]
    assert "prompt" in third["error"]
    assert fourth == {"id": 3, "error": "too long"}
    assert fifth == {"id": 4, "members": [[1.0]]}
    assert answer(json.loads(lines[0]), length_reward) == {"members": first["members"]}


@pytest.mark.slow
def test_a_trained_model_answers_through_a_process_and_this_one_never_imports_torch(tmp_path):
    pytest.importorskip("sklearn")
    import subprocess

    rows = [{"prompt": f"Question {n}", "chosen": f"good answer {n}", "rejected": f"bad reply {n}"} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--model=tfidf", "--mode=head", f"--data={tmp_path / 'rows.jsonl'}", f"--out={tmp_path / 'model'}"]
    subprocess.run([sys.executable, "-m", "rewardkit", "train", *words], check=True, capture_output=True)
    before = "torch" in sys.modules
    table = ModelProcesses()
    try:
        found = Scorers(table).judge(tmp_path / "model", "Question 3", "good answer", "bad reply")
    finally:
        table.close()
    assert found.probability > 0.6
    assert len(found.members) > 1
    assert ("torch" in sys.modules) == before
