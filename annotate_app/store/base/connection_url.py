"""The address of the database: which are taken, and how one is shown. What it knows of passwords is shown to nobody."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",  # as hosting services hand it out
}
ALLOWED = "a path such as data/tiebreak.db, sqlite:///PATH and postgresql://USER:PASSWORD@HOST/NAME"
_SECRET_WORDS = ("pass", "pwd", "secret", "token")
_HIDDEN = "***"


def parse_url(text: str) -> URL:
    """The URL of a database, with the driver that is used for it.

    Raises:
        ValueError: if it is none, or of another database; without any part of it that may be a password.
    """
    try:
        url = make_url(text)
        driver = DRIVERS.get(url.drivername.lower())
    except (ArgumentError, ValueError):  # the second for a port that is none; both quote what they do not understand
        raise ValueError(f"the database is neither a URL nor a path of a file: allowed are {ALLOWED}") from None
    if "@" in (url.host or ""):
        raise ValueError("the database URL has more than one @: one in a user's name or a password is written %40")
    if driver is None:
        raise ValueError(f"database URL {shown_url(url)!r}: allowed are {ALLOWED}")
    return url.set(drivername=driver)


def shown_url(url: URL) -> str:
    """A URL for people, with three stars for every password."""
    hidden = {name: _HIDDEN for name in url.query if _is_secret(name)}
    shown = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return shown.replace("%2A%2A%2A", _HIDDEN)


def without_secrets(text: str, url: URL) -> str:
    """A text, such as a driver's error, with three stars for what is a password in a URL."""
    values = [url.password] if url.password else []
    for name, value in url.query.items():
        if _is_secret(name):
            values += [value] if isinstance(value, str) else value
    for value in sorted(filter(None, map(str, values)), key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)
