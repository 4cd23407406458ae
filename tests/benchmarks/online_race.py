"""What the races of learning from samples share: prompts, our command, the prompts as TRL takes them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from trl_race import LEARNING_RATE, Figures, shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NEW_TOKENS = 64
HELD_OUT = 2  # prompts that a command audits with, outside of what is timed


def write_work(options: argparse.Namespace, work: Path) -> PreTrainedTokenizerBase:
    """Writes the prompts that both sides read, a policy of random weights and its tokenizer, which is returned."""
    from alignment.policy.policy import make_network
    from rewardkit.data.export_formats import turns
    from rewardkit.data.prompts import distinct, read_prompts
    from rewardkit.network.tokens import policy_prompts, train_tokenizer

    prompts = distinct(read_prompts(options.data, on_bad_row="skip").rows)
    tokenizer = train_tokenizer(turn.content for prompt in prompts for turn in prompt)
    make_network(shape_of(options.model, tokenizer), seed=0).save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    lengths = [len(ids) for ids in policy_prompts(prompts, tokenizer)]
    kept = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= options.max_length]
    count = options.batch_size * options.steps
    assert len(kept) >= count + HELD_OUT, f"{len(kept)} prompts fit, {count + HELD_OUT} are needed"
    for name, part in (("prompts", kept[:count]), ("held_out", kept[count : count + HELD_OUT])):
        lines = (json.dumps({"prompt": turns(prompt)}) + "\n" for prompt in part)
        (work / f"{name}.jsonl").write_text("".join(lines))
    return tokenizer


def run_command(command: str, options: argparse.Namespace, work: Path, **more: Any) -> Figures:
    """A command of `alignment`, as a user gives it; `more` are its flags."""
    from rewardkit.run.training_command import keep_large_buffers

    keep_large_buffers()  # as a command does before torch
    from alignment.__main__ import main as alignment
    from alignment.online.loop import OnlineLoop
    from rewardkit.run.directory import read_metrics

    cpu, metrics_of = [time.process_time()], OnlineLoop._metrics

    def at_the_end_of_a_step(*args: Any) -> dict[str, float]:
        cpu.append(time.process_time())
        return metrics_of(*args)

    out = work / f"run-{os.getpid()}"
    flags = {
        "model": work / "model",
        "prompts": work / "prompts.jsonl",
        "eval_prompts": work / "held_out.jsonl",
        "out": out,
        "max_steps": options.steps,
        "prompts_per_step": options.batch_size,
        "token_budget": options.token_budget,
        "max_new_tokens": NEW_TOKENS,
        "learning_rate": LEARNING_RATE,
        "precision": options.precision[0],
        "importance_cap": 0,
        "entropy_every": 1,
        "audit_every": 10**6,
    }
    words = [f"--{name.replace('_', '-')}={value}" for name, value in (flags | more).items()]
    with contextlib.redirect_stdout(sys.stderr), mock.patch.object(OnlineLoop, "_metrics", at_the_end_of_a_step):
        code = alignment([command, *words])
    assert code == 0, f"alignment {command} ended with {code}"
    rows = list(read_metrics(out))
    return {
        "step_s": [row["time/step_s"] for row in rows],
        "cpu_s": [after - before for before, after in pairwise(cpu)],  # of the first with start-up
        "phases_s": {name: [row[f"time/{name}_s"] for row in rows] for name in ("generate", "reward", "update")},
        "lengths": [row["completions/length"] for row in rows],
        "rewards": [row["reward/mean"] for row in rows],
    }


def trl_prompts(work: Path) -> Any:
    """The prompts as a dataset."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.Dataset.from_json(str(work / "prompts.jsonl"))
