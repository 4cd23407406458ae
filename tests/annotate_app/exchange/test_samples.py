"""The sample files: what the demo gives, readable by the commands, and counted right in the data card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from module_files import load_module

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.demo import desk_comparisons, remarks
from annotate_app.store.store import Store

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "data" / "samples"
CARD = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
ADMIN = Actor.command_line()


def test_samples_are_up_to_date(tmp_path: Path) -> None:
    load_module("make_samples", ROOT / "data" / "make_samples.py").write_samples(tmp_path)
    names = {"rubric.yaml", "comparisons.jsonl", "responses.jsonl", "judgments.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SAMPLES.iterdir()} == names
    for name in names:
        assert (SAMPLES / name).read_bytes() == (tmp_path / name).read_bytes(), f"run data/make_samples.py ({name})"


def test_the_commands_of_the_data_card_run(
    sqlite_store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    monkeypatch.chdir(ROOT)
    commands = re.findall(r"^    annotate-app (.+)$", CARD, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert main(command.split()) == 0, command
    project = sqlite_store.projects.get(ADMIN, "desk")
    given = {item.gold.comparison.id: item.gold.comparison for item in desk_comparisons()}
    stored = list(sqlite_store.comparisons.iterate(ADMIN, project.id))
    assert len(stored) == 52
    for comparison in stored:
        assert comparison == given[comparison.id]
    assert len(list(sqlite_store.judgments.iterate(ADMIN, project.id))) == 150


def test_responses_give_the_same_comparisons(
    sqlite_store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    assert main(["project", "create", "two", "--protocol", "support_desk"]) == 0
    assert main(["import", "two", str(SAMPLES / "responses.jsonl")]) == 0
    project = sqlite_store.projects.get(ADMIN, "two")
    found = {
        frozenset((each.completion_a, each.completion_b))
        for each in sqlite_store.comparisons.iterate(ADMIN, project.id)
    }
    given = [item.gold.comparison for item in desk_comparisons() if item.gold.comparison.id[:8] <= "desk-020"]
    assert found == {frozenset((each.completion_a, each.completion_b)) for each in given}


def test_the_data_card_counts_right() -> None:
    desk = [item.gold.comparison for item in desk_comparisons()]
    prompts = {comparison.prompt for comparison in desk}
    assert f"{sum(len(prompt) > 1 for prompt in prompts)} of the conversations have several turns" in CARD
    assert f"{sum(len(each) for each in remarks().values())} sentences" in CARD
    for name in ("comparisons", "responses", "judgments"):
        rows = (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").count("\n")
        assert re.search(rf"`{name}\.jsonl` .*\| {rows} \|", CARD), (name, rows)
    best: dict[object, tuple[float, str]] = {}
    for item in desk_comparisons():
        for gold, source in (
            (item.gold.gold_a, item.gold.comparison.source_a),
            (item.gold.gold_b, item.gold.comparison.source_b),
        ):
            best[item.gold.comparison.prompt] = max(best.get(item.gold.comparison.prompt, (-9.0, "")), (gold, source))
    assert round(10 * sum(source == "desk-small" for _, source in best.values()) / len(best)) == 3
