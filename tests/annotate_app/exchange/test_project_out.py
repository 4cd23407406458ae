import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.consensus.release import release
from annotate_app.exchange.project_out import export_project, is_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Judgment, Span

ADMIN = Actor.command_line()


@pytest.fixture
def project(sqlite_store, make_project):
    """Eight comparisons with votes of three people, gold answers, priorities, a decision and two rubric versions."""
    project = make_project(sqlite_store, num_comparisons=8, design=Design(overlap=3, policy="priority"))
    choices = ["a", "b", "tie", "a", "both_bad", "b", "skip"]
    judgments = [
        Judgment(
            comparison_id=f"c{item}",
            annotator=f"person {person}",
            choice=choices[(item * (person + 1)) % 7],
            strength=1 + item % 3 if choices[(item * (person + 1)) % 7] in ("a", "b") else 0,
            criteria={"tone": item % 3 - 1, "detail": (1, person + 1)},
            flags={"a": ("unsafe",)} if item == 2 else {},
            spans=(Span(side="a", start=1, end=4, flag="unsafe"),) if item == 2 else (),
            edited={"b": "anew 😀"} if item == 1 else {},
            rationale=f"because {item}",
            created_at=1.7e9 + item,
        )
        for item in range(7)
        for person in range(3)
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, judgments)
    sqlite_store.comparisons.set_gold(ADMIN, project.id, "c7", Gold(choice="b", explanation="it answers"))
    sqlite_store.comparisons.set_priorities(ADMIN, project.id, {"c1": 2.5})
    decision = Decision(choice="a", strength=1, criteria={"tone": -1}, rationale="settled")
    sqlite_store.judgments.adjudicate(ADMIN, project.id, "c3", decision)
    sqlite_store.projects.save_rubric(ADMIN, project.id, "title: second\nguidelines: other words\n")
    return project


def figures(store, project_id):
    votes = store.judgments.votes(ADMIN, project_id)
    report = agreement_report(votes, num_resamples=0, by=("criterion",)).as_dict()
    design = store.projects.get(ADMIN, project_id).design
    consensus = release(votes, design, store.judgments.adjudications(ADMIN, project_id))
    rows = [consensus.row(index) for index in range(len(consensus.items))]
    return json.dumps([report["overall"], report["criteria"], rows], default=str)


@pytest.mark.parametrize("name", ["whole", "whole.zip"])
def test_project_read_back_elsewhere_has_the_same_content_and_figures(sqlite_store, project, tmp_path, name):
    done = export_project(sqlite_store, ADMIN, project.id, tmp_path / name)
    assert done.num_rows == {
        **{"comparisons": 8, "judgments": 21, "adjudications": 1, "members": 0, "judges": 0, "judge_votes": 0}
    }
    assert is_project(tmp_path / name)
    other = Store.open(f"sqlite:///{tmp_path / 'other' / 'tiebreak.db'}")
    try:
        made = import_project(other, ADMIN, tmp_path / name, "copy")
        assert (made.num_comparisons, made.num_judgments, made.num_adjudications, made.num_golds) == (8, 21, 1, 1)
        assert list(other.comparisons.iterate(ADMIN, made.project.id)) == list(
            sqlite_store.comparisons.iterate(ADMIN, project.id)
        )
        assert figures(other, made.project.id) == figures(sqlite_store, project.id)
        assert made.project.design == project.design
        assert [each.text for each in other.projects.rubrics(ADMIN, made.project.id)] == [
            each.text for each in sqlite_store.projects.rubrics(ADMIN, project.id)
        ]
        assert other.comparisons.golds(ADMIN, made.project.id) == {"c7": Gold(choice="b", explanation="it answers")}
        (first, *_) = other.browsing.find(ADMIN, made.project.id, ComparisonFilter(text="c1"))
        assert first.priority == 2.5
        kept = [
            (j.choice, j.strength, dict(j.criteria), dict(j.flags), j.spans, j.edited, j.rationale, j.created_at)
            for j in judged(other)
        ]
        assert kept == [
            (j.choice, j.strength, dict(j.criteria), dict(j.flags), j.spans, j.edited, j.rationale, j.created_at)
            for j in judged(sqlite_store)
        ]
    finally:
        other.close()


