"""Sampling here beside `transformers.generate`: tokens per second and peak memory, from one run.

    python tests/benchmarks/generation.py

All sides draw the same number of new tokens, which nothing ends early, from the same weights for the same prompts, at
temperature 1 from the whole vocabulary. They are processes of their own that take turns; times are medians over all
counted rounds of all processes, each a whole call: ours with copying weights and trying them out. Wall seconds, and
CPU seconds, which other load on the machine changes little (with --threads 1 the fairer ones there). Memory is the
peak resident set of the process. A policy in training has float32 weights: in bf16 ours casts them once in each call,
`autocast` is transformers as TRL calls it, `transformers` is given bf16 weights, as if somebody had cast them before.
The tasks:

  batch     64 prompts, one sample each
  groups    8 prompts, 8 samples each, by `num_return_sequences`

Prompts are messages of `rewardkit.simulation.support_desk_world`, of one to four turns so that their lengths differ, or
those of --data, a preference file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trl_race import peak_memory_mb, shape_of

from rewardkit.run.training_command import keep_large_buffers, sleep_between_products

TASKS = {"batch": (64, 1), "groups": (8, 8)}
SIDES = {"fp32": ("ours", "transformers"), "bf16": ("ours", "transformers", "autocast")}
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
    parser.add_argument("--side", choices=SIDES["bf16"], help=argparse.SUPPRESS)
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
                    for side in SIDES[precision][:: 1 if repeat % 2 == 0 else -1]
                ]
                figures += rows
                print(report(rows, options), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def prepare(options: argparse.Namespace, work: Path) -> None:
    """Writes the model and 64 prompts as token ids."""
    from transformers.utils.logging import disable_progress_bar

    from alignment.policy.policy import make_network
    from rewardkit.network.tokens import policy_prompts, train_tokenizer

    disable_progress_bar()  # of writing weights
    prompts, texts = read_prompts(options.data)
    tokenizer = train_tokenizer(texts)
    ids = [prompt for prompt in policy_prompts(prompts, tokenizer) if len(prompt) <= options.max_prompt]
    longest = max(TASKS[task][0] for task in TASKS)
    assert len(ids) >= longest, f"{len(ids)} prompts fit, {longest} are needed"
    (work / "prompts.json").write_text(json.dumps([list(prompt) for prompt in ids[:longest]]))
    make_network(shape_of(options.model, tokenizer), seed=0).save_pretrained(work / "model")


def read_prompts(data: str) -> tuple[list[Any], list[str]]:
    """Prompts, and texts to train a tokenizer on."""
    from rewardkit.data.preferences import read_preferences
    from rewardkit.data.records import Message
    from rewardkit.simulation.support_desk_world import World

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
    sleep_between_products(environment)  # as our commands do
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = {"task": task, "precision": precision, "side": side} | json.loads(done.stdout.splitlines()[-1])
    wall, cpu = (", ".join(f"{each:.2f}" for each in figures[name]) for name in ("seconds", "cpu_seconds"))
    print(
        f"{task} {precision} {side}: {wall} s, of CPU {cpu} s, peak {figures['peak_mb']:.0f} MB",
        file=sys.stderr,
        flush=True,
    )
    return figures


def measure(options: argparse.Namespace, work: Path) -> Figures:
    """One side's rounds in this process; ours begins as every training command does."""
    if options.side == "ours":
        keep_large_buffers()
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from rewardkit.distributed.collectives import default_device

    disable_progress_bar()  # of loading weights
    torch.set_num_threads(options.threads)
    num_prompts, num_samples = TASKS[options.tasks[0]]
    prompts = json.loads((work / "prompts.json").read_text())[:num_prompts]
    bf16 = options.precision[0] == "bf16"
    dtype = torch.bfloat16 if bf16 and options.side == "transformers" else torch.float32
    policy = AutoModelForCausalLM.from_pretrained(work / "model", dtype=dtype, attn_implementation="sdpa").eval()
    policy.to(default_device())
    prepared = ours if options.side == "ours" else transformers_generate
    draw = prepared(policy, prompts, num_samples, options.precision[0])
    num_tokens, seconds, cpu_seconds = draw(4), [], []
    for _ in range(options.rounds):
        started, cpu = time.perf_counter(), time.process_time()
        with torch.autocast(policy.device.type, torch.bfloat16, enabled=options.side == "autocast"):
            num_tokens = draw(options.new_tokens)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu)
        assert num_tokens == num_prompts * num_samples * options.new_tokens, "something ended early"
    peak_mb = peak_memory_mb()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "tokens": num_tokens,
        "peak_mb": peak_mb,
        "prompt_tokens": sum(map(len, prompts)),
    }


def ours(policy: Any, prompts: list[list[int]], num_samples: int, precision: Any) -> Callable[[int], int]:
    """Draws a number of new tokens per sample with `alignment.generation.generate`; returns how many there are."""
    from alignment.generation.generate import Sampling, generate

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
    ids, mask = ids.to(policy.device), mask.to(policy.device)
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
    task, precision = rows[0]["task"], rows[0]["precision"]
    num_prompts, num_samples = TASKS[task]

    def median(side: str, name: str) -> float:
        return statistics.median(seconds for row in rows if row["side"] == side for seconds in row[name])

    def peak_mb(side: str) -> float:
        return statistics.median(row["peak_mb"] for row in rows if row["side"] == side)

    speed = rows[0]["tokens"] / median("ours", "seconds")
    parts = [
        f"{task} {precision}, {num_prompts} prompts of {rows[0]['prompt_tokens'] / num_prompts:.0f} tokens x"
        f" {num_samples}, {options.threads} threads: ours {speed:.0f} new tokens/s, peak {peak_mb('ours'):.0f} MB"
    ]
    for side in SIDES[precision][1:]:
        ratio, cpu = (median(side, name) / median("ours", name) for name in ("seconds", "cpu_seconds"))
        parts.append(
            f"{side} {speed / ratio:.0f}, ratio {ratio:.2f}, of CPU seconds {cpu:.2f}, peak {peak_mb(side):.0f} MB"
        )
    return "; ".join(parts)


if __name__ == "__main__":
    main()
