"""Marked words and edits as files: whole on import, spans with their text, edits as demonstrations and pairs."""

from __future__ import annotations

import pytest

from alignment.policy.data import read_demonstrations
from annotate_app.access import Actor
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.judgments_in import import_judgments
from annotate_app.exchange.rows.marks_out import EDITED
from annotate_app.exchange.rows.options import ExportOptions
from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Comparison, Judgment, Message, Span
from rewardkit.data.sources import open_source

ADMIN = Actor.command_line()
TEXT = "Zwei 😀 **Wörter** hier"
JUDGMENTS = [
    Judgment(
        comparison_id="c0",
        annotator="anna",
        choice="b",
        strength=1,
        flags={"a": ("wrong",)},
        spans=(Span(side="a", start=5, end=6, flag="wrong"), Span(side="a", start=9, end=15, flag="wrong")),
        edited={"a": "Besser so,\n=1+1"},
        created_at=1.7e9,
    ),
    Judgment(
        comparison_id="c0", annotator="ben", choice="a", strength=1, edited={"a": "Besser so,\n=1+1"}, created_at=1.7e9
    ),
    Judgment(comparison_id="c1", annotator="ben", choice="tie", created_at=1.7e9),
]


@pytest.fixture
def make_marked(sqlite_store, make_project):
    def make(name: str):
        project = make_project(sqlite_store, name, num_comparisons=0)
        pairs = [
            Comparison(
                id=key,
                prompt=(Message(role="user", content=f"Frage {key}"),),
                completion_a=TEXT,
                completion_b="Anders",
                source_a="model-one",
                source_b="model-two",
            )
            for key in ("c0", "c1")
        ]
        sqlite_store.comparisons.add(ADMIN, project.id, pairs)
        return project

    return make


@pytest.fixture
def project(sqlite_store, make_marked):
    project = make_marked("marked")
    sqlite_store.judgments.import_many(ADMIN, project.id, JUDGMENTS)
    return project


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_judgments_come_back_whole(sqlite_store, make_marked, project, tmp_path, format):
    out = tmp_path / f"judgments.{format}"
    export_rows(sqlite_store, ADMIN, project.id, out, ExportOptions(form="judgments", names=True))
    other = make_marked(f"back from {format}")
    assert import_judgments(sqlite_store, ADMIN, other.id, [out]).num_added == 3
    assert list(sqlite_store.judgments.iterate(ADMIN, other.id)) == JUDGMENTS


def test_spans_go_out_with_their_text(sqlite_store, project, tmp_path):
    out = tmp_path / "spans.csv"
    done = export_rows(sqlite_store, ADMIN, project.id, out, ExportOptions(form="spans", names=True))
    assert done.num_rows == {"spans": 2}
    rows = [row for _, row in read_rows(out)]
    assert rows[0] == {
        "comparison_id": "c0",
        "annotator": "anna",
        "side": "a",
        "start": "5",
        "end": "6",
        "flag": "wrong",
        "text": "😀",
        "kind": "import",
    }
    assert rows[1]["text"] == "Wörter"


def test_edits_are_demonstrations_that_our_loader_reads(sqlite_store, project, tmp_path):
    out = tmp_path / "sft.jsonl"
    done = export_rows(sqlite_store, ADMIN, project.id, out, ExportOptions(form="edited_sft"))
    assert (done.num_rows, done.left_out) == ({"edited_sft": 1}, {"the same edit again": 1})
    (row,) = [row for _, row in read_rows(out)]
    assert (row["comparison_id"], row["source"]) == ("c0", EDITED)
    assert row["annotator"].startswith("annotator-")
    (part,) = open_source(str(out)).values()
    (demonstration,) = read_demonstrations(part, str(out)).rows
    assert [turn.content for turn in demonstration.turns] == ["Frage c0", "Besser so,\n=1+1"]


@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
def test_edits_are_pairs_before_their_originals_and_no_votes(sqlite_store, project, tmp_path, layout):
    out = tmp_path / "pairs.jsonl"
    options = ExportOptions(form="edited_pairs", layout=layout, sources=True)
    export_rows(sqlite_store, ADMIN, project.id, out, options)
    (pair,) = read_preferences(str(out)).rows
    assert (pair.chosen, pair.rejected, pair.p_chosen) == ("Besser so,\n=1+1", TEXT, 1.0)
    assert (pair.source_chosen, pair.source_rejected, pair.num_judgments) == (EDITED, "model-one", 0)
    assert len(sqlite_store.judgments.votes(ADMIN, project.id)) == 3


def test_a_file_with_odd_spans_is_refused_with_its_place(sqlite_store, make_marked, tmp_path):
    project = make_marked("odd")
    path = tmp_path / "odd.csv"
    path.write_text('comparison_id,annotator,choice,spans\nc0,w,tie,"[[""a"",5,2,""wrong""]]"\n')
    with pytest.raises(ValueError, match=r"odd\.csv:2: .*spans.*a start of 0 or more below its end"):
        import_judgments(sqlite_store, ADMIN, project.id, [path])
    path.write_text('comparison_id,annotator,choice,spans\nc0,w,tie,"[[""a"",2,900,""wrong""]]"\n')
    with pytest.raises(ValueError, match="judgment of 'c0' by 'w': span 2 to 900 of 'wrong' ends behind its text"):
        import_judgments(sqlite_store, ADMIN, project.id, [path])
    assert list(sqlite_store.judgments.iterate(ADMIN, project.id)) == []
