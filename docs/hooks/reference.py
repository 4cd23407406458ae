"""Parts of the documentation that are made of the code when the site is built.

A page holds a line such as `[[commands rewardkit]]`; `on_page_markdown` puts there what the parsers of that package
say. Nothing heavy is imported. `tests/docs/test_reference.py` holds that every command and option is there.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ActionYesNo
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from alignment.__main__ import COMMAND_LINE as ALIGNMENT
from annotate_app.__main__ import ROOMS, build_parser
from rewardkit.__main__ import COMMAND_LINE as REWARDKIT

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^\[\[(\w+) ([\w-]+)\]\]$", flags=re.MULTILINE)
SHARED = ("help", "config", "print_config")


def parsers_of(program: str) -> list[argparse.ArgumentParser]:
    """The whole command line of a program; of one that spells out a command at a time, a parser for each."""
    if program == "annotate-app":
        return [build_parser(list(dict.fromkeys(ROOMS.values())))]
    command_line = {"rewardkit": REWARDKIT, "alignment": ALIGNMENT}[program]
    return [command_line.parser(command.name) for command in command_line.commands]


def commands_of(program: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every command of a program: its words, its own parser and its line of help."""
    for parser in parsers_of(program):
        yield from leaves(parser, program)


def leaves(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every command below a parser: its words, its own parser and its line of help."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for word, child in action._name_parser_map.items():
            inner = list(leaves(child, f"{name} {word}"))
            yield from inner or [(f"{name} {word}", child, helps.get(word, ""))]


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a command takes, without what all of them take."""
    for action in parser._actions:
        if action.dest not in SHARED and not isinstance(action, argparse._SubParsersAction):
            yield action


def commands(program: str) -> str:
    """Every command of a program with a table of its arguments and options."""
    parts = []
    for name, parser, line in commands_of(program):
        parts.append(f"## {name}\n\n{sentence(line)}\n")
        rows = [option_row(action) for action in options_of(parser)]
        if rows:
            parts.append("| option | what it says | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def option_row(action: argparse.Action) -> str:
    """A line of a table of options; where one is on by default, also how it is switched off."""
    flags = [flag for flag in action.option_strings if flag.startswith("--")]
    if not flags:
        return f"| `{action.dest.upper()}` | {cell(action.help)} | {'' if action.required else 'may be left out'} |"
    shown_flags = flags if isinstance(action, ActionYesNo) and action.default is True else flags[:1]
    names = ", ".join(f"`--{flag[2:].replace('_', '-')}`" for flag in shown_flags)
    default = action.default
    shown = "required" if action.required else "" if default in (None, "", [], argparse.SUPPRESS) else f"`{default}`"
    return f"| {names} | {cell(action.help)}{choices_of(action)} | {shown} |"


def choices_of(action: argparse.Action) -> str:
    """The words that an option allows, in brackets."""
    hint = getattr(action, "_typehint", None)
    allowed: tuple[object, ...] = tuple(action.choices or ())
    for inner in (hint, *typing.get_args(hint)):
        if typing.get_origin(inner) is typing.Literal:
            allowed = typing.get_args(inner)
    return f" ({', '.join(f'`{word}`' for word in allowed)})" if allowed else ""


def configs(program: str) -> str:
    """The configuration class behind every command of a program."""
    command_line = {"rewardkit": REWARDKIT, "alignment": ALIGNMENT}[program]
    lines = []
    for command in command_line.commands:
        config = command.config
        count = len(dataclasses.fields(config))
        lines.append(f"| `{program} {command.name}` | `{config.__module__}.{config.__name__}` | {count} |\n")
    return "| command | class | fields |\n|---|---|---|\n" + "".join(lines)


def api(package: str) -> str:
    """Every public name of a package, for mkdocstrings to document."""
    homes = importlib.import_module(package)._HOMES
    parts = []
    for name, home in homes.items():
        module, _, attribute = home.partition(":")
        parts.append(f"::: {module}.{attribute or name}\n    options: {{heading: {name}, toc_label: {name}}}\n")
    return "\n".join(parts)


def house(package: str) -> str:
    """Every folder of a package with what its docstring says."""
    lines = [f"| `{place}/` | {cell(what)} |" for place, what in folders(package).items()]
    return "| folder | what is there |\n|---|---|\n" + "\n".join(lines) + "\n"


def folders(package: str) -> dict[str, str]:
    """By folder, the first paragraph of its docstring."""
    found = {}
    for path in sorted((ROOT / package).rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[str(path.parent.relative_to(ROOT))] = " ".join(text.partition("\n\n")[0].split())
    return found


def losses(kind: str) -> str:
    """The losses that `--loss` names, with their papers."""
    from alignment.config.loss_names import PAIR_LOSSES
    from alignment.config.policy_gradient_names import POLICY_LOSSES

    table = {"pairs": PAIR_LOSSES, "policy": POLICY_LOSSES}[kind]
    return "| `--loss` | what it is |\n|---|---|\n" + "".join(
        f"| `{name}` | {cell(traits.summary)} |\n" for name, traits in table.items()
    )


def alarms(_: str) -> str:
    """The failure modes that the watcher knows, in its own words."""
    from alignment.watch.failure_modes import FAILURE_MODES

    lines = [
        f"| `{mode.kind}` | {cell(mode.title)} | {mode.severity} | {cell(mode.cause)} | {cell(mode.advice)} |\n"
        for mode in FAILURE_MODES
    ]
    return "| kind | alarm | severity | likely cause | what to change |\n|---|---|---|---|---|\n" + "".join(lines)


def operations(version: str) -> str:
    """Every operation of the HTTP API with what it takes and gives, from its OpenAPI document."""
    from annotate_app.api.application import openapi_document

    document = openapi_document()
    parts = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"### `{method.upper()} {path}`\n\n{operation['description']}\n")
            rows = [
                f"| `{each['name']}` | {cell(each['description'])}{values_of(each['schema'])} "
                f"| {'required' if each.get('required') else shown_default(each['schema'])} |"
                for each in operation.get("parameters", ())
            ]
            if rows:
                parts.append("| parameter | what it says | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
            taken = operation.get("requestBody", {}).get("content", {})
            given = {status: answer for status, answer in operation["responses"].items() if status < "300"}
            lines = [f"Takes {shape_names(taken)}."] if taken else []
            lines += [
                f"Answers {status} with {shape_names(answer.get('content', {}))}." for status, answer in given.items()
            ]
            parts.append(" ".join(lines) + "\n")
    return "\n".join(parts)


def shapes(version: str) -> str:
    """Every form that a body of the HTTP API has, from its OpenAPI document."""
    from annotate_app.api.application import openapi_document

    parts = []
    for name, schema in sorted(openapi_document()["components"]["schemas"].items()):
        parts.append(f"### {name}\n\n{schema.get('description', '')}\n")
        needed = schema.get("required", ())
        rows = [
            f"| `{key}` | {type_of(value)} | {cell(value.get('description'))}"
            f"{'' if key in needed else ' (may be left out)'} |"
            for key, value in schema.get("properties", {}).items()
        ]
        parts.append("| field | type | what it is |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words, with a link where it has a form of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(
        schema.get("type", ""), schema.get("type", "anything")
    )


def values_of(schema: dict[str, Any]) -> str:
    """The words that a parameter allows, in brackets."""
    choices = next((each["enum"] for each in (schema, *schema.get("anyOf", ())) if "enum" in each), ())
    return f" ({', '.join(f'`{word}`' for word in choices)})" if choices else ""


def shown_default(schema: dict[str, Any]) -> str:
    """The default of a parameter, as tables of options show it."""
    default = schema.get("default")
    return "" if default in (None, "", []) else f"`{str(default).lower() if default in (True, False) else default}`"


def shape_names(content: dict[str, Any]) -> str:
    """What a body is: the form of its JSON, or its type."""
    names = [type_of(body["schema"]) if kind == "application/json" else f"`{kind}`" for kind, body in content.items()]
    return " or ".join(names) or "nothing"


MAKERS: dict[str, Callable[[str], str]] = {
    "alarms": alarms,
    "api": api,
    "commands": commands,
    "configs": configs,
    "house": house,
    "losses": losses,
    "operations": operations,
    "shapes": shapes,
}


def sentence(text: str) -> str:
    """Begins with a capital and ends with a stop."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def cell(text: object) -> str:
    """A text in a table of Markdown."""
    return " ".join(str(text or "").split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Is called by mkdocs with the text of every page."""
    return MARK.sub(lambda mark: MAKERS[mark[1]](mark[2]), markdown)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Is called by mkdocs with all files: the README's pictures are pictures of the site too."""
    for path in sorted((ROOT / "data" / "screenshots").glob("*.png")):
        files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    return files
