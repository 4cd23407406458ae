"""DPO and SFT beside TRL 1.16: pairs or tokens per second and peak memory, from one run.

    python tests/benchmarks/policy_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra. What both sides share and how they are measured is told in `trl_race.py`. Ours is the loop and
the objectives of `alignment dpo` and `alignment sft`; TRL's are DPOTrainer and SFTTrainer. The tasks:

  dpo            a frozen reference runs in every step, on both sides
  precomputed    log-probabilities of the reference once, before the steps that are timed, on both sides
  lora           adapters of rank 16 on all linear layers, the reference is the same weights without them
  64k            as dpo, with a narrower model and a vocabulary of 65,536
  sft            chosen completions, twice the rows per step, counted in tokens that are not padding

Pairs that tokenise differently when prompt and completion are joined are left out, as are those longer than
--max-length; the chat template puts nothing after the end of a turn. So both sides train on the same tokens.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trl_race import (
    LEARNING_RATE,
    Figures,
    conversational,
    offline_arguments,
    parser_of,
    race,
    shape_of,
    train_trl,
    write_figures,
    write_in_both_orders,
)

from alignment.config.training import DpoConfig, SftConfig, TrainingConfig

if TYPE_CHECKING:
    from alignment.offline.objective import RowLoss
    from alignment.policy.rows import PolicyRows
    from rewardkit.data.records import Preference

TASKS = ("dpo", "precomputed", "lora", "64k", "sft")
BETA = 0.1
RANK = 16
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def main() -> None:
    """Races both sides in every task, prints a line for each and writes every figure."""
    parser = parser_of(__file__, __doc__, token_budget=TrainingConfig.token_budget)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    options = parser.parse_args()
    pairs_per_step = options.batch_size
    figures: list[Figures] = []
    for task in options.tasks:
        options.task, options.batch_size = task, 2 * pairs_per_step if task == "sft" else pairs_per_step
        unit = "tokens" if task == "sft" else "pairs"
        figures += race(__file__, options, prepare, {"ours": run_ours, "trl": run_trl}, task=task, unit=unit)
    write_figures(options, figures)


def prepare(options: argparse.Namespace, work: Path) -> list[float]:
    """Writes tokenizer, weights and rows in the order in which both sides take them; returns pairs or tokens a step."""
    from safetensors.torch import save_file

    from alignment.policy.policy import make_network
    from rewardkit.data.preferences import read_preferences
    from rewardkit.network.models import adapt
    from rewardkit.network.tokens import train_tokenizer

    preferences = read_preferences(options.data, on_bad_row="skip").rows
    tokenizer = train_tokenizer(
        text for row in preferences for text in (*(turn.content for turn in row.prompt), row.chosen, row.rejected)
    )
    tokenizer.chat_template = TEMPLATE
    count = options.steps * options.batch_size
    kept = [(row, length) for row, length in measured(preferences, tokenizer) if length <= options.max_length][:count]
    assert len(kept) == count, f"{len(kept)} pairs fit, {count} are needed"
    config = shape_of(options.model, tokenizer)
    if options.task == "64k":
        config.update({"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "vocab_size": 2**16})
        config.update({"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64})
    network = make_network(config, seed=0)
    network.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    if options.task == "lora":
        adapted = adapt(network, rank=RANK, num_layers=0, seed=0, task="CAUSAL_LM")
        state = {name: tensor.contiguous() for name, tensor in adapted.state_dict().items() if "lora_" in name}
        save_file(state, work / "adapters.safetensors")
    rows = [demonstration(row) if options.task == "sft" else conversational(row) for row, _ in kept]
    order = write_in_both_orders(work, rows, options.batch_size)
    if options.task != "sft":
        return [float(options.batch_size)] * options.steps
    tokens = token_rows(options.task, [row for row, _ in kept], tokenizer, options.max_length).rows
    steps = [order[start : start + options.batch_size] for start in range(0, count, options.batch_size)]
    return [float(sum(tokens[index].num_tokens for index in step)) for step in steps]


def measured(preferences: list[Preference], tokenizer: Any) -> list[tuple[Preference, int]]:
    """Pairs of different completions whose tokens do not depend on where they are joined, with their longer length."""
    from rewardkit.network.chat_template import completion_text, prompt_text
    from rewardkit.network.tokens import policy_rows

    answers = [(row.chosen, row.rejected) for row in preferences]
    rows, _ = policy_rows([row.prompt for row in preferences], answers, tokenizer, max_length=10**6)
    texts = [
        prompt_text(row.prompt, tokenizer) + completion_text(row.prompt, completion, tokenizer)
        for row, pair in zip(preferences, answers, strict=True)
        for completion in pair
    ]
    whole = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    found = []
    for preference, row in zip(preferences, rows, strict=True):
        joined = [tuple(next(whole)) for _ in row.branches]
        apart = [row.prompt + branch for branch in row.branches]
        if joined == apart and joined[0] != joined[1]:
            found.append((preference, max(map(len, joined))))
    return found


def demonstration(row: Preference) -> dict[str, Any]:
    """The chosen completion, in TRL's columns, which ours reads too."""
    whole = conversational(row)
    return {"prompt": whole["prompt"], "completion": whole["chosen"]}


def token_rows(task: str, preferences: list[Preference], tokenizer: Any, max_length: int) -> PolicyRows:
    """Rows of tokens of pairs, or of their chosen completions."""
    from alignment.policy.data import Demonstration
    from alignment.policy.rows import demonstration_rows, preference_rows
    from rewardkit.data.records import Message

    if task != "sft":
        return preference_rows(preferences, tokenizer, max_length=max_length)
    demonstrations = [
        Demonstration(turns=(*row.prompt, Message(role="assistant", content=row.chosen))) for row in preferences
    ]
    return demonstration_rows(demonstrations, tokenizer, max_length=max_length)


