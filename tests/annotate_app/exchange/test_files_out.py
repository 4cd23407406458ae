import json

import pytest
import yaml

from annotate_app.access import AccessError, Actor
from annotate_app.exchange.comparisons_in import import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from rewardkit.data.choices import parse_choice_map
from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
VOTES = {
    "win": ["b", "b", "a"],  # b wins by 2 of 3
    "tie": ["tie", "tie", "a"],
    "bad": ["both_bad", "both_bad", "a"],
    "open": ["a", "b"],  # a draw
    "split": ["a", "b", "tie"],  # all votes in, no majority: an adjudicator's
    "sure": ["a", "a", "a"],
    "new": [],
}


@pytest.fixture
def project(sqlite_store, make_project):
    """Seven comparisons whose fates are known; `win` and `sure` share their prompt and the winning answer."""
    project = make_project(sqlite_store, num_comparisons=0, design=Design(overlap=3))
    comparisons = [
        Comparison(
            id=key,
            prompt=(Message(role="user", content="shared" if key in ("win", "sure") else f"prompt of {key}"),),
            completion_a="the best" if key == "sure" else f"{key} a",
            completion_b="the best" if key == "win" else f"{key} b",
            source_a="m1",
            source_b="m2",
        )
        for key in VOTES
    ]
    sqlite_store.comparisons.add(ADMIN, project.id, comparisons)
    judgments = [
        Judgment(
            comparison_id=key,
            annotator=f"person {number}",
            choice=choice,
            strength=2 if choice in ("a", "b") else 0,
            created_at=1.7e9 + number,
            shown_left="b",
        )
        for key, choices in VOTES.items()
        for number, choice in enumerate(choices)
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, judgments)
    return project


def export(store, project, path, **options):
    done = export_rows(store, ADMIN, project.id, path, ExportOptions(**options))
    return done, [row for _, row in read_rows(done.files[0])]


def texts(row, *names):
    return tuple(row[name][0]["content"] for name in names)


def test_preferences_are_those_of_the_consensus(sqlite_store, project, tmp_path):
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl")
    assert [(row["comparison_id"], *texts(row, "chosen", "rejected")) for row in rows] == [
        ("win", "the best", "win a"),
        ("sure", "the best", "sure b"),
    ]
    win = rows[0]
    assert win["p_chosen"] == pytest.approx(2 / 3)
    assert win["margin"] == pytest.approx((2 + 2 - 2) / 3)
    assert win["votes"] == {"chosen": 2, "rejected": 1, "tie": 0, "both_bad": 0}
    assert done.left_out == {
        "tie": 1,
        "both bad": 1,
        "queued: no majority": 1,
        "waiting: no majority": 1,
        "waiting: no votes yet": 1,
    }
    assert sum(done.left_out.values()) + len(rows) == len(VOTES)
    assert "source_chosen" not in win


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "csv.gz"])
@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
def test_every_format_and_layout_reads_back_the_same(sqlite_store, project, tmp_path, suffix, layout):
    done, rows = export(sqlite_store, project, tmp_path / f"out.{suffix}", layout=layout, sources=True)
    assert ("prompt" in rows[0]) == (layout != "implicit")
    read = read_preferences(str(done.files[0])).rows
    assert [(each.comparison_id, each.chosen, each.rejected, each.source_chosen) for each in read] == [
        ("win", "the best", "win a", "m2"),
        ("sure", "the best", "sure b", "m1"),
    ]
    assert [each.prompt for each in read] == [(Message(role="user", content="shared"),)] * 2
    assert [round(each.p_chosen, 4) for each in read] == [0.6667, 1.0]


def test_ties_go_out_as_p_chosen_of_a_half_where_they_are_kept(sqlite_store, project, tmp_path):
    _, rows = export(sqlite_store, project, tmp_path / "out.jsonl", ties="keep")
    assert [row["comparison_id"] for row in rows] == ["win", "tie", "sure"]
    assert rows[1]["p_chosen"] == pytest.approx(2 / 3)  # p_a + p_tie / 2 with votes a, tie, tie


