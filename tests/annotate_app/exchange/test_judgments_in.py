import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.exchange.comparisons_in import BadRowsError, import_comparisons
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments, preview_ballots
from rewardkit.data.choices import parse_choice_map, parse_scale
from rewardkit.data.files import write_rows

ADMIN = Actor.command_line()


@pytest.fixture
def project(sqlite_store, make_project):
    return make_project(sqlite_store, num_comparisons=3)


def test_long_and_wide_say_the_same(sqlite_store, make_project, tmp_path):
    wide = [{"id": "c0", "annotator1": "-1", "annotator2": "1"}, {"id": "c2", "annotator1": "0"}]
    write_rows(tmp_path / "wide.csv", wide)
    long = [("c0", "annotator1", "a"), ("c0", "annotator2", "b"), ("c2", "annotator1", "tie")]
    columns = ("comparison", "worker", "winner")
    write_rows(tmp_path / "long.jsonl", [dict(zip(columns, row, strict=True)) for row in long])
    for name in ("wide.csv", "long.jsonl"):
        project = make_project(sqlite_store, name, num_comparisons=3)
        assert import_judgments(sqlite_store, ADMIN, project.id, [tmp_path / name]).num_added == 3
        again = import_judgments(sqlite_store, ADMIN, project.id, [tmp_path / name])
        assert (again.num_added, again.num_existing) == (0, 3)
        stored = sqlite_store.judgments.iterate(ADMIN, project.id)
        assert [(each.comparison_id, each.annotator, each.choice) for each in stored] == long