def run_ours(options: argparse.Namespace, work: Path) -> Figures:
    """The training loop of `alignment dpo` and `alignment sft`."""
    from rewardkit.run.training_command import keep_large_buffers

    keep_large_buffers()
    import torch

    torch.set_num_threads(options.threads)
    from alignment.offline.objective import PolicyObjective, loop_options
    from alignment.offline.run import batches_of
    from alignment.policy.policy import build_policy
    from alignment.policy.policy_forward import place
    from rewardkit.distributed.checkpoint import Checkpoint
    from rewardkit.distributed.collectives import default_device
    from rewardkit.network.tokens import load_tokenizer
    from rewardkit.run.directory import Run, read_metrics
    from rewardkit.training.loop import train

    config = config_of(options, work)
    tokenizer = load_tokenizer(config.model, own_pad=False)
    rows = token_rows(options.task, read_rows(config.data), tokenizer, config.max_length)
    policy = build_policy(config, tokenizer, max_length=config.max_length)
    forward = place(policy, config, default_device())
    rows, loss = with_objective(config, rows, forward, policy)
    run = Run(config.out, config)
    cpu = [time.process_time()]
    train(
        PolicyObjective(forward=forward, loss=loss, rows=rows, held_out=head_of_rows(rows)),
        batches_of(len(rows), config),
        loop_options(config, learning_rate=LEARNING_RATE),
        run,
        checkpoint=Checkpoint(run.dir / "checkpoints"),
        show=lambda step, num_steps, metrics: cpu.append(time.process_time()),
    )
    logged = list(read_metrics(run.dir))
    return {
        "step_s": [row["time/step_s"] for row in logged],
        "cpu_s": [after - before for before, after in pairwise(cpu)],
        "losses": [row["loss"] for row in logged],
        "tokens": sum(row.num_tokens for row in rows.rows),
    }


def config_of(options: argparse.Namespace, work: Path) -> TrainingConfig:
    """Our configuration of a task."""
    shared: dict[str, Any] = {
        "model": str(work / "model"),
        "data": str(work / "ours.jsonl"),
        "out": str(work / f"run-{os.getpid()}"),
        "batch_size": options.batch_size,
        "token_budget": options.token_budget,
        "max_length": options.max_length,
        "learning_rate": LEARNING_RATE,
        "precision": options.precision[0],
        "eval_every": 10**6,
    }
    if options.task == "sft":
        return SftConfig(**shared)
    reference = "precomputed" if options.task == "precomputed" else "live"
    return DpoConfig(**shared, beta=BETA, reference=reference, lora=options.task == "lora", lora_rank=RANK)


def read_rows(file: str) -> list[Preference]:
    """The rows that `prepare` wrote; a demonstration comes back as a pair with an empty rejected completion."""
    import json

    from rewardkit.data.records import Message, Preference

    found = []
    for line in Path(file).read_text().splitlines():
        row = json.loads(line)
        (chosen,) = row.get("chosen") or row["completion"]
        rejected = row["rejected"][0]["content"] if "rejected" in row else ""
        prompt = tuple(Message(**turn) for turn in row["prompt"])
        found.append(Preference(prompt=prompt, chosen=chosen["content"], rejected=rejected))
    return found


def with_objective(config: TrainingConfig, rows: PolicyRows, forward: Any, policy: Any) -> tuple[PolicyRows, RowLoss]:
    """The objective of a task and the rows it reads."""
    from alignment.offline.dpo import DpoLoss
    from alignment.offline.sft import SftLoss
    from alignment.policy.reference import LiveReference, with_reference

    if not isinstance(config, DpoConfig):
        return rows, SftLoss()
    if config.reference == "live":
        return rows, DpoLoss(config, forward, LiveReference(policy, forward))
    (rows,) = with_reference(rows, forward=forward, cache_dir=Path(config.out) / "reference", is_first=True)
    return rows, DpoLoss(config, forward, None)


def head_of_rows(rows: PolicyRows) -> PolicyRows:
    """Two rows to evaluate after the last step, outside of what is timed."""
    from dataclasses import replace

    reference = None if rows.reference is None else rows.reference[:2]
    return replace(
        rows, rows=rows.rows[:2], keep=rows.keep and rows.keep[:2], prompts=rows.prompts[:2], reference=reference
    )


def run_trl(options: argparse.Namespace, work: Path) -> Figures:
    """TRL's DPOTrainer or SFTTrainer."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)

    def make_trainer(rows: Any) -> Any:
        arguments = offline_arguments(options, work)
        given = {"train_dataset": rows, "processing_class": AutoTokenizer.from_pretrained(work / "model")}
        if options.task == "sft":
            return SFTTrainer(model=load(), args=SFTConfig(**arguments), **given)
        args = DPOConfig(**arguments, beta=BETA, precompute_ref_log_probs=options.task == "precomputed")
        if options.task != "lora":
            reference = None if options.task == "precomputed" else load()
            return DPOTrainer(model=load(), ref_model=reference, args=args, **given)
        from peft import LoraConfig

        lora = LoraConfig(
            r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        trainer = DPOTrainer(model=load(), args=args, peft_config=lora, **given)
        left = trainer.model.load_state_dict(load_file(work / "adapters.safetensors"), strict=False)
        assert not left.unexpected_keys, left.unexpected_keys
        return trainer

    return train_trl(make_trainer, options, work)


if __name__ == "__main__":
    main()