def judged(store):
    return store.judgments.iterate(ADMIN, 1)


def test_names_stay_at_home_unless_asked(sqlite_store, project, tmp_path):
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    text = "".join(path.read_text() for path in (tmp_path / "whole").iterdir())
    assert "person 0" not in text
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "named", names=True)
    assert '"annotator": "person 0"' in (tmp_path / "named" / "judgments.jsonl").read_text()


def test_existing_target_is_kept_unless_asked(sqlite_store, project, tmp_path):
    for name in ("whole", "whole.zip"):
        export_project(sqlite_store, ADMIN, project.id, tmp_path / name)
        with pytest.raises(ValueError, match="is there already"):
            export_project(sqlite_store, ADMIN, project.id, tmp_path / name)
        export_project(sqlite_store, ADMIN, project.id, tmp_path / name, overwrite=True)


def test_damaged_exports_make_no_project(sqlite_store, project, tmp_path):
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    folder = tmp_path / "whole"
    judgments = (folder / "judgments.jsonl").read_text()
    (folder / "judgments.jsonl").write_text(judgments.replace('"choice": "tie"', '"choice": "perhaps"'))
    with pytest.raises(ValueError, match=r"judgments\.jsonl:\d+: field choice is 'perhaps'"):
        import_project(sqlite_store, ADMIN, folder, "copy")
    (folder / "judgments.jsonl").write_text(judgments)
    about = json.loads((folder / "project.json").read_text())
    (folder / "project.json").write_text(json.dumps({**about, "tiebreak_project": 99}))
    with pytest.raises(ValueError, match="version 99, allowed is 1"):
        import_project(sqlite_store, ADMIN, folder, "copy")
    (folder / "comparisons.jsonl").unlink()
    with pytest.raises(ValueError, match=r"comparisons\.jsonl is missing"):
        import_project(sqlite_store, ADMIN, folder, "copy")
    assert [each.name for each in sqlite_store.projects.list(ADMIN)] == ["support desk"]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("project.json", {"rubrics": "abc"}, r"project\.json: rubrics is 'abc', allowed is a list of versions"),
        ("project.json", {"rubrics": []}, r"rubrics is '\[\]'"),
        ("project.json", {"rubrics": [{"version": 1}]}, "rubrics is"),
        ("project.json", {"rubrics": [{"text": "title: ["}]}, r"project\.json: rubric version 1"),
        ("project.json", {"design": None}, "design is 'None', allowed is a mapping"),
        ("project.json", {"design": {"overlap": "many"}}, "overlap is 'many', allowed is a whole number"),
        ("project.json", {"design": {"overlap": 10**9}}, "overlap is 1000000000, allowed is 1 to 1000"),
        ("project.json", {"design": {"overlap": True}}, "overlap is 'True'"),
        (
            "project.json",
            {"design": {"groups": {"crowd": 10**9}}},
            r"groups\.crowd is 1000000000, allowed is 1 to 1000",
        ),
        ("project.json", {"design": {"groups": {"a": 600, "b": 600}}}, "groups ask for 1200 judgments together"),
        ("project.json", {"design": {"groups": [1]}}, "groups is"),
        ("project.json", {"design": {"groups": {"crowd": "x"}}}, r"groups\.crowd is 'x', allowed is a whole number"),
        ("project.json", {"design": {"gold_rate": "often"}}, "gold_rate is 'often', allowed is a number"),
        ("project.json", {"design": {"spy": 1}}, "unknown design setting 'spy'"),
        ("project.json", {"name": 5}, "name is '5', allowed is text"),
        (
            "comparisons.jsonl",
            {"overlap": "many"},
            r"comparisons\.jsonl:1: overlap is 'many', allowed is a whole number",
        ),
        ("comparisons.jsonl", {"overlap": 10**9}, "overlap is '1000000000', allowed is a whole number from 1 to 1000"),
        ("comparisons.jsonl", {"overlap": 2.5}, r"overlap is '2\.5'"),
        ("comparisons.jsonl", {"priority": "x"}, r"comparisons\.jsonl:1: priority is 'x', allowed is a number"),
        ("comparisons.jsonl", {"priority": -1e30}, r"priority is '-1e\+30'"),
        (
            "comparisons.jsonl",
            {"gold": {"choice": "a", "spy": 1}},
            r"comparisons\.jsonl:1: gold is .*allowed is a mapping",
        ),
        ("comparisons.jsonl", {"gold": "a"}, "gold is 'a', allowed is a mapping with choice, explanation, use"),
        ("comparisons.jsonl", {"gold": {}}, "choice"),
        ("comparisons.jsonl", {"gold": {"choice": ["a"]}}, "choice"),
        ("adjudications.jsonl", {"comparison_id": None}, r"adjudications\.jsonl:1: comparison_id is None"),
        ("adjudications.jsonl", {"choice": None}, r"adjudications\.jsonl:1: choice is None"),
        ("adjudications.jsonl", {"strength": "very"}, "strength is 'very', allowed is a whole number"),
        ("adjudications.jsonl", {"rationale": 5}, "rationale is '5', allowed is text"),
        ("members.jsonl", {"joined_at": "x"}, r"members\.jsonl:1: joined_at is 'x', allowed is a number"),
        ("members.jsonl", {"name": 5}, r"members\.jsonl:1: "),
    ],
)
def test_odd_parts_are_refused_by_name_and_make_no_project(sqlite_store, project, tmp_path, part, change, message):
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    path = tmp_path / "whole" / part
    if part == "project.json":
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    else:
        first, _, rest = path.read_text().partition("\n")
        path.write_text(json.dumps({**json.loads(first or "{}"), **change}) + "\n" + rest)
    with pytest.raises(ValueError, match=message) as caught:
        import_project(sqlite_store, ADMIN, tmp_path / "whole", "copy")
    assert "whole: " in str(caught.value)
    assert [each.name for each in sqlite_store.projects.list(ADMIN)] == ["support desk"]


