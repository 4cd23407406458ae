"""Sampling here beside `transformers.generate`: tokens per second and peak memory, from one run.

    python tests/benchmarks/generation.py

Both sides draw the same number of new tokens, which nothing ends early, from the same weights for the same prompts, at
temperature 1 from the whole vocabulary. They are processes of their own that take turns; times are medians over all
counted rounds of all processes, each a whole call: ours with copying weights and trying them out. Memory is the peak
resident set of the process. In bf16 ours is given float32 weights, as a policy in training has, transformers bf16 ones.
The tasks:

  batch     64 prompts, one sample each
  groups    8 prompts, 8 samples each, by `num_return_sequences`

Prompts are messages of `rewardkit.world`, of one to four turns so that their lengths differ, or those of --data, a
preference file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = {"batch": (64, 1), "groups": (8, 8)}
SIDES = ("ours", "transformers")
Figures = dict[str, Any]


def main() -> None:
    """Runs both sides in turn, or one side in this process where it was told which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="preference file with prompts; the simulated world if not given")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--max-prompt", type=int, default=256, help="tokens; longer prompts are left out")
    parser.add_argument("--rounds", type=int, default=3, help="counted, per process")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options, Path(options.work))))
        return
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(options, Path(folder))
        for task in options.tasks:
            for precision in options.precision:
                rows = [
                    run_side(options, task, precision, side, folder)
                    for repeat in range(options.repeats)
                    for side in (SIDES if repeat % 2 == 0 else SIDES[::-1])
                ]
                figures += rows
                print(report(rows, options), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def prepare(options: argparse.Namespace, work: Path) -> None:
    """Writes the model and 64 prompts as token ids."""
    from transformers.utils.logging import disable_progress_bar

    from alignment.policy import make_network
    from rewardkit.model import preset_config
    from rewardkit.policy_tokens import policy_prompts
    from rewardkit.tokens import train_tokenizer

    disable_progress_bar()  # of writing weights
    prompts, texts = read_prompts(options.data)
    tokenizer = train_tokenizer(texts)
    ids = [prompt for prompt in policy_prompts(prompts, tokenizer) if len(prompt) <= options.max_prompt]
    longest = max(TASKS[task][0] for task in TASKS)
    assert len(ids) >= longest, f"{len(ids)} prompts fit, {longest} are needed"
    (work / "prompts.json").write_text(json.dumps([list(prompt) for prompt in ids[:longest]]))
    make_network(preset_config(options.model, tokenizer), seed=0).save_pretrained(work / "model")


def read_prompts(data: str) -> tuple[list[Any], list[str]]:
    """Prompts, and texts to train a tokenizer on."""
    from rewardkit.data import Message
    from rewardkit.preferences import read_preferences
    from rewardkit.world import World

    if data:
        rows = read_preferences(data, on_bad_row="skip").rows
        texts = [text for row in rows for text in (*(turn.content for turn in row.prompt), row.chosen, row.rejected)]
        return [row.prompt for row in rows], texts
    messages = list(World(seed=0, num_prompts=640).prompts())
    prompts, place = [], 0
    while place + 4 <= len(messages):
        num_turns = 1 + len(prompts) % 4
        turns = [
            turn
            for message in messages[place : place + num_turns]
            for turn in (*message.prompt, Message(role="assistant", content=message.responses[0].text))
        ]
        prompts.append(tuple(turns[:-1]))
        place += num_turns
    return prompts, [text for one in messages for text in (one.prompt[0].content, one.responses[0].text)]


def run_side(options: argparse.Namespace, task: str, precision: str, side: str, folder: str) -> Figures:
    """One process; returns its seconds of each round and peak memory in MB."""
    words = [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in ("new-tokens", "rounds", "threads")]
    words += [f"--tasks={task}", f"--precision={precision}", f"--side={side}", f"--work={folder}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = {"task": task, "precision": precision, "side": side} | json.loads(done.stdout.splitlines()[-1])
    seconds = ", ".join(f"{each:.2f}" for each in figures["seconds"])
    print(f"{task} {precision} {side}: {seconds} s, peak {figures['peak_mb']:.0f} MB", file=sys.stderr, flush=True)
    return figures


def measure(options: argparse.Namespace, work: Path) -> Figures:
    """One side's rounds in this process."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights
    torch.set_num_threads(options.threads)
    num_prompts, num_samples = TASKS[options.tasks[0]]
    prompts = json.loads((work / "prompts.json").read_text())[:num_prompts]
    bf16 = options.precision[0] == "bf16"
    dtype = torch.bfloat16 if bf16 and options.side == "transformers" else torch.float32
    policy = AutoModelForCausalLM.from_pretrained(work / "model", dtype=dtype, attn_implementation="sdpa").eval()
    sides = {"ours": ours, "transformers": transformers_generate}
    draw = sides[options.side](policy, prompts, num_samples, options.precision[0])
    draw(4)
    seconds = []
    for _ in range(options.rounds):
        started = time.perf_counter()
        num_tokens = draw(options.new_tokens)
        seconds.append(time.perf_counter() - started)
        assert num_tokens == num_prompts * num_samples * options.new_tokens, "something ended early"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "tokens": num_tokens, "peak_mb": peak_mb, "prompt_tokens": sum(map(len, prompts))}


def ours(policy: Any, prompts: list[list[int]], num_samples: int, precision: Any) -> Callable[[int], int]:
    """Draws a number of new tokens per sample with `alignment.generate`; returns how many there are."""
    from alignment.generate import Sampling, generate

    def draw(num_new: int) -> int:
        sampling = Sampling(max_new_tokens=num_new)
        found = generate(policy, prompts, sampling, num_samples=num_samples, precision=precision, token_budget=2**16)
        return sum(len(one.completion) for group in found for one in group)

    return draw


def transformers_generate(
    policy: Any, prompts: list[list[int]], num_samples: int, precision: Any
) -> Callable[[int], int]:
    """As `ours`, with `generate` of transformers, prompts padded on the left."""
    import torch

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    policy.generation_config.eos_token_id = None  # nothing ends a sample
    policy.generation_config.pad_token_id = 0

    def draw(num_new: int) -> int:
        found = policy.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=num_new,
            num_return_sequences=num_samples,
        )
        return found[:, longest:].numel()

    return draw


def report(rows: list[Figures], options: argparse.Namespace) -> str:
    """One line of a task and precision."""
    sides = {side: [row for row in rows if row["side"] == side] for side in SIDES}
    speed = {
        side: of_side[0]["tokens"] / statistics.median(seconds for row in of_side for seconds in row["seconds"])
        for side, of_side in sides.items()
    }
    peak = {side: statistics.median(row["peak_mb"] for row in of_side) for side, of_side in sides.items()}
    num_prompts, num_samples = TASKS[rows[0]["task"]]
    mean_length = rows[0]["prompt_tokens"] / num_prompts
    return (
        f"{rows[0]['task']} {rows[0]['precision']}, {num_prompts} prompts of {mean_length:.0f} tokens"
        f" x {num_samples}, {options.threads} threads: ours {speed['ours']:.0f}, transformers"
        f" {speed['transformers']:.0f} new tokens/s, ratio {speed['ours'] / speed['transformers']:.2f};"
        f" peak {peak['ours']:.0f} and {peak['transformers']:.0f} MB"
    )


if __name__ == "__main__":
    main()
