"""An option that a text of a package names is one that the package, or one below it, has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from source_trees import tree_of

import alignment.__main__
import rewardkit.__main__
from rewardkit.run.command import CommandLine

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9_-]*)")
STYLE = re.compile(r"var\(--[\w-]+\)|--[\w-]+:")  # custom properties of CSS
OTHER_PROGRAMS = re.compile(r"\b(pip install|vllm serve|bwrap) ")  # whose options follow
OF_ALL = {"config", "help", "x", "no-x"}  # the last two stand for a name in the words on bool options


def test_options_named_in_the_texts_of_a_package_exist_there_or_below() -> None:
    below: set[str] = set(OF_ALL)
    for command_line in (rewardkit.__main__.COMMAND_LINE, alignment.__main__.COMMAND_LINE):
        below |= options(command_line)
        named = {(text_place, name) for text_place, name in named_options(command_line.package)}
        assert len(named) > 10  # the search finds some at all
        assert sorted((where, name) for where, name in named if name not in below) == []


def options(command_line: CommandLine) -> set[str]:
    configs = (command.config for command in command_line.commands)
    return {field.name.replace("_", "-") for config in configs for field in fields(config)}


def named_options(package: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and not OTHER_PROGRAMS.search(node.value):
                for name in OPTION.findall(STYLE.sub("", node.value)):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", name.strip("-").replace("_", "-")
