"""Reads the interface's texts: one YAML file a language in the folder `languages`, its keys joined by dots.

English is the language that has every text; another may lack some, which are then shown in English.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

FALLBACK = "en"
FOLDER = Path(__file__).parent / "languages"


@cache
def languages() -> dict[str, str]:
    """The languages there are: what each calls itself, by its code."""
    codes = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return {code: _read(code)["language"] for code in codes}


@cache
def words(language: str) -> dict[str, str]:
    """The texts in a language by key, `{name}` in them stands for a value; English where the language lacks one."""
    texts = _read(FALLBACK)
    return texts if language not in languages() else texts | _read(language)


def say(language: str, key: str, **values: object) -> str:
    """One text in a language, its values filled in.

    Raises:
        KeyError: if there is no such text.
    """
    text = words(language)[key]
    return text.format_map(values) if values else text


def say_default(language: str, text: str) -> str:
    """One of the texts that a rubric has where it says nothing of its own, in a language; any other as it is."""
    key = _defaults().get(text)
    return text if key is None else words(language)[key]


@cache
def _defaults() -> dict[str, str]:
    """The keys of those texts, by their English."""
    english = words(FALLBACK)
    return {english[key]: key for key in reversed(english) if key.startswith("default.")}


def choose_language(preferred: str, accepted: str) -> str:
    """The language to speak: what the person chose, else the first of the browser's Accept-Language that there is."""
    wanted = [preferred, *(part.partition(";")[0].strip() for part in accepted.split(","))]
    codes = (code.lower().partition("-")[0] for code in wanted)
    return next((code for code in codes if code in languages()), FALLBACK)


def _read(code: str) -> dict[str, str]:
    content = yaml.safe_load((FOLDER / f"{code}.yaml").read_text(encoding="utf-8"))
    return dict(_flatten(content, ""))


def _flatten(content: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
