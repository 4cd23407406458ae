"""The how-to and the reference of the API are true: blocks run against a server, tables are the document's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from module_files import load_module

from annotate_app.access import Actor
from annotate_app.api.application import openapi_document
from annotate_app.store.store import Store

ROOT = Path(__file__).parents[3]
HOW_TO = (ROOT / "docs" / "how-to" / "api.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
ADMIN = Actor.command_line()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", HOW_TO, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_of_the_how_to_runs_against_a_server(
    start_server: Callable, sqlite_url: str, tmp_path: Path, make_project, make_actor
) -> None:
    with Store.open(sqlite_url, migrate=False) as store:
        project = make_project(store, "desk")
        lead = make_actor(store, "lead", "lea", project)
        secret = store.api_tokens.create(lead, "how-to", role="lead").secret
    server = start_server(sqlite_url, "--no-worker")
    shutil.copytree(ROOT / "data" / "samples", tmp_path / "data" / "samples")
    environment = os.environ | {
        "TIEBREAK_DB": sqlite_url,
        "TIEBREAK_URL": server.url,
        "TIEBREAK_TOKEN": secret,
        "PYTHONPATH": str(ROOT),
    }
    shells = [block.replace("annotate-app ", f"{sys.executable} -m annotate_app ") for block in blocks("sh")]
    assert [len(shells), len(blocks("python"))] == [2, 2]
    curls = [text for text in shells if "curl" not in text or shutil.which("curl")]
    for text in [*curls, *(f"{sys.executable} - <<'END'\n{block}END\n" for block in blocks("python"))]:
        text = text.replace("token revoke 1", "token revoke 2")  # 1 is the one in use here
        done = subprocess.run(
            ["bash", "-eu", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "judgments.jsonl").exists()


def test_the_reference_holds_every_operation_and_form() -> None:
    pytest.importorskip("mkdocs")
    page = load_module("docs_reference_api", ROOT / "docs" / "hooks" / "reference.py").on_page_markdown(REFERENCE)
    document = openapi_document()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = page.partition(f"### `{method.upper()} {path}`\n")[2].partition("\n### ")[0]
            assert operation["description"] in section
            for parameter in operation.get("parameters", ()):
                assert f"| `{parameter['name']}` |" in section, f"{method} {path} {parameter['name']}"
    for name, schema in document["components"]["schemas"].items():
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        for key in schema.get("properties", {}):
            assert f"| `{key}` |" in section, f"{name}.{key}"
    statuses = set(re.findall(r"^\| (\d{3}) \|", REFERENCE, flags=re.MULTILINE))
    described = {
        status for methods in document["paths"].values() for each in methods.values() for status in each["responses"]
    }
    assert {status for status in described if status >= "400"} == statuses


def test_the_how_to_says_the_waits_there_are() -> None:
    from annotate_app.store.projects.webhook_deliveries import RETRY_S

    def words(seconds: float) -> str:
        return (
            f"{seconds:.0f} s"
            if seconds < 60
            else f"{seconds / 60:.0f} min"
            if seconds < 3600
            else f"{seconds / 3600:.0f} h"
        )

    *most, last = [words(seconds) for seconds in RETRY_S]
    assert f"after {', '.join(most)} and {last}, then given up" in " ".join(HOW_TO.split())
