"""Calls of tools and histories of their own, from the file to the page, out again, and to where trainings stop."""

import json

import pytest

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.labeling.pair_payload import show_pair
from annotate_app.labeling.rendering import LONGEST_MARKDOWN, render_completion, render_turn
from annotate_app.protocol.leases import Lease
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
CALL = {"id": "k1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "<Rome>"}'}}
ASKED = {"role": "user", "content": "Weather?"}
CALLS = {"role": "assistant", "content": "", "tool_calls": [CALL], "name": "secret-model"}
TOLD = {"role": "tool", "content": "12 C", "tool_call_id": "k1"}


def said(text, role="assistant"):
    return {"role": role, "content": text}


ROWS = [
    {"id": "context", "prompt": [ASKED, CALLS, TOLD], "response_a": "12.", "response_b": "Cold."},
    {"id": "answer", "prompt": [ASKED], "response_a": [CALLS], "response_b": "I do not know."},
    {
        "id": "own",
        "prompt": [ASKED],
        "response_a": [said("Where?"), said("In Rome.", "user"), said("12.")],
        "response_b": [said("Which town?"), said("Rome.", "user"), said("Cold.")],
    },
]
SOURCE = '[{"role": "user", "content": "x"}]'  # an answer that is such a text, as the store may hold it


@pytest.fixture
def project(store, make_project, tmp_path):
    made = make_project(store, num_comparisons=0)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assert import_comparisons(store, ADMIN, made.id, [tmp_path / "rows.jsonl"]).num_added == 3
    asked = (Message(role="user", content="Which JSON?"),)
    store.comparisons.add(
        ADMIN, made.id, [Comparison(id="source", prompt=asked, completion_a=SOURCE, completion_b="none")]
    )
    ids = [*(row["id"] for row in ROWS), "source"]
    votes = [Judgment(comparison_id=key, annotator="w", choice="a", strength=1) for key in ids]
    store.judgments.import_many(ADMIN, made.id, votes)
    return made


def test_everything_that_was_imported_is_exported_and_read_back(store, project, tmp_path):
    again = import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.jsonl"])
    assert (again.num_added, again.num_existing) == (0, 3)
    assert store.check() == []
    before = list(store.comparisons.iterate(ADMIN, project.id))
    assert all(not item.meta for item in before)
    export_project(store, ADMIN, project.id, tmp_path / "whole")
    exported = {row["id"]: row for _, row in read_rows(tmp_path / "whole" / "comparisons.jsonl")}
    assert exported.pop("source")["response_a"] == SOURCE
    assert [{name: row[name] for name in ROWS[0]} for row in exported.values()] == ROWS
    twin = import_project(store, ADMIN, tmp_path / "whole", "twin").project
    assert list(store.comparisons.iterate(ADMIN, twin.id)) == before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_training_rows_keep_turns_and_trainings_refuse_by_name_what_is_more_than_a_text(
    store, project, tmp_path, format
):
    file = tmp_path / f"out.{format}"
    export_rows(store, ADMIN, project.id, file)
    with pytest.raises(ValueError, match=r"field chosen\.tool_calls is .*: allowed here is an answer that is a text"):
        read_preferences(str(file))
    read = read_preferences(str(file), on_bad_row="skip")
    assert [bad.reason for bad in read.bad_rows] == ["wrong_type", "different_prefix"]
    kept = {row.comparison_id: row for row in read.rows}
    assert set(kept) == {"context", "source"}
    assert json.loads(kept["context"].prompt[1].more)["tool_calls"] == [CALL]
    plain = export_rows(store, ADMIN, project.id, tmp_path / "plain.jsonl", ExportOptions(layout="plain"))
    assert plain.left_out == {"calls of tools or several turns, which the layout plain cannot hold": 3}
    assert [row["comparison_id"] for _, row in read_rows(tmp_path / "plain.jsonl")] == ["source"]


def test_people_see_calls_and_turns_and_never_which_model_spoke(store, project):
    shown = {}
    for item in store.comparisons.iterate(ADMIN, project.id):
        shown[item.id] = show_pair(Lease(token="t", comparison=item, shown_left="b", leased_until=0.0))
    assert "secret-model" not in json.dumps(list(shown.values()))
    context = shown["context"]["messages"]
    assert [turn["role"] for turn in context] == ["user", "assistant"]  # the result stands beneath its call
    call, result = context[1]["html"].split('<details class="result"')
    assert ">get_weather</span>" in call
    assert "&lt;Rome&gt;" in call
    assert "<p>12 C</p>" in result
    assert ">get_weather</span>" in shown["answer"]["right"]["html"]
    assert shown["own"]["left"]["html"].count('class="turn') == 3
    assert shown["own"]["left"]["raw"].startswith("Assistant:\nWhich town?\n\nUser:\nRome.")


def test_a_turn_too_long_for_markdown_is_shown_as_written_with_all_it_says():
    long = Message(role="assistant", content="x" * (LONGEST_MARKDOWN + 1))
    whole = render_completion("the transcript", (long, Message(role="user", content="y"), long))
    assert whole.html == ""
    assert whole.raw == f"Assistant:\n{long.content}\n\nUser:\ny\n\nAssistant:\n{long.content}"
    assert render_turn(long).html == ""
