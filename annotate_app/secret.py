"""The secret that signs cookies: from TIEBREAK_SECRET, else from a file beside the database that only its owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

MIN_LENGTH = 32


def cookie_secret(url: str) -> str:
    """The secret of the installation whose database this is; made at its first start, so that restarts keep sessions.

    Raises:
        ValueError: if TIEBREAK_SECRET is shorter than 32 characters.
    """
    given = os.environ.get("TIEBREAK_SECRET")
    if given is not None:
        if len(given) < MIN_LENGTH:
            raise ValueError(f"TIEBREAK_SECRET has {len(given)} characters, allowed is {MIN_LENGTH} or more")
        return given
    path = _folder(url) / "cookie.secret"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def _folder(url: str) -> Path:
    """The folder of a SQLite file; for a database elsewhere, the folder `data`."""
    prefix, _, path = url.partition("sqlite:///")
    folder = Path(path.partition("?")[0]).parent if not prefix and path else Path("data")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
