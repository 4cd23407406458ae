"""Importing and exporting through the pages."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.exchange import judgments_in
from annotate_app.exchange.project_out import export_project
from annotate_app.pages import export, import_data
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
EMPTY = "Empty project"
ROWS = [{"id": f"r{n}", "prompt": f"Q{n}", "response_a": f"yes {n}", "response_b": f"no {n}"} for n in range(3)]


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(test: AppTest, name: str, content: bytes) -> AppTest:
    test.file_uploader[0].set_value((name, content, "application/octet-stream")).run()
    assert not test.exception, test.exception
    return test


def press(test: AppTest, label: str) -> AppTest:
    next(button for button in test.button if button.label == label).click().run()
    assert not test.exception, test.exception
    return test


def select(test: AppTest, label: str, value: str) -> None:
    next(box for box in test.selectbox if box.label == label).select(value).run()
    assert not test.exception, test.exception


def count(store: Store) -> int:
    return store.comparisons.count(ADMIN, store.projects.get(ADMIN, EMPTY).id)


def test_comparisons_are_previewed_and_imported_once(open_page: OpenPage, pages_store: Store) -> None:
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(ROWS))
    assert any("A prompt and two responses: id from id, prompt from prompt" in text.value for text in test.text)
    assert count(pages_store) == 0
    press(test, "Import comparisons")
    assert test.success[0].value.startswith("3 comparisons added; 0 were there; 0 of 3 rows left out.")
    assert count(pages_store) == 3
    press(test, "Import comparisons")
    assert test.success[0].value.startswith("0 comparisons added; 3 were there")


def test_a_bad_row_is_named_and_nothing_changes_until_it_is_left_out(open_page: OpenPage, pages_store: Store) -> None:
    rows = [*ROWS, {**ROWS[0], "id": "bad", "response_b": None}]
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(rows))
    press(test, "Import comparisons")
    assert any("rows.jsonl:4: field response_b is 'None': an answer is needed" in text.value for text in test.text)
    assert count(pages_store) == 0
    next(toggle for toggle in test.toggle if toggle.label == "Leave bad rows out").set_value(True).run()
    press(test, "Import comparisons")
    assert "1 of 4 rows left out" in test.success[0].value
    assert count(pages_store) == 3


def test_columns_that_are_not_recognised_can_be_matched(open_page: OpenPage, pages_store: Store) -> None:
    text = "ask;one;two\nWhy?;because;who knows\n"
    test = upload(open_page("import_data", project=EMPTY), "rows.csv", text.encode())
    assert any("no form fits the columns ask, one, two" in each.value for each in test.text)
    for field, column in (("prompt", "ask"), ("response_a", "one"), ("response_b", "two")):
        select(test, field, column)
    press(test, "Import comparisons")
    (stored,) = pages_store.comparisons.iterate(ADMIN, pages_store.projects.get(ADMIN, EMPTY).id)
    assert (stored.prompt[0].content, stored.completion_a, stored.completion_b) == ("Why?", "because", "who knows")


def test_judgments_are_imported_with_what_their_choices_mean(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(ROWS))
    press(test, "Import comparisons")
    test.segmented_control(key="import-what").set_value(import_data.JUDGMENTS).run()
    votes = [{"id": "r0", "worker": "w", "winner": 0}, {"id": "r1", "worker": "w", "winner": 1}]
    upload(test, "votes.jsonl", lines(votes))
    press(test, "Import judgments")
    assert any("the choices are 0, 1: that does not say" in text.value for text in test.text)
    next(box for box in test.text_input if box.label == "What choices mean").input("0=a 1=b").run()
    press(test, "Import judgments")
    assert [judgment.choice for judgment in pages_store.judgments.iterate(ADMIN, project.id)] == ["a", "b"]


def test_the_first_bad_row_is_told_in_full_before_anything_is_pressed(open_page: OpenPage, pages_store: Store) -> None:
    row = {"question": {"id": "e1", "full_text": "Why?"}, "answer_0": "Because.", "answer_1": "So."}
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines([row, row]))
    assert [warning.value for warning in test.warning] == ["2 bad rows, the first:"]
    [told] = [text.value for text in test.text if text.value.startswith("rows.jsonl:1: field question")]
    assert told.endswith("an object with id, full_text; a place in it is named as question.full_text")
    select(test, "prompt", "question.full_text")
    assert not test.warning
    press(test, "Import comparisons")
    assert test.success[0].value.startswith("1 comparison added; 1 were there")


def test_a_scale_is_chosen_for_numbers_and_what_they_mean_is_shown(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(ROWS))
    press(test, "Import comparisons")
    test.segmented_control(key="import-what").set_value(import_data.JUDGMENTS).run()
    votes = [{"id": f"r{n}", "worker": 3, "overall_preference": number} for n, number in ((0, 2), (1, 1))]
    upload(test, "votes.jsonl", lines(votes))
    assert any(
        text.value == "the choices are 1, 2: that does not say which response each prefers" for text in test.text
    )
    select(test, "Choices that are numbers", import_data.SCALES["1..4"])
    assert any(text.value == "Choices in the first rows: 1 = a by 2, 2 = a" for text in test.text)
    press(test, "Import judgments")
    assert any(text.value == "Choices were read as: 1 = a by 2, 2 = a" for text in test.text)
    assert [judgment.score for judgment in pages_store.judgments.iterate(ADMIN, project.id)] == [-1, -2]


def test_a_place_in_a_column_can_be_chosen(open_page: OpenPage, pages_store: Store) -> None:
    row = {"question": {"full_text": "Why?"}, "answer_0": "because", "answer_1": "who knows"}
    test = upload(open_page("import_data", project=EMPTY), "webgpt.jsonl", lines([row]))
    select(test, "prompt", "question.full_text")
    press(test, "Import comparisons")
    (stored,) = pages_store.comparisons.iterate(ADMIN, pages_store.projects.get(ADMIN, EMPTY).id)
    assert stored.prompt[0].content == "Why?"


def test_a_large_file_becomes_a_job(open_page: OpenPage, pages_store: Store, monkeypatch) -> None:
    monkeypatch.setattr(import_data, "AS_JOB", 10)
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(ROWS))
    press(test, "Import as a job")
    (job,) = pages_store.jobs.list(ADMIN)
    assert job.command[:3] == ["annotate_app", "import", f"#{pages_store.projects.get(ADMIN, EMPTY).id}"]
    words = ["--form", "auto", "--pairs", "all", "--on-bad-row", "error", "--missing-images", "stop", "--as", "pairs"]
    words.append("--split=line")
    assert job.command[4:] == words
    with open(job.command[3], "rb") as kept:
        assert kept.read() == lines(ROWS)


def test_a_whole_project_comes_in_as_a_new_one(open_page: OpenPage, pages_store: Store, tmp_path) -> None:
    demo = pages_store.projects.get(ADMIN, DEMO)
    export_project(pages_store, ADMIN, demo.id, tmp_path / "demo.zip")
    test = upload(open_page("import_data", project=EMPTY), "demo.zip", (tmp_path / "demo.zip").read_bytes())
    next(box for box in test.text_input if box.label == "Name of the new project").input("Twin").run()
    press(test, "Make the project")
    twin = pages_store.projects.get(ADMIN, "Twin")
    assert pages_store.comparisons.count(ADMIN, twin.id) == pages_store.comparisons.count(ADMIN, demo.id)
    assert test.session_state["project"] == "Twin"


def test_hostile_texts_are_shown_as_text(open_page: OpenPage) -> None:
    row = {
        **ROWS[0],
        "prompt": "<script>alert(1)</script> **bold** $x$",
        "response_a": "![x](http://example.com/a.png)",
    }
    test = upload(open_page("import_data", project=EMPTY), "<b>rows</b>.jsonl", lines([row]))
    assert not any("alert" in element.value or "example.com" in element.value for element in test.markdown)


def test_annotators_are_turned_away(open_page: OpenPage) -> None:
    for page in ("import_data", "export"):
        test = open_page(page, "anna")
        assert test.error[0].value == "This page is not yours to see."
        assert not test.button


def download(test: AppTest) -> zipfile.ZipFile:
    _, name, data, _ = test.session_state["export-ready"]
    assert name.endswith(".zip")
    return zipfile.ZipFile(io.BytesIO(data))


def test_preferences_are_prepared_with_their_card(open_page: OpenPage) -> None:
    test = open_page("export")
    test.text_input(key="export-split").input("train=0.9,test=0.1").run()
    press(test, "Prepare")
    packed = download(test)
    names = {name.rpartition("/")[2] for name in packed.namelist()}
    assert names == {"train.jsonl", "test.jsonl", "README.md"}
    rows = packed.read(next(name for name in packed.namelist() if name.endswith("train.jsonl"))).splitlines()
    assert {"prompt", "chosen", "rejected", "p_chosen"} <= json.loads(rows[0]).keys()


def test_that_careless_people_count_as_much_as_others_is_said(open_page: OpenPage, pages_store: Store) -> None:
    """One of four says the same of all 24 pairs, whatever the others say."""
    project = pages_store.projects.get(ADMIN, EMPTY)
    question = (Message(role="user", content="why?"),)
    pairs = [Comparison(prompt=question, completion_a=f"a {n}", completion_b=f"b {n}", id=f"p{n}") for n in range(24)]
    pages_store.comparisons.add(ADMIN, project.id, pairs)
    votes = [
        Judgment(comparison_id=f"p{n}", annotator=f"person {who}", choice="a" if who == 3 or n % 2 else "b", strength=1)
        for n in range(24)
        for who in range(4)
    ]
    pages_store.judgments.import_many(ADMIN, project.id, votes)
    test = open_page("export", project=EMPTY)
    press(test, "Prepare")
    told = [*test.info, *open_page("train", project=EMPTY).info]
    assert len([note for note in told if "skill differs by 62" in note.value]) == 2


def test_mistaken_splits_are_said_and_prepare_nothing(open_page: OpenPage) -> None:
    test = open_page("export")
    test.text_input(key="export-split").input("train=0.9").run()
    assert any("add up to 0.9, allowed is 1" in text.value for text in test.text)
    press(test, "Prepare")
    assert "export-ready" not in test.session_state


def test_everything_and_judgments_are_prepared_under_pseudonyms(open_page: OpenPage, pages_store: Store) -> None:
    demo = pages_store.projects.get(ADMIN, DEMO)
    names = {judgment.annotator for judgment in pages_store.judgments.iterate(ADMIN, demo.id)}
    for form, part in (("judgments", "judgments.jsonl"), ("everything", "judgments.jsonl")):
        test = open_page("export")
        test.selectbox(key="export-form").select(form).run()
        press(test, "Prepare")
        packed = download(test)
        text = packed.read(next(name for name in packed.namelist() if name.endswith(part))).decode()
        assert not any(f'"{name}"' in text for name in names)
        assert '"annotator-' in text


def test_votes_are_explained_asked_for_no_threshold_and_prepared_with_who_cast_them(open_page: OpenPage) -> None:
    test = open_page("export")
    thresholds = {"export-votes", "export-agreement", "export-adjudicated"}

    def drawn() -> set[str | None]:
        return {widget.key for widget in (*test.number_input, *test.slider, *test.toggle)}

    assert thresholds <= drawn()
    test.selectbox(key="export-form").select("rankings").run()
    assert not thresholds & drawn()
    assert export.VOTES_NOTE in [caption.value for caption in test.caption]
    press(test, "Prepare")
    packed = download(test)
    text = packed.read(next(name for name in packed.namelist() if name.endswith("train.jsonl"))).decode()
    assert all(row["annotator"].startswith("annotator-") for row in map(json.loads, text.splitlines()))
    assert len(text.splitlines()) > 1


def test_what_csv_does_to_formulas_is_said_where_it_is_chosen(open_page: OpenPage) -> None:
    test = open_page("export")
    assert export.CSV_NOTE not in [caption.value for caption in test.caption]
    select(test, "Format", "csv")
    assert export.CSV_NOTE in [caption.value for caption in test.caption]


def test_a_large_project_is_exported_by_a_job(open_page: OpenPage, pages_store: Store, monkeypatch) -> None:
    monkeypatch.setattr(export, "AS_JOB", 1)
    test = open_page("export")
    test.text_input(key="export-split").input("train=0.5,test=0.5").run()
    press(test, "Prepare")
    (job,) = pages_store.jobs.list(ADMIN)
    assert job.command[:3] == ["annotate_app", "export", f"#{pages_store.projects.get(ADMIN, DEMO).id}"]
    assert "train=0.5,test=0.5" in job.command


def test_judges_count_in_an_export_only_where_they_are_chosen_under_a_rule_that_weighs_them(
    open_page: OpenPage, pages_store: Store
) -> None:
    demo = pages_store.projects.get(ADMIN, DEMO)
    judge = pages_store.judges.add(ADMIN, demo.id, "careful", JudgeSpec(kind="imported", model="x"))
    pairs = list(pages_store.comparisons.iterate(ADMIN, demo.id))[:40]
    votes = [JudgeVote(comparison_id=pair.id, rubric_version=1, choice="a", strength=1) for pair in pairs]
    pages_store.judges.add_votes(judge.id, votes)
    assert "export-judges" not in {element.key for element in open_page("export").multiselect}
    pages_store.projects.update(ADMIN, demo.id, design=replace(demo.design, rule="dawid_skene"))
    for chosen in ([], ["careful"]):
        test = open_page("export")
        test.multiselect(key="export-judges").set_value(chosen).run()
        press(test, "Prepare")
        packed = download(test)
        text = packed.read(next(name for name in packed.namelist() if name.endswith(".jsonl"))).decode()
        assert ("judge_votes" in text) is bool(chosen)


def test_the_preview_is_what_annotators_see_and_steps_through_the_first_pairs(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row | {"source_a": "secret-one", "source_b": "secret-two"} for row in ROWS]
    drawn: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        import_data, "draw_comparison", lambda pair, *, project_id, sources=False, key: drawn.append((pair.id, sources))
    )
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines(rows))
    assert any("Comparison 1 of the first 3" in caption.value for caption in test.caption)
    monkeypatch.setattr(import_data.st, "pagination", lambda pages, **_: pages)
    test.run()
    assert drawn == [("r0", False), ("r2", False)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.parquet", b"PAR1 and then nothing that is Parquet", "rows.parquet"),
        ("rows.jsonl.gz", b"no gzip at all", "rows.jsonl.gz"),
        ("rows.jsonl", b"", "rows.jsonl"),
        ("rows.csv", b"\xff\xfe\x00\x00", "rows.csv"),
    ],
)
def test_a_torn_file_is_said_in_one_line_of_its_own(open_page: OpenPage, name: str, content: bytes, words: str) -> None:
    for what in (import_data.COMPARISONS, import_data.JUDGMENTS):
        test = open_page("import_data", project=EMPTY, **{"import-what": what})
        upload(test, name, content)
        assert [error.value for error in test.error] in (
            ["This file cannot be read:"],
            ["These columns cannot be read yet:"],
        )
        said = [text.value for text in test.text]
        assert said[0].startswith(words)
        assert not any("\n" in line or "--" in line for line in said)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "x.csv: no prompt, or name it with --map prompt=COLUMN",
            "x.csv: no prompt, or choose the column under “Match columns”",
        ),
        (
            "; nothing was imported, --on-bad-row skip leaves such rows out",
            "; nothing was imported, “Leave bad rows out” imports the others",
        ),
        (f"odd{judgments_in.SAY_CHOICES}", "odd; say what choices mean under “What choices mean”"),
        (
            f"odd{judgments_in.SAY_NUMBERS}",
            "odd; say what numbers mean, under “Choices that are numbers”, as -3..3 (the low end prefers the first), "
            "or with “What choices mean”, as 0=tie 1=a 2=b",
        ),
        ("name it with --annotators COLUMN,...", "name it with “Columns of annotators”"),
        (
            "bring no labels; import them with `judgments import`",
            "bring no labels; import them with “Judgments made elsewhere” above",
        ),
    ],
)
def test_messages_speak_of_the_fields_of_the_page(said: str, shown: str) -> None:
    assert import_data.in_page_words(said) == shown


def test_images_come_beside_the_file_and_a_missing_one_is_said(open_page: OpenPage, pages_store: Store) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(picture, "PNG")
    row = {"prompt": "![cat](cat.png)?", "response_a": "A cat.", "response_b": "A dog."}
    test = upload(open_page("import_data", project=EMPTY), "rows.jsonl", lines([row]))
    assert any("cat.png" in text.value and "no images came with it" in text.value for text in test.text)
    test.file_uploader[1].set_value([("cat.png", picture.getvalue(), "image/png")]).run()
    assert not test.warning
    press(test, "Import comparisons")
    assert "1 comparison added, 1 image;" in test.success[0].value
    project = pages_store.projects.get(ADMIN, EMPTY).id
    (image,) = pages_store.images.iterate(ADMIN, project)
    (stored,) = pages_store.comparisons.iterate(ADMIN, project)
    assert stored.prompt[0].content == f"![cat]({image.reference})?"
