"""Answers in steps from files into a project, and with people's labels out again, by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import BadRowsError, ImportOptions, import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.judgments_in import import_judgments
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.judgments.simulated import SimulatedAnswer
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment
from rewardkit.data.stepwise.stepwise_rows import read_stepwise

ADMIN = Actor.command_line()
PROBLEM = [{"role": "user", "content": "2 + 3, then twice that?"}]
TRL = {"id": "t", "prompt": PROBLEM, "completions": ["2 + 3 = 5", "5 * 2 = 11", "So 11."]}


@pytest.fixture
def project(store: Store) -> Project:
    """A project that judges steps."""
    text = rubric_text(Rubric(title="T", guidelines="G", question="Is each step right?", task="steps"))
    return store.projects.create(ADMIN, "steps", rubric_text=text, design=Design(overlap=3))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows to a file."""

    def write(*rows: dict) -> Path:
        path = tmp_path / f"rows-{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def said(annotator: str, *labels: float | None, key: str = "t") -> Judgment:
    worst = min(label for label in labels if label is not None)
    choice = "tie" if worst == 0.5 else "a" if worst > 0.5 else "b"
    strength = int(choice != "tie")
    return Judgment(comparison_id=key, annotator=annotator, choice=choice, strength=strength, step_labels=labels)


def of_project(store: Store, project: Project) -> dict[str, Comparison]:
    return {one.id: one for one in store.comparisons.iterate(ADMIN, project.id)}


def test_rows_of_trl_bring_their_steps_scores_and_soft_labels(
    store: Store, project: Project, write: Callable[..., Path]
) -> None:
    row = TRL | {"labels": [True, 0.25, None], "step_scores": [0.9, 0.1, 0.5], "model": "m", "level": 3}
    options = ImportOptions(labels=True)
    done = import_comparisons(store, ADMIN, project.id, [write(row)], options)
    assert (done.num_added, done.num_labels) == (1, 1)
    [answer] = of_project(store, project).values()
    assert (answer.id, answer.steps) == ("t", tuple(TRL["completions"]))
    assert answer.completion_a == answer.completion_b == "2 + 3 = 5\n5 * 2 = 11\nSo 11."
    assert (answer.step_scores, answer.source_a, answer.meta) == ((0.9, 0.1, 0.5), "m", {"level": 3})
    [label] = store.judgments.iterate(ADMIN, project.id)
    assert (label.annotator, label.choice, label.step_labels) == ("dataset", "b", (1.0, 0.25, None))
    again = import_comparisons(store, ADMIN, project.id, [write(row)], options)
    assert (again.num_added, again.num_existing, again.num_labels) == (0, 1, 0)


def test_candidates_of_prm800k_and_tagged_steps_of_math_shepherd_are_answers(
    store: Store, project: Project, write: Callable[..., Path]
) -> None:
    steps = [
        {
            "completions": [{"text": "It is 5.", "rating": 1}, {"text": "It is 6.", "rating": -1}],
            "chosen_completion": 0,
        },
        {"completions": [{"text": "Twice is 10.", "rating": 0}], "chosen_completion": 0},
    ]
    prm800k = {"id": "k", "question": {"problem": "2 + 3, twice?"}, "label": {"steps": steps, "finish_reason": "done"}}
    tagged = {
        "input": "How much? Step 1: 2 + 3 = 5 ки\nStep 2: 5 * 2 = 11 ки",
        "label": "How much? Step 1: 2 + 3 = 5 +\nStep 2: 5 * 2 = 11 -",
        "task": "GSM8K",
    }
    for row, number in ((prm800k, 2), (tagged, 1)):
        done = import_comparisons(store, ADMIN, project.id, [write(row)], ImportOptions(labels=True))
        assert (done.num_added, done.num_labels) == (number, number)
    labels = {judgment.comparison_id: judgment.step_labels for judgment in store.judgments.iterate(ADMIN, project.id)}
    answers = of_project(store, project)
    assert {answers[key].steps: given for key, given in labels.items()} == {
        ("It is 6.",): (0.0,),
        ("It is 5.", "Twice is 10."): (1.0, 0.5),
        ("Step 1: 2 + 3 = 5", "Step 2: 5 * 2 = 11"): (1.0, 0.0),
    }
    assert {"k-1", "k-2"} < set(answers)


