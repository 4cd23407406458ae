"""Every metric that a training writes has a line in the glossary (docs/reference/metrics.md)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_trees import tree_of

from rewardkit import read_rows, write_rows

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z0-9_]+)+")
PREFIXES = {
    *("advantages", "audit", "completions", "eval", "groups", "kl", "logps", "loss", "pairs", "ratio", "returns"),
    *("reward", "rewards", "sampling", "time", "tokens_per_s", "traits", "value"),
}
# Figures of status.json and reports, under names like those of metrics.
NOT_LOGGED = {"time/features_s"}


def documented() -> list[re.Pattern[str]]:
    """A pattern for each name in the first column of the tables; NAME stands for any."""
    cells = [line.split(" | ")[0] for line in GLOSSARY.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return [re.compile(re.escape(name).replace("NAME", r"[^/]+")) for name in names]


def without_a_line(names: set[str]) -> list[str]:
    patterns = documented()
    return sorted(name for name in names if not any(pattern.fullmatch(name) for pattern in patterns))


def names_in_code() -> Iterator[str]:
    """Texts of the source that are spelled like metrics and begin as metrics do."""
    for path in [path for package in ("rewardkit", "alignment") for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(tree_of(path)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and NAME.fullmatch(text) and text.partition("/")[0] in PREFIXES:
                yield text


def test_every_name_in_the_code_has_a_line() -> None:
    names = set(names_in_code()) - NOT_LOGGED
    assert len(names) > 50
    assert without_a_line(names) == []


def test_a_name_without_a_line_is_seen() -> None:
    assert without_a_line({"completions/length", "completions/height", "rewards/desk/mean"}) == ["completions/height"]


TRAININGS = {
    "tfidf": "rewardkit train --model tfidf --data {pairs}",
    "heads": "rewardkit train --model tiny --data {pairs} --ensemble 2 --criteria --likelihood davidson",
    "members": "rewardkit train --model tiny --data {pairs} --ensemble 2 --members full",
    "sft": "alignment sft --model tiny --data {pairs}",
    "dpo": "alignment dpo --model {sft} --data {pairs}",
    "orpo": "alignment dpo --model {sft} --data {pairs} --loss orpo",
    "kto": "alignment kto --model {sft} --data {pairs}",
    "grpo": "alignment grpo --model {sft} {online}",
    "ppo": "alignment ppo --model {sft} {online}",
    "online-dpo": "alignment online-dpo --model {sft} {online}",
}
ONLINE = (
    "--prompts {prompts} --reward {tfidf} --reward length:5 --audit-reward length:9 --audit-every 1 --penalty uwo "
    "--length-penalty 0.01 --repetition-penalty 0.1 --missing-eos-penalty 0.1 --max-new-tokens 8"
)


@pytest.mark.slow
def test_every_name_that_a_training_writes_has_a_line(tmp_path: Path) -> None:
    from alignment.__main__ import main as alignment
    from rewardkit.__main__ import main as rewardkit

    prompts = ROOT / "data" / "samples" / "comparisons.jsonl"
    rows = [
        {
            "prompt": row["prompt"],
            "chosen": row["response_a"],
            "rejected": row["response_b"],
            "p_chosen": 0.8,
            "criteria": {"tone": 1.0},
        }
        for _, row in read_rows(prompts)
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    places = {name: str(tmp_path / name) for name in TRAININGS}
    places |= {"pairs": str(tmp_path / "pairs.jsonl"), "prompts": str(prompts)}
    written: dict[str, set[str]] = {}
    for name, command in TRAININGS.items():
        program, *words = command.format(**places, online=ONLINE.format(**places)).split()
        words += ["--out", places[name]]
        if name != "tfidf" and "{online}" not in command:
            words += ["--batch-size", "8", "--max-length", "96"]
        if program == "alignment":
            words += ["--max-steps", "2"]
        assert {"alignment": alignment, "rewardkit": rewardkit}[program](words) == 0, command
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        written[name] = {metric for line in lines for metric in json.loads(line)}
    assert {name: missing for name, names in written.items() if (missing := without_a_line(names))} == {}
    assert {"loss", "audit/reward", "value/explained_variance"} <= written["ppo"]
