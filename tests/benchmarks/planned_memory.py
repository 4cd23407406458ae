"""What `alignment plan` says of a training's memory beside what the training takes, each in a process of its own.

    python tests/benchmarks/planned_memory.py --out planned_memory.json

Compared are bytes of living tensors at the peak: the plan's, and those that torch's allocator of the CPU held at most,
from the start of `alignment grpo` (say) to its end, as torch's profiler saw every allocation. The peak resident set of
the process, less what it was once everything was imported, stands beside; it holds code, threads, and what the
allocator of the C library keeps.

A plan is for GPUs. So the measured processes attend in bf16 by the fused kernel, not by the explicit products that are
faster on a CPU, and draw without the copies of weights that MKL packs for itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignment.config.plan import PlanConfig

SHAPE = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 6, "num_attention_heads": 4}
VOCABULARY = 2048
PROMPT, COMPLETION = 31, 24  # words: one token each, the template adds one to a prompt and the end to a completion
ROWS = 60
FORMATS = ("fp32", "bf16")
# Differs within every group, else there is nothing to learn from and the step is left out.
REWARD = "def spread(completions, **columns):\n    return [float(sum(map(ord, text)) % 97) for text in completions]\n"
Figures = dict[str, Any]


def cases() -> dict[str, PlanConfig]:
    """What is measured, by name."""
    common: dict[str, Any] = {"prompt_tokens": PROMPT + 1, "completion_tokens": COMPLETION + 1}
    ways: dict[str, dict[str, Any]] = {
        "sft": {"method": "sft", "token_budget": 12 * 57},
        "dpo": {"method": "dpo", "token_budget": 8 * 82},
        "dpo live": {"method": "dpo", "reference": "live", "token_budget": 8 * 82},
        "grpo": {"method": "grpo", "completions_per_prompt": 4, "token_budget": 4 * 132},
        "ppo": {"method": "ppo", "token_budget": 8 * 57},
        "ppo separate": {"method": "ppo", "value": "separate", "token_budget": 8 * 57},
        "online-dpo": {"method": "online-dpo", "completions_per_prompt": 4, "token_budget": 8 * 82},
        "reward": {"method": "reward", "token_budget": 8 * 82},
        "reward, 5 heads": {"method": "reward", "ensemble": 5, "token_budget": 8 * 82},
    }
    whole: dict[str, PlanConfig] = {}
    for name, options in ways.items():
        every = options["method"] in ("dpo", "grpo") and "reference" not in options
        for lora, precision in itertools.product((False, True), FORMATS):
            if not every and lora != (precision == "bf16"):
                continue
            own = common | options | {"lora": lora, "precision": precision, "frozen_weights": "fp32"}
            if options["method"] not in ("sft", "dpo", "reward"):
                size = options.get("completions_per_prompt", 1)
                own["draw_budget"] = 16 // size * size * (PROMPT + COMPLETION + 2)
            whole[f"{name}, {'LoRA' if lora else 'full'}, {precision}"] = PlanConfig(**own)
    return whole | more_cases(common)


def more_cases(common: dict[str, Any]) -> dict[str, PlanConfig]:
    """The other options, each where it matters."""
    dpo = common | {"method": "dpo", "token_budget": 8 * 82, "precision": "fp32"}
    grpo = common | {"method": "grpo", "completions_per_prompt": 4, "token_budget": 4 * 132, "draw_budget": 16 * 57}
    reward = common | {"method": "reward", "token_budget": 8 * 82, "precision": "fp32", "frozen_weights": "fp32"}
    whole: dict[str, dict[str, Any]] = {
        "dpo, LoRA, frozen weights in bf16, fp32": dpo | {"lora": True, "frozen_weights": "bf16"},
        "dpo, LoRA, frozen weights in bf16, bf16": dpo | {"lora": True, "precision": "bf16"},
        "dpo live, full, reference in bf16, fp32": dpo | {"reference": "live", "frozen_weights": "bf16"},
        "grpo, full, reference in bf16, bf16": grpo | {"precision": "bf16"},
        "dpo, full, weights in bf16 rounded at random, bf16": dpo
        | {"trained_weights": "bf16_stochastic", "precision": "bf16"},
        "dpo, full, weights in bf16 by Kahan, bf16": dpo | {"trained_weights": "bf16_kahan", "precision": "bf16"},
        "dpo, full, gradient checkpointing, fp32": dpo | {"gradient_checkpointing": True},
        "dpo, full, gradient checkpointing, bf16": dpo | {"gradient_checkpointing": True, "precision": "bf16"},
        "reward, 3 adapters, LoRA, fp32": reward | {"lora": True, "ensemble": 3, "members": "lora"},
        "reward, 3 networks, full, fp32": reward | {"ensemble": 3, "members": "full"},
    }
    return {name: PlanConfig(**options) for name, options in whole.items()}


def main() -> None:
    """Measures every case and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", help="parts of names; all without")
    parser.add_argument("--out", help="JSON file of all figures")
    options = parser.parse_args()
    set_up()
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        apart(prepare, Path(folder))
        print("| training | planned MiB | measured MiB | planned / measured | resident MiB |\n|---|---|---|---|---|")
        for name, config in cases().items():
            if options.cases and not any(part in name for part in options.cases):
                continue
            both = [apart(work, config, Path(folder)) for work in (planned, measured)]
            figures.append({"case": name} | both[0] | both[1])
            print(line(figures[-1]), flush=True)
    off = [abs(row["planned"] / row["measured"] - 1) for row in figures]
    print(f"{len(off)} trainings, {sum(share <= 0.1 for share in off)} within 10 %, the largest off by {max(off):.1%}")
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1))


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    mib = {name: f"{row[name] / 2**20:.1f}" for name in ("planned", "measured", "resident")}
    ratio = f"{row['planned'] / row['measured']:.3f}"
    return f"| {row['case']} | {mib['planned']} | {mib['measured']} | {ratio} | {mib['resident']} |"


