"""`annotate-app groups`: fields in, figures out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.store.store import Store


def test_fields_come_in_and_figures_go_out(demo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = str(shutil.copy(demo_file, tmp_path / "demo.db"))
    with Store.open(f"sqlite:///{db}") as store:
        project = store.projects.get(Actor.command_line(), DEMO)
        names = store.judgments.votes(Actor.command_line(), project.id).annotators
    lines = [f"{name},{'KE' if number % 2 else 'NZ'}" for number, name in enumerate(names)]
    (tmp_path / "people.csv").write_text("\n".join(["person,country", *lines]), encoding="utf-8")
    assert main(["groups", "set", DEMO, str(tmp_path / "people.csv"), "--db", db]) == 0
    assert f"fields of {len(names)} people changed" in capsys.readouterr().out
    show = ["groups", "show", DEMO, "--by", "country", "--least-people", "2", "--bootstrap", "50", "--db", db]
    assert main([*show, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {group["name"] for group in document["groups"]} == {"KE", "NZ"}
    assert len(document["agreement"]) == 3
    assert main([*show, "--figure", "models"]) == 0
    assert "log strength" in capsys.readouterr().out
    assert main([*show, "--figure", "reward_model"]) == 2
    assert "needs --run" in capsys.readouterr().err
    assert main(["groups", "show", DEMO, "--by", "age", "--db", db]) == 2
    assert "field is 'age', people have country" in capsys.readouterr().err
    assert main(["groups", "fields", DEMO, "--db", db]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("person,country")