@pytest.mark.parametrize("name", ["comparison_id", "choice", "strength"])
def test_a_decision_that_lacks_a_field_is_named(sqlite_store, project, tmp_path, name):
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    path = tmp_path / "whole" / "adjudications.jsonl"
    row = {"comparison_id": "c0", "choice": "a", "strength": 1}
    path.write_text(json.dumps({key: value for key, value in row.items() if key != name}) + "\n")
    with pytest.raises(ValueError, match=rf"adjudications\.jsonl:1: {name} is missing"):
        import_project(sqlite_store, ADMIN, tmp_path / "whole", "copy")


def test_zip_writes_nothing_outside_its_place(sqlite_store, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../../project.json", "{}")
        packed.writestr("../../evil.txt", "x")
    with pytest.raises(ValueError, match=r"comparisons\.jsonl is missing"):
        import_project(sqlite_store, ADMIN, tmp_path / "evil.zip")
    assert not (tmp_path.parent / "evil.txt").exists()
    (tmp_path / "plain.txt").write_text("x")
    assert not is_project(tmp_path / "plain.txt")
    with pytest.raises(ValueError, match="is no export of a whole project"):
        import_project(sqlite_store, ADMIN, tmp_path / "plain.txt")


def test_turns_and_rounds_stay_behind_and_are_counted(
    sqlite_store: Store, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(sqlite_store)
    assert export_project(sqlite_store, ADMIN, project.id, tmp_path / "before").left_out == {}
    turn = sqlite_store.turns.add(ADMIN, project.id, {})
    sqlite_store.rounds.add(ADMIN, project.id, one="x", other="y", comparisons=["c0"], turn_id=turn.id)
    for name in ("all.zip", "all"):
        left_out = export_project(sqlite_store, ADMIN, project.id, tmp_path / name).left_out
        assert left_out == {"turns of the loop (a backup holds them)": 1, "blind rounds (a backup holds them)": 1}
