"""Closing the labeling page, as the browser says it to a running server."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import select

from annotate_app.access import Actor
from annotate_app.store.schema.tables import slot
from annotate_app.store.store import Store


def test_leaving_shortens_the_leases_of_who_is_signed_in_and_of_nobody_else(
    start_server: Callable, sqlite_url: str, add_account: Callable, make_project: Callable
) -> None:
    anna, ben = add_account("anna"), add_account("ben")
    store = Store.open(sqlite_url, migrate=False)
    project = make_project(store, num_comparisons=6)
    for actor in (anna, ben):
        store.projects.add_member(Actor.command_line(), project.id, actor.user_id)
        store.work.lease(actor, project.id)

    def seconds_left(actor: Actor) -> float:
        with store.database.read() as connection:
            query = select(slot.c.leased_until).where(slot.c.user_id == actor.user_id)
            return max(connection.execute(query).scalars()) - time.time()

    server = start_server(sqlite_url, "--no-worker")
    path = f"/work/leave?project={project.id}"
    assert server.ask(path, form={}).status == 401
    cookie = server.sign_in("anna")
    assert server.ask(path, cookie=cookie, form={}, headers={"Origin": "http://elsewhere.example"}).status == 403
    assert server.ask("/work/leave?project=x", cookie=cookie, form={}).status == 400
    assert server.ask("/work/leave?project=999", cookie=cookie, form={}).status == 403
    server.ask(path, cookie=cookie)  # a link, which asks and does not post
    assert seconds_left(anna) > 500
    assert server.ask(path, cookie=cookie, form={}).status == 204

    assert seconds_left(anna) < 91
    assert seconds_left(ben) > 500
    store.close()
