import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.demo import ADJUDICATOR, create_demo
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.store import Store
from rewardkit.config import RewardConfig
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.splitting import find_leakage, num_prompts
from rewardkit.data.training_data import hash_rows, load_training_data


def pair(prompt, chosen="good", rejected="poor", **columns):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **columns}


def pairs(name, count):
    return [pair(f"{name} {number // 2}", f"good {number}") for number in range(count)]


def write(path, rows):
    write_rows(path, rows)
    return str(path)


@pytest.fixture
def load(tmp_path):
    """Loads into the run directory `run`, or one of another name."""

    def load(run="run", **options):
        out = tmp_path / run
        return load_training_data(RewardConfig(model="tiny", out=str(out), **options), out)

    return load


def test_prompts_are_held_out_and_the_run_says_what_it_was(tmp_path, load):
    file = write(tmp_path / "rows.jsonl", pairs("question", 200))
    loaded = load(data=file, eval_share=0.3)
    assert len(loaded.train) + len(loaded.held_out) == 200
    assert find_leakage(loaded.train, loaded.held_out) == []
    assert 15 <= num_prompts(loaded.held_out) <= 45  # 30 of 100 wanted, standard deviation 4.6
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert record["data_hash"] == loaded.data_hash
    assert record["train"] == {"num_rows": len(loaded.train), "num_prompts": num_prompts(loaded.train)}
    (source,) = record["sources"]
    assert source | {"sha256": 0} == {
        "source": file, "form": "chosen_rejected", "sha256": 0, "num_rows": 200, "num_bad_rows": 0
    }  # fmt: skip
    sums = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert source["sha256"] == {file: sums.split()[0]}
    held_out = f"{len(loaded.held_out)} pairs of {num_prompts(loaded.held_out)} prompts held out"
    assert loaded.description.endswith(held_out)


def test_the_hash_is_of_the_content_in_its_order_and_not_of_the_format(tmp_path, load):
    rows = pairs("question", 60)
    first = load(run="jsonl", data=write(tmp_path / "rows.jsonl", rows))
    assert load(run="parquet", data=write(tmp_path / "rows.parquet", rows)).data_hash == first.data_hash
    assert load(run="seed", data=str(tmp_path / "rows.jsonl"), seed=1).data_hash != first.data_hash
    train = first.train
    changes = {"p_chosen": 0.9, "weight": 2.0, "margin": 1.0, "criteria": {"tone": 1.0}, "votes": {"tie": 1}}
    changes |= {"chosen": "other", "rejected": "other", "meta": {"annotator": "ann"}}
    hashes = {hash_rows([replace(train[0], **{name: value}), *train[1:]]) for name, value in changes.items()}
    assert len(hashes | {hash_rows(train), hash_rows(train[::-1]), hash_rows(train[:1], train[1:])}) == len(changes) + 3
    assert hash_rows([replace(train[0], comparison_id="other", meta={"topic": 1})]) == hash_rows(train[:1])


