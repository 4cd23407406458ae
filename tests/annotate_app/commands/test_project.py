"""`project create|list|show|change` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate_app.__main__ import main

RUBRIC = "title: Which reply?\nguidelines: Read both.\nscale:\n  steps: 5\n"


@pytest.fixture
def run(sqlite_url: str, capsys: pytest.CaptureFixture[str]):
    """Runs a command on an empty database; its exit code, its output and its error output."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--db", sqlite_url])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_protocol_makes_a_project_and_flags_change_its_design(run) -> None:
    code, out, _ = run(
        *("project", "create", "desk", "--protocol", "instructgpt", "--overlap", "4", "--policy", "random"),
        *("--groups", "crowd=2", "expert=1", "--gold-feedback", "true", "--gold-rate", "0.1", "--json"),
    )
    made = json.loads(out)
    assert code == 0
    assert made["name"] == "desk"
    design = made["design"]
    assert (design["overlap"], design["policy"], design["gold_feedback"], design["gold_rate"]) == (
        4,
        "random",
        True,
        0.1,
    )
    assert design["groups"] == {"crowd": 2, "expert": 1}
    assert made["rubric_version"] == 1


def test_without_a_protocol_a_project_gets_the_general_one(run) -> None:
    from annotate_app.protocol.protocol import load_protocol

    code, out, _ = run("project", "create", "p", "--json")
    general = load_protocol("general")
    assert (code, json.loads(out)["design"]) == (0, json.loads(json.dumps(general.design.as_dict())))


def test_a_design_file_comes_after_the_protocol_and_before_the_flags(run, tmp_path: Path) -> None:
    rubric, design = tmp_path / "rubric.yaml", tmp_path / "design.yaml"
    rubric.write_text(RUBRIC)
    design.write_text("overlap: 5\nmin_votes: 2\n")
    code, out, _ = run(
        "project", "create", "p", "--rubric", str(rubric), "--design", str(design), "--overlap", "6", "--json"
    )
    assert code == 0
    assert (json.loads(out)["design"]["overlap"], json.loads(out)["design"]["min_votes"]) == (6, 2)


def test_a_config_file_holds_the_same_options(run, tmp_path: Path) -> None:
    config = tmp_path / "project.yaml"
    config.write_text("protocol: helpsteer2\noverlap: 2\n")
    code, out, _ = run("project", "create", "p", "--config", str(config), "--json")
    assert (code, json.loads(out)["design"]["overlap"]) == (0, 2)


def test_change_keeps_what_is_not_named(run, tmp_path: Path) -> None:
    run("project", "create", "p", "--protocol", "instructgpt", "--min-votes", "2", "--description", "first")
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(RUBRIC)
    code, out, _ = run(
        "project", "change", "p", "--overlap", "7", "--rubric", str(rubric), "--archived", "true", "--json"
    )
    changed = json.loads(out)
    assert code == 0
    assert (changed["design"]["overlap"], changed["design"]["min_votes"]) == (7, 2)
    assert (changed["rubric_version"], changed["archived"], changed["description"]) == (2, True, "first")


def test_list_and_show_tell_of_projects(run) -> None:
    assert "no projects" in run("project", "list")[1]
    run("project", "create", "desk", "--protocol", "instructgpt")
    assert "desk  0 comparisons, 0 of 0 judged" in run("project", "list")[1]
    assert [project["name"] for project in json.loads(run("project", "list", "--json")[1])] == ["desk"]
    code, out, _ = run("project", "show", "1")
    assert code == 0
    assert "desk (number 1)" in out
    assert "version 1, 3 steps" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "p", "--protocol", "general", "--rubric", "r.yaml"), "--rubric FILE, not by both"),
        (("create", "p", "--protocol", "none such"), "protocol is 'none such'"),
        (("create", "p", "--rubric", "absent.yaml"), "absent.yaml"),
        (("create", "p", "--protocol", "instructgpt", "--overlap", "0"), "overlap is 0, allowed is 1 or more"),
        (("create", "p", "--protocol", "instructgpt", "--groups", "crowd"), "--groups 'crowd', allowed is GROUP=COUNT"),
        (("show", "nowhere"), "there is no project 'nowhere'"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_two(run, words: tuple[str, ...], message: str) -> None:
    code, out, err = run("project", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_mistake_in_a_rubric_is_named_at_its_line(run, tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(RUBRIC.replace("steps: 5", "steps: 6"))
    code, _, err = run("project", "create", "p", "--rubric", str(rubric))
    assert code == 2
    assert "rubric.yaml:4" in err
