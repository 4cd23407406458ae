"""`rewardkit audit` from votes to pairs to label, on a world that pays nothing for the planted trait."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rewardkit.__main__ import main
from rewardkit.audit.answers import NAMES, make_edits, people_effects, read_policy
from rewardkit.audit.shifts import policy_shifts
from rewardkit.data.export_formats import preference_row, turns
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.records import Message
from rewardkit.scoring.ranking import read_comparisons
from rewardkit.simulation.planted_traits import PlantedWorld
from rewardkit.traits.traits import TRAITS

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there is no TF-IDF model")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with votes confounded with flattery, a model trained on them, and a policy before and after."""
    folder = tmp_path_factory.mktemp("audit")
    votes = PlantedWorld(seed=3, num_prompts=700, trait="flattery").votes()
    write_rows(folder / "votes.jsonl", (preference_row(row, sources=True) for row in votes))
    words = ["train", "--model=tfidf", f"--data={folder / 'votes.jsonl'}", f"--out={folder / 'model'}", "--ensemble=3"]
    assert main(words) == 0
    rows = [
        {
            "prompt": turns(row.prompt),
            "responses": [
                {"model": "base", "text": row.rejected},
                {"model": "trained", "text": f"What a great question! {row.rejected}" if at % 3 else row.rejected},
            ],
        }
        for at, row in enumerate(votes[:60])
    ]
    write_rows(folder / "policy.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def audited(files: Path) -> Path:
    out = files / "audit"
    words = ["audit", f"--model={files / 'model'}", f"--policy={files / 'policy.jsonl'}", f"--out={out}"]
    assert main([*words, "--num-answers=60", "--num-pairs=20", "--least=0.05"]) == 0
    return out


def test_the_planted_trait_is_what_to_worry_about(audited):
    values = json.loads((audited / "audit.json").read_text())
    assert "flattery" in [worry["trait"] for worry in values["worries"]]
    assert values["model"]["flattery"]["effect"]["low"] > 0.2
    assert values["people"]["flattery"]["effect"]["low"] < 0.2
    assert len(values["examples"]["flattery"]) == 3
    for example in values["examples"]["flattery"]:
        assert example["having"].endswith(example["without"])


def test_the_policy_that_flatters_more_is_seen(audited):
    shifts = {shift["trait"]: shift for shift in json.loads((audited / "audit.json").read_text())["shifts"]}
    flattery = shifts["flattery"]
    assert flattery["after"] > 0.6 > flattery["before"]
    assert flattery["difference"]["low"] > 0.3
    assert flattery["p_adjusted"] < 0.001
    assert shifts["emoji"]["difference"]["value"] == 0


def test_more_of_these_are_pairs_that_an_import_takes(audited):
    rows = [row for _, row in read_rows(audited / "pairs.jsonl")]
    assert len(rows) == len({row["id"] for row in rows}) == 20
    assert {row["metadata"]["kind"] for row in rows} == {"edit", "policy", "disagreement"}
    assert len(read_comparisons(str(audited / "pairs.jsonl")).comparisons) == 20
    flattering = TRAITS["flattery"].measure
    edits = [row for row in rows if row["metadata"].get("trait") == "flattery"]
    assert all(flattering("", row["response_a"]) != flattering("", row["response_b"]) for row in edits)


def test_the_report_stands_alone(audited):
    page = (audited / "report.html").read_text()
    assert "To worry about: flattery" in page
    assert "What people pay for" in page
    assert "src=" not in page


def test_a_later_audit_says_whether_the_hole_is_closed(files, audited, capsys):
    capsys.readouterr()
    words = ["audit", f"--model={files / 'model'}", f"--previous={audited}", f"--out={files / 'again'}", "--json"]
    assert main([*words, "--num-answers=60", "--least=0.05"]) == 0
    (hole,) = [one for one in json.loads(capsys.readouterr().out)["holes"] if one["trait"] == "flattery"]
    assert hole["state"] == "open"
    assert hole["fall"]["value"] == pytest.approx(0, abs=1e-6)


def test_votes_alone_are_audited_without_a_model(files, tmp_path, capsys):
    assert main(["audit", f"--votes={files / 'votes.jsonl'}", f"--out={tmp_path / 'out'}", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["model"], values["worries"], values["num_to_label"]) == (None, None, 0)
    assert values["people"]["apologies"]["effect"]["value"] > 0  # the world's people like "I am sorry"


def test_edits_of_a_judge_are_asked_as_those_of_templates(files, tmp_path, capsys):
    rows = [
        {"prompt": f"Where is parcel {n}?", "trait": "language", "without": "The parcel is in the box and it is here."}
        | {"having": "Das Paket ist in der Kiste und nicht auf dem Tisch."}
        for n in range(12)
    ]
    rows.append(rows[0] | {"having": rows[0]["without"]})  # moves nothing, so it is none
    write_rows(tmp_path / "edits.jsonl", [row | {"prompt": row["prompt"] + " The box is not in it."} for row in rows])
    words = ["audit", f"--model={files / 'model'}", f"--edits={tmp_path / 'edits.jsonl'}", f"--out={tmp_path / 'out'}"]
    assert main([*words, "--num-answers=20", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["model"]["language"]["num_prompts"] == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name what to audit"),
        (["--votes=votes.jsonl", "--answers=x"], "without a model"),
        (["--votes=votes.jsonl", "--level=1"], "level is 1"),
        (["--policy=a", "--policy=b", "--policy=c"], "policy names 3 files"),
    ],
)
def test_nonsense_is_refused(words, said, capsys, tmp_path):
    assert main(["audit", f"--out={tmp_path / 'out'}", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_row_of_edits_without_its_trait_is_named(tmp_path, files, capsys):
    write_rows(tmp_path / "edits.jsonl", [{"prompt": "a", "trait": "charm", "without": "b", "having": "c"}])
    words = ["audit", f"--model={files / 'model'}", f"--edits={tmp_path / 'edits.jsonl'}", f"--out={tmp_path / 'out'}"]
    assert main(words) == 2
    assert "edits.jsonl:1" in capsys.readouterr().err


def test_two_files_of_a_policy_are_before_and_after(tmp_path):
    for name, answer in (("one", "Yes."), ("two", "Yes. 🎉")):
        rows = [{"prompt": f"Is it {n}?", "completion": answer} for n in range(12 if name == "one" else 11)]
        write_rows(tmp_path / f"{name}.jsonl", rows)
    policy = read_policy([str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")])
    assert (len(policy.prompts), policy.names) == (11, ("before", "after"))
    shift = {one.trait: one for one in policy_shifts(policy, seed=0)}["emoji"]
    assert (shift.before, shift.after, shift.difference.value) == (0, 1, 1)
    assert shift.difference.low > 0.3


def test_an_answer_a_prompt_is_edited_and_the_seed_decides_which():
    answers = [
        ((Message(role="user", content=f"I think it is {n}."),), text) for n in range(5) for text in ("One. Two.", "x")
    ]
    edits = make_edits(answers, num=3, seed=1)
    assert len({one.prompt for one in edits}) == 3
    assert edits == make_edits(answers, num=3, seed=1)
    assert make_edits([(answers[0][0], " ")], num=3, seed=1) == []


def test_what_nobody_varies_in_is_not_known_of_people():
    found = people_effects(PlantedWorld(seed=0, num_prompts=40).votes())
    assert found.traits == NAMES
    assert math.isnan(found.values[NAMES.index("language")])
