"""Calls of tools, battles of whole conversations and images, as people meet them in a real browser."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from annotate_app.access import Actor
from annotate_app.images.checking import check_image
from annotate_app.store.store import Store
from rewardkit.data.conversations import Completion, read_messages
from rewardkit.data.records import Comparison, Message

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADMIN = Actor.command_line()
ASKED = (Message(role="user", content="Book me a table in Rome and tell me the weather."),)
SIZES = {"wide": (1440, 900), "laptop": (1280, 720), "phone": (390, 844)}


def compared(a: list[dict], b: list[dict], prompt: tuple[Message, ...] = ASKED, key: str = "c") -> Comparison:
    """A comparison of two answers that are turns."""
    first, second = (Completion.of(read_messages(turns, "response")) for turns in (a, b))
    return Comparison(
        id=key,
        prompt=prompt,
        completion_a=first.text,
        completion_b=second.text,
        turns_a=first.turns,
        turns_b=second.turns,
    )


def called(call: str, **arguments: object) -> list[dict]:
    """An answer that calls a tool, is told, and says so."""
    function = {"name": "book_table", "arguments": json.dumps(arguments)}
    return [
        {"role": "assistant", "content": "", "tool_calls": [{"id": call, "type": "function", "function": function}]},
        {"role": "tool", "content": '{"error": "no table is free"}', "tool_call_id": call},
        {"role": "assistant", "content": "There is **no table** free."},
    ]


def test_a_folded_call_opens_by_a_key_and_differences_mark_the_changed_argument_alone(
    new_desk: Callable, screenshots: Path
) -> None:
    shared = {"city": "Rome", "guests": [{"name": name, "eats": "all"} for name in ("Ann", "Bo")], "time": "19:30"}
    desk = new_desk([compared(called("k1", street="Via Appia", **shared), called("z9", **shared, street="Via Sacra"))])
    call = desk.shown.locator(".pane.left details.call")
    expect(call).not_to_have_attribute("open", "")
    expect(call.locator("summary")).to_contain_text('book_table { "city": "Rome"')
    result = desk.shown.locator(".pane.left details.call + details.result.error")
    expect(result.locator("summary")).to_contain_text("an error")
    desk.page.screenshot(path=screenshots / "folded.png")
    call.locator("summary").focus()
    desk.press("Enter")
    expect(call).to_have_attribute("open", "")
    expect(call.locator("pre")).to_be_visible()
    assert desk.page.get_by_role("radio", checked=True).count() == 0  # the key was the fold's, not the form's
    desk.press("x")
    assert desk.shown.locator("details:not([open])").count() == 0
    desk.page.screenshot(path=screenshots / "unfolded.png", full_page=True)
    desk.press("x")
    desk.press("d")
    marks = {side: desk.shown.locator(f".pane.{side} mark").all_inner_texts() for side in ("left", "right")}
    assert sorted([*marks["left"], *marks["right"]]) == ['"street": "Via Appia"', '"street": "Via Sacra"']
    desk.page.screenshot(path=screenshots / "differences.png")


def said(text: str, role: str = "assistant") -> dict:
    """A turn of a text."""
    return {"role": role, "content": text}


def test_a_battle_of_whole_conversations_is_two_columns_of_turns_at_every_width(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, screenshots: Path
) -> None:
    words = "A sentence that goes on for a while, as sentences do. " * 25
    a = [said("Where? " + words), said("In Rome.", "user"), said("12 C. " + words)]
    b = [
        said("Which town? " + words),
        said("Rome.", "user"),
        said("Cold. " + words),
        said("And now?", "user"),
        said("Colder."),
    ]
    labeling_project([compared(a, b)])
    server = start_server(sqlite_url, "--no-worker")
    for name, (width, height) in SIZES.items():
        desk = open_desk(server.url, viewport={"width": width, "height": height})
        turns = [desk.shown.locator(f".pane.{side} .text .turn") for side in ("left", "right")]
        assert sorted(turn.count() for turn in turns) == [3, 5]
        expect(turns[0].locator(".role").first).to_have_text("Assistant")
        expect(turns[0].locator(".role").nth(1)).to_have_text("User")
        expect(desk.shown.locator(".talk em")).to_have_text("both conversations below go on from here")
        expect(desk.shown.locator(".talk .turn")).to_have_count(1)
        left, right = (desk.shown.locator(f".pane.{side}").bounding_box() for side in ("left", "right"))
        assert left
        assert right
        assert (
            (right["y"] >= left["y"] + left["height"]) if name == "phone" else (right["x"] >= left["x"] + left["width"])
        )
        body = desk.shown.locator(".pane.left .text")
        body.evaluate("node => node.scrollTop = 120")
        assert body.evaluate("node => node.scrollTop") == 120
        assert desk.shown.locator(".pane.right .text").evaluate("node => node.scrollTop") == 0
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= width
        desk.page.screenshot(path=screenshots / f"battle-{name}.png")
    desk.press("d")
    expect(desk.shown.locator("mark").first).to_be_visible()
    marked = [text for text in desk.shown.locator("mark").all_inner_texts() if "A sentence that goes" in text]
    assert marked == []  # turn against turn: what both say in the same turn is not marked
    desk.page.screenshot(path=screenshots / "battle-differences.png")


def test_a_battle_without_a_common_start_shows_no_empty_conversation(new_desk: Callable) -> None:
    first, second = [said("Hi"), said("Yes?", "user"), said("Bye")], [said("Hello"), said("What?", "user"), said("Ok")]
    desk = new_desk([compared(first, second, prompt=())])
    expect(desk.shown.locator(".talk")).to_be_hidden()
    expect(desk.shown.locator(".pane.left .turn")).to_have_count(3)
    desk.press("PageDown")
    desk.press("4", "Enter")
    expect(desk.status).to_have_text("Saved")


def test_an_image_comes_from_our_own_host_opens_by_a_key_and_is_refused_to_a_stranger(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    add_account: Callable,
    screenshots: Path,
) -> None:
    picture = io.BytesIO()
    Image.radial_gradient("L").resize((640, 400)).convert("RGB").save(picture, "PNG")
    image = check_image(picture.getvalue(), "gradient.png")
    name = str(image.reference)
    texts = (f"A light ![a light in the dark]({name})", f"![]({name})\n\n![gone](image:{'0' * 64}?8x8)")
    prompt = (
        Message(role="user", content=f"What is it? ![the picture]({name}) ![far](https://outside.example/x.png)"),
    )
    project = labeling_project([Comparison(id="c", prompt=prompt, completion_a=texts[0], completion_b=texts[1])])
    add_account("stranger")
    with Store.open(sqlite_url, migrate=False) as store:
        store.images.add(ADMIN, project, [image])
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    requests: list[str] = []
    desk.page.on("request", lambda request: requests.append(request.url))
    desk.page.reload()
    desk.wait()
    shown = desk.shown.get_by_role("img", name="a light in the dark")
    expect(shown).to_be_visible()
    assert shown.evaluate("node => [node.naturalWidth, node.getAttribute('width')]") == [640, "640"]
    expect(desk.shown.locator(".panes .caption", has_text="no description")).to_be_visible()
    expect(desk.shown.locator(".panes .image", has_text="Image missing: gone")).to_be_visible()
    expect(desk.shown.locator(".talk .image")).to_have_text("Image, not loaded: far https://outside.example/x.png")
    own = urlsplit(server.url).netloc
    assert {urlsplit(url).netloc for url in requests if urlsplit(url).scheme.startswith("http")} == {own}
    assert f"{server.url}/images/{project}/{image.content_hash}" in requests
    for place, size in SIZES.items():
        desk.page.set_viewport_size({"width": size[0], "height": size[1]})
        desk.page.screenshot(path=screenshots / f"image-{place}.png")
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    desk.page.set_viewport_size({"width": 1440, "height": 900})
    button = desk.shown.get_by_role("button", name="Enlarge the image: a light in the dark")
    button.focus()
    desk.press("Enter")
    dialog = desk.page.locator("dialog[open]")
    expect(dialog.get_by_role("img")).to_be_visible()
    expect(dialog.get_by_role("heading")).to_have_text("a light in the dark")
    desk.page.screenshot(path=screenshots / "enlarged.png")
    desk.press("1")  # while it is open, a key judges nothing
    desk.press("Escape")
    expect(dialog).to_have_count(0)
    assert desk.page.get_by_role("radio", checked=True).count() == 0
    assert server.ask(f"/images/{project}/{image.content_hash}", cookie=server.sign_in("stranger")).status == 403
