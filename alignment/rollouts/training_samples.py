"""Sample completions over a training: what the policy writes to a few held-out prompts, as lines of samples.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignment.generation.generate import Sampling, generate
from alignment.policy.policy import Policy
from alignment.rewards.rewards import ScoredBatch
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message
from rewardkit.network.tokens import cut_prompt, end_ids, policy_prompts
from rewardkit.run.directory import write_text

FILE = "samples.jsonl"
NUM_PROMPTS = 4
LENGTH = 48  # tokens
Line = Mapping[str, Any]


def draw_samples(policy: Policy, prompts: Sequence[tuple[Message, ...]], *, step: int, seed: int) -> list[Line]:
    """A line per prompt: step, prompt, completion, finished."""
    different = list(dict.fromkeys(prompts))[:NUM_PROMPTS]
    ids = policy_prompts(different, policy.tokenizer)
    positions = getattr(policy.network.config, "max_position_embeddings", None) or 2**30
    sampling = Sampling(
        max_new_tokens=min(LENGTH, positions // 2), end_ids=end_ids(policy.network, policy.tokenizer), seed=seed
    )
    room = positions - sampling.max_new_tokens
    cut = [cut_prompt(one, own, policy.tokenizer, max_length=room) for one, own in zip(different, ids, strict=True)]
    samples = generate(policy.network, cut, sampling, may_copy=False)  # the optimizer's state is in memory too
    lines = []
    for prompt, (sample,) in zip(different, samples, strict=True):
        text = policy.tokenizer.decode(list(sample.completion), skip_special_tokens=True)
        lines.append({"step": step, "prompt": turns(prompt), "completion": text, "finished": sample.finished})
    return lines


def drawn_samples(rollouts: Rollouts, scored: ScoredBatch, *, step: int) -> list[Line]:
    """Of what a step drew for its first prompts the best and the worst completion of each, with their rewards.

    Without rewards the last and the first.
    """
    size, totals = rollouts.group_size, scored.total
    lines = []
    for group in range(min(len(rollouts.rows), NUM_PROMPTS)):
        order = group * size + np.argsort(totals[group * size : (group + 1) * size], kind="stable")
        for number in dict.fromkeys((int(order[-1]), int(order[0]))):
            line = {"step": step, "prompt": turns(rollouts.prompts[group]), "completion": rollouts.texts[number]}
            line |= {"finished": bool(rollouts.finished[number])}
            lines.append(line | {"reward": float(totals[number])} if scored.is_rewarded else line)
    return lines


def write_samples(run_dir: Path, lines: Sequence[Line], *, step: int) -> None:
    """Appends the lines of a step; those of steps that are taken again go."""
    file = run_dir / FILE
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in before if json.loads(line)["step"] < step]
    kept += [json.dumps(line, ensure_ascii=False) for line in lines]
    write_text(file, "".join(f"{line}\n" for line in kept))
