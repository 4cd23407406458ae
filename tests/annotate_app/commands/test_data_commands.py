"""`import`, `judgments import` and `export` as they are typed."""

import json

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.store.store import Store
from rewardkit.data.files import read_rows, write_rows

ADMIN = Actor.command_line()


@pytest.fixture
def project(sqlite_url, monkeypatch, sqlite_store, make_project):
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    return make_project(sqlite_store, "p", num_comparisons=0)


def test_real_data_in_and_out(project, shared_data, tmp_path, capsys):
    file = str(shared_data / "pandalm_dev.jsonl.gz")
    assert main(["import", "p", file]) == 0
    assert "503 comparisons added to p, 36 with an empty answer; 0 were there" in capsys.readouterr().out
    numbered = ["--choice-map", "0=tie", "1=a", "2=b"]
    assert main(["judgments", "import", "p", file, "--json"]) == 2
    assert "--choice-map 0=tie 1=a 2=b" in capsys.readouterr().err
    assert main(["judgments", "import", "p", file, *numbered, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_added"] == 1509
    options = ["--split", "train=0.9,test=0.1", "--format", "parquet", "--json"]
    assert main(["export", "p", "--out", str(tmp_path / "out"), *options]) == 0
    done = json.loads(capsys.readouterr().out)
    assert sum(done["num_rows"].values()) == 480
    assert done["left_out"] == {"tie": 23}
    assert main(["export", "p", "--out", str(tmp_path / "whole.zip"), "--form", "everything"]) == 0
    assert main(["import", "twin", str(tmp_path / "whole.zip")]) == 0
    assert "project twin made: 503 comparisons, 1509 judgments" in capsys.readouterr().out


def test_bad_rows_end_with_code_2_one_line_and_a_list(project, tmp_path, capsys):
    rows = [{"prompt": "p", "response_a": "x", "response_b": text} for text in ("y", "x", None)]
    write_rows(tmp_path / "rows.jsonl", rows)
    arguments = ["import", "p", str(tmp_path / "rows.jsonl"), "--bad-rows", str(tmp_path / "bad.jsonl")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "rows.jsonl:2: field response_b is 'x': it is the same as response_a (and 1 more bad rows)" in error
    listed = [row["reason"] for _, row in read_rows(tmp_path / "bad.jsonl")]
    assert listed == ["identical_responses", "missing_field"]
    assert main([*arguments, "--on-bad-row", "skip"]) == 0
    assert "1 comparisons added to p; 0 were there, 2 left out of 3 rows" in capsys.readouterr().out


@pytest.mark.parametrize("scale", [["--scale", "-3..3"], ["--scale=-3..3"], ["--choice-map", "-2=a:2", "1=b"]])
def test_a_scale_is_an_option_and_the_summary_names_what_was_read(project, tmp_path, capsys, sqlite_store, scale):
    write_rows(tmp_path / "c.jsonl", [{"id": i, "prompt": "q", "response_a": "x", "response_b": "y"} for i in (1, 2)])
    assert main(["import", "p", str(tmp_path / "c.jsonl")]) == 0
    write_rows(tmp_path / "v.csv", [{"id": i, "user": 3, "score": number} for i, number in ((1, -2), (2, 1))])
    assert main(["judgments", "import", "p", str(tmp_path / "v.csv"), *scale]) == 0
    assert "choices in 'score': -2 = a by 2, 1 = b" in capsys.readouterr().out
    assert [each.score for each in sqlite_store.judgments.iterate(ADMIN, project.id)] == [-2, 1]
    assert main(["judgments", "import", "p", str(tmp_path / "v.csv"), "--scale", "3"]) == 2
    assert "scale '3', allowed is LOW..HIGH" in capsys.readouterr().err


def test_columns_and_choices_are_mapped_by_flags(project, tmp_path, capsys, sqlite_store: Store):
    (tmp_path / "rows.csv").write_text("key,q,one,two\nk,Why?,x,y\n")
    mapping = ["--map", "prompt=q", "response_a=one", "response_b=two"]
    assert main(["import", "p", str(tmp_path / "rows.csv"), *mapping]) == 0
    (tmp_path / "votes.csv").write_text("key,ann,bob\nk,0,1\n")
    wide = ["--layout", "wide", "--annotators", "ann,bob", "--map", "comparison=key", "--choice-map", "0=a:2", "1=b"]
    assert main(["judgments", "import", "p", str(tmp_path / "votes.csv"), *wide]) == 0
    stored = [
        (each.annotator, each.choice, each.strength) for each in sqlite_store.judgments.iterate(ADMIN, project.id)
    ]
    assert stored == [("ann", "a", 2), ("bob", "b", 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "nobody", "rows.csv"], "there is no project 'nobody'"),
        (["import", "p", "absent.csv"], "No such file or directory: 'absent.csv'"),
        (["import", "p", "rows.csv", "--map", "prompt"], "--map 'prompt', allowed is FIELD=COLUMN"),
        (["export", "p", "--out", "out", "--split", "train=0.5"], "add up to 0.5, allowed is 1"),
        (["export", "p", "--out", "o.jsonl", "--split", "a=0.5,b=0.5"], "splits go to a folder"),
        (["export", "p", "--out", "out", "--form", "everything", "--format", "csv"], "a folder or a zip"),
    ],
)
def test_mistakes_end_with_code_2_and_say_what_is_allowed(project, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_rows_made_under_a_constitution_come_in_with_their_provenance(project, tmp_path, sqlite_store):
    """As `alignment constitution` writes pairs.jsonl; which answer is the chosen one is no part of what people see."""
    provenance = {
        "made_by": "revision",
        "constitution": "39e891a4dd76",
        "principles": ["concise"],
        "critiques": ["Long."],
    }
    row = {
        "prompt": [{"role": "user", "content": "Where is it?"}],
        "chosen": [{"role": "assistant", "content": "It left."}],
        "rejected": [{"role": "assistant", "content": "It left. Do follow us."}],
        "p_chosen": 1.0,
        "source_chosen": "policy-7, revised",
        "source_rejected": "policy-7",
        "provenance": provenance,
    }
    write_rows(tmp_path / "pairs.jsonl", [row])
    assert main(["import", "p", str(tmp_path / "pairs.jsonl")]) == 0
    (comparison,) = sqlite_store.comparisons.iterate(ADMIN, project.id)
    assert comparison.meta["provenance"] == provenance
    assert {comparison.source_a, comparison.source_b} == {"policy-7, revised", "policy-7"}
