"""Sample completions over a training: what the policy writes to a few held-out prompts, as lines of samples.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from alignment.generate import Sampling, end_ids, generate
from alignment.policy import Policy
from rewardkit.data import Message
from rewardkit.policy_tokens import policy_prompts
from rewardkit.preference_rows import turns

FILE = "samples.jsonl"
NUM_PROMPTS = 4
LENGTH = 48  # tokens


def draw_samples(policy: Policy, prompts: Sequence[tuple[Message, ...]], *, step: int, seed: int) -> list[str]:
    """A line of JSON per prompt: step, prompt, completion, finished."""
    different = list(dict.fromkeys(prompts))[:NUM_PROMPTS]
    ids = policy_prompts(different, policy.tokenizer)
    positions = getattr(policy.network.config, "max_position_embeddings", None) or 2**30
    sampling = Sampling(
        max_new_tokens=min(LENGTH, positions // 2), end_ids=end_ids(policy.network, policy.tokenizer), seed=seed
    )
    cut = [prompt[-(positions - sampling.max_new_tokens) :] for prompt in ids]
    drawn = generate(policy.network, cut, sampling)
    lines = []
    for prompt, (sample,) in zip(different, drawn, strict=True):
        text = policy.tokenizer.decode(list(sample.completion), skip_special_tokens=True)
        line = {"step": step, "prompt": turns(prompt), "completion": text, "finished": sample.finished}
        lines.append(json.dumps(line, ensure_ascii=False))
    return lines


def write_samples(run_dir: Path, lines: Sequence[str], *, step: int) -> None:
    """Appends the lines of a step; those of steps that are taken again go."""
    kept = [*_lines_before(run_dir / FILE, step), *lines]
    (run_dir / FILE).write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _lines_before(file: Path, step: int) -> list[str]:
    if not file.exists():
        return []
    return [line for line in file.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] < step]
