"""The door against a running server: who comes in, who does not, and what nobody can forge."""

from __future__ import annotations

import asyncio
import http.client
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy.exc import OperationalError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.server import authentication
from annotate_app.server.authentication import Door
from annotate_app.server.sessions import Sessions
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
HARMLESS = b"draw yourself again"


def websocket_status(server, headers: dict[str, str], origin: str | None = "same") -> int:
    """101 where the WebSocket opens, else the status it was refused with."""
    url = server.url.replace("http", "ws") + "/_stcore/stream"
    from_where = server.url if origin == "same" else origin
    try:
        with connect(url, additional_headers=headers, origin=from_where, subprotocols=["streamlit"], proxy=None):  # type: ignore[list-item]
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_nothing_but_the_entrance_opens_without_a_session(shared_server):
    server = shared_server
    for path in ("/", "/label", "/people?project=x"):
        answer = server.ask(path)
        assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    closed = ("/_stcore/metrics", "/_stcore/host-config", "/media/x.png", "/static/media/x.js", "/component/x/y")
    for path in (*closed, "/static/js/../x.js", "/static/js/x.js/y"):
        assert server.ask(path).status == 401
    script = next((Path(st.__file__).parent / "static" / "static" / "js").glob("LinkButton.*.js")).name
    answer = server.ask(f"/static/js/{script}")  # a tab whose session has ended still draws what says so
    assert (answer.status, "javascript" in answer.headers["content-type"]) == (200, True)
    assert server.ask("/health").text == "ok"
    assert websocket_status(server, {}) == 403
    assert websocket_status(server, {"X-Tiebreak-Session": "forged"}) == 403
    assert websocket_status(server, {"Cookie": "tiebreak_session=forged.x.y"}) == 403


def asked_of(answer) -> str:
    cookies = [value.partition(";")[0] for value in answer.headers.get_all("set-cookie") or []]
    return next((cookie for cookie in cookies if cookie.startswith("tiebreak_asked=")), "")


def test_who_has_to_sign_in_comes_to_the_page_that_was_asked_for(shared_server):
    server, form = shared_server, {"name": "anna", "password": "correct horse battery"}
    path = "/runs?project=Ottersby%20(demo)&runs=12,14"
    asked = asked_of(server.ask(path, headers={"Accept": "text/html,*/*"}))
    answer = server.ask("/sign-in", form=form, headers={"Cookie": asked})
    assert (answer.status, answer.headers["location"]) == (303, path)
    assert asked_of(answer) == 'tiebreak_asked=""'  # once
    assert asked_of(server.ask("/favicon.png", headers={"Accept": "image/*"})) == ""
    assert server.ask("/sign-in", form=form).headers["location"] == "/"