def test_both_bad_gives_two_undesirable_rows_and_a_tie_none(sqlite_store, project, tmp_path):
    _, rows = export(sqlite_store, project, tmp_path / "out.jsonl", form="unpaired")
    assert [(row["comparison_id"], *texts(row, "completion"), row["label"]) for row in rows] == [
        ("win", "the best", True),
        ("win", "win a", False),
        ("bad", "bad a", False),
        ("bad", "bad b", False),
        ("sure", "the best", True),
        ("sure", "sure b", False),
    ]


def test_demonstrations_are_chosen_answers_each_once(sqlite_store, project, tmp_path):
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl", form="sft", layout="plain")
    assert [(row["prompt"], row["completion"]) for row in rows] == [("shared", "the best")]
    assert done.left_out["the same demonstration again"] == 1


def test_rows_in_which_careless_people_count_alike_say_so(sqlite_store, make_project, tmp_path):
    project = make_project(sqlite_store, num_comparisons=24, design=Design(overlap=4))
    keys = [item.id for item in sqlite_store.comparisons.iterate(ADMIN, project.id)]
    judgments = [
        Judgment(
            comparison_id=key, annotator=f"person {who}", choice="a" if who == 3 or number % 2 else "b", strength=1
        )
        for number, key in enumerate(keys)
        for who in range(4)
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, judgments)
    done, _ = export(sqlite_store, project, tmp_path / "out.jsonl")
    (note,) = done.notes
    assert "skill differs by 62% of its mean" in note
    assert note in (tmp_path / "out.README.md").read_text()


def test_adjudicated_items_come_out_and_discarded_ones_do_not(sqlite_store, project, tmp_path):
    sqlite_store.judgments.adjudicate(ADMIN, project.id, "split", Decision(choice="b", strength=1))
    sqlite_store.judgments.adjudicate(ADMIN, project.id, "sure", Decision(choice="discard"))
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl", adjudicated_only=True)
    assert [(row["comparison_id"], *texts(row, "chosen"), row["p_chosen"]) for row in rows] == [
        ("split", "split b", 1.0)
    ]
    assert done.left_out["discarded: discarded by an adjudicator"] == 1
    assert done.left_out["not adjudicated"] == 3


def test_filters_by_votes_and_agreement(sqlite_store, project, tmp_path):
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl", min_agreement=0.9)
    assert [row["comparison_id"] for row in rows] == ["sure"]
    assert done.left_out["agreement below 0.9"] == 3
    done, rows = export(sqlite_store, project, tmp_path / "out2.jsonl", min_votes=4)
    assert (rows, done.left_out["fewer than 4 votes"]) == ([], 4)


def test_splits_keep_a_prompt_together(sqlite_store, make_project, shared_data, tmp_path):
    project = make_project(sqlite_store, "pandalm", num_comparisons=0)
    import_comparisons(sqlite_store, ADMIN, project.id, [shared_data / "pandalm_dev.jsonl.gz"])
    numbered = BallotOptions(choice_map=parse_choice_map(["0=tie", "1=a", "2=b"]))
    import_judgments(sqlite_store, ADMIN, project.id, [shared_data / "pandalm_dev.jsonl.gz"], numbered)
    options = ExportOptions(splits={"train": 0.7, "test": 0.3}, format="parquet", license="apache-2.0")
    done = export_rows(sqlite_store, ADMIN, project.id, tmp_path / "out", options)
    prompts = {
        name: {row["prompt"][0]["content"] for _, row in read_rows(tmp_path / "out" / f"{name}.parquet")}
        for name in ("train", "test")
    }
    assert not prompts["train"] & prompts["test"]
    assert sum(done.num_rows.values()) == 480  # 503 less 23 ties, as the votes of the file say
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.parquet"},
        {"split": "test", "path": "test.parquet"},
    ]
    assert "| Fleiss' kappa | 0.835 [" in card
    assert "| tie | 23 |" in card


