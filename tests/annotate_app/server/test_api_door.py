"""The API behind the door: a token comes in where a cookie does not, past the sign-in but not past Host and Origin."""

from __future__ import annotations

import json

from annotate_app.access import Actor
from annotate_app.store.store import Store


def test_the_door_lets_tokens_to_the_api_and_nothing_else(shared_server) -> None:
    with Store.open(shared_server.database, migrate=False) as store:
        ada = store.people.by_name(Actor.command_line(), "ada")
        assert ada is not None
        secret = store.api_tokens.create(store.people.actor_of(ada), "door", role="lead").secret
    by_token = {"Authorization": f"Bearer {secret}"}
    cookie = shared_server.sign_in("ada")
    shared_server.ask("/api/v1/health")  # the API is loaded by the first who asks for it
    answer = shared_server.ask("/api/v1/whoami", headers=by_token)
    assert (answer.status, json.loads(answer.text)["role"]) == (200, "lead")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert shared_server.ask("/api/v1/whoami", cookie=cookie).status == 401
    assert shared_server.ask("/", headers=by_token | {"Accept": "text/html"}).status == 303  # no page by a token
    assert shared_server.ask("/api/v1/whoami", headers=by_token | {"Host": "evil.example"}).status == 400
    foreign = by_token | {"Origin": "http://evil.example", "Content-Type": "application/json"}
    refused = shared_server.ask("/api/v1/invites", form={}, headers=foreign)
    assert (refused.status, refused.text) == (403, "refused: the request does not come from a page of this server")
    assert shared_server.ask("/api/v1/docs", headers=by_token).status == 404
    assert shared_server.ask("/apiary", headers=by_token | {"Accept": "text/html"}).status == 303
