"""Writes data/samples anew from the demo project's texts and simulated annotators: `python data/make_samples.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from annotate_app.demo import choose_checks, desk_comparisons, simulate_answers
from annotate_app.protocol.protocol import load_protocol
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Judgment

FOLDER = Path(__file__).parent / "samples"
LAST_MESSAGE = "desk-020"
NOW = 1_793_000_000.0  # 26 October 2026: the files stay the same from one run to the next


def write_samples(folder: Path) -> None:
    """Writes all files into a folder that is there."""
    desk = desk_comparisons()
    chosen = [item.gold.comparison for item in desk if item.gold.comparison.id[:8] <= LAST_MESSAGE]
    (folder / "rubric.yaml").write_text(load_protocol("support_desk").rubric_text, encoding="utf-8")
    _write(
        folder / "comparisons.jsonl",
        (
            {
                "id": comparison.id,
                "prompt": turns(comparison.prompt),
                "response_a": comparison.completion_a,
                "response_b": comparison.completion_b,
                "source_a": comparison.source_a,
                "source_b": comparison.source_b,
                "topic": comparison.meta["topic"],
            }
            for comparison in chosen
        ),
    )
    replies: dict[str, dict[str, object]] = {}
    for comparison in chosen:
        row = replies.setdefault(
            comparison.id[:8],
            {"id": comparison.id[:8], "prompt": turns(comparison.prompt), "responses": {}},
        )
        row["responses"] |= {  # type: ignore[operator]
            comparison.source_a: comparison.completion_a,
            comparison.source_b: comparison.completion_b,
        }
    _write(
        folder / "responses.jsonl",
        (
            {
                "prompt_id": row["id"],
                "prompt": row["prompt"],
                "responses": [{"model": model, "text": text} for model, text in sorted(row["responses"].items())],  # type: ignore[attr-defined]
            }
            for row in replies.values()
        ),
    )
    ids = {comparison.id for comparison in chosen}
    answers = simulate_answers(desk, choose_checks(desk), NOW)
    judgments = (each.judgment for each in answers if each.kind == "work" and each.judgment.comparison_id in ids)
    _write(folder / "judgments.jsonl", (_plain(judgment) for judgment in judgments))


def _plain(judgment: Judgment) -> dict[str, object]:
    """A judgment as a row, without the columns of answers that this rubric does not ask for."""
    unasked = ("spans", "edited", "ranks", "shown", "step_labels")
    return {name: value for name, value in asdict(judgment).items() if name not in unasked}


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_samples(FOLDER)
