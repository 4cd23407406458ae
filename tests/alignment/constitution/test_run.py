"""Critique, revision and comparison whole: a local endpoint that answers by rule, and a tiny policy of our own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from critic_behaviour import PADDING, critic_policy, request_of, rows_of, shortener
from judge_endpoint import Endpoint, Reply, said, serve

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.constitution.principles import read_constitution
from alignment.policy.data import read_demonstrations
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.sources import open_source

CONCISE = "title: Brief\nversion: 4\nprinciples:\n  - {id: concise, critique: Say what can go., revision: Cut it.}\n"
Run = Callable[..., int]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Asks an endpoint about some answers under one principle, into the folder `out`."""
    (tmp_path / "brief.yaml").write_text(CONCISE)

    def ask(endpoint: Endpoint, answers: Sequence[Sequence[str]], *more: str) -> int:
        write_rows(tmp_path / "answers.jsonl", rows_of(answers))
        return main(
            [
                *("constitution", f"--input={tmp_path / 'answers.jsonl'}", f"--judge={endpoint.url}"),
                *("--judge-model=toy", f"--constitution={tmp_path / 'brief.yaml'}", f"--out={tmp_path / 'out'}", *more),
            ]
        )

    return ask


def test_a_padded_answer_is_revised_and_the_pair_says_where_it_comes_from(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The padding has 38 characters: sigma(3.8) for the revision; 18 characters against 9 give sigma(0.9)."""
    with serve(shortener(lean=0.4)) as endpoint:
        assert run(endpoint, [["It is late." + PADDING, "It left."]], "--seed=5", "--json") == 0
    out = tmp_path / "out"
    constitution = read_constitution(tmp_path / "brief.yaml")
    (demonstration,) = rows(out / "sft.jsonl")
    revision, feedback = rows(out / "pairs.jsonl")
    assert demonstration["prompt"] == [{"role": "user", "content": "Where is order 0?"}]
    assert demonstration["completion"] == [{"role": "assistant", "content": "It is late."}]
    assert (revision["chosen"], revision["rejected"]) == (
        [{"role": "assistant", "content": "It is late."}],
        [{"role": "assistant", "content": "It is late." + PADDING}],
    )
    assert (revision["source_chosen"], revision["source_rejected"], revision["p_chosen"]) == (
        "policy-7, revised", "policy-7", 1.0,
    )  # fmt: skip
    both = [1 / (1 + math.exp(-3.8 - 0.4)), 1 / (1 + math.exp(-3.8 + 0.4))]
    assert revision["provenance"] == {
        "made_by": "revision",
        "constitution": constitution.hash,
        "title": "Brief",
        "version": 4,
        "principles": ["concise"],
        "critiques": ["49 characters."],
        "rounds": [1],
        "judge": f"toy at {endpoint.url.split('/')[2]}",
        "model": "policy-7",
        "seed": 5,
        "vote_principle": "concise",
        "vote": pytest.approx(sum(both) / 2),
        "orders": pytest.approx(both),
        "raw": ['{"overall": "A"}', '{"overall": "B"}'],
    }
    assert demonstration["provenance"] == revision["provenance"]
    assert feedback["chosen"] == [{"role": "assistant", "content": "It left."}]
    orders = [1 / (1 + math.exp(-4.1 + 0.4)), 1 / (1 + math.exp(-4.1 - 0.4))]  # 49 - 8 characters; shown second, first
    assert feedback["provenance"]["orders"] == pytest.approx(orders)
    assert feedback["p_chosen"] == pytest.approx(sum(orders) / 2)
    assert feedback["provenance"].keys() == revision["provenance"].keys()
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((out / "summary.json").read_text())
    assert (summary["num_revision_pairs"], summary["num_feedback_pairs"], summary["left_out"]) == (1, 1, {})
    assert summary["growth"] == pytest.approx(11 / 49)
    assert (summary["usage"]["prompt_tokens"], summary["usage"]["completion_tokens"]) == (600, 60)  # six questions
    assert (out / "constitution.yaml").read_text() == CONCISE
    assert json.loads((out / "status.json").read_text())["num_steps"] == 1


def longer_for_some(answer: str) -> Reply:
    """A revision, or what is none, as the answer's first word says."""
    match answer.split()[0]:
        case "Longer":
            return said(answer + PADDING)
        case "Refused":
            return said("I cannot rewrite this answer.")
        case "Empty":
            return said(" ")
        case "Cut":
            return said("It is", finish_reason="length")
        case "Blank":
            return said(f"{answer}\n")
        case _:
            return said(answer.replace(PADDING, ""))


def test_what_is_no_revision_is_left_out_by_its_name(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("Longer", "Refused", "Empty", "Cut", "Blank", "Good")
    answers = [[f"{name} it is.{PADDING if name == 'Good' else ''}"] for name in names]
    with serve(shortener(revision=longer_for_some)) as endpoint:
        assert run(endpoint, [*answers, [" "]]) == 0
    said_lines = capsys.readouterr().out.splitlines()
    failures = [record["failure"] for record in rows(tmp_path / "out" / "steps.jsonl")]
    assert failures == ["worse", "refused", "empty", "cut", "unchanged", "", "empty_answer"]
    assert [row["completion"][0]["content"] for row in rows(tmp_path / "out" / "sft.jsonl")] == ["Good it is."]
    assert len(rows(tmp_path / "out" / "pairs.jsonl")) == 1
    assert said_lines[0].startswith("1 of 7 answers revised; left out: 1 worse, 1 refused, 1 empty, 1 cut, 1 unchanged")


def test_longer_revisions_are_told_of(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def pad(answer: str) -> Reply:
        return said(answer + PADDING)

    def prefers_the_revision(body: dict[str, Any], number: int) -> Reply:
        text = body["messages"][-1]["content"]
        if request_of(body) != "vote":
            return shortener(revision=pad)(body, number)
        return said(json.dumps({"overall": "A" if text.index(PADDING) < text.index("<<answer B") else "B"}))

    with serve(prefers_the_revision) as endpoint:
        assert run(endpoint, [["It left the house."], ["It is here."]]) == 0
    text = capsys.readouterr().out
    growth = ((18 + 38) / 18 + (11 + 38) / 11) / 2
    assert (
        f"revisions are {growth:.2f} times as long, 100% of them longer: a model can learn that longer is better"
        in text
    )


def test_rounds_go_on_from_the_latest_text(run: Run, tmp_path: Path) -> None:
    """One padding a round goes; the second critique is of the shorter text, the third finds nothing."""

    def one_less(answer: str) -> Reply:
        return said(answer.replace(PADDING, "", 1))

    with serve(shortener(revision=one_less)) as endpoint:
        assert run(endpoint, [["Late." + PADDING + PADDING]], "--rounds=3") == 0
    (record,) = rows(tmp_path / "out" / "steps.jsonl")
    (pair,) = rows(tmp_path / "out" / "pairs.jsonl")
    assert [one["critique"] for one in record["rounds"]] == ["81 characters.", "43 characters.", "5 characters."]
    assert [one["failure"] for one in record["rounds"]] == ["", "", "unchanged"]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("Late.", "Late." + PADDING + PADDING)
    assert (pair["provenance"]["rounds"], pair["provenance"]["principles"]) == ([1, 2], ["concise", "concise"])


def test_preferences_alone_leave_out_equal_empty_and_undecided_answers(run: Run, tmp_path: Path) -> None:
    answers = [["It left.", "It is on its way to you."], ["Same.", "Same. "], ["One.", ""], ["abcd.", "efgh."]]
    with serve(shortener(lean=1.0)) as endpoint:
        assert run(endpoint, answers, "--rounds=0") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["feedback_left_out"] == {"identical": 1, "empty_answer": 1, "tie": 1}
    assert (summary["num_feedback_pairs"], summary["num_revision_pairs"], summary["left_out"]) == (1, 0, {})
    assert len(endpoint.bodies) == 4
    assert summary["lean"] > 0.1
    assert (tmp_path / "out" / "sft.jsonl").read_text() == ""


def test_a_run_that_stops_goes_on_without_asking_again(run: Run, tmp_path: Path) -> None:
    """The endpoint breaks in the third window; what is written afterwards is what one run writes."""
    answers = [[f"Number {number}." + PADDING, f"Number {number}, yes."] for number in range(6)]
    asked = [*("--window=2", "--rounds=2", "--seed=3")]
    with serve(shortener()) as endpoint:
        assert run(endpoint, answers, *asked) == 0
        url, num_whole = endpoint.url.split("/")[2], len(endpoint.bodies)
    whole = {name: rows(tmp_path / "out" / f"{name}.jsonl") for name in ("sft", "pairs")}
    (tmp_path / "out").rename(tmp_path / "whole")

    with serve(shortener()) as endpoint:
        good = endpoint.behaviour
        endpoint.behaviour = lambda body, number: (
            Reply(status=401) if "order 4" in json.dumps(body["messages"]) else good(body, number)
        )
        assert run(endpoint, answers, *asked) == 1
        assert len(rows(tmp_path / "out" / "steps.jsonl.partial")) == 1 + 4
        assert not (tmp_path / "out" / "sft.jsonl").exists()
        endpoint.behaviour = good
        num_first = len(endpoint.bodies)
        assert run(endpoint, answers, "--resume", *asked[1:], "--window=5") == 0
        assert len(endpoint.bodies) - num_first == num_whole // 3
        other = endpoint.url.split("/")[2]
    again = {name: rows(tmp_path / "out" / f"{name}.jsonl") for name in ("sft", "pairs")}
    assert json.loads(json.dumps(again).replace(other, url)) == whole


def test_another_constitution_does_not_continue_a_run(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(shortener()) as endpoint:
        good = endpoint.behaviour
        endpoint.behaviour = lambda body, number: (
            Reply(status=401) if "order 1" in json.dumps(body["messages"]) else good(body, number)
        )
        assert run(endpoint, [["One."], ["Two."]], "--window=1") == 1
        (tmp_path / "brief.yaml").write_text(CONCISE.replace("Cut it.", "Cut all of it."))
        num_asked = len(endpoint.bodies)
        assert (
            main(
                [
                    *("constitution", f"--input={tmp_path / 'answers.jsonl'}", f"--judge={endpoint.url}", "--resume"),
                    *("--judge-model=toy", f"--constitution={tmp_path / 'brief.yaml'}", f"--out={tmp_path / 'out'}"),
                ]
            )
            == 2
        )
        assert len(endpoint.bodies) == num_asked
    assert "steps.jsonl.partial: constitution was" in capsys.readouterr().err


def test_rows_are_read_by_the_trainings_and_by_datasets(run: Run, tmp_path: Path) -> None:
    answers = [["It is late." + PADDING, "It left."], ["Here.", "There it is."]]
    with serve(shortener()) as endpoint:
        assert run(endpoint, answers) == 0
    out = tmp_path / "out"
    preferences = read_preferences(str(out / "pairs.jsonl")).rows
    assert [(row.chosen, row.rejected) for row in preferences] == [
        ("It is late.", "It is late." + PADDING), ("It left.", "It is late." + PADDING), ("Here.", "There it is."),
    ]  # fmt: skip
    assert preferences[0].p_chosen == 1.0
    assert 0.5 < preferences[2].p_chosen < 0.7
    (parts,) = open_source(str(out / "sft.jsonl")).values()
    (demonstration,) = read_demonstrations(parts, "sft").rows
    assert [turn.content for turn in demonstration.turns] == ["Where is order 0?", "It is late."]
    datasets = pytest.importorskip("datasets")
    table = datasets.load_dataset("json", data_files=str(out / "pairs.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert table["train"].num_rows == 3
    assert table["train"][0]["provenance"]["principles"] == ["concise"]


def test_a_local_model_answers_criticises_and_compares_and_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    policy, judge = critic_policy(tmp_path / "policy", seed=1), critic_policy(tmp_path / "judge", seed=2)
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"My kettle {word}. What now?"} for word in ("broke", "left")])
    (tmp_path / "brief.yaml").write_text(CONCISE)
    spec = {"kind": "local", "target": str(judge), "max_new_tokens": 12, "temperature": 1.0}
    judges = tmp_path / "judges.json"  # as `judge list --json` of the app prints them
    judges.write_text(json.dumps([{"name": "other", "spec": {}}, {"name": "ours", "spec": spec}]))
    for name in ("one", "two"):
        words = [f"--prompts={tmp_path / 'prompts.jsonl'}", f"--model={policy}", f"--judge={judges}#ours"]
        words += [f"--constitution={tmp_path / 'brief.yaml'}", "--max-new-tokens=8", f"--out={tmp_path / name}"]
        assert main(["constitution", *words]) == 0
    records = rows(tmp_path / "one" / "steps.jsonl")
    assert [len(record["answers"]) for record in records] == [2, 2]
    assert all(record["rounds"][0]["critique"] for record in records)
    assert all(0 < record["feedback"]["p"] < 1 for record in records)
    told = [{**record, "usage": {**record["usage"], "seconds": 0}} for record in records]
    again = [
        {**record, "usage": {**record["usage"], "seconds": 0}} for record in rows(tmp_path / "two" / "steps.jsonl")
    ]
    assert told == again


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--judge=http://x/v1"], "give model and prompts together, or input"),
        (["--input=a", "--judge=http://x/v1"], "model is missing: what the endpoint calls it"),
        (["--input=a", "--judge=/nowhere", "--judge-model=m"], "go with the address of an endpoint"),
        (["--input=a", "--judge=j.yaml"], "a judge of the kind reward writes no critiques"),
        (["--input=a", "--judge=bad.yaml"], "--judge bad.yaml: a judge has the field 'colour'"),
        (["--input=a", "--judge=all.json#other"], "--judge all.json#other: no judge of this name, there are ours, b"),
        (["--input=a", "--judge=/nowhere", "--rounds=0", "--no-feedback"], "there is nothing to ask"),
        (["--input=a", "--judge=/nowhere", "--constitution=c.yaml"], "c.yaml:2: principles is an empty list"),
        (
            ["--input=no.jsonl", "--judge=http://x/v1", "--judge-model=m"],
            "no.jsonl:1: field responses is 'None': needed is an answer",
        ),
    ],
)
def test_bad_input_is_named_in_one_line(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("j.yaml").write_text("kind: reward\ntarget: folder\n")
    Path("bad.yaml").write_text("kind: local\ntarget: x\ncolour: red\n")
    Path("all.json").write_text('[{"name": "ours"}, {"name": "b"}]')
    Path("c.yaml").write_text("title: t\nprinciples: []\n")
    Path("no.jsonl").write_text('{"prompt": "What now?"}\n')
    assert main(["constitution", *words, "--out=out"]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "Traceback" not in error