def test_whole_answers_are_split_by_lines_sentences_a_marker_or_a_column(
    store: Store, project: Project, write: Callable[..., Path]
) -> None:
    text = "First 5. Then 10.\n\n<s>So 10."
    for split, steps in (
        ("line", ("First 5. Then 10.", "<s>So 10.")),
        ("sentence", ("First 5.", "Then 10.", "<s>So 10.")),
        ("<s>", ("First 5. Then 10.", "So 10.")),
    ):
        row = {"id": split, "prompt": "How much?", "response": text}
        import_comparisons(store, ADMIN, project.id, [write(row)], ImportOptions(split=split))
        assert of_project(store, project)[split].steps == steps
        assert of_project(store, project)[split].completion_a == text
    several = {"id": "r", "prompt": "How much?", "responses": [{"model": "m", "text": "a\nb"}, {"text": "c"}]}
    column = {"id": "c", "prompt": "How much?", "parts": ["one", "two"]}
    import_comparisons(store, ADMIN, project.id, [write(several)])
    import_comparisons(store, ADMIN, project.id, [write(column)], ImportOptions(columns={"steps": "parts"}))
    inside = {"id": "i", "prompt": "How much?", "solution": {"parts": ["three"], "right": [0.25]}, "step_scores": ""}
    places = {"steps": "solution.parts", "labels": "solution.right"}
    import_comparisons(store, ADMIN, project.id, [write(inside)], ImportOptions(columns=places, labels=True))
    assert [one.step_labels for one in store.judgments.iterate(ADMIN, project.id)] == [(0.25,)]
    assert of_project(store, project)["i"].steps == ("three",)
    answers = of_project(store, project)
    assert [(answers[key].steps, answers[key].source_a) for key in ("r-1", "r-2", "c")] == [
        (("a", "b"), "m"),
        (("c",), ""),
        (("one", "two"), ""),
    ]


def test_rows_that_are_no_steps_stop_the_import_at_their_line(
    store: Store, project: Project, write: Callable[..., Path]
) -> None:
    bad = [TRL | {"labels": [True]}, TRL | {"labels": [1, 2, 0]}, TRL | {"labels": None, "step_scores": [1, 1]}]
    with pytest.raises(BadRowsError) as error:
        import_comparisons(store, ADMIN, project.id, [write(*bad)])
    assert [row.field for row in error.value.bad] == ["labels", "labels[1]", "step_scores"]
    with pytest.raises(ValueError, match="no column is an answer to be split"):
        import_comparisons(store, ADMIN, project.id, [write({"prompt": "p", "verdict": "x"})])
    assert store.comparisons.count(ADMIN, project.id) == 0


def test_a_stepwise_row_holds_the_share_of_people_by_step_and_what_was_decided(
    store: Store, project: Project, write: Callable[..., Path], tmp_path: Path
) -> None:
    import_comparisons(store, ADMIN, project.id, [write(TRL, TRL | {"id": "u", "completions": ["Nobody looked."]})])
    votes = [said("anna", 1, 0, None), said("ben", 1, 0.5, 1), said("cleo", 1, 1, 0)]
    store.judgments.import_many(ADMIN, project.id, votes)
    done = export_rows(store, ADMIN, project.id, tmp_path / "soft.jsonl", ExportOptions(form="stepwise"))
    assert (done.num_rows, done.left_out) == ({"stepwise": 1}, {"no judged step": 1})
    [row] = [json.loads(line) for line in (tmp_path / "soft.jsonl").read_text().splitlines()]
    assert row == TRL | {"labels": [1.0, 0.5, 0.5], "num_votes": [3, 3, 2], "num_judgments": 3}
    # A decision stands before the votes; then all labels are hard, and TRL's trainer reads them as they are.
    for key in ("t#s2", "t#s3"):
        store.judgments.adjudicate(ADMIN, project.id, key, Decision(choice="b", strength=1))
    export_rows(store, ADMIN, project.id, tmp_path / "hard.jsonl", ExportOptions(form="stepwise"))
    [read] = read_stepwise(str(tmp_path / "hard.jsonl")).rows
    assert read.labels == (1.0, 0.0, 0.0)
    assert json.loads((tmp_path / "hard.jsonl").read_text())["labels"] == [True, False, False]
    with pytest.raises(ValueError, match="the project judges steps, which give no rows of the form preference"):
        export_rows(store, ADMIN, project.id, tmp_path / "no.jsonl")
    with pytest.raises(ValueError, match="there is no comparison 't' in the project"):
        store.judgments.adjudicate(ADMIN, project.id, "t", Decision(choice="b", strength=1))


def test_labels_given_on_checks_do_not_count(store: Store, tmp_path: Path, write: Callable[..., Path]) -> None:
    text = rubric_text(Rubric(title="T", guidelines="G", question="Is each step right?", task="steps"))
    project = store.projects.create(ADMIN, "checked", rubric_text=text, design=Design(overlap=3), simulated=True)
    import_comparisons(store, ADMIN, project.id, [write(TRL)])
    for name in ("sim-ann", "sim-bob"):
        user = store.people.add(ADMIN, name, role="annotator", origin="simulated")
        store.projects.add_member(ADMIN, project.id, user.id)
    answers = [
        SimulatedAnswer(judgment=said("sim-ann", 1.0, 1.0, 1.0)),
        SimulatedAnswer(judgment=said("sim-ann", 0.0, 1.0, 1.0), kind="repeat"),
        SimulatedAnswer(judgment=said("sim-bob", 1.0, 0.0, 1.0)),
    ]
    store.judgments.add_simulated(ADMIN, project.id, answers)
    export_rows(store, ADMIN, project.id, tmp_path / "steps.jsonl", ExportOptions(form="stepwise"))
    [row] = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert (row["labels"], row["num_votes"], row["num_judgments"]) == ([1.0, 0.5, 1.0], [2, 2, 2], 2)


