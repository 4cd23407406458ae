"""GRPO beside TRL 1.16: completions per second end to end, and peak memory, from one run.

    python tests/benchmarks/grpo_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra. What both sides share and how they are measured is told in `trl_race.py`. A step draws 8
completions of each of 8 prompts, 64 new tokens at most, has them rewarded by a Python function (the share of even token
ids), and takes one optimizer step on the `dapo` loss without a KL. Ours is the command `alignment grpo`, its reward
function in a worker process; TRL's is GRPOTrainer generating by transformers, with its defaults but for what the task
says. Both begin from the same random weights, in which completions hardly ever end early, and read the same prompts.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from online_race import NEW_TOKENS, run_command, trl_prompts, write_work
from trl_race import LEARNING_RATE, Figures, parser_of, race, step_clock, trl_arguments, write_figures

from alignment.config.online import GrpoConfig

GROUP = 8
REWARD = """
def even(completion_ids, **_):
    return [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]
"""


def main() -> None:
    """Races both sides, prints a line for each precision."""
    defaults = {"token_budget": GrpoConfig.token_budget, "max_length": 256, "steps": 6, "warm_up": 2}
    options = parser_of(__file__, __doc__, **defaults).parse_args()
    runs = {"ours": run_ours, "trl": run_trl}
    write_figures(options, race(__file__, options, prepare, runs, unit="completions"))


def prepare(options: argparse.Namespace, work: Path) -> list[float]:
    """Writes weights, tokenizer, prompts and the reward function."""
    write_work(options, work)
    (work / "reward.py").write_text(REWARD)
    return [float(options.batch_size * GROUP)] * options.steps


def run_ours(options: argparse.Namespace, work: Path) -> Figures:
    """`alignment grpo`."""
    reward = f"{work}/reward.py:even"
    return run_command("grpo", options, work, reward=reward, loss="dapo", completions_per_prompt=GROUP, kl_every=0)


def run_trl(options: argparse.Namespace, work: Path) -> Figures:
    """TRL's GRPOTrainer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    rewards: list[float] = []

    def even(completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]
        rewards.append(statistics.mean(found))
        return found

    arguments = trl_arguments(options, work) | {
        "per_device_train_batch_size": options.batch_size * GROUP,
        "num_generations": GROUP,
        "max_completion_length": NEW_TOKENS,
        "max_steps": options.steps,
        "learning_rate": LEARNING_RATE,
        "temperature": 1.0,
        "beta": 0.0,
        "shuffle_dataset": False,
    }
    clock = step_clock()
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32),
        reward_funcs=even,
        args=GRPOConfig(**arguments),
        train_dataset=trl_prompts(work),
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        callbacks=[clock],
    )
    trainer.train()
    return {"step_s": clock.step_s, "cpu_s": clock.cpu_s, "rewards": rewards}


if __name__ == "__main__":
    main()
