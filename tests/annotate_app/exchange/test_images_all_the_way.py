"""Images from the file to the store, out again in every form, and to where models of texts stop."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from PIL import Image

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import BadRowsError, ImportOptions, import_comparisons, preview
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.images.checking import check_image
from annotate_app.store.store import Store
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def drawn(color: str, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(target, kind)
    return target.getvalue()


RED, BLUE = drawn("red"), drawn("blue", "JPEG")
NAMES = [str(check_image(data, "x").reference) for data in (RED, BLUE)]
URL = f"data:image/png;base64,{base64.b64encode(RED).decode()}"
ROWS = [
    {"id": "markdown", "prompt": "What is ![this](red.png)?", "response_a": "Red.", "response_b": "Blue."},
    {
        "id": "parts",
        "prompt": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "And?"}, {"type": "image_url", "image_url": {"url": URL}}],
            }
        ],
        "response_a": "![drawn](blue.jpg)",
        "response_b": "No ![far](https://outside.example/x.png)",
    },
]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "red.png").write_bytes(RED)
    (folder / "blue.jpg").write_bytes(BLUE)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return folder


@pytest.fixture
def project(store, make_project, folder):
    made = make_project(store, num_comparisons=0)
    done = import_comparisons(store, ADMIN, made.id, [folder.parent / "rows.jsonl"], ImportOptions(images=(folder,)))
    assert (done.num_added, done.num_images, done.missing_images) == (2, 2, {})
    votes = [Judgment(comparison_id=row["id"], annotator="w", choice="a", strength=1) for row in ROWS]
    store.judgments.import_many(ADMIN, made.id, votes)
    return made


def test_texts_name_what_is_stored_and_a_second_import_adds_nothing(store, project, folder):
    stored = {item.id: item for item in store.comparisons.iterate(ADMIN, project.id)}
    assert stored["markdown"].prompt[0].content == f"What is ![this]({NAMES[0]})?"
    assert stored["parts"].prompt[0].content == f"And?\n\n![]({NAMES[0]})"
    assert stored["parts"].completion_a == f"![drawn]({NAMES[1]})"
    assert stored["parts"].completion_b == ROWS[1]["response_b"]
    image = store.images.get(ADMIN, project.id, NAMES[1][6:70])
    assert (image.media_type, image.width, image.height, image.name) == ("image/jpeg", 8, 6, "blue.jpg")
    again = import_comparisons(
        store, ADMIN, project.id, [folder.parent / "rows.jsonl"], ImportOptions(images=(folder,))
    )
    assert (again.num_added, again.num_existing, again.num_images) == (0, 2, 0)


def test_a_name_without_a_file_stops_before_anything_is_written_or_is_kept_and_said(store, make_project, folder):
    project = make_project(store, num_comparisons=0)
    (folder / "blue.jpg").unlink()
    file = folder.parent / "rows.jsonl"
    with pytest.raises(
        BadRowsError, match=r"rows.jsonl:2: field response_a is 'blue.jpg': there is no such image.*"
    ) as caught:
        import_comparisons(store, ADMIN, project.id, [file], ImportOptions(images=(folder,)))
    assert "--missing-images keep takes them as they are: 1 image without a file: blue.jpg" in str(caught.value)
    assert store.comparisons.count(ADMIN, project.id) == 0
    assert store.images.hashes(ADMIN, project.id) == set()
    shown = preview(file, ImportOptions(images=(folder,), missing_images="keep"))
    assert shown.missing_images == ("blue.jpg",)
    kept = import_comparisons(store, ADMIN, project.id, [file], ImportOptions(images=(folder,), missing_images="keep"))
    assert (kept.num_added, kept.missing_images) == (2, {"blue.jpg": 1})


def test_a_parquet_file_with_a_column_of_images_needs_nothing_beside_it(store, make_project, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"prompt": "What?", "response_a": "x", "response_b": "y", "image": {"bytes": RED, "path": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    project = make_project(store, num_comparisons=0)
    assert import_comparisons(store, ADMIN, project.id, [tmp_path / "rows.parquet"]).num_images == 1
    (stored,) = store.comparisons.iterate(ADMIN, project.id)
    assert (stored.prompt[0].content, dict(stored.meta)) == (f"![]({NAMES[0]})\n\nWhat?", {})


@pytest.mark.parametrize("end", ["whole", "whole.zip"])
def test_a_whole_project_carries_its_images(store, project, tmp_path, end):
    export_project(store, ADMIN, project.id, tmp_path / end)
    done = import_project(store, ADMIN, tmp_path / end, "twin")
    assert done.num_images == 2
    before, after = (list(store.images.iterate(ADMIN, key)) for key in (project.id, done.project.id))
    assert [image.data for image in before] == [image.data for image in after] != []
    assert list(store.comparisons.iterate(ADMIN, done.project.id)) == list(store.comparisons.iterate(ADMIN, project.id))


def test_an_export_whose_image_is_not_the_one_of_its_name_is_refused_whole(store, project, tmp_path):
    export_project(store, ADMIN, project.id, tmp_path / "whole")
    name = f"{NAMES[0][6:70]}.png"
    for data, words in ((drawn("lime"), "its bytes are those of"), (b"<svg/>", "no image")):
        (tmp_path / "whole" / "images" / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"images/{name}: .*{words}"):
            import_project(store, ADMIN, tmp_path / "whole", "twin")
    assert [one.name for one in store.projects.list(ADMIN)] == [project.name]


def test_a_backup_holds_images(store, project, tmp_path):
    store.backup(tmp_path / "backup.zip")
    with Store.restore(tmp_path / "backup.zip", f"sqlite:///{tmp_path / 'restored.db'}") as restored:
        assert restored.images.get(ADMIN, project.id, NAMES[0][6:70]) == store.images.get(
            ADMIN, project.id, NAMES[0][6:70]
        )


def test_exported_rows_name_files_beside_them_are_read_back_and_refused_by_trainings(store, project, tmp_path):
    exported = export_rows(store, ADMIN, project.id, tmp_path / "out", ExportOptions())
    files = {str(file.relative_to(tmp_path / "out")) for file in exported.files}
    red, blue = f"images/{NAMES[0][6:70]}.png", f"images/{NAMES[1][6:70]}.jpg"
    assert files == {"train.jsonl", "README.md", red, blue}
    rows = {row["comparison_id"]: row for _, row in read_rows(tmp_path / "out" / "train.jsonl")}
    assert rows["parts"]["chosen"][0]["content"] == f"![drawn]({blue})"
    assert rows["markdown"]["prompt"][0]["content"] == f"What is ![this]({red})?"
    assert "2 images" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ValueError, match=r"train.jsonl:1: field prompt .*: it shows an image; allowed here are texts"):
        read_preferences(str(tmp_path / "out" / "train.jsonl"))
    back = store.projects.create(ADMIN, "back", rubric_text="title: T\nguidelines: G\n", design=project.design)
    options = ImportOptions(images=(tmp_path / "out",))
    assert import_comparisons(store, ADMIN, back.id, [tmp_path / "out" / "train.jsonl"], options).num_images == 2
    single = export_rows(store, ADMIN, project.id, tmp_path / "one.jsonl", ExportOptions())
    assert [file.name for file in single.files] == ["one.jsonl", "one.README.md", "one.images.zip"]
    with zipfile.ZipFile(tmp_path / "one.images.zip") as packed:
        assert sorted(packed.namelist()) == sorted([red, blue])
    assert json.loads((tmp_path / "one.jsonl").read_text().splitlines()[0])["comparison_id"] == "markdown"
