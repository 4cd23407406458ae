import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate_app.access import AccessError, Actor
from annotate_app.exchange.comparisons_in import BadRowsError, ImportOptions, import_comparisons, preview
from rewardkit.data.files import write_rows

ADMIN = Actor.command_line()


def row(number):
    texts = {"prompt": f"Q{number // 2}?", "response_a": f"a{number}", "response_b": f"b{number}"}
    return {"id": f"r{number}", **texts, "model_a": "m", "model_b": "n", "topic": number}


def rows(count):
    return [row(number) for number in range(count)]


@pytest.fixture
def project(sqlite_store, make_project):
    return make_project(sqlite_store, num_comparisons=0)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "csv.gz"])
def test_every_format_gives_the_same_comparisons_once(sqlite_store, project, tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    write_rows(path, rows(7))
    done = import_comparisons(sqlite_store, ADMIN, project.id, [path])
    assert (done.num_rows, done.num_added, done.num_existing, done.bad) == (7, 7, 0, ())
    stored = list(sqlite_store.comparisons.iterate(ADMIN, project.id))
    assert [(each.id, each.completion_a, each.completion_b, each.source_a) for each in stored] == [
        (f"r{n}", f"a{n}", f"b{n}", "m") for n in range(7)
    ]
    again = import_comparisons(sqlite_store, ADMIN, project.id, [path, path])
    assert (again.num_rows, again.num_added, again.num_existing) == (14, 0, 14)
    assert list(sqlite_store.comparisons.iterate(ADMIN, project.id)) == stored


def test_import_works_on_both_databases(store, make_project, tmp_path):
    project = make_project(store, num_comparisons=0)
    write_rows(tmp_path / "rows.jsonl", rows(5))
    assert import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.jsonl"]).num_added == 5
    assert import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.jsonl"]).num_existing == 5


def test_one_bad_row_changes_nothing_and_is_named(sqlite_store, project, tmp_path):
    bad = rows(6)
    bad[3]["response_b"] = None
    bad[5]["prompt"] = 7
    path = tmp_path / "rows.jsonl"
    write_rows(path, bad)
    with pytest.raises(BadRowsError) as caught:
        import_comparisons(sqlite_store, ADMIN, project.id, [path])
    assert str(caught.value).startswith(
        f"{path}:4: field response_b is 'None': an answer is needed (and 1 more bad row"
    )
    assert [(row.place, row.field) for row in caught.value.bad] == [
        (f"{path}:4", "response_b"),
        (f"{path}:6", "prompt"),
    ]
    assert sqlite_store.comparisons.count(ADMIN, project.id) == 0


def test_bad_rows_are_left_out_and_listed_where_that_is_asked(sqlite_store, project, tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in rows(4)]
    path.write_text("\n".join([lines[0], "{broken", lines[1], json.dumps({**rows(1)[0], "prompt": "other"}), lines[3]]))
    done = import_comparisons(sqlite_store, ADMIN, project.id, [path], ImportOptions(on_bad_row="skip"))
    assert (done.num_added, done.num_rows) == (3, 4)
    assert [(row.place, row.reason, row.value) for row in done.bad] == [
        (f"{path}:2", "unreadable", ""),
        (f"{path}:4", "duplicate_id", "r0"),
    ]
    assert f"{path}:1 has it with another prompt" in done.bad[1].message


def test_id_that_the_project_has_with_other_content_is_named_with_its_line(sqlite_store, project, tmp_path):
    write_rows(tmp_path / "one.jsonl", rows(2))
    import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "one.jsonl"])
    write_rows(tmp_path / "two.csv", [{**row, "response_a": "changed"} for row in rows(2)])
    with pytest.raises(BadRowsError, match=r"two\.csv:2: field id is 'r0': the project has it with another prompt"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "two.csv"])


def test_bad_row_of_the_second_file_leaves_out_the_first_too(sqlite_store, project, tmp_path):
    write_rows(tmp_path / "one.jsonl", rows(2))
    write_rows(tmp_path / "two.jsonl", [{"prompt": "p", "response_a": "x", "response_b": "x"}])
    with pytest.raises(BadRowsError, match=r"two\.jsonl:1"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "one.jsonl", tmp_path / "two.jsonl"])
    assert sqlite_store.comparisons.count(ADMIN, project.id) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(kinds=st.lists(st.sampled_from(["good", "empty", "same", "number"]), min_size=1, max_size=12))