def test_judgments_are_pseudonymised_and_import_again(sqlite_store, project, make_project, tmp_path):
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl", form="judgments")
    names = {row["annotator"] for row in rows}
    assert (len(rows), len(names)) == (17, 3)
    assert not any("person" in json.dumps(row) for row in rows)
    _, again = export(sqlite_store, project, tmp_path / "again.csv", form="judgments")
    assert {row["annotator"] for row in again} == names
    _, real = export(sqlite_store, project, tmp_path / "real.jsonl", form="judgments", names=True)
    assert {row["annotator"] for row in real} == {"person 0", "person 1", "person 2"}
    twin = make_project(sqlite_store, "twin", num_comparisons=0)
    sqlite_store.comparisons.add(ADMIN, twin.id, sqlite_store.comparisons.iterate(ADMIN, project.id))
    for path in (tmp_path / "out.jsonl", tmp_path / "again.csv"):
        import_judgments(sqlite_store, ADMIN, twin.id, [path])
    _, copied = export(sqlite_store, twin, tmp_path / "twin.jsonl", form="judgments", names=True)
    assert copied == [{**row, "kind": "import"} for row in rows]
    assert done.num_rows == {"judgments": 17}


def test_pseudonyms_differ_between_projects(sqlite_store, project, make_project, tmp_path):
    other = make_project(sqlite_store, "other", num_comparisons=1)
    judgment = Judgment(comparison_id="c0", annotator="person 0", choice="a", strength=1)
    sqlite_store.judgments.import_many(ADMIN, other.id, [judgment])
    _, here = export(sqlite_store, project, tmp_path / "here.jsonl", form="judgments")
    _, there = export(sqlite_store, other, tmp_path / "there.jsonl", form="judgments")
    assert there[0]["annotator"] not in {row["annotator"] for row in here}


def test_what_is_there_is_replaced_only_when_asked(sqlite_store, project, tmp_path):
    for out in (tmp_path / "out.jsonl", tmp_path / "folder"):
        export_rows(sqlite_store, ADMIN, project.id, out)
        with pytest.raises(ValueError, match="is there already; --overwrite replaces it"):
            export_rows(sqlite_store, ADMIN, project.id, out)
        done = export_rows(sqlite_store, ADMIN, project.id, out, ExportOptions(overwrite=True, form="sft"))
        assert done.num_rows in ({"sft": 1}, {"train": 1})
    assert sorted(
        path.name for path in tmp_path.iterdir() if path.name != "cookie.secret" and "db" not in path.name
    ) == [
        "folder",
        "out.README.md",
        "out.jsonl",
    ]


def test_options_that_do_not_go_together_are_refused(sqlite_store, project, tmp_path):
    with pytest.raises(ValueError, match="splits go to a folder"):
        export(sqlite_store, project, tmp_path / "out.jsonl", splits={"a": 0.5, "b": 0.5})
    with pytest.raises(ValueError, match="judgments are not split"):
        ExportOptions(form="judgments", splits={"a": 1.0})
    with pytest.raises(ValueError, match="allowed for the form sft are conversational and plain"):
        ExportOptions(form="sft", layout="implicit")
    with pytest.raises(ValueError, match=r"min_agreement is 1\.5"):
        ExportOptions(min_agreement=1.5)


@pytest.mark.parametrize("role", ["annotator", "adjudicator"])
def test_below_lead_nothing_is_exported(sqlite_store, project, make_actor, tmp_path, role):
    actor = make_actor(sqlite_store, role, "somebody", project)
    with pytest.raises(AccessError, match="exporting asks for the role lead"):
        export_rows(sqlite_store, actor, project.id, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_project_without_judgments_gives_an_empty_file_and_a_card(sqlite_store, make_project, tmp_path):
    project = make_project(sqlite_store, "empty", num_comparisons=2)
    done, rows = export(sqlite_store, project, tmp_path / "out.jsonl")
    assert (rows, done.num_rows) == ([], {"preference": 0})
    assert "Nobody has judged yet." in done.files[1].read_text()


def test_card_of_simulated_annotators_says_so(sqlite_store, tmp_path):
    text = "title: t\nguidelines: g\n"
    project = sqlite_store.projects.create(ADMIN, "demo", rubric_text=text, design=Design(), simulated=True)
    done = export_rows(sqlite_store, ADMIN, project.id, tmp_path / "out")
    card = done.files[-1].read_text()
    assert "No person made these judgments" in card
    assert "synthetic" in yaml.safe_load(card.split("---\n")[1])["tags"]