def test_the_page_that_was_asked_for_stays_in_the_form_also_after_a_mistake(shared_server):
    path = "/comparisons?project=x&item=a%22%3E%3Cscript&item=b"
    asked = asked_of(shared_server.ask(path, headers={"Accept": "text/html"}))
    shown = shared_server.ask("/sign-in", headers={"Cookie": asked}).text
    field = 'name="asked" value="/comparisons?project=x&amp;item=a%22%3E%3Cscript&amp;item=b"'
    assert field in shown
    wrong = shared_server.ask("/sign-in", form={"name": "nobody here", "password": "a wrong one", "asked": path})
    assert (wrong.status, field in wrong.text) == (401, True)
    form = {"name": "anna", "password": "correct horse battery", "asked": path}
    other_tab = 'tiebreak_asked="/label"'
    assert shared_server.ask("/sign-in", form=form, headers={"Cookie": other_tab}).headers["location"] == path
    for elsewhere in ("//evil.example/x", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        answer = shared_server.ask("/sign-in", form=form | {"asked": elsewhere})
        assert (answer.status, answer.headers["location"]) == (303, "/")
        wrong = shared_server.ask("/sign-in", form={"name": "nobody here", "password": "x", "asked": elsewhere})
        assert "asked" not in wrong.text


@pytest.mark.parametrize(
    ("accepted", "code", "words"),
    [("", "en", "Sign in"), ("de-DE,de;q=0.9", "de", "Anmelden"), ("fr", "en", "Sign in")],
)
def test_the_entrance_speaks_the_language_of_the_browser(shared_server, accepted, code, words):
    headers = {"Accept-Language": accepted} if accepted else {}
    for path in ("/sign-in", "/sign-out", "/invite/none"):
        text = shared_server.ask(path, headers=headers).text
        assert f'<html lang="{code}">' in text
    assert f"<button>{words}</button>" in shared_server.ask("/sign-in", headers=headers).text
    wrong = shared_server.ask("/sign-in", form={"name": "nobody", "password": "x"}, headers=headers)
    assert ("falsch" in wrong.text) is (code == "de")
    cookie = shared_server.sign_in("anna")
    page = shared_server.ask(
        "/label", cookie=cookie, headers={"Accept": "text/html", "Accept-Encoding": "gzip"} | headers
    )
    assert f'<html lang="{code}">' in page.text
    assert "BACKEND_BASE_URL" in page.text  # the browser need not try where the server is


@pytest.mark.parametrize("asked", ["//evil.example/x", "https://evil.example", "/\\\\evil.example", "/x\x01y", "x"])
def test_nobody_is_led_elsewhere_after_signing_in(shared_server, asked):
    form = {"name": "anna", "password": "correct horse battery"}
    answer = shared_server.ask("/sign-in", form=form, headers={"Cookie": f'tiebreak_asked="{asked}"'})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert asked_of(shared_server.ask("//evil.example/x", headers={"Accept": "text/html"})) == ""


def test_every_answer_carries_the_security_headers(shared_server):
    server = shared_server
    cookie = server.sign_in("ada")
    for answer in (server.ask("/sign-in"), server.ask("/"), server.ask("/", cookie=cookie), server.ask("/media/x")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.partition("style-src")[0]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_session_opens_pages_and_websocket_until_it_is_signed_out(shared_server):
    server = shared_server
    answer = server.ask("/sign-in", form={"name": "anna", "password": "correct horse battery"})
    setting = answer.headers["set-cookie"].lower()
    assert "httponly" in setting
    assert "samesite=lax" in setting
    assert "secure" not in setting  # plain http on this machine
    cookie = answer.cookie
    assert server.ask("/", cookie=cookie).status == 200
    assert websocket_status(server, {"Cookie": cookie}) == 101
    assert websocket_status(server, {"Cookie": cookie}, origin="http://evil.example") == 403
    assert websocket_status(server, {"Cookie": cookie}, origin=None) == 403
    assert websocket_status(server, {"Cookie": cookie[:-2] + "xx"}) == 403
    assert server.ask("/sign-out", cookie=cookie).status == 200  # only asks
    assert server.ask("/", cookie=cookie).status == 200
    assert server.ask("/sign-out", cookie=cookie, form={}).status == 303
    assert server.ask("/", cookie=cookie).status == 303
    assert websocket_status(server, {"Cookie": cookie}) == 403


def test_a_forged_header_changes_nobody(shared_server):
    server = shared_server
    anna, ada = server.sign_in("anna"), server.sign_in("ada")
    token = ada.partition("=")[2].partition(".")[0]
    assert server.ask("/_stcore/metrics", cookie=ada).status == 200
    assert server.ask("/_stcore/metrics", cookie=anna).status == 403
    for name in ("X-Tiebreak-Session", "x-tiebreak-session", "X-Forwarded-User"):
        assert server.ask("/_stcore/metrics", cookie=anna, headers={name: token}).status == 403


def test_writes_from_elsewhere_are_refused(shared_server):
    server = shared_server
    form = {"name": "anna", "password": "correct horse battery"}
    for origin in ("http://evil.example", "null", ""):
        assert server.ask("/sign-in", form=form, headers={"Origin": origin}).status == 403
    assert server.ask("/sign-in", form=form).status == 303


def test_a_strange_host_name_is_refused(start_server, sqlite_url):
    server = start_server(sqlite_url, "--no-worker", "--single-user")
    assert server.ask("/").status == 200
    assert server.ask("/", headers={"Host": "rebound.example"}).status == 400


@pytest.mark.parametrize(
    "host", ["[::1", "[", "[]", "a@localhost", "localhost/x", "localhost:x", "local host", "é", "]"]
)
def test_a_host_or_origin_that_is_none_is_refused_without_a_trace(shared_server, host):
    before = shared_server.log.read_text()
    answer = shared_server.ask("/sign-in", headers={"Host": host.encode().decode("latin-1")})
    assert answer.status == 400
    form = {"name": "anna", "password": "correct horse battery"}
    for origin in ("http://[", "http://[::1", "http://127.0.0.1:x", "http://127.0.0.1:99999", host):
        answer = shared_server.ask("/sign-in", form=form, headers={"Origin": origin.encode().decode("latin-1")})
        assert answer.status in (400, 403)
    assert shared_server.log.read_text() == before


def test_a_page_of_another_scheme_is_another_page(shared_server):
    form = {"name": "anna", "password": "correct horse battery"}
    secure = shared_server.url.replace("http", "https")
    assert shared_server.ask("/sign-in", form=form, headers={"Origin": secure}).status == 403
    assert websocket_status(shared_server, {"Cookie": shared_server.sign_in("anna")}, origin=secure) == 403


def test_pages_with_words_of_people_are_kept_by_nobody(shared_server):
    cookie = shared_server.sign_in("anna")
    for path in ("/sign-in", "/invite/x", "/sign-out"):
        assert shared_server.ask(path, cookie=cookie).headers["cache-control"] == "no-store"
    assert shared_server.ask("/", cookie=cookie).headers["cache-control"] == "no-cache"
    assert "strict-transport-security" not in shared_server.ask("/", cookie=cookie).headers


def test_an_annotator_uploads_nothing(shared_server):
    anna, ada = shared_server.sign_in("anna"), shared_server.sign_in("ada")
    assert shared_server.ask("/_stcore/upload_file/tab/file", cookie=anna, form={"x": "y"}).status == 403
    assert shared_server.ask("/_stcore/upload_file/tab/file", cookie=anna).text == "uploading asks for the role lead"
    assert shared_server.ask("/_stcore/upload_file/tab/file", cookie=ada).status != 403


def test_wrong_passwords_are_refused_and_then_slowed_down(start_server, sqlite_url, add_account):
    add_account("anna")
    server = start_server(sqlite_url, "--no-worker")
    wrong = {"name": "anna", "password": "guess <b>"}
    answers = [server.ask("/sign-in", form=wrong) for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 60
    right = {"name": "anna", "password": "correct horse battery"}
    assert server.ask("/sign-in", form=right).status == 429  # the right one too: guessing tells nothing
    strange = server.ask("/sign-in", form={"name": "<script>alert(1)</script>", "password": "x" * 20})
    assert "<script>" not in strange.text
    assert server.ask("/sign-in", form={"name": "anna", "password": "x" * 20_000}).status == 401


@pytest.mark.slow
def test_the_first_start_offers_one_setup_link(start_server, sqlite_url, invite_in):
    server = start_server(sqlite_url, "--no-worker")
    path = invite_in(server.log.read_text())
    assert "admin" in server.ask(path).text
    form = {"name": "ada", "password": "a long password", "again": "another one"}
    assert "differ" in server.ask(path, form=form).text
    form["again"] = form["password"]
    made = server.ask(path, form=form)
    assert made.status == 303
    assert server.ask("/_stcore/metrics", cookie=made.cookie).status == 200
    assert server.ask(path).status == 410
    assert server.ask(path, form=form).status == 410
    server.stop()
    assert "/invite/" not in start_server(sqlite_url, "--no-worker").log.read_text()


@pytest.mark.slow
def test_sessions_survive_a_restart(start_server, sqlite_url, add_account):
    add_account("anna")
    first = start_server(sqlite_url, "--no-worker")
    cookie = first.sign_in("anna")
    assert first.stop() == 0
    secret = Path(sqlite_url.removeprefix("sqlite:///")).with_name("cookie.secret")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    second = start_server(sqlite_url, "--no-worker")
    assert second.ask("/", cookie=cookie).status == 200


def test_a_header_that_names_the_account_twice_is_refused(sqlite_store):
    sqlite_store.people.add(ADMIN, "ada", role="admin", origin="proxy")
    sqlite_store.people.add(ADMIN, "eve", role="annotator", origin="proxy")
    door = make_door(sqlite_store, proxy_header="X-Forwarded-User", trusted_proxies=("127.0.0.1",))
    for names in ((b"ada", b"eve"), (b"eve", b"ada"), (b"", b"eve"), (b"eve", b"eve")):
        scope = get("/")
        scope["headers"] += [(b"x-forwarded-user", name) for name in names]
        sent = asyncio.run(call(door, scope, [{"type": "http.request", "body": b""}]))
        assert sent[0]["status"] == 400
        assert sent[1]["body"] == b"refused: the header x-forwarded-user is there more than once"


def test_tries_count_for_the_address_that_the_proxy_adds_at_the_end(start_server, sqlite_url, add_account):
    """By a line of its own as HAProxy does, which urllib cannot send: the two lines are joined by the server."""
    add_account("anna")
    server = start_server(sqlite_url, "--no-worker", "--trusted-proxy", "127.0.0.1")
    port = int(server.url.rpartition(":")[2])
    statuses = []
    for number in range(6):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest("POST", "/sign-in")
        for name, value in (
            ("Origin", server.url),
            ("X-Forwarded-For", f"10.9.9.{number}"),
            ("X-Forwarded-For", "203.0.113.7"),
            ("Content-Length", "20"),
        ):
            connection.putheader(name, value)
        connection.endheaders(b"name=anna&password=x")
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [401] * 5 + [429]


@pytest.mark.slow
def test_a_trusted_proxy_names_the_account_and_nobody_else_does(start_server, sqlite_url, add_account):
    add_account("ada", "admin")
    options = ("--no-worker", "--proxy-header", "X-Forwarded-User", "--trusted-proxy")
    trusting = start_server(sqlite_url, *options, "127.0.0.1")
    assert trusting.ask("/_stcore/metrics", headers={"X-Forwarded-User": "ada"}).status == 200
    assert trusting.ask("/", headers={"X-Forwarded-User": "nobody"}).status == 403
    assert trusting.ask("/").status == 403
    distant = start_server(sqlite_url, *options, "10.0.0.1")
    assert distant.ask("/", headers={"X-Forwarded-User": "ada"}).status == 403


def test_cookies_are_secure_behind_a_proxy_that_speaks_https(start_server, sqlite_url, add_account):
    add_account("anna")
    server = start_server(sqlite_url, "--no-worker", "--trusted-proxy", "127.0.0.1")
    form = {"name": "anna", "password": "correct horse battery"}
    https = {"X-Forwarded-Proto": "https", "Origin": server.url.replace("http", "https")}
    answer = server.ask("/sign-in", form=form, headers=https)
    assert "secure" in answer.headers["set-cookie"].lower()
    assert answer.headers["strict-transport-security"] == "max-age=15552000"
    plain = {"X-Forwarded-Proto": "https"}  # a page of http cannot write to one of https
    assert server.ask("/sign-in", form=form, headers=plain).status == 403


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--demo", "--host", "0.0.0.0"], "without sign-in"),
        (["--single-user", "--host", "0.0.0.0"], "without sign-in"),
        (["--port", "70000"], "70000"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--proxy-header", "X-Forwarded-User"], "--trusted-proxy"),
    ],
)
def test_bad_options_end_in_one_line(sqlite_url, capsys, options, words):
    assert main(["serve", "--db", sqlite_url, *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.strip().count("\n") == 0


def test_a_taken_port_is_said_in_one_line(shared_server, sqlite_url, capsys):
    port = shared_server.url.rpartition(":")[2]
    assert main(["serve", "--db", sqlite_url, "--port", port]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"port {port}" in said.err
    assert said.err.strip().count("\n") == 0


class NoOpenId:
    """An installation without OIDC."""

    def providers(self) -> tuple[str, ...]:
        return ()

    def address(self, provider: str) -> str:
        raise AssertionError

    def email(self, cookies, origin: str) -> str:
        raise AssertionError


class OneOpenId(NoOpenId):
    """An installation with one provider, which vouches for what a cookie says."""

    def providers(self) -> tuple[str, ...]:
        return ("default",)

    def address(self, provider: str) -> str:
        return f"/auth/login?provider={provider}"

    def email(self, cookies, origin: str) -> str:
        return cookies.get("_streamlit_user", "")


class UploadedInMemory:
    """No file yet."""

    def __init__(self) -> None:
        self.file_storage: dict = {}

    def remove_file(self, session_id: str, file_id: str) -> None:
        raise AssertionError


async def call(door: Door, scope: dict, incoming: list[dict]) -> list[dict]:
    """What an ASGI application sends on one connection."""
    sent: list[dict] = []

    async def receive() -> dict:
        return incoming.pop(0)

    async def send(message: dict) -> None:
        sent.append(message)

    await door(scope, receive, send)  # type: ignore[arg-type]
    return sent


def make_door(store: Store, app: Callable | None = None, openid: NoOpenId | None = None, **options) -> Door:
    async def nothing(scope, receive, send) -> None:
        raise AssertionError("nobody gets here")

    return Door(
        app or nothing,
        Sessions(store),
        secret="x" * 32,
        openid=openid or NoOpenId(),
        inline_scripts=[],
        uploaded_files=UploadedInMemory,
        harmless_message=HARMLESS,
        **options,
    )


def test_an_open_websocket_carries_nothing_out_once_its_session_is_revoked(sqlite_store):
    seen: list[bytes] = []

    async def app(scope, receive, send) -> None:
        for _ in range(2):
            seen.append((await receive())["bytes"])
            if len(seen) == 1:
                sqlite_store.people.revoke_sessions(ADMIN, user.id)
                door.sessions.forget()

    user = sqlite_store.people.add(ADMIN, "anna", role="annotator", password="correct horse battery")
    door = make_door(sqlite_store, app)
    cookie = f"tiebreak_session={door.sign(sqlite_store.people.start_session(user))}"
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie.encode())]
    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers, "client": ("127.0.0.1", 1)}
    messages = [{"type": "websocket.receive", "bytes": text} for text in (b"first", b"second")]
    asyncio.run(call(door, scope, messages))
    assert seen == [b"first", HARMLESS]


@pytest.mark.parametrize(("failures", "arrives"), [(3, b"first"), (10**6, HARMLESS)])
def test_a_message_waits_for_a_database_that_is_away_and_the_socket_stays(
    sqlite_store, monkeypatch, caplog, failures, arrives
):
    seen: list[bytes] = []
    asked = 0

    async def app(scope, receive, send) -> None:
        door.sessions.forget()
        monkeypatch.setattr(sqlite_store.people, "session_user", session_user)
        seen.append((await receive())["bytes"])

    def session_user(token: str) -> object:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise OperationalError("SELECT secret", {}, Exception("the server closed the connection"))
        return user

    user = sqlite_store.people.add(ADMIN, "anna", role="annotator", password="correct horse battery")
    door = make_door(sqlite_store, app)
    monkeypatch.setattr(authentication, "RETRY_S", 0.01)
    monkeypatch.setattr(authentication, "PATIENCE_S", 0.2)
    cookie = f"tiebreak_session={door.sign(sqlite_store.people.start_session(user))}"
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie.encode())]
    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers, "client": ("127.0.0.1", 1)}
    asyncio.run(call(door, scope, [{"type": "websocket.receive", "bytes": b"first"}]))
    assert seen == [arrives]
    assert asked > 3
    assert "secret" not in caplog.text


