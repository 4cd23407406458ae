"""An image over HTTP: to whom, and under which headers."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable

from PIL import Image

from annotate_app.access import Actor
from annotate_app.images.checking import check_image
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store


def test_an_image_goes_to_members_as_what_its_bytes_are_and_to_nobody_else(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor]
) -> None:
    lea, anna = add_account("lea", "lead"), add_account("anna")
    add_account("mia", "lead")
    target = io.BytesIO()
    Image.new("RGB", (5, 5), "red").save(target, "PNG")
    image = check_image(target.getvalue(), "<script>.html")
    store = Store.open(sqlite_url, migrate=False)
    project = store.projects.create(lea, "p", rubric_text=OWN_RUBRIC, design=Design())
    store.projects.add_member(lea, project.id, anna.user_id)
    store.images.add(lea, project.id, [image])
    store.close()
    server = start_server(sqlite_url, "--no-worker")
    path = f"/images/{project.id}/{image.content_hash}"
    assert server.ask(path).status == 303  # to the sign-in
    assert server.ask(path, cookie=server.sign_in("mia")).status == 403
    cookie = server.sign_in("anna")
    request = urllib.request.Request(server.url + path, headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.read() == image.data
        headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == f'inline; filename="{image.content_hash}.png"'
    assert "default-src 'none'; sandbox" in headers.get_all("content-security-policy")
    for wrong in (f"/images/{project.id}/{'0' * 64}", f"/images/{project.id}/x.png", "/images/99999999999/x"):
        assert server.ask(wrong, cookie=cookie).status == 404
    assert server.ask(f"/images/{project.id + 1}/{image.content_hash}", cookie=cookie).status == 403
    assert server.ask(path, cookie=cookie, form={"x": "1"}).status == 405
