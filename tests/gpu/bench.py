"""Tokens a second and memory at half a billion weights on one GPU, beside TRL where it is installed.

    python tests/gpu/bench.py

The lines are the benchmarks against TRL of tests/benchmarks, in bf16, with random weights of the shape of Qwen2.5-0.5B;
tokenizer, prompts and preferences are made here, so that nothing is fetched. After --minutes no further line begins.
Writes gpu.md and gpu.json into --out. Without a GPU it runs a smaller model on the CPU: --model tiny --steps 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from floors import write_data

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table: a benchmark, and what it is told besides."""

    script: str
    words: tuple[str, ...] = ()
    has_trl: bool = True

    @property
    def is_generation(self) -> bool:
        return self.script == "generation.py"


LINES = {
    "reward model": Line(script="reward_training.py"),
    "SFT": Line(script="policy_training.py", words=("--tasks", "sft")),
    "DPO, reference live": Line(script="policy_training.py", words=("--tasks", "dpo")),
    "DPO with LoRA": Line(script="policy_training.py", words=("--tasks", "lora")),
    "generation, 64 prompts": Line(script="generation.py", words=("--tasks", "batch")),
    "generation, groups of 8": Line(script="generation.py", words=("--tasks", "groups")),
    "GRPO": Line(script="grpo_training.py"),
    "PPO, head on the trunk": Line(script="ppo_training.py", words=("--tasks", "trunk"), has_trl=False),
}


def main() -> int:
    """Runs the lines; the exit code says whether all gave figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="0.5b", help="0.5b or a preset")
    parser.add_argument("--lines", nargs="*", default=list(LINES), choices=list(LINES))
    parser.add_argument("--steps", type=int, default=6, help="of each line; the first third is not counted")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--out", default="build/gpu")
    options = parser.parse_args()
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder) / "pairs.jsonl", "", 0)
        for name in options.lines:
            if time.monotonic() - began > 60 * options.minutes:
                rows.append({"line": name, "problem": f"not begun: {options.minutes:g} minutes are over"})
                continue
            rows.append({"line": name} | measured(LINES[name], options, data, Path(folder) / "figures.json"))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    text = f"{machine()}\n\n{table(rows)}\n"
    (out / "gpu.md").write_text(text)
    (out / "gpu.json").write_text(json.dumps({"machine": machine(), "model": options.model, "lines": rows}, indent=1))
    print(f"\n{text}\n{out / 'gpu.md'}")
    return int(any("problem" in row for row in rows))


def measured(line: Line, options: argparse.Namespace, data: Path, out: Path) -> dict[str, Any]:
    """Runs a benchmark once; returns by side tokens a second and peak memory, or why there are none."""
    out.unlink(missing_ok=True)
    words = [f"--data={data}", f"--model={options.model}", "--precision", "bf16", "--repeats=1", f"--out={out}"]
    if line.is_generation:
        words += ["--rounds=2"]
    else:
        words += [f"--steps={options.steps}", f"--warm-up={options.steps // 3}"]
        words += [] if line.has_trl and has_trl() else ["--alone"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS.parents[1]), str(BENCHMARKS)])}
    command = [sys.executable, str(BENCHMARKS / line.script), *words, *line.words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode or not out.exists():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        print(done.stderr[-4000:], file=sys.stderr)
        return {"problem": "".join(last)}
    figures = json.loads(out.read_text())["figures"]
    sides = drawn(figures) if line.is_generation else trained(figures, options.steps // 3)
    return {"sides": sides}


def has_trl() -> bool:
    """Whether TRL and what it imports are here."""
    return all(importlib.util.find_spec(name) for name in ("trl", "datasets"))


def drawn(figures: Sequence[Figures]) -> dict[str, Figures]:
    """New tokens a second."""
    return {
        row["side"]: {"tokens_per_s": row["tokens"] / median(row["seconds"]), "peak_mb": row["peak_mb"]}
        for row in figures
    }


def trained(figures: Sequence[Figures], warm_up: int) -> dict[str, Figures]:
    """Tokens a second: of the rows as they are computed here, of completions where these are drawn."""
    (ours,) = (row for row in figures if row["side"] == "ours")
    if "lengths" in ours:
        tokens_of_unit = mean(ours["lengths"])
    else:
        tokens_of_unit = ours["tokens"] / sum(ours["units"])
    return {
        row["side"]: {
            "tokens_per_s": tokens_of_unit * sum(row["units"][warm_up:]) / sum(row["step_s"][warm_up:]),
            "peak_mb": row["peak_mb"],
        }
        for row in figures
    }


def machine() -> str:
    """What it ran on."""
    import torch
    import transformers

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    memory = f", {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB" if cuda else " (NO CUDA DEVICE)"
    return f"{name}{memory}; torch {torch.__version__}, transformers {transformers.__version__}; bf16"


def table(rows: Sequence[Figures]) -> str:
    """In Markdown."""
    text = [
        "| line | tokens/s | peak, GB | beside it | ratio of speed | ratio of memory |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        if "problem" in row:
            text.append(f"| {row['line']} | {row['problem']} | | | | |")
            continue
        (ours, others) = row["sides"]["ours"], {name: one for name, one in row["sides"].items() if name != "ours"}
        for name, other in (others or {"–": None}).items():
            ratios = ["", ""]
            if other:
                speed, memory = ours["tokens_per_s"] / other["tokens_per_s"], ours["peak_mb"] / other["peak_mb"]
                ratios = [f"{speed:.2f}", f"{memory:.2f}"]
            cells = [row["line"], f"{ours['tokens_per_s']:,.0f}", f"{ours['peak_mb'] / 1000:.2f}", name, *ratios]
            text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
