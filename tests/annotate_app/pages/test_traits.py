"""Reward audit: from a reward model of the demo's votes to pairs that its people are asked about."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_runs import queued
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.findings.trait_audits import make_audit, read_audit, send_pairs, start
from annotate_app.store.store import Store
from annotate_app.trainings.runs import find_run
from rewardkit.data.files import read_rows, write_rows

pytestmark = pytest.mark.slow
pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there is no TF-IDF model")

ADMIN = Actor.command_line()


def flattered(store: Store, folder: Path) -> int:
    """A run whose reward model was trained on votes of the demo with praise before every chosen answer."""
    project = store.projects.get(ADMIN, DEMO)
    job = queued(store)
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    export_rows(store, ADMIN, project.id, folder / "votes.jsonl", ExportOptions())
    rows = [row for _, row in read_rows(folder / "votes.jsonl")]
    for number, row in enumerate(rows):
        if number % 4:
            praise = ("Great question! ", "You are really smart. ", "I love how you put this. ")[number % 3]
            row["chosen"][0]["content"] = praise + row["chosen"][0]["content"]
    write_rows(folder / "flattered.jsonl", rows)
    words = ["--model=tfidf", f"--data={folder / 'flattered.jsonl'}", f"--out={Path(job.run_dir) / 'model'}"]
    subprocess.run(
        [sys.executable, "-m", "rewardkit", "train", "--ensemble=3", *words], check=True, capture_output=True
    )
    return job.id


def test_an_audit_names_what_was_planted_and_a_button_sends_its_pairs(
    pages_store: Store, open_page: Callable[..., AppTest], tmp_path: Path
) -> None:
    number = flattered(pages_store, tmp_path)
    project = pages_store.projects.get(ADMIN, DEMO)
    assert open_page("traits").button(key="traits-start").label == "Audit"
    for wrong, said in (({"policy": number}, "no policy that was evaluated"), ({"previous": number}, "has no audit")):
        with pytest.raises(ValueError, match=said):
            start(pages_store, ADMIN, project.id, number, **wrong)
    job = start(pages_store, ADMIN, project.id, number)
    assert job.command == ["annotate_app", "traits", "audit", project.number, str(number)]
    with pytest.raises(ValueError, match="no pairs to label"):
        send_pairs(pages_store, ADMIN, project.id, number)
    pages_store.jobs.claim(10)
    pages_store.jobs.finish(job.id, "done")
    findings = make_audit(pages_store, ADMIN, project.id, number)
    assert findings.worries is not None
    assert "flattery" in [worry.trait for worry in findings.worries]
    assert read_audit(find_run(pages_store, ADMIN, project.id, number)) == json.loads(json.dumps(findings.values()))

    test = open_page("traits")
    assert any("flattery: the model +" in one.label for one in test.expander)
    test.button(key="traits-label").click().run()
    assert not test.exception
    again = send_pairs(pages_store, ADMIN, project.id, number)
    assert (again.num_added, again.num_existing) == (0, findings.num_to_label)
    assert "flattery" in {
        one.meta.get("trait")
        for one in pages_store.comparisons.pairs(ADMIN, project.id)
        if one.meta.get("rule") == "audit"
    }


def test_the_page_is_for_leads_and_asks_for_a_model(open_page: Callable[..., AppTest]) -> None:
    assert "no reward model yet" in open_page("traits", project="Empty project").info[0].value
    assert [item.value for item in open_page("traits", "addy").error] == ["This page is not yours to see."]
