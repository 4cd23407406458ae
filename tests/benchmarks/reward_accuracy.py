"""How good reward models made here are on people's preferences, and whether they know: HH-RLHF, helpfulness.

    python tests/benchmarks/reward_accuracy.py --data ../shared/data --out /tmp/reward_accuracy

Trains each model on both training files (4,406 pairs, a tenth of the prompts held out for checkpoint and calibration)
through the command line, evaluates it on the 315 test pairs, and asks whether an ensemble's uncertainty tells errors
from hits (risk-coverage against chance) and is higher on film reviews and bare numbers than at home. Settings are the
defaults, and were not chosen by the test pairs.
A model that is there already is not trained again, one that was interrupted is continued.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TRAINING = ("hh_helpful_base_train.jsonl.gz", "hh_helpful_rs_train.jsonl.gz")
TEST = "hh_helpful_base_test.jsonl.gz"
UNLIKE = ("sentence_polarity_test.jsonl.gz", "svamp_answers.jsonl")
FLAGS = {"tfidf": ["--mode", "head"], "tiny": [], "small": []}


def rewardkit(*words: str) -> str:
    """Runs a command; its output."""
    done = subprocess.run([sys.executable, "-m", "rewardkit", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"rewardkit {' '.join(words)} ended with exit code {done.returncode}")
    return done.stdout


def prepare(data: Path, out: Path) -> tuple[Path, list[Path]]:
    """One file of both training files, and the files of unlike texts: svamp's answers stand behind their questions."""
    joined, answers = out / "train.jsonl", out / UNLIKE[1]
    rows = [gzip.decompress((data / name).read_bytes()) for name in TRAINING]
    joined.write_bytes(b"".join(rows))
    with gzip.open(data / "svamp_train.jsonl.gz", "rt", encoding="utf-8") as file:
        questions = [json.loads(line) for line in file]
    lines = (json.dumps({"prompt": each["question"], "completion": f"{each['final']:g}"}) + "\n" for each in questions)
    answers.write_text("".join(lines), encoding="utf-8")
    return joined, [data / UNLIKE[0], answers]


def measure(model: str, data: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Trains, evaluates; the figures with the seconds that training took."""
    joined, unlike = prepare(data, out)
    run, report = out / model, out / f"{model}_report"
    seconds = float("nan")
    if not (run / "rewardkit.json").exists():
        started = time.perf_counter()
        flags = [*FLAGS[model], "--ensemble", str(options.ensemble), "--seed", str(options.seed)]
        flags += ["--resume"] if (run / "checkpoints" / "last.pt").exists() else []
        rewardkit("train", "--model", model, "--data", str(joined), "--out", str(run), *flags)
        seconds = time.perf_counter() - started
    if not (report / "evaluation.json").exists():
        ood = ["--ood", ",".join(map(str, unlike))] if options.ensemble > 1 else []
        rewardkit("evaluate", "--model", str(run), "--data", str(data / TEST), "--out", str(report), "--json", *ood)
    return json.loads((report / "evaluation.json").read_text()) | {"seconds": seconds}


def interval(figure: dict[str, float], scale: float = 100, decimals: int = 1) -> str:
    """Value with its bounds."""
    value, low, high = (f"{scale * figure[name]:.{decimals}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def main() -> None:
    """Prints one table of all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--out", type=Path, required=True, help="where models and reports go")
    parser.add_argument("--models", default="tfidf,tiny,small")
    parser.add_argument("--ensemble", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(
        "| model | accuracy % | minus TF-IDF, points | minus longer answer, points | NLL | ECE | AUROC of errors "
        "| area under risk-coverage, below chance by | spread on reviews / on numbers, times home | training s |"
    )
    print("|---|---|---|---|---:|---:|---|---|---|---:|")
    for model in options.models.split(","):
        found = measure(model, options.data, options.out, options)
        figures = found["evaluation"]
        differences = {each["name"]: interval(each["difference"]) for each in found["baselines"]}
        known = figures["uncertainty"]
        calibrated = list(figures["calibration"].values())[-1]
        cells = [
            model,
            interval(figures["overall"]["accuracy"]),
            differences.get("TF-IDF", "–"),
            differences["longer answer"],
            f"{calibrated['nll']:.4f}",
            f"{calibrated['ece']:.3f}",
            "; ".join(f"{each['name']} {interval(each['auroc'], 1, 2)}" for each in known),
            "; ".join(f"{each['name']} {interval(each['gain'], 1, 3)}" for each in known),
            " / ".join(interval(each["ratio"], 1, 2) for each in found["out_of_domain"]) or "–",
            f"{found['seconds']:.0f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
