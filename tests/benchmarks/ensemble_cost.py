"""What K members cost against one: optimizer steps of the small preset on real pairs, alternating in one run.

python tests/benchmarks/ensemble_cost.py --data hh_helpful_base_train.jsonl.gz --out ensemble_cost.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from rewardkit.config import RewardConfig
from rewardkit.data.preferences import read_preferences
from rewardkit.distributed.optimization import adamw
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.models import preset_config
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward.lora_ensemble import LoraEnsemble
from rewardkit.training.loop import sum_parts
from rewardkit.training.reward_objective import RewardObjective, peak_learning_rate
from rewardkit.training.rows import TrainingRows, training_rows


def stepper(scorer: RewardScorer, rows: TrainingRows, config: RewardConfig) -> Callable[[int], float]:
    """A function that takes one optimizer step on the n-th batch and returns its seconds."""
    objective = RewardObjective(scorer, rows, rows, config)
    optimizer = adamw(objective.parameter_groups(), peak_learning_rate(config))
    scorer.train()

    def step(number: int) -> float:
        batch = [(number * config.batch_size + index) % len(rows) for index in range(config.batch_size)]
        started = time.perf_counter()
        sum_parts(objective, batch, measures=False, learns=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--lora-layers", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(2)
    preferences = read_preferences(options.data).rows[: options.batch * (options.steps + 2)]
    tokenizer = train_tokenizer(
        text for row in preferences for text in (row.prompt[0].content, row.chosen, row.rejected)
    )
    rows = training_rows(preferences, tokenizer, max_length=1024)
    one = RewardConfig(
        model=options.model, data=options.data, out="unused", batch_size=options.batch, precision=options.precision
    )
    many = replace(one, ensemble=options.members)
    model_config = preset_config(options.model, tokenizer)
    lora = LoraEnsemble(
        make_classifier(model_config, seed=0), num_members=options.members, rank=16, num_layers=options.lora_layers
    )
    steppers = {
        "one": stepper(RewardScorer(make_classifier(model_config, seed=0)), rows, one),
        "heads": stepper(RewardScorer(make_classifier(model_config, seed=0), num_members=options.members), rows, many),
        "lora": stepper(lora, rows, replace(many, members="lora", mode="lora")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for number in range(options.steps + 2):
        for name, step in steppers.items():
            seconds[name].append(step(number))
    medians = {name: median(values[2:]) for name, values in seconds.items()}
    ratios = {
        name: median(b / a for a, b in zip(seconds["one"][2:], seconds[name][2:], strict=True)) for name in seconds
    }
    result = {"options": vars(options), "s_per_step": medians, "times_one_member": ratios}
    print(json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