def test_unknown_comparison_and_choice_change_nothing_and_are_named(sqlite_store, project, tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("comparison_id,annotator,choice\nc0,w,a\nc9,w,a\nc1,w,left\n")
    with pytest.raises(BadRowsError) as caught:
        import_judgments(sqlite_store, ADMIN, project.id, [path])
    assert [(row.place, row.reason, row.value) for row in caught.value.bad] == [
        (f"{path}:3", "unknown_comparison", "c9"),
        (f"{path}:4", "unknown_choice", "left"),
    ]
    assert caught.value.bad[1].message.endswith("not responses; say what choices mean with --choice-map")
    assert list(sqlite_store.judgments.iterate(ADMIN, project.id)) == []
    done = import_judgments(sqlite_store, ADMIN, project.id, [path], BallotOptions(on_bad_row="skip"))
    assert (done.num_added, len(done.bad)) == (1, 2)


def test_ambiguous_numbers_ask_for_a_map(sqlite_store, project, tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("comparison_id,annotator,choice\nc0,w,0\nc1,w,1\n")
    with pytest.raises(ValueError, match=r"votes\.csv: column choice: the choices are 0, 1: .*--scale.* --choice-map"):
        import_judgments(sqlite_store, ADMIN, project.id, [path])
    options = BallotOptions(choice_map=parse_choice_map(["0=a:2", "1=b"]))
    import_judgments(sqlite_store, ADMIN, project.id, [path], options)
    stored = [(judgment.choice, judgment.strength) for judgment in sqlite_store.judgments.iterate(ADMIN, project.id)]
    assert stored == [("a", 2), ("b", 1)]


def test_annotators_import_no_judgments(sqlite_store, project, make_actor, tmp_path):
    with pytest.raises(AccessError, match="importing judgments asks for the role lead"):
        import_judgments(sqlite_store, make_actor(sqlite_store, "annotator", "anna", project), project.id, [tmp_path])


def test_preview_finds_the_layout(tmp_path):
    write_rows(tmp_path / "wide.csv", [{"id": "c0", "rater a": "1", "rater b": "2"}])
    reading = preview_ballots(tmp_path / "wide.csv").reading
    assert reading is not None
    assert (reading.layout, reading.annotators) == ("wide", ("rater a", "rater b"))
    write_rows(tmp_path / "odd.csv", [{"x": "c0"}])
    problem = preview_ballots(tmp_path / "odd.csv").problem
    assert problem.startswith("no column of x is the comparison; ")
    assert problem.endswith("or name it with --map comparison=COLUMN")
    problem = preview_ballots(tmp_path / "odd.csv", BallotOptions(layout="wide")).problem
    assert problem.endswith("or name it with --annotators COLUMN,...")


def test_pandalm_agrees_as_published(sqlite_store, make_project, shared_data):
    project = make_project(sqlite_store, "pandalm", num_comparisons=0)
    file = shared_data / "pandalm_dev.jsonl.gz"
    import_comparisons(sqlite_store, ADMIN, project.id, [file])
    with pytest.raises(ValueError, match="column annotator1, annotator2, annotator3: the choices are 0, 1, 2"):
        import_judgments(sqlite_store, ADMIN, project.id, [file])
    options = BallotOptions(choice_map=parse_choice_map(["0=tie", "1=a", "2=b"]))
    done = import_judgments(sqlite_store, ADMIN, project.id, [file], options)
    assert (done.num_added, done.choices) == (1509, {str(file): "0 = tie, 1 = a, 2 = b"})
    votes = sqlite_store.judgments.votes(ADMIN, project.id)
    figures = agreement_report(votes, num_resamples=0, by=()).overall.estimates
    assert (len(votes), len(votes.items), len(votes.annotators)) == (1509, 503, 3)
    assert figures["percent"].value == pytest.approx(0.9099, abs=5e-5)
    assert figures["fleiss_kappa"].value == pytest.approx(0.8351, abs=5e-5)
    assert figures["alpha_nominal"].value == pytest.approx(0.8352, abs=5e-5)


def test_llmfao_has_its_124_workers(sqlite_store, make_project, shared_data):
    project = make_project(sqlite_store, "llmfao", num_comparisons=0)
    import_comparisons(sqlite_store, ADMIN, project.id, [shared_data / "llmfao_pairs.jsonl.gz"])
    assert import_judgments(sqlite_store, ADMIN, project.id, [shared_data / "llmfao_votes.csv.gz"]).num_added == 8931
    votes = sqlite_store.judgments.votes(ADMIN, project.id)
    assert (len(votes.items), len(votes.annotators)) == (2139, 124)
    figures = agreement_report(votes, num_resamples=0, by=()).overall.estimates
    assert figures["alpha_nominal"].value == pytest.approx(0.2906, abs=1e-3)


def test_a_scale_reads_a_small_file_as_its_sibling_and_the_summary_says_what_was_read(sqlite_store, project, tmp_path):
    monday, tuesday = tmp_path / "monday.jsonl", tmp_path / "tuesday.csv"
    write_rows(monday, [{"comparison_id": "c0", "annotator": 3, "overall_preference": -2}])
    write_rows(tuesday, [{"comparison_id": f"c{number}", "annotator": "3", "score": number} for number in (1, 2)])
    with pytest.raises(ValueError, match=r"tuesday\.csv: column score: the choices are 1, 2: that does not say"):
        import_judgments(sqlite_store, ADMIN, project.id, [monday, tuesday])
    done = import_judgments(
        sqlite_store, ADMIN, project.id, [monday, tuesday], BallotOptions(scale=parse_scale("-3..3"))
    )
    assert done.choices == {str(monday): "-2 = a by 2", str(tuesday): "1 = b, 2 = b by 2"}
    stored = [(each.annotator, each.score) for each in sqlite_store.judgments.iterate(ADMIN, project.id)]
    assert stored == [("3", -2), ("3", 1), ("3", 2)]


def test_ids_and_names_that_are_numbers_are_the_same_in_every_type(sqlite_store, make_project, tmp_path):
    for number, value in enumerate((7, "7", 7.0)):
        project = make_project(sqlite_store, f"ids {number}", num_comparisons=0)
        answers = {"prompt": "q", "response_a": "a", "response_b": "b", "source_a": 1.0, "source_b": 2}
        write_rows(tmp_path / "pairs.jsonl", [{"id": value, **answers}])
        import_comparisons(sqlite_store, ADMIN, project.id, [tmp_path / "pairs.jsonl"])
        (comparison,) = sqlite_store.comparisons.iterate(ADMIN, project.id)
        assert (comparison.id, comparison.source_a, comparison.source_b) == ("7", "1", "2")
        votes = [{"comparison_id": key, "annotator": name, "choice": "b"} for key, name in (("7", 3), (7.0, 3.0))]
        write_rows(tmp_path / "votes.jsonl", votes)
        assert import_judgments(sqlite_store, ADMIN, project.id, [tmp_path / "votes.jsonl"]).num_added == 1
        (judgment,) = sqlite_store.judgments.iterate(ADMIN, project.id)
        assert (judgment.comparison_id, judgment.annotator) == ("7", "3")