def test_bad_rows_stop_the_run_or_are_listed_in_it(tmp_path, load, caplog):
    rows = [*pairs("question", 60), pair("p", "same", "same"), pair("p", p_chosen=0.1)]
    file = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=r"rows\.jsonl:61: field rejected is 'same'"):
        load(data=file)
    loaded = load(data=file, on_bad_row="skip")
    listed = [json.loads(line) for line in (tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()]
    assert [(bad["place"], bad["reason"]) for bad in listed] == [
        (f"{file}:61", "identical_responses"),
        (f"{file}:62", "bad_number"),
    ]
    assert len(loaded.bad_rows) == 2
    assert "2 bad rows left out (1 identical_responses, 1 bad_number)" in loaded.description
    assert "2 bad rows left out" in caplog.text


def test_evaluation_data_that_shares_a_prompt_is_refused_unless_allowed(tmp_path, load):
    train = write(tmp_path / "train.jsonl", pairs("question", 20))
    shared = write(tmp_path / "shared.jsonl", [*pairs("other", 6), pair("QUESTION  3", "x", "y")])
    with pytest.raises(ValueError, match=r"1 prompt stands in both .* for example 'QUESTION 3'; --allow-leakage"):
        load(data=train, eval_data=shared)
    loaded = load(data=train, eval_data=shared, allow_leakage=True)
    assert (len(loaded.train), len(loaded.held_out)) == (20, 7)
    assert "1 prompts stand on both sides, which was allowed" in loaded.description
    clean = load(run="clean", data=train, eval_data=write(tmp_path / "clean.jsonl", pairs("other", 6)))
    assert (len(clean.train), len(clean.held_out)) == (20, 6)


def test_a_folder_with_splits_brings_its_evaluation_data(tmp_path, load):
    for name, count in (("train", 30), ("validation", 8), ("test", 10)):
        write(tmp_path / "export" / f"{name}.jsonl", pairs(name, count))
    loaded = load(data=str(tmp_path / "export"))
    assert (len(loaded.train), len(loaded.held_out)) == (30, 8)
    assert loaded.description.endswith("8 pairs of 4 prompts held out from " + str(tmp_path / "export:validation"))
    loaded = load(run="named", data=f"{tmp_path}/export:train", eval_data=f"{tmp_path}/export:test")
    assert (len(loaded.train), len(loaded.held_out)) == (30, 10)


def test_too_few_rows_on_one_side_are_refused(tmp_path, load):
    file = write(tmp_path / "rows.jsonl", [pair("only one", f"good {number}") for number in range(5)])
    with pytest.raises(ValueError, match=r"0 pairs .*at least 2 are needed; .* has 5 pairs of 1 prompt, .*eval_share"):
        load(data=file)
    with pytest.raises(ValueError, match=r"1 pairs held out, at least 2 are needed"):
        load(data=file, eval_data=write(tmp_path / "one.jsonl", pairs("other", 1)))
    assert not (tmp_path / "run" / "data.json").exists()


def test_a_run_that_goes_on_refuses_data_that_changed(tmp_path, load):
    rows = pairs("question", 60)
    first = load(data=write(tmp_path / "rows.jsonl", rows))
    assert load(data=str(tmp_path / "rows.jsonl")) == first
    write(tmp_path / "rows.jsonl", [*rows, pair("another")])
    with pytest.raises(ValueError, match=f"the data changed since the run .* began: .* it was {first.data_hash[:12]}"):
        load(data=str(tmp_path / "rows.jsonl"))


# From a project of the app


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory):
    """The demo project in a database of its own, with one pair decided to be a tie."""
    url = f"sqlite:///{tmp_path_factory.mktemp('demo')}/demo.db"
    store = Store.open(url)
    project = create_demo(store)
    lead = Actor.command_line()
    key = next(iter(store.comparisons.iterate(lead, project.id))).id
    expert = store.people.actor_of(store.people.by_name(lead, ADJUDICATOR))
    store.judgments.adjudicate(expert, project.id, key, Decision(choice="tie"))
    store.close()
    return url


def project_name(url):
    command = [sys.executable, "-m", "annotate_app", "project", "list", f"--db={url}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]["name"]


def test_a_project_is_exported_into_the_run_and_read_again_when_it_goes_on(tmp_path, load, demo_url):
    name = project_name(demo_url)
    loaded = load(project=name, db=demo_url)
    snapshot = tmp_path / "run" / "data" / "preferences.jsonl"
    rows = read_preferences(str(snapshot)).rows
    assert len(rows) == len(loaded.train) + len(loaded.held_out) > 100
    assert {0.5, 1.0} < {row.p_chosen for row in rows}  # ties are kept, and shares of votes are not rounded
    assert all(row.votes and row.comparison_id and row.source_chosen for row in rows)
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert set(record["sources"][0]["sha256"]) == {str(snapshot)}
    written = snapshot.stat().st_mtime_ns
    assert load(project=name, db=demo_url) == loaded
    assert snapshot.stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv", "parquet"])
def test_exports_of_the_app_are_read_back_the_same_in_every_layout_and_format(tmp_path, demo_url, layout, suffix):
    def export(out, *words):
        command = [sys.executable, "-m", "annotate_app", "export", "1", f"--db={demo_url}", "--ties=keep", "--sources"]
        subprocess.run([*command, f"--out={out}", *words], check=True, capture_output=True)
        return read_preferences(str(out)).rows

    assert export(tmp_path / f"own.{suffix}", f"--layout={layout}") == export(tmp_path / "plain.jsonl")


def test_a_project_that_is_not_there_is_said_so(load, demo_url):
    with pytest.raises(ValueError, match=r"project '--out=x' cannot be exported: annotate-app export: .*--out=x"):
        load(project="--out=x", db=demo_url)


def test_the_program_that_keeps_projects_is_asked_for_where_it_is_not_installed(load, monkeypatch):
    monkeypatch.setattr("rewardkit.data.training_data.entry_points", lambda group: ())
    with pytest.raises(ImportError, match=r'project needs .*: pip install "tiebreak\[app\]"'):
        load(project="p")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("preference", ["--form=preference", "--ties=keep", "--sources"]),
        ("unpaired", ["--form=unpaired"]),
        ("sft", ["--form=sft"]),
    ],
)
def test_the_installed_app_offers_the_command_that_exports_a_project(kind, options):
    (program,) = entry_points(group="tiebreak.projects")
    words = program.load()("--out=x", kind, Path("rows.jsonl"), "sqlite:///a.db")
    start = [sys.executable, "-m", "annotate_app", "export", "--out=rows.jsonl"]
    assert words == [*start, *options, "--db=sqlite:///a.db", "--", "--out=x"]
    assert not [word for word in program.load()("p", kind, Path("rows.jsonl"), "") if word.startswith("--db")]