def test_no_row_is_lost_every_one_is_added_or_named(sqlite_store, make_project, tmp_path, kinds):
    project = make_project(sqlite_store, f"p{len(sqlite_store.projects.list(ADMIN))}", num_comparisons=0)
    broken = {
        "good": {},
        "empty": {"prompt": " "},
        "same": {"response_b": "same", "response_a": "same"},
        "number": {"response_a": 1},
    }
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{**row(number), **broken[kind]} for number, kind in enumerate(kinds)])
    done = import_comparisons(sqlite_store, ADMIN, project.id, [path], ImportOptions(on_bad_row="skip"))
    stored = {each.id for each in sqlite_store.comparisons.iterate(ADMIN, project.id)}
    assert stored == {f"r{number}" for number, kind in enumerate(kinds) if kind == "good"}
    assert [row.place for row in done.bad] == [f"{path}:{n}" for n, kind in enumerate(kinds, 1) if kind != "good"]


def test_labels_of_chosen_and_rejected_become_judgments_in_content_space(sqlite_store, project, tmp_path):
    pairs = [{"id": f"p{n}", "prompt": "p", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(20)]
    write_rows(tmp_path / "rows.jsonl", pairs)
    done = import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"], ImportOptions(labels=True))
    assert (done.num_added, done.num_labels) == (20, 20)
    stored = {each.id: each for each in sqlite_store.comparisons.iterate(ADMIN, project.id)}
    judged = list(sqlite_store.judgments.iterate(ADMIN, project.id))
    assert {judgment.annotator for judgment in judged} == {"dataset"}
    preferred = [getattr(stored[each.comparison_id], f"completion_{each.choice}") for each in judged]
    assert sorted(preferred) == sorted(row["chosen"] for row in pairs)
    assert {judgment.choice for judgment in judged} == {"a", "b"}
    again = import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"], ImportOptions(labels=True))
    assert (again.num_added, again.num_labels) == (0, 0)


def test_a_file_imported_before_adds_nothing_because_its_ids_and_sides_never_change(sqlite_store, project, tmp_path):
    files = [tmp_path / "rows.jsonl", tmp_path / "named.jsonl"]
    write_rows(files[0], [{"prompt": f"p{number}", "chosen": "x", "rejected": "y"} for number in (2, 3)])
    write_rows(files[1], [{"id": key, "prompt": key, "chosen": "x", "rejected": "y"} for key in ("k1", "p4")])
    import_comparisons(sqlite_store, ADMIN, project.id, files, ImportOptions(labels=True))
    stored = [(each.id, each.completion_a) for each in sqlite_store.comparisons.iterate(ADMIN, project.id)]
    assert stored == [("f76bfdb792688da6", "y"), ("f7ccba96748f4634", "y"), ("k1", "x"), ("p4", "x")]
    judged = {each.comparison_id: each.choice for each in sqlite_store.judgments.iterate(ADMIN, project.id)}
    assert judged == {"f76bfdb792688da6": "b", "f7ccba96748f4634": "b", "k1": "a", "p4": "a"}
    again = import_comparisons(sqlite_store, ADMIN, project.id, files, ImportOptions(labels=True))
    assert (again.num_added, again.num_labels) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        ([{"q": "p", "one": "x", "two": "y"}], r"rename the column in the file, or name it with --map FIELD=COLUMN"),
        ([{"q": "p", "response_a": "x", "response_b": "y"}], r"or name it with --map prompt=COLUMN"),
    ],
)
def test_columns_that_are_not_recognised_are_named_by_an_option_of_the_import(
    sqlite_store, project, tmp_path, rows, advice
):
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=rf"rows\.jsonl: .*{advice}$"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"])


