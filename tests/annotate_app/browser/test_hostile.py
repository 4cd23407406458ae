"""Texts that want to be more than text, shown in a real browser: no script runs, no request leaves, no page changes."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Request, expect

from rewardkit.data.records import Comparison, Message

pytestmark = pytest.mark.browser

OUTSIDE = "http://outside.example:9"


def test_no_script_runs_and_no_request_leaves(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    hostile_texts: dict[str, str],
) -> None:
    text = "\n\n".join(f"{name}\n\n{payload}\n" for name, payload in hostile_texts.items())
    shown = Comparison(
        id="hostile",
        prompt=(Message(role="system", content=text), Message(role="user", content=text)),
        completion_a=text,
        completion_b="\n\n".join(reversed(hostile_texts.values())),
    )
    labeling_project([shown])
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    requests: list[str] = []
    navigations: list[str] = []

    def note(request: Request) -> None:
        requests.append(request.url)
        if request.is_navigation_request():
            navigations.append(request.url)

    desk.page.on("request", note)
    desk.page.reload()
    desk.wait()
    for key in ("m", "m", "d", "d", "x", "x", "f", "Escape", "?", "Escape"):
        desk.press(key)
    desk.page.wait_for_timeout(1500)
    own = urlsplit(server.url).netloc
    assert [
        url for url in requests if urlsplit(url).netloc != own and urlsplit(url).scheme not in ("data", "blob")
    ] == []
    assert [urlsplit(url).path for url in navigations] == ["/label"]
    assert desk.page.evaluate("window.__ran") is None
    found = desk.page.evaluate(
        """() => {
          const roots = [...document.querySelectorAll('*')].map(e => e.shadowRoot);
          const root = roots.find(r => r?.querySelector('.labeler'));
          const texts = [...root.querySelectorAll('.text, .talk')];
          const all = texts.flatMap(text => [...text.querySelectorAll('*')]);
          return {
            tags: [...new Set(all.map(e => e.localName))],
            attributes: [...new Set(all.flatMap(e => e.getAttributeNames()))],
            links: [...new Set(all.filter(e => e.localName === 'a').map(e => e.getAttribute('href')))],
            targets: all.filter(e => e.localName === 'a' && e.href).map(e => [e.target, e.rel]),
            taken: getComputedStyle(document.querySelector('.stApp')).getPropertyValue('--taken'),
          };
        }"""
    )
    refused = (
        "script style link meta base img image svg iframe object embed video audio form input template noscript slot"
    )
    assert set(found["tags"]) & set(refused.split()) == set()
    assert [
        name for name in found["attributes"] if name.startswith("on") or name in ("style", "id", "src", "srcset")
    ] == []
    assert [link for link in found["links"] if link is not None] == []
    assert found["taken"] == ""
    # Nothing was swallowed either: what was sent can be read.
    expect(desk.shown.locator(".talk")).to_contain_text("<script>")
    expect(desk.shown.locator(".talk")).to_contain_text(f"{OUTSIDE}/image.png")


@pytest.mark.slow
def test_a_link_opens_elsewhere_on_a_click_and_not_before(new_desk: Callable) -> None:
    text = "See [the manual](https://outside.example/manual?a=1)."
    desk = new_desk([Comparison(id="link", prompt=(), completion_a=text, completion_b=text)])
    link = desk.shown.get_by_role("link").first
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("title", "https://outside.example/manual?a=1")
    asked: list[str] = []
    desk.page.context.route(
        "https://outside.example/**", lambda route: (asked.append(route.request.url), route.abort())
    )
    link.hover()
    desk.page.wait_for_timeout(300)
    assert asked == []
    with desk.page.context.expect_page():
        link.click()


@pytest.mark.slow
def test_a_megabyte_of_text_is_shown_cut_and_then_whole_without_freezing(new_desk: Callable, pairs: Callable) -> None:
    huge = Comparison(id="a", prompt=(), completion_a="word **bold** " * 75_000, completion_b="x" * 1_000_000)
    desk = new_desk([huge, *pairs(2)])
    more = desk.shown.get_by_role("button", name="Show the rest").first
    expect(more).to_contain_text("characters")
    assert len(desk.shown.locator(".pane.left .text").inner_text()) < 40_000
    more.click()
    assert len(desk.shown.locator(".pane.left .text").inner_text()) >= 1_000_000
    desk.press("d")
    expect(desk.page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "true")
    desk.judge("1", "Enter")
