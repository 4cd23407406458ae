"""GRPO beside TRL 1.16: completions per second end to end, and peak memory, from one run.

    python tests/benchmarks/grpo_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra. A step draws 8 completions of each of 8 prompts, 64 new tokens at most, has them rewarded by a
Python function (the share of even token ids), and takes one optimizer step on the `dapo` loss without a KL. Ours is the
command `alignment grpo`, its reward function in a worker process; TRL's is GRPOTrainer generating by transformers. Both
begin from the same random weights, in which completions hardly ever end early, and read the same prompts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trl_race import LEARNING_RATE, SIDES, peak_mb

GROUP, NEW_TOKENS = 8, 64
REWARD = """
def even(completion_ids, **_):
    return [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]
"""


def main() -> None:
    """Races both sides, prints a line for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="preference file, whose prompts are taken")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--prompts", type=int, default=8, help="of a step")
    parser.add_argument("--max-length", type=int, default=256, help="longer prompts are left out")
    parser.add_argument("--steps", type=int, default=6, help="per process")
    parser.add_argument("--warm-up", type=int, default=2, help="first steps that are not counted")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side and precision")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run = {"ours": run_ours, "trl": run_trl}[options.side]
        print(json.dumps(run(options, Path(options.work))))
        return
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(options, Path(folder))
        for precision in options.precision:
            for repeat in range(options.repeats):
                for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
                    figures.append(run_side(options, precision, side, folder))
            rows = [row for row in figures if row["precision"] == precision]
            print(report(rows, options), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def run_side(options: argparse.Namespace, precision: str, side: str, folder: str) -> dict[str, Any]:
    """One process."""
    words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in ("data", "prompts", "steps", "threads")]
    command = [sys.executable, __file__, *words, f"--precision={precision}", f"--side={side}", f"--work={folder}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # on both sides: another process's load then disturbs less
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1]) | {"precision": precision, "side": side}
    median = statistics.median(found["step_s"][options.warm_up :])
    print(
        f"{precision} {side}: median step {median:.2f} s, peak {found['peak_mb']:.0f} MB", file=sys.stderr, flush=True
    )
    return found


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """One line of a precision."""
    speed, memory, rewards = {}, {}, {}
    for side in SIDES:
        mine = [row for row in rows if row["side"] == side]
        seconds = statistics.median(s for row in mine for s in row["step_s"][options.warm_up :])
        speed[side] = options.prompts * GROUP / seconds
        memory[side] = statistics.median(row["peak_mb"] for row in mine)
        rewards[side] = statistics.mean(mine[0]["rewards"])
    return (
        f"{rows[0]['precision']}, {options.threads} threads: ours {speed['ours']:.1f}, TRL {speed['trl']:.1f}"
        f" completions/s, ratio {speed['ours'] / speed['trl']:.2f};"
        f" peak {memory['ours']:.0f} and {memory['trl']:.0f} MB, ratio {memory['ours'] / memory['trl']:.2f};"
        f" mean rewards {rewards['ours']:.3f} and {rewards['trl']:.3f}"
    )


def prepare(options: argparse.Namespace, work: Path) -> None:
    """Writes weights, tokenizer, prompts and the reward function."""
    from alignment.policy import make_network
    from rewardkit.model import preset_config
    from rewardkit.policy_tokens import policy_prompts
    from rewardkit.preference_rows import turns
    from rewardkit.prompts import distinct, read_prompts
    from rewardkit.tokens import train_tokenizer

    prompts = distinct(read_prompts(options.data, on_bad_row="skip").rows)
    tokenizer = train_tokenizer(turn.content for prompt in prompts for turn in prompt)
    network = make_network(preset_config(options.model, tokenizer), seed=0)
    network.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    lengths = [len(ids) for ids in policy_prompts(prompts, tokenizer)]
    kept = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= options.max_length]
    count = options.prompts * options.steps
    for name, part in (("prompts", kept[:count]), ("held_out", kept[count : count + 2])):
        lines = (json.dumps({"prompt": turns(prompt)}) + "\n" for prompt in part)
        (work / f"{name}.jsonl").write_text("".join(lines))
    (work / "reward.py").write_text(REWARD)


def run_ours(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """`alignment grpo`."""
    import torch

    from alignment.__main__ import main as alignment
    from rewardkit.runs import read_metrics

    torch.set_num_threads(options.threads)
    out = work / f"run-{os.getpid()}"
    flags = {
        "model": work / "model",
        "prompts": work / "prompts.jsonl",
        "eval-prompts": work / "held_out.jsonl",
        "reward": f"{work}/reward.py:even",
        "out": out,
        "loss": "dapo",
        "max-steps": options.steps,
        "prompts-per-step": options.prompts,
        "completions-per-prompt": GROUP,
        "max-new-tokens": NEW_TOKENS,
        "learning-rate": LEARNING_RATE,
        "precision": options.precision[0],
        "kl-every": 0,
        "importance-cap": 0,
        "entropy-every": 1,
        "audit-every": 10**6,
    }
    with contextlib.redirect_stdout(sys.stderr):
        code = alignment(["grpo", *(f"--{name}={value}" for name, value in flags.items())])
    assert code == 0, f"alignment grpo ended with {code}"
    rows = list(read_metrics(out))
    return {
        "step_s": [row["time/step_s"] for row in rows],
        "rewards": [row["reward/mean"] for row in rows],
        "peak_mb": peak_mb(),
    }


def run_trl(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """TRL's GRPOTrainer with its defaults but for what the task says."""
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    rewards: list[float] = []
    times: list[float] = []

    def even(completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]
        rewards.append(statistics.mean(found))
        return found

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            times.append(time.perf_counter() - self.started)

    args = GRPOConfig(
        output_dir=str(work / f"trl-{os.getpid()}"),
        per_device_train_batch_size=options.prompts * GROUP,
        num_generations=GROUP,
        max_completion_length=NEW_TOKENS,
        max_steps=options.steps,
        learning_rate=LEARNING_RATE,
        temperature=1.0,
        beta=0.0,
        shuffle_dataset=False,
        bf16=options.precision[0] == "bf16",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32),
        reward_funcs=even,
        args=args,
        train_dataset=datasets.load_dataset("json", data_files=str(work / "prompts.jsonl"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        callbacks=[Clock()],
    )
    trainer.train()
    return {"step_s": times, "rewards": rewards, "peak_mb": peak_mb()}


if __name__ == "__main__":
    main()