def test_labels_of_a_form_without_any_are_refused(sqlite_store, project, tmp_path):
    write_rows(tmp_path / "rows.jsonl", rows(1))
    with pytest.raises(ValueError, match="rows of the form pairs bring no labels"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"], ImportOptions(labels=True))


def test_labels_that_no_row_has_are_refused_and_add_nothing(sqlite_store, project, tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "p", "generations": ["x", "y"], "chosen": "x", "rejected": "y"}])
    with pytest.raises(ValueError, match=r"rows\.jsonl: no row says which of its responses is better"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"], ImportOptions(labels=True))
    assert list(sqlite_store.comparisons.iterate(ADMIN, project.id)) == []


def test_annotators_import_nothing_and_an_empty_file_says_so(sqlite_store, project, make_actor, tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,response_a,response_b\n")
    anna = make_actor(sqlite_store, "annotator", "anna", project)
    with pytest.raises(AccessError, match="importing comparisons asks for the role lead"):
        import_comparisons(sqlite_store, anna, project.id, [tmp_path / "rows.csv"])
    with pytest.raises(ValueError, match=r"rows\.csv: the file holds no rows"):
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.csv"])


@pytest.mark.parametrize("text", ['[{"prompt": "q"}]', "nothing", '{"prompt": ' + "[" * 200 + "]" * 200 + "}"])
def test_a_file_of_bad_rows_alone_names_the_first(sqlite_store, project, tmp_path, text):
    (tmp_path / "rows.jsonl").write_text(f"{text}\n{text}\n")
    message = (
        r"rows\.jsonl: the file holds no rows: \S+rows\.jsonl:1: (a row is|invalid|JSON is).* \(and 1 more bad rows\)"
    )
    for on_bad_row in ("error", "skip"):
        options = ImportOptions(on_bad_row=on_bad_row)
        with pytest.raises(ValueError, match=message):
            import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "rows.jsonl"], options)


def test_preview_reads_the_start_and_says_what_it_cannot(tmp_path):
    write_rows(tmp_path / "rows.csv", [*rows(3), {**rows(4)[3], "response_b": "a3"}])
    seen = preview(tmp_path / "rows.csv", limit=4)
    assert seen.columns == ("id", "prompt", "response_a", "response_b", "model_a", "model_b", "topic")
    assert seen.reading is not None
    assert (seen.reading.form, len(seen.comparisons), seen.problem) == ("pairs", 3, "")
    assert [row.reason for row in seen.bad] == ["identical_responses"]
    write_rows(tmp_path / "odd.csv", [{"q": "p", "one": "x", "two": "y"}])
    unclear = preview(tmp_path / "odd.csv")
    assert unclear.reading is None
    assert "no form fits the columns q, one, two" in unclear.problem
    options = ImportOptions(columns={"prompt": "q", "response_a": "one", "response_b": "two"})
    assert preview(tmp_path / "odd.csv", options).comparisons[0].completion_b == "y"


REAL = {"pandalm_dev.jsonl.gz": 503, "llmfao_pairs.jsonl.gz": 2139, "hh_helpful_base_test.jsonl.gz": 315}


@pytest.mark.parametrize(("file", "count"), REAL.items())
def test_real_files_import_without_options(sqlite_store, project, shared_data, file, count):
    assert import_comparisons(sqlite_store, ADMIN, project.id, [shared_data / file]).num_added == count
    assert import_comparisons(sqlite_store, ADMIN, project.id, [shared_data / file]).num_existing == count


def test_real_edge_cases_change_nothing_and_are_all_listed(sqlite_store, project, shared_data):
    file = shared_data / "hh_edge_cases_raw.jsonl.gz"
    with pytest.raises(BadRowsError, match=r"hh_edge_cases_raw\.jsonl\.gz:1: .*and 49 more bad rows"):
        import_comparisons(sqlite_store, ADMIN, project.id, [file])
    done = import_comparisons(sqlite_store, ADMIN, project.id, [file], ImportOptions(on_bad_row="skip"))
    reasons = [row.reason for row in done.bad]
    assert (done.num_added, len(reasons), reasons.count("identical_responses")) == (0, 50, 34)


@pytest.mark.slow
def test_twenty_thousand_comparisons_come_in_at_a_pace_of_100_000_a_minute(sqlite_store, project, tmp_path):
    text = "word " * 150
    path = tmp_path / "rows.jsonl"
    write_rows(path, ({**row(number), "response_a": f"{text}{number}", "response_b": text} for number in range(20_000)))
    started = time.process_time()
    assert import_comparisons(sqlite_store, ADMIN, project.id, [path]).num_added == 20_000
    assert time.process_time() - started < 12


def test_labels_that_cannot_be_stored_leave_no_comparison(store, make_project, tmp_path, monkeypatch):
    project = make_project(store, num_comparisons=0)
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "p", "chosen": "x", "rejected": "y"}])

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(store.judgments, "import_staged", fail)
    options = ImportOptions(labels=True)
    with pytest.raises(OSError, match="no space left"):
        import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.jsonl"], options)
    assert store.comparisons.count(ADMIN, project.id) == 0
    monkeypatch.undo()
    done = import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.jsonl"], options)
    assert (done.num_added, done.num_labels) == (1, 1)