def test_judgments_and_the_whole_project_go_out_and_come_back_with_their_labels(
    store: Store, project: Project, write: Callable[..., Path], tmp_path: Path
) -> None:
    import_comparisons(store, ADMIN, project.id, [write(TRL | {"labels": None, "step_scores": [1, 0, None]})])
    store.judgments.import_many(ADMIN, project.id, [said("anna", 1, 0, None), said("ben", 1, 0.5, 1)])
    store.judgments.adjudicate(ADMIN, project.id, "t#s2", Decision(choice="tie"))
    export_rows(store, ADMIN, project.id, tmp_path / "j.jsonl", ExportOptions(form="judgments", names=True))
    text = store.projects.rubric(ADMIN, project.id).text
    copy = store.projects.create(ADMIN, "copy", rubric_text=text, design=Design(overlap=2))
    import_comparisons(store, ADMIN, copy.id, [write(TRL)])
    import_judgments(store, ADMIN, copy.id, [tmp_path / "j.jsonl"])
    export_project(store, ADMIN, project.id, tmp_path / "all.zip", names=True)
    whole = import_project(store, ADMIN, tmp_path / "all.zip", "whole").project
    for one in (copy, whole):
        labels = {judgment.annotator: judgment.step_labels for judgment in store.judgments.iterate(ADMIN, one.id)}
        assert labels == {"anna": (1.0, 0.0, None), "ben": (1.0, 0.5, 1.0)}
    assert of_project(store, whole) == of_project(store, project)
    assert [(key, one.choice) for key, one in store.judgments.adjudications(ADMIN, whole.id).items()] == [
        ("t#s2", "tie")
    ]
    with pytest.raises(ValueError, match="labels has 2 entries, allowed are 3"):
        store.judgments.import_many(ADMIN, project.id, [said("dora", 1, 1)])
    bare = Judgment(comparison_id="t", annotator="dora", choice="a", strength=1)
    with pytest.raises(ValueError, match="judgment of 't' by 'dora' has no step_labels"):
        store.judgments.import_many(ADMIN, project.id, [bare])


def test_a_models_scores_come_later_and_go_with_the_steps(
    store: Store, project: Project, write: Callable[..., Path]
) -> None:
    import_comparisons(store, ADMIN, project.id, [write(TRL)])
    store.comparisons.set_step_scores(ADMIN, project.id, {"t": (0.9, None, 0.2)})
    assert of_project(store, project)["t"].step_scores == (0.9, None, 0.2)
    for scores, problem in (({"t": (0.9,)}, "step scores of 't': labels has 1 entries"), ({"u": (1,)}, "no answer")):
        with pytest.raises(ValueError, match=problem):
            store.comparisons.set_step_scores(ADMIN, project.id, scores)
    store.comparisons.divide(ADMIN, project.id, "t", ["all of it"])
    assert of_project(store, project)["t"].step_scores == ()


def test_labels_are_votes_on_steps(store: Store, project: Project, write: Callable[..., Path]) -> None:
    import_comparisons(store, ADMIN, project.id, [write(TRL)])
    skip = Judgment(comparison_id="t", annotator="dora", choice="skip", reason="tired")
    judged = replace(said("ben", 1, 0.5, 1), seconds=6.0)
    store.judgments.import_many(ADMIN, project.id, [said("anna", 1, 0, None), judged, skip])
    votes = store.judgments.votes(ADMIN, project.id)
    assert votes.items == ("t#s1", "t#s2", "t#s3")
    assert votes.item_cluster.tolist() == [0, 0, 0]
    assert votes.item_length_a.tolist() == [9, 10, 6]
    people = [votes.annotators[person] for person in votes.annotator]
    assert list(zip(people, votes.item.tolist(), votes.choice.tolist(), votes.score.tolist(), strict=True)) == [
        ("anna", 0, 0, -1),
        ("anna", 1, 1, 1),
        *(("ben", 0, 0, -1), ("ben", 1, 2, 0), ("ben", 2, 0, -1)),
        *(("dora", place, 4, 0) for place in range(3)),
    ]
    assert votes.seconds.tolist() == [0, 0, 2, 2, 2, 0, 0, 0]
