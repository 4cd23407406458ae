"""Scoring beside a transformers text-classification pipeline: texts per second, from one run.

    python tests/benchmarks/scoring_speed.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Each conversation has a prompt of its own and one answer, so that nothing is shared between texts. All sides have the
same random weights of the preset in one process, and take turns on the same texts; ours is `RewardModel`, as
`rewardkit score` calls it, tokenising included, as in the pipeline. The pipeline gets ready texts at batch 32 in the
order of the file, and one at a time, which is its best setting on a CPU. Scores have to agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SIDES = ("ours", "pipeline 32", "pipeline 1")
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}


def main() -> None:
    """Makes a model, lets the sides take turns, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="preference file")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=2048, help="tokens; no text of the default data is longer")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        sides = prepare(options, Path(folder))
        figures = []
        for precision in options.precision:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                figures += measure(sides, precision, options.repeats)
    for precision in options.precision:
        print(report([row for row in figures if row["precision"] == precision], options))
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def prepare(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[slice], Sequence[float]]]:
    """By side, a function that scores a slice of the texts."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from rewardkit.data.preferences import read_preferences
    from rewardkit.network.chat_template import conversation_texts
    from rewardkit.network.classifier import RewardScorer, make_classifier
    from rewardkit.network.models import preset_config
    from rewardkit.network.tokens import train_tokenizer
    from rewardkit.reward.metadata import Card
    from rewardkit.reward.reward_model import RewardModel, save

    rows = read_preferences(options.data, on_bad_row="skip").rows
    tokenizer = train_tokenizer(
        text for row in rows for text in (*(turn.content for turn in row.prompt), row.chosen, row.rejected)
    )
    rows = list({row.prompt: row for row in rows}.values())[: options.texts]
    assert len(rows) == options.texts, f"{len(rows)} prompts, {options.texts} are needed"
    prompts = [row.prompt for row in rows]
    answers = [(row.rejected if number % 2 else row.chosen) for number, row in enumerate(rows)]
    classifier = make_classifier(preset_config(options.model, tokenizer, max_length=options.max_length), seed=0)
    save(RewardScorer(classifier), tokenizer, Card(max_length=options.max_length), folder)
    reward_model = RewardModel.load(folder)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    pipe = pipeline("text-classification", model=plain, tokenizer=AutoTokenizer.from_pretrained(folder), device=-1)
    texts = [
        conversation_texts(prompt, [answer], tokenizer)[0] for prompt, answer in zip(prompts, answers, strict=True)
    ]

    def piped(part: slice, batch_size: int) -> Sequence[float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [found["score"] for found in pipe(texts[part], batch_size=batch_size, function_to_apply="none")]

    return {
        "ours": lambda part: reward_model(prompts[part], answers[part]).mean.tolist(),
        "pipeline 32": lambda part: piped(part, 32),
        "pipeline 1": lambda part: piped(part, 1),
    }


def measure(sides: dict[str, Callable[[slice], Sequence[float]]], precision: str, repeats: int) -> list[dict]:
    """Seconds of every turn; the order turns round with every repeat."""
    for score in sides.values():
        score(slice(0, 32))
    figures: list[dict] = []
    expected: np.ndarray | None = None
    for repeat in range(repeats):
        for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
            started, processor = time.perf_counter(), time.process_time()
            scores = np.array(sides[side](slice(None)))
            seconds, processor = time.perf_counter() - started, time.process_time() - processor
            expected = scores if expected is None else expected
            difference = float(np.abs(scores - expected).max())
            assert difference < TOLERANCE[precision] * max(1.0, float(np.abs(expected).max())), (side, difference)
            row = {"precision": precision, "side": side, "seconds": seconds, "processor_s": processor}
            figures.append(row | {"difference": difference})
            pace = f"{len(scores) / seconds:.1f} texts/s, {processor:.1f} s of processor time"
            print(f"{precision} {side}: {pace}, differs by {difference:.1g}", flush=True)
    return figures


def report(figures: list[dict], options: argparse.Namespace) -> str:
    """A Markdown table of medians; on a machine that is busy with other things processor time says more."""
    lines = [
        f"\n{options.texts} texts, {options.model}, {figures[0]['precision']}, {options.threads} threads",
        "| | texts/s | ours is faster | ours takes less processor time |",
        "|---|---:|---:|---:|",
    ]
    for side in SIDES:
        pace = options.texts / statistics.median(turns(figures, side, "seconds"))
        ratios = [f"{ratio(figures, side, name):.2f}" for name in ("seconds", "processor_s")]
        lines.append(f"| {side} | {pace:.1f} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def turns(figures: list[dict], side: str, name: str) -> list[float]:
    """What a side took, turn by turn."""
    return [row[name] for row in figures if row["side"] == side]


def ratio(figures: list[dict], side: str, name: str) -> float:
    """The median over turns of what a side took of what ours took."""
    pairs = zip(turns(figures, side, name), turns(figures, "ours", name), strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)


if __name__ == "__main__":
    main()
