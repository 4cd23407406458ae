"""Images in rows of every form: each becomes a name in the text, and what cannot be found is said."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from PIL import Image

from annotate_app.images.checking import check_image
from annotate_app.images.files import ImageFiles
from annotate_app.images.markdown import replace_images
from annotate_app.images.references import Reference, markdown_image
from annotate_app.images.rows import RowImages
from annotate_app.labeling.rendering import render
from rewardkit.data.conversations import RowError, read_messages


def png(color: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (3, 2), color).save(target, "PNG")
    return target.getvalue()


RED, BLUE = png("red"), png("blue")
NAMES = {color: str(check_image(data, "x").reference) for color, data in (("red", RED), ("blue", BLUE))}
URL = f"data:image/png;base64,{base64.b64encode(RED).decode()}"
PAIR = {"prompt": "prompt", "response_a": "a", "response_b": "b"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "sub" / "blue one.png").write_bytes(BLUE)
    (tmp_path / "bad.svg").write_bytes(b"<svg/>")
    (tmp_path / "bad.png").write_bytes(b"<svg/>")
    return tmp_path


@pytest.fixture
def images(folder):
    with ImageFiles([folder]) as files:
        yield RowImages(files=files)


PARTS = {
    "openai": {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    "openai file": {"type": "image_url", "image_url": {"url": "red.png"}},
    "openai text": {"type": "image_url", "image_url": "./red.png"},
    "responses": {"type": "input_image", "image_url": URL},
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(RED).decode()},
    },
    "anthropic file": {"type": "image", "source": {"type": "file", "file_id": "red.png"}},
    "trl": {"type": "image", "image": {"bytes": RED, "path": None}},
    "path": {"type": "image", "path": "red.png"},
}


@pytest.mark.parametrize("part", PARTS.values(), ids=list(PARTS))
def test_a_part_of_a_content_becomes_a_line_of_the_text(images, part):
    turn = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}
    for prompt in ([turn], json.dumps([turn]) if "bytes" not in str(part) else [turn]):
        taken = images.take({"prompt": prompt, "a": "x", "b": "y"}, PAIR)
        (message,) = read_messages(taken["prompt"], "prompt")
        assert message.content == f"What is this?\n\n![]({NAMES['red']})"
    assert set(images.checked) == {Reference.read(NAMES["red"]).content_hash}  # type: ignore[union-attr]


def test_markdown_is_renamed_where_it_shows_an_image_and_nowhere_else(images):
    text = (
        '![a red [one]](red.png "title") and ![](<sub/blue one.png>)\n\n`![](red.png)`\n\n'
        "```\n![](red.png)\n```\n\n![far](https://outside.example/red.png) \\![](red.png) [link](red.png)"
    )
    taken = images.take({"prompt": text, "a": f"![x]({URL})", "b": "y"}, PAIR)
    assert taken["prompt"] == text.replace('](red.png "', f']({NAMES["red"]} "').replace(
        "(<sub/blue one.png>)", f"({NAMES['blue']})"
    )
    assert taken["a"] == f"![x]({NAMES['red']})"


def test_columns_of_images_go_where_the_prompt_keeps_a_place_else_before_it(images):
    struct = {"bytes": RED, "path": "x.png"}
    row = {"prompt": "What is this?", "a": "x", "b": "y", "image": struct, "score": 1}
    assert images.take(row, PAIR) == {
        "prompt": f"![]({NAMES['red']})\n\nWhat is this?",
        "a": "x",
        "b": "y",
        "score": 1,
    }
    two = {**row, "prompt": "A <image> B <image>", "image": [struct, {"bytes": BLUE, "path": None}]}
    assert images.take(two, PAIR)["prompt"] == f"A ![]({NAMES['red']}) B ![]({NAMES['blue']})"
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    placed = images.take({**row, "prompt": turns}, PAIR)
    assert read_messages(placed["prompt"], "prompt")[0].content == f"![]({NAMES['red']})\nWhat?"
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "?"},
    ]
    last = images.take({**row, "prompt": talk}, PAIR)["prompt"][-1]
    assert last["content"] == f"![]({NAMES['red']})\n\n?"
    answers = images.take({"prompt": "Draw red.", "a": struct, "b": {"bytes": BLUE, "path": None}}, PAIR)
    assert (answers["a"], answers["b"]) == (f"![]({NAMES['red']})", f"![]({NAMES['blue']})")
    told = images.take({"prompt": "x", "a": "y", "b": "z", "image": "a photo of a cat"}, PAIR)
    assert told["image"] == "a photo of a cat"  # words about an image are no image


@pytest.mark.parametrize(
    ("prompt", "reason", "words"),
    [
        ("![](gone.png)", "missing_image", "prompt is 'gone.png': there is no such image among"),
        ("![](../../etc/passwd)", "missing_image", "passwd"),
        (f"![](image:{'0' * 64}?3x2)", "missing_image", "image:000"),
        ("![](bad.png)", "bad_image", "bad.png.*its bytes are no image, allowed are PNG"),
        ([{"role": "user", "content": [{"type": "image"}]}], "missing_image", r"prompt\[0\].content\[0\]"),
        ("![](data:image/png;base64,abc%)", "bad_image", "no base64"),
    ],
)
def test_what_cannot_be_found_or_read_is_said_with_its_place(images, prompt, reason, words):
    with pytest.raises(RowError, match=words) as caught:
        images.take({"prompt": prompt, "a": "x", "b": "y"}, PAIR)
    assert caught.value.reason == reason


def test_missing_names_are_kept_and_counted_where_that_is_asked(folder):
    with ImageFiles([]) as files:
        images = RowImages(files=files, missing="keep")
        row = {"prompt": "![](gone.png) ![](gone.png)", "a": "![x](other%20one.png)", "b": "y"}
        assert images.take(row, PAIR) == row
        assert images.names == {"gone.png": 2, "other one.png": 1}


def test_a_zip_is_read_by_name_and_never_unpacked(tmp_path):
    target = tmp_path / "images.zip"
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("../../outside.png", RED)
        packed.writestr("one/same.png", RED)
        packed.writestr("two/same.png", BLUE)
        packed.writestr("huge.png", b"\0" * 11_000_000)
    with ImageFiles([target]) as files:
        assert files.read("outside.png") == RED
        assert files.read("two/same.png") == BLUE
        assert files.read("none.png") is None
        with pytest.raises(ValueError, match="2 files have this name"):
            files.read("same.png")
        with pytest.raises(ValueError, match="11,000,000 bytes"):
            files.read("huge.png")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["images.zip"]


def test_a_link_out_of_the_folder_is_no_image_of_it(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(RED)
    (folder / "secret.png").symlink_to(outside)
    with ImageFiles([folder]) as files:
        assert files.read("secret.png") is None
        assert files.read(str(outside)) is None


@pytest.mark.parametrize("words", ["a [b] `c` *d* \\ ]( x", "", "two\nlines", "![x](y)"])
def test_a_description_of_any_words_stays_a_description(words):
    markup = render(f"{markdown_image(words, NAMES['red'])} behind").html
    assert markup.count('class="image own"') == 1
    assert replace_images(markdown_image(words, "red.png"), lambda _: "blue.png").endswith("](blue.png)")
