"""From policies to a win rate by people: sample, import as a blind round, judge, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.__main__ import main as alignment
from annotate_app.__main__ import main as annotate_app
from annotate_app.access import Actor
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
NUM_PROMPTS = 8


def test_samples_are_judged_blindly_and_the_win_rate_is_what_people_said(
    policy_folders, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, samples, judged = (tmp_path / name for name in ("prompts.jsonl", "samples.jsonl", "judgments.jsonl"))
    prompts.write_text("".join(json.dumps({"prompt": f"Order {n}: where is it?"}) + "\n" for n in range(NUM_PROMPTS)))
    models = [f"--model={folder}" for folder in policy_folders]
    words = ["--prompts", str(prompts), "--out", str(samples), "--max-new-tokens", "8"]
    assert alignment(["sample", *models, *words]) == 0
    db = ["--db", sqlite_url]
    assert annotate_app(["project", "create", "round", "--overlap", "1", *db]) == 0
    assert annotate_app(["import", "round", str(samples), *db]) == 0

    store = Store.open(sqlite_url)
    project = store.projects.get(ADMIN, "round")
    comparisons = list(store.comparisons.iterate(ADMIN, project.id))
    store.close()
    assert len(comparisons) == NUM_PROMPTS
    assert all({each.source_a, each.source_b} == {"base", "trained"} for each in comparisons)
    # people prefer the trained policy five times, the base twice, and once neither
    said = ["trained"] * 5 + ["base"] * 2 + ["tie"]
    with judged.open("w") as file:
        for comparison, winner in zip(comparisons, said, strict=True):
            choice = "tie" if winner == "tie" else "a" if comparison.source_a == winner else "b"
            row = {"comparison_id": comparison.id, "annotator": "ada", "choice": choice}
            file.write(json.dumps(row) + "\n")
    assert annotate_app(["judgments", "import", "round", str(judged), *db]) == 0
    capsys.readouterr()
    assert annotate_app(["winrate", "round", "--json", *db]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    rate = pair["rate"]["value"] if pair["one"] == "trained" else 1 - pair["rate"]["value"]
    assert rate == pytest.approx(5.5 / 8)
    assert pair["tie_share"]["value"] == pytest.approx(1 / 8)
    assert pair["rate"]["low"] < pair["rate"]["value"] < pair["rate"]["high"]
