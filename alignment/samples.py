"""Sample completions over a training: what the policy writes to a few held-out prompts, as lines of samples.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignment.generate import Sampling, end_ids, generate
from alignment.policy import Policy
from alignment.rollouts import Rollouts
from rewardkit.data import Message
from rewardkit.policy_tokens import policy_prompts
from rewardkit.preference_rows import turns
from rewardkit.runs import write_text

FILE = "samples.jsonl"
NUM_PROMPTS = 4
LENGTH = 48  # tokens


def write_samples(
    run_dir: Path, policy: Policy, prompts: Sequence[tuple[Message, ...]], *, step: int, seed: int
) -> None:
    """Appends a line per prompt: step, prompt, completion, finished; lines of steps that are taken again go."""
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
        lines.append({"step": step, "prompt": turns(prompt), "completion": text, "finished": sample.finished})
    _append(run_dir / FILE, lines, step)


def write_drawn(run_dir: Path, rollouts: Rollouts, totals: np.ndarray, *, step: int) -> None:
    """Appends what a step drew for its first prompts: the best and the worst completion of each, with their rewards."""
    size = rollouts.group_size
    lines = []
    for place in range(min(len(rollouts.rows), NUM_PROMPTS)):
        order = place * size + np.argsort(totals[place * size : (place + 1) * size], kind="stable")
        for number in dict.fromkeys((int(order[-1]), int(order[0]))):
            line = {"step": step, "prompt": turns(rollouts.prompts[place]), "completion": rollouts.texts[number]}
            lines.append(line | {"finished": bool(rollouts.finished[number]), "reward": float(totals[number])})
    _append(run_dir / FILE, lines, step)


def _append(file: Path, lines: Sequence[Mapping[str, Any]], step: int) -> None:
    """Writes lines of a step behind those of earlier ones; those of steps that are taken again go."""
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in before if json.loads(line)["step"] < step]
    kept += [json.dumps(line, ensure_ascii=False) for line in lines]
    write_text(file, "".join(f"{line}\n" for line in kept))