def test_a_revoked_session_is_forgotten_within_ten_seconds(sqlite_store, monkeypatch):
    user = sqlite_store.people.add(ADMIN, "anna", role="annotator", password="correct horse battery")
    token = sqlite_store.people.start_session(user)
    sessions = Sessions(sqlite_store)
    assert sessions.user(token) == user
    sqlite_store.people.revoke_sessions(ADMIN, user.id)
    assert sessions.user(token) == user
    later = time.monotonic() + 10.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert sessions.user(token) is None


def get(path: str, cookie: str = "") -> dict:
    headers = [(b"host", b"localhost")] + ([(b"cookie", cookie.encode())] if cookie else [])
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "server": ("localhost", 80),
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }


def header(sent: list[dict], name: str) -> str:
    return next((value.decode() for key, value in sent[0]["headers"] if key.decode() == name), "")


def test_openid_lets_in_the_accounts_we_know(sqlite_store):
    door = make_door(sqlite_store, openid=OneOpenId())
    sqlite_store.people.add(ADMIN, "ada@example.org", role="admin", origin="oidc")
    incoming = [{"type": "http.request", "body": b""}]

    def ask(path: str, cookie: str = "") -> list[dict]:
        return asyncio.run(call(door, get(path, cookie), list(incoming)))

    assert b"/sign-in/with/default" in ask("/sign-in")[1]["body"]
    assert header(ask("/sign-in/with/default"), "location") == "/auth/login?provider=default"
    assert header(ask("/sign-in/with/other"), "location") == "/sign-in"
    assert header(ask("/", "_streamlit_user=ada@example.org"), "location") == "/sign-in/returned"
    linked = ask("/sign-in/returned", '_streamlit_user=ada@example.org; tiebreak_asked="/runs?project=x&run=3"')
    assert header(linked, "location") == "/runs?project=x&run=3"
    elsewhere = ask("/sign-in/returned", '_streamlit_user=ada@example.org; tiebreak_asked="//evil.example"')
    assert header(elsewhere, "location") == "/"
    welcome = ask("/sign-in/returned", "_streamlit_user=ada@example.org")
    assert header(welcome, "set-cookie").startswith("tiebreak_session=")
    stranger = ask("/sign-in/returned", "_streamlit_user=eve@example.org")
    assert stranger[0]["status"] == 403
    assert "tiebreak_session" not in header(stranger, "set-cookie")
