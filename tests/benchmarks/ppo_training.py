"""PPO beside TRL 1.12, the last that had it: completions per second end to end, and peak memory, from one run.

    python tests/benchmarks/ppo_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra, and TRL 1.12 beside it, which goes with the same other packages: `make .venv-bench/stamp` puts
both there; elsewhere `pip install --no-deps --target FOLDER trl==1.12.0` and --trl FOLDER. What both sides share and
how they are measured is told in `trl_race.py`.

A step draws a completion of each prompt, 64 new tokens at temperature 0.7, has it scored by a reward model, and learns
in 4 passes of one minibatch, with the KL to a reference (weight 0.05) in the rewards of tokens. Ours is the command
`alignment ppo`; TRL's is PPOTrainer with its defaults but for what the task says. Both begin from the same random
weights, in which completions hardly ever end early, and measure the entropy in every pass. The tasks, ours:

  separate   four networks on both sides: policy, reference, reward model, and a value network that begins as the last
  trunk      our default: the value head reads the policy's own states, so there is no fourth network

TRL's is the same in both. It learns from the whole step in one batch, or in parts of --micro-batch completions.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from online_race import NEW_TOKENS, run_command, trl_prompts, write_work
from trl_race import LEARNING_RATE, Figures, parser_of, race, shape_of, step_clock, trl_arguments, write_figures

from alignment.config.online import PpoConfig

TASKS = ("separate", "trunk")
PASSES, TEMPERATURE, BETA = 4, 0.7, 0.05


def main() -> None:
    """Races both sides in every task, prints a line for each."""
    defaults = {"token_budget": PpoConfig.token_budget, "batch_size": 32, "max_length": 256, "steps": 4, "warm_up": 1}
    parser = parser_of(__file__, __doc__, **defaults)
    parser.add_argument("--tasks", nargs="*", default=["separate"], choices=TASKS)
    parser.add_argument("--micro-batch", type=int, default=0, help="TRL: completions learned from at once; 0 is all")
    parser.add_argument("--trl", default=f"{sys.prefix}/trl-1.12", help="folder that TRL 1.12 was installed into")
    options = parser.parse_args()
    figures: list[Figures] = []
    for task in options.tasks:
        options.task = task
        runs = {"ours": run_ours, "trl": run_trl}
        figures += race(__file__, options, prepare, runs, task=task, unit="completions")
    write_figures(options, figures)


def prepare(options: argparse.Namespace, work: Path) -> list[float]:
    """Writes weights, tokenizer, prompts and the reward model."""
    from rewardkit.network.classifier import make_classifier

    tokenizer = write_work(options, work)
    make_classifier(shape_of(options.model, tokenizer), seed=1).save_pretrained(work / "reward")
    tokenizer.save_pretrained(work / "reward")
    return [float(options.batch_size)] * options.steps


def run_ours(options: argparse.Namespace, work: Path) -> Figures:
    """`alignment ppo`."""
    value = {"value": "separate", "value_model": work / "reward"} if options.task == "separate" else {"value": "trunk"}
    return run_command(
        "ppo", options, work, reward=work / "reward", passes=PASSES, temperature=TEMPERATURE, beta=BETA, **value
    )


def run_trl(options: argparse.Namespace, work: Path) -> Figures:
    """TRL's PPOTrainer."""
    sys.path.insert(0, options.trl)
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import __version__
    from trl.experimental.ppo import PPOConfig, PPOTrainer  # pyright: ignore[reportMissingImports]

    assert __version__.startswith("1.12."), f"TRL is {__version__}: --trl names a folder with 1.12"
    prompts = trl_prompts(work)
    tokenizer = AutoTokenizer.from_pretrained(work / "model", padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32) for _ in range(2))
    reward_model, value_model = (
        AutoModelForSequenceClassification.from_pretrained(work / "reward", dtype=torch.float32) for _ in range(2)
    )

    def tokens(row: dict[str, Any]) -> dict[str, list[int]]:
        return {"input_ids": tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]}

    micro = options.micro_batch or options.batch_size
    arguments = trl_arguments(options, work) | {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": options.batch_size // micro,
        "local_rollout_forward_batch_size": micro,
        "total_episodes": options.steps * options.batch_size,
        "num_ppo_epochs": PASSES,
        "response_length": NEW_TOKENS,
        "temperature": TEMPERATURE,
        "kl_coef": BETA,
        "learning_rate": LEARNING_RATE,
        "num_sample_generations": 0,
    }
    clock = step_clock()
    trainer = PPOTrainer(
        args=PPOConfig(**arguments),
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward_model,
        value_model=value_model,
        train_dataset=prompts.map(tokens, remove_columns=["prompt"]),
        callbacks=[clock],
    )
    trainer.train()
    rewards = [row["objective/scores"] for row in trainer.state.log_history if "objective/scores" in row]
    return {"step_s": clock.step_s, "cpu_s": clock.cpu_s, "rewards": rewards}


if __name__ == "__main__":
    main()
