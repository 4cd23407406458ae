"""What runs on which architecture: writes the table of docs/reference/architectures.md.

    python tests/benchmarks/architectures.py --out docs/reference/architectures.md

Every cell is a command or a comparison run on a tiny model of random weights (tests.toys.toy_architectures.py). `equal`
means that numbers agree to 1e-4 with those of transformers on one text at a time; `done` that a command ended well.
Anything that is not refused in one line with exit code 2 ends the script with exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import logging
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import transformers

import alignment.__main__ as alignment_main
import rewardkit.__main__ as rewardkit_main
from rewardkit.data.records import Message
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import load_policy
from rewardkit.network.tokens import policy_rows
from rewardkit.reward.reward_model import RewardModel
from tests.toys.toy_architectures import ARCHITECTURES, DECODERS, make_folder, sentences

TOLERANCE = 1e-4
COLUMNS = (
    "rows run",
    "score",
    "reward full",
    "reward lora",
    "reward head",
    "ensemble",
    "log-probabilities",
    "sft",
    "dpo",
    "kto",
    "grpo",
    "ppo",
    "sample",
    "evaluate",
)


def main() -> int:
    """Runs every architecture, or those named, and prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures; all where none is named")
    parser.add_argument("--out", help="the page to write")
    parser.add_argument("--show", action="store_true", help="print tracebacks and refusals")
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    table: dict[str, dict[str, str]] = {}
    for name in options.names or ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            table[name] = run_architecture(name, Path(folder), show=options.show)
        print(f"{name}: {table[name]}", flush=True)
        gc.collect()
    if options.out:
        Path(options.out).write_text(page(table), encoding="utf-8")
    return int(any("FAILED" in cell for row in table.values() for cell in row.values()))


def run_architecture(name: str, folder: Path, *, show: bool) -> dict[str, str]:
    """The cells of one architecture, by column."""
    data = write_data(folder)
    reward, policy = (made(name, folder / kind, classifier=kind == "reward") for kind in ("reward", "policy"))
    base = reward if name not in DECODERS or policy is None else policy
    cells: dict[str, str] = {}

    def cell(column: str, run: Callable[[], str]) -> None:
        output = io.StringIO()
        try:
            with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
                cells[column] = run()
        except Exception:
            output.write(traceback.format_exc())
            cells[column] = "FAILED"
        if show and cells[column] in ("refused", "FAILED"):
            print(f"--- {name}, {column}: {cells[column]}\n{output.getvalue()[-1500:]}", flush=True)

    if reward is None:
        cells |= dict.fromkeys(COLUMNS[1:6], "no classifier")
    else:
        cell("score", lambda: scores(reward, cells))
        for column, extra in (
            ("reward full", "--mode full"),
            ("reward lora", "--mode lora --lora-rank 4"),
            ("reward head", "--mode head"),
            ("ensemble", "--ensemble 3"),
        ):
            out = folder / column.replace(" ", "-")
            words = f"train --model {base} {data['pairs']} --max-length 100 --epochs 1 {extra} --out {out}"
            cell(column, lambda words=words, out=out: trained_reward(words, out))
    if policy is None or name not in DECODERS:
        cells |= dict.fromkeys(COLUMNS[6:], "no policy")
        return cells
    cell("log-probabilities", lambda: log_probabilities(policy, cells))
    online = f"{data['prompts']} --max-steps 1 --prompts-per-step 2 --max-new-tokens 4 --max-prompt-length 100"
    online += f" --reward {data['reward']}"
    short = "--max-steps 2 --max-length 100"
    for column, words in (
        ("sft", f"sft --model {policy} {data['demonstrations']} {short}"),
        ("dpo", f"dpo --model {policy} {data['pairs']} {short} --gradient-checkpointing"),
        ("kto", f"kto --model {policy} {data['pairs']} {short}"),
        ("grpo", f"grpo --model {policy} {online} --completions-per-prompt 2"),
        ("ppo", f"ppo --model {policy} {online}"),
    ):
        out = folder / column
        cell(column, lambda words=words, out=out: command(alignment_main.main, f"{words} --out {out}"))
    sampled = f"sample --model {policy} {data['prompts']} --max-new-tokens 4 --out {folder}/sampled.jsonl"
    cell("sample", lambda: command(alignment_main.main, sampled))
    evaluated = f"evaluate --model {folder / 'sft'} --base {policy} {data['prompts']} --max-new-tokens 4"
    evaluated += f" --out {folder / 'evaluated'}"
    cell("evaluate", lambda: command(alignment_main.main, evaluated))
    return cells


def made(name: str, folder: Path, *, classifier: bool) -> Path | None:
    """The folder of a model, or None where transformers has no such model."""
    try:
        return make_folder(name, folder, classifier=classifier)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        return None


