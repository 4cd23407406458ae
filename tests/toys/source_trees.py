"""Syntax trees of source files, parsed once a process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def tree_of(path: Path) -> ast.Module:
    """The tree of a file.

    CPython counts the depth of a tree in a number that all threads share (python/cpython issue 106905): while a thread
    that another test left behind compiles something, parsing may end in a SystemError. Then it is done again.
    """
    text = path.read_text(encoding="utf-8")
    for _ in range(4):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)
