"""Addresses of databases: those that are taken, and no password in any error."""

from __future__ import annotations

import pytest

from annotate_app.__main__ import main
from annotate_app.store.base.connection_url import parse_url, shown_url, without_secrets
from annotate_app.store.store import Store


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_all_spellings_of_postgresql_use_one_driver(scheme: str) -> None:
    url = parse_url(f"{scheme}://u:s%40crét/%3A@h:5433/x?sslmode=require")
    assert (url.drivername, url.host, url.port, url.database) == ("postgresql+psycopg", "h", 5433, "x")
    assert (url.username, url.password, url.query["sslmode"]) == ("u", "s@crét/:", "require")


def test_a_database_opens_by_the_address_that_hosting_services_hand_out(make_postgresql) -> None:
    url = make_postgresql().replace("postgresql+psycopg://", "postgres://")
    with Store.open(url) as store:
        assert store.check() == []


SECRET = "s3kret"


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://u:{SECRET}@127.0.0.1:1/x",
        f"postgresql://u:{SECRET}@127.0.0.1:1/x",
        f"postgresql+psycopg2://u:{SECRET}@127.0.0.1:1/x",
        f"postgres://u:%73{SECRET[1:]}@127.0.0.1:1/x",
        f"postgres://u:p@{SECRET}@127.0.0.1:1/x",
        f"postgres://u:{SECRET}@127.0.0.1:{SECRET}/x",
        f"postgres://u:{SECRET}/{SECRET}?{SECRET}#{SECRET}@127.0.0.1:1/x",
        f"postgres://u:{SECRET}",
        f"postgres://u:{SECRET}/x",
        f"postgres:u:{SECRET}@h/x",
        f"//u:{SECRET}@h/x",
        f"u:{SECRET}@h/x",
        f"postgres://127.0.0.1:1/x?user=u&password={SECRET}",
        f"postgres://127.0.0.1:1/x?PASSWORD={SECRET}&sslpassword={SECRET}x&password={SECRET}",
        f"postgres://127.0.0.1:1/x?connect_timeout=soon&password={SECRET}",
        f"mysql://u:{SECRET}@h/x?passwd={SECRET}",
        f"mysql+pymysql://u:{SECRET}@h/x",
        f"http://u:{SECRET}@h/x?access_token={SECRET}",
        f"oracle://u:{SECRET}@h:1521/x",
        f"mongodb+srv://u:{SECRET}@h/x",
    ],
)
def test_no_error_shows_a_password(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "list", "--db", url]) == 2
    words = capsys.readouterr().err
    assert words.startswith("annotate-app project list: ")
    assert words.count("\n") == 1
    assert SECRET not in words


def test_a_refusal_shows_the_rest_of_the_address() -> None:
    with pytest.raises(
        ValueError,
        match=r"URL 'mysql://u:\*\*\*@h/x\?password=\*\*\*': allowed are a path such as data",
    ):
        parse_url("mysql://u:a@h/x?password=b")
    with pytest.raises(ValueError, match="is written %40"):
        parse_url("postgres://u:p@ss@h/x")
    assert shown_url(parse_url("sqlite:///a/b.db")) == "sqlite:///a/b.db"
    assert shown_url(parse_url("postgres://u@h/x?sslmode=require")) == "postgresql+psycopg://u@h/x?sslmode=require"


def test_secrets_are_taken_out_of_a_drivers_words() -> None:
    url = parse_url("postgres://u:long@h/x?password=longer&application_name=named")
    assert without_secrets("named: 'long' and 'longer'", url) == "named: '***' and '***'"
    assert without_secrets("nothing to hide", parse_url("postgres://u@h/x")) == "nothing to hide"