def prepare(folder: Path) -> None:
    """Writes a model of random weights, a tokenizer whose words are tokens, and rows of equal length."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    from alignment.policy.policy import make_network

    words = ["<eos>", "<pad>", "<unk>", "<user>", "<assistant>"]
    words += [f"w{number}" for number in range(VOCABULARY - len(words))]
    whole = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message.role == 'assistant' %}{{ message.content + ' <eos>' }}"
        "{% else %}{{ message.content + ' <assistant> ' }}{% endif %}{% endfor %}"
    )
    config = LlamaConfig(**SHAPE, vocab_size=VOCABULARY, max_position_embeddings=512, tie_word_embeddings=False)
    make_network(config, seed=0).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")

    def text(row: int, part: int, length: int) -> str:
        return " ".join(f"w{(row * 31 + part * 7 + place * 3) % 2000}" for place in range(length))

    rows = [
        {"prompt": text(row, 0, PROMPT), "chosen": text(row, 1, COMPLETION), "rejected": text(row, 2, COMPLETION)}
        for row in range(ROWS)
    ]
    for name, columns in (("pairs", ("prompt", "chosen", "rejected")), ("prompts", ("prompt",))):
        lines = [json.dumps({column: row[column] for column in columns}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"prompt": row["prompt"], "completion": row["chosen"]}) for row in rows]
    (folder / "demonstrations.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "reward.py").write_text(REWARD)


def planned(config: PlanConfig, folder: Path) -> Figures:
    """The plan's peak, and its parts."""
    from alignment.memory.plan import plan_memory
    from alignment.memory.standing_parts import total

    plan = plan_memory(replace(config, model=str(folder / "model")))
    phases = {name: total(getattr(plan, name)) for name in ("standing", "training", "drawing", "scoring")}
    return {"planned": plan.peak, "phases": phases}


def set_up() -> None:
    """Imports what every case needs, once, and makes a CPU compute as a GPU does where memory depends on it."""
    import peft  # noqa: F401
    import torch
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification  # noqa: F401

    import alignment.__main__
    import alignment.memory.plan
    import alignment.offline.dpo
    import alignment.online.ppo  # noqa: F401
    import rewardkit.__main__
    import rewardkit.training.reward_run  # noqa: F401
    from rewardkit.network import attention

    torch.set_num_threads(1)
    attention.LONGEST_PRODUCT = 0
    torch.backends.mkl.is_available = lambda: False


def apart(work: Callable[..., Figures | None], *arguments: Any) -> Figures:
    """Runs some work in a process of its own, which begins as a copy of this one, and returns its result."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        theirs.send(work(*arguments))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def options_of(config: PlanConfig, folder: Path, out: Path) -> dict[str, Any]:
    """The configuration of a training that a plan is for."""
    data = {"sft": "demonstrations", "dpo": "pairs", "reward": "pairs"}.get(config.method, "prompts")
    same = ("token_budget", "precision", "gradient_checkpointing", "lora_rank", "frozen_weights", "trained_weights")
    same += ("optimizer", "offload_activations", "load_in_4bit")
    options: dict[str, Any] = {name: getattr(config, name) for name in same}
    options |= {"model": str(folder / "model"), "out": str(out)}
    options["data" if config.is_offline else "prompts"] = str(folder / f"{data}.jsonl")
    if config.is_offline:
        options |= {"batch_size": 2 * config.token_budget // row_length(config), "max_length": 512}
    if config.method == "reward":
        own = {"mode": "lora" if config.lora else "full", "ensemble": config.ensemble, "members": config.members}
        return options | own
    options |= {"lora": config.lora, "sample_every": 0, "max_steps": 2}
    if not config.is_offline:
        size = config.group_size
        rows = 16 if config.method == "online-dpo" else 32 // size  # of two micro-batches a step
        options |= {"completions_per_prompt": size, "draw_budget": config.draw_budget, "prompts_per_step": rows}
        options |= {"max_new_tokens": COMPLETION + 1, "reward": [f"{folder / 'reward.py'}:spread"], "audit_prompts": 4}
        options["offload_frozen"] = config.offload_frozen
    if config.method == "dpo":
        options["reference"] = config.reference
    if config.method == "ppo":
        options |= {"value": config.value, "passes": 1}
    return options


def row_length(config: PlanConfig) -> int:
    """Tokens of a prompt and what is learned from it together."""
    return config.prompt_tokens + (2 if config.method == "online-dpo" else config.group_size) * config.completion_tokens


def measured(config: PlanConfig, folder: Path) -> Figures:
    """Trains; returns the most bytes that torch's allocator held, and the most that were resident."""
    import torch

    from alignment.__main__ import main as align
    from rewardkit.__main__ import main as reward
    from rewardkit.run.training_command import peak_mb

    before = peak_mb()
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "config.yaml"
        file.write_text(json.dumps(options_of(config, folder, Path(out) / "run")))
        run, command = (reward, "train") if config.method == "reward" else (align, config.method)
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            code = run([command, f"--config={file}"])
        assert code == 0, f"{command} ended with {code}"
    seen = profile.kineto_results.events()  # pyright: ignore
    events = [(event.start_ns(), event.nbytes()) for event in seen if event.name() == "[memory]"]
    level = highest = 0
    for _, num_bytes in sorted(events):
        level += num_bytes
        highest = max(highest, level)
    return {"measured": highest, "resident": round((peak_mb() - before) * 2**20), "left": level}


if __name__ == "__main__":
    main()
