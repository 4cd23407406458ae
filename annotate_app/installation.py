"""What an installation keeps outside its database: the secret that signs cookies, and the folder it lies in."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

MIN_LENGTH = 32


def cookie_secret(url: str) -> str:
    """TIEBREAK_SECRET, else a secret made at the first start and kept, so that restarts keep sessions.

    Raises:
        ValueError: if TIEBREAK_SECRET is shorter than 32 characters.
    """
    secret = os.environ.get("TIEBREAK_SECRET")
    if secret is not None:
        if len(secret) < MIN_LENGTH:
            raise ValueError(f"TIEBREAK_SECRET has {len(secret)} characters, allowed is {MIN_LENGTH} or more")
        return secret
    path = data_folder(url) / "cookie.secret"
    if not path.exists():
        draft = path.with_name(f"cookie.secret.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # complete or not there, also when two processes start at once
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


def data_folder(url: str) -> Path:
    """Where an installation keeps files: beside a SQLite file; for a database elsewhere, the folder `data`."""
    before, separator, path = url.partition("sqlite:///")
    folder = Path(path.partition("?")[0]).parent if separator and not before and path else Path("data")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
