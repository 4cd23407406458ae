"""What is believed of a request: the client behind proxies, its Host, and where it was written."""

from __future__ import annotations

import pytest

from annotate_app.server.arrival import arrive, is_secure, plain_address, refuse

PROXIES = ("127.0.0.1", "10.0.0.1")


def request(*headers: tuple[str, str], kind: str = "http", method: str = "POST", peer: str = "127.0.0.1") -> dict:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "headers": raw, "client": (peer, 1), "server": ("127.0.0.1", 8501)}
    return scope | ({"method": method, "scheme": "http"} if kind == "http" else {"scheme": "ws"})


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1", "203.0.113.7"], "203.0.113.7"),  # HAProxy adds a line
        (["1.1.1.1, 2.2.2.2", "203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        (["1.1.1.1", "203.0.113.7", "10.0.0.1"], "203.0.113.7"),
        (["203.0.113.7:51000"], "203.0.113.7"),
        (["[2001:DB8::1]:443"], "2001:db8::1"),
        (["1.1.1.1", "2001:0db8:0::0001"], "2001:db8::1"),
        (["10.0.0.1"], "10.0.0.1"),
        ([""], "127.0.0.1"),
        (["203.0.113.7, "], "203.0.113.7"),
        (["unknown"], "unknown"),
        ([], "127.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy(lines: list[str], client: str) -> None:
    headers = [("X-Forwarded-For", line) for line in lines]
    assert arrive(request(*headers), "", PROXIES)["client"][0] == client
    assert arrive(request(*headers, peer="::ffff:10.0.0.1"), "", PROXIES)["client"][0] in (client, "10.0.0.1")
    assert arrive(request(*headers, peer="9.9.9.9"), "", PROXIES)["client"] == ("9.9.9.9", 1)


@pytest.mark.parametrize(
    ("lines", "secure", "told"),
    [
        (["https"], True, True),
        (["http"], False, True),
        (["https", "http"], False, True),  # the first is what the browser sent
        (["http", "https"], True, True),
        (["https, http"], False, True),
        (["HTTPS"], True, True),
        (["wss"], True, True),
        (["ws"], False, True),
        (["gopher"], False, False),
        ([], False, False),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_says(lines: list[str], secure: bool, told: bool) -> None:
    headers = [("X-Forwarded-Proto", line) for line in lines]
    for kind in ("http", "websocket"):
        scope = arrive(request(*headers, kind=kind), "", PROXIES)
        assert (is_secure(scope), scope["is_scheme_told"]) == (secure, told)
        assert not is_secure(arrive(request(*headers, kind=kind, peer="9.9.9.9"), "", PROXIES))


def test_the_account_is_named_by_a_trusted_proxy_alone_and_headers_of_ours_by_nobody() -> None:
    headers = (("X-User", "ada"), ("X-Tiebreak-Session", "forged"), ("Accept", "*/*"))
    scope = arrive(request(*headers), "x-user", PROXIES)
    assert scope["proxied_user"] == "ada"
    assert scope["headers"] == [(b"accept", b"*/*")]
    assert arrive(request(*headers, peer="9.9.9.9"), "x-user", PROXIES)["proxied_user"] == ""
    assert arrive(request(*headers), "", PROXIES)["proxied_user"] == ""


@pytest.mark.parametrize(
    ("host", "origin", "forwarded", "status"),
    [
        ("labels.example", "http://labels.example", None, None),
        ("labels.example:8501", "http://labels.example:8501", None, None),
        ("[::1]:8501", "http://[::1]:8501", None, None),
        ("labels.example", "https://labels.example", "https", None),
        ("labels.example", "https://labels.example", None, None),  # TLS in front that is not told
        ("labels.example:8443", "https://labels.example:8443", None, None),
        ("labels.example:8501", "https://labels.example:8501", None, 403),  # where we speak plain HTTP
        ("labels.example", "https://labels.example", "http", 403),
        ("labels.example", "http://labels.example", "https", 403),
        ("labels.example", "ftp://labels.example", None, 403),
        ("labels.example", "//labels.example", None, 403),
        ("labels.example", "http://labels.example:80", None, 403),
        ("labels.example", "http://ada@labels.example", None, 403),
        ("labels.example", "http://evil.example", None, 403),
        ("labels.example", "http://[", None, 403),
        ("labels.example", "null", None, 403),
        ("labels.example", "", None, 403),
        ("", "", None, 403),
        ("[::1", "http://[::1", None, 400),
        ("a@labels.example", "http://a@labels.example", None, 400),
    ],
)
def test_a_write_comes_from_a_page_of_this_server(host: str, origin: str, forwarded: str | None, status) -> None:
    headers = [("Host", host), ("Origin", origin)]
    headers += [("X-Forwarded-Proto", forwarded)] if forwarded else []
    for kind in ("http", "websocket"):
        answer = refuse(arrive(request(*headers, kind=kind), "", PROXIES), ())
        assert (None if answer is None else answer.status_code) == status


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True),
        ("LOCALHOST:8501", True),
        ("[::1]", True),
        ("localhost.evil.example", False),
        ("evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example@localhost", False),
        ("localhost:8501:1", False),
        ("", False),
    ],
)
def test_only_allowed_hosts_are_answered_to(host: str, served: bool) -> None:
    scope = arrive(request(("Host", host), method="GET"), "", ())
    assert (refuse(scope, ("localhost", "::1")) is None) == served


def test_a_host_or_an_origin_that_stands_twice_is_refused() -> None:
    for name in ("Host", "Origin"):
        headers = [("Host", "a.example"), ("Origin", "http://a.example"), (name, "http://a.example")]
        answer = refuse(arrive(request(*headers), "", ()), ())
        assert answer is not None
        assert answer.status_code == 400


def test_a_request_without_a_host_is_answered_where_any_host_is() -> None:
    """As health checks of HTTP/1.0 send it."""
    assert refuse(arrive(request(method="GET"), "", ()), ()) is None


def test_an_address_has_one_spelling() -> None:
    assert plain_address(" ::ffff:10.0.0.1 ") == "10.0.0.1"
    assert plain_address("0:0:0:0:0:0:0:1") == "::1"
    assert plain_address("no address") == "no address"