def write_data(folder: Path) -> dict[str, str]:
    """Options that name small files of made sentences, by what they hold."""
    texts = sentences(96)
    pairs = [
        {"prompt": texts[3 * number], "chosen": texts[3 * number + 1], "rejected": texts[3 * number + 2]}
        for number in range(32)
    ]
    files = {
        "pairs": pairs[:24],
        "held-out": pairs[24:],
        "prompts": [{"prompt": text} for text in texts[:4]],
        "demonstrations": [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs[:24]],
        "held-out demonstrations": [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs[24:]],
    }
    paths = {name: folder / f"{name.replace(' ', '-')}.jsonl" for name in files}
    for name, rows in files.items():
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    function = folder / "short.py"
    function.write_text("def short(prompts, completions):\n    return [-float(len(text)) for text in completions]\n")
    return {
        "reward": f"{function}:short",
        "pairs": f"--data {paths['pairs']} --eval-data {paths['held-out']}",
        "demonstrations": f"--data {paths['demonstrations']} --eval-data {paths['held-out demonstrations']}",
        "prompts": f"--prompts {paths['prompts']}",
    }


def command(main: Callable[[list[str]], int], words: str) -> str:
    """`done`, or `refused` for one line and exit code 2."""
    code = main(words.split())
    if code not in (0, 2):
        raise RuntimeError(f"exit code {code}")
    return "done" if code == 0 else "refused"


def trained_reward(words: str, out: Path) -> str:
    """Trains a reward model, then scores with what was saved."""
    cell = command(rewardkit_main.main, words)
    if cell == "done":
        scored = RewardModel.load(out)([[Message(role="user", content=text)] for text in sentences(4)], sentences(4))
        if not np.isfinite(scored.members).all():
            raise FloatingPointError("scores are not finite")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return cell


@torch.no_grad()
def scores(folder: Path, cells: dict[str, str]) -> str:
    """Holds scores in a batch against transformers on one text at a time."""
    from rewardkit.network.tokens import tokenise

    model = RewardModel.load(folder)
    cells["rows run"] = model.scorer.layout
    texts = sentences(12)
    prompts = [[Message(role="user", content=" ".join(texts[: 1 + number]))] for number in range(12)]
    rewards = model(prompts, texts).members[0]
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for prompt, text in zip(prompts, texts, strict=True):
        rows, _ = tokenise([prompt], [[text]], model.tokenizer, max_length=model.card.max_length)
        ids = torch.tensor([rows[0].prompt + rows[0].branches[0]])
        expected.append(float(plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0]))
    return equal(rewards, np.array(expected))


@torch.no_grad()
def log_probabilities(folder: Path, cells: dict[str, str]) -> str:
    """Holds log-probabilities in a batch against the model's own logits on one row at a time."""
    policy, tokenizer = load_policy(folder)
    texts = sentences(12)
    prompts = [[Message(role="user", content=" ".join(texts[: 1 + number]))] for number in range(6)]
    rows, _ = policy_rows(prompts, [texts[number : number + 2] for number in range(6)], tokenizer, max_length=200)
    packed = can_pack_policy(policy)
    cells.setdefault("rows run", "packed" if packed else "padded")
    logps = completion_logps(policy, rows, packed=packed).sums()
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = []
    for row in rows:
        for branch in row.branches:
            ids = torch.tensor([row.prompt + branch])
            logits = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(-1)
            places = torch.arange(len(row.prompt) - 1, ids.shape[1] - 1)
            expected.append(float(logits[places, ids[0, places + 1]].sum()))
    return equal(logps.numpy(), np.array(expected))


def equal(values: np.ndarray, expected: np.ndarray) -> str:
    """`equal`, or an error that says by how much values differ."""
    difference = float(np.abs(values - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"differ by {difference:.2g}")
    return "equal"


def page(table: dict[str, dict[str, str]]) -> str:
    """The page of the documentation."""
    lines = [
        "# Architectures",
        "",
        "Made by `python tests/benchmarks/architectures.py --out docs/reference/architectures.md`, with transformers "
        f"{transformers.__version__} and torch {torch.__version__.partition('+')[0]}: each row is a tiny model of "
        "random weights, each cell a command that was run on it.",
        "",
        "- `rows run`: `packed` computes a prompt once for all its completions, without padding; `padded` runs whole "
        "sequences side by side, which is slower; `alone` runs them one by one. Every model is tried when it is "
        "loaded, and takes the fastest way that gives the numbers of one row alone.",
        "- `score` and `log-probabilities`: `equal` to transformers on one text at a time, to 1e-4.",
        "- `no classifier`: transformers has no sequence classifier for the architecture, so no reward model can be "
        "made of it that plain transformers loads. `no policy`: it does not write text from left to right.",
        "- `dpo` runs with `--gradient-checkpointing`; the ensemble is one of three heads.",
        "",
        "| model | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    rows = [
        f"| {name} | " + " | ".join(cells.get(column, "") for column in COLUMNS) + " |" for name, cells in table.items()
    ]
    return "\n".join([*lines, *rows]) + "\n"


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main())
