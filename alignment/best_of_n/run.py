"""Completions of prompts, rewarded and chosen, from a policy to a dataset; how good the best of k would be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from alignment.best_of_n.beam import beam_search
from alignment.best_of_n.chosen_rows import ScoredCompletion, ScoredGroup, chosen_rows
from alignment.best_of_n.value import BestOfK, best_of_k
from alignment.config.rewards import RewardOptions
from alignment.config.sampling import BonConfig, DrawConfig
from alignment.generation.completion_sampler import Sampler, Told
from alignment.rewards.rewards import Rewards, load_rewards
from alignment.rewards.source import RewardBatch
from alignment.simulated_world import GOLD, MAX_NEW_TOKENS, make_world
from rewardkit.data.export_formats import turns
from rewardkit.data.files import ResumableFile
from rewardkit.data.prompts import PromptRow, distinct_rows, read_prompt_rows
from rewardkit.data.records import content_id
from rewardkit.network.template_check import TemplateCheck
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption
from rewardkit.stats.metrics import Interval, average_interval

# What may change when a run goes on: it does not decide what is drawn and how that is rewarded.
_NO_MATTER = ("out", "resume", "json", "window", "token_budget", "keep", "threshold", "threshold_of", "soft_labels")


@dataclass(frozen=True, kw_only=True)
class BonPrompts:
    """The different prompts of a file with their rows; `bad` says which rows could not be used."""

    rows: list[PromptRow]
    bad: list[str]


@dataclass(frozen=True, kw_only=True)
class BonResult:
    """Counts and figures of a finished `alignment bon`.

    Attributes:
        num_continued: of the prompts, those of an earlier run.
        num_rows: written.
        num_without: prompts that gave no row.
        num_cut: completions that did not end by themselves.
        curve: best of k, for every k up to n; empty for beam search, whose completions are no separate draws.
        choices: what each way of choosing gives, by the audit reward where there is one, else by the reward: `best`,
            and where completions have final numbers `majority` and `weighted_majority`; means over prompts.
    """

    num_prompts: int
    num_continued: int
    num_rows: int
    num_without: int
    num_cut: int
    curve: list[BestOfK]
    choices: dict[str, Interval]

    def values(self) -> dict[str, Any]:
        return asdict(self)


def in_world(config: BonConfig, interruption: Interruption, progress: Progress) -> BonConfig:
    """Makes a simulated world where the configuration names no policy, and fills in its policy, prompts and reward.

    Raises:
        KeyboardInterrupt: if it was asked to stop while the world's policy is made.
    """
    if config.model:
        return config
    out = Path(config.out)
    files = make_world(out.with_name(f"{out.name}.world"), interruption, progress, seed=config.seed)
    return replace(
        config,
        model=files.sft,
        prompts=files.prompts,
        reward=config.reward or [GOLD],
        max_new_tokens=min(config.max_new_tokens, MAX_NEW_TOKENS),
    )


def read_different_rows(config: DrawConfig, check: TemplateCheck | None = None, *, apart_by: str = "") -> BonPrompts:
    """Reads the prompts that a configuration names, each once, with the first row that holds it.

    Args:
        check: asked for every prompt.
        apart_by: column by which rows of the same prompt are different ones.

    Raises:
        ValueError: naming file and line, if a row is bad or there is no prompt.
        FileNotFoundError: if there is no such source.
    """
    read = read_prompt_rows(
        config.prompts, on_bad_row=config.on_bad_row, check=check and (lambda row, _place: check(row.prompt, ()))
    )
    rows = distinct_rows(read.rows, apart_by)[: config.max_prompts or None]
    if not rows:
        raise ValueError(f"{config.prompts}: no row has a prompt")
    return BonPrompts(rows=rows, bad=[f"{row.place}: {row.problem}" for row in read.bad_rows])


def choose_best(config: BonConfig, rows: Sequence[PromptRow], sampler: Sampler, *, told: Told) -> BonResult:
    """Draws completions of all prompts, rewards them, and writes those that are chosen.

    Args:
        told: called after every batch with the completions drawn and all there are.

    Raises:
        ValueError: if an unfinished run was drawn otherwise, or a prompt is too long.
        RewardError: if a completion gets no reward.
    """
    file = ResumableFile(config.out, _header(config, rows))
    total = len(rows) * config.n
    with ExitStack() as stack:
        rewards = stack.enter_context(load_rewards(config, policy_tokenizer=sampler.tokenizer))
        audit = None
        if config.audit_reward:
            options = RewardOptions(
                reward=config.audit_reward, steps_by=config.steps_by, reward_timeout_s=config.reward_timeout_s
            )
            audit = stack.enter_context(load_rewards(options, policy_tokenizer=sampler.tokenizer))
        for start in range(file.num_rows, len(rows), config.window):
            window = rows[start : start + config.window]

            def tell(part: int, _of: int, start: int = start) -> None:
                told((start + part) * config.n, total)

            groups = _scored(config, window, sampler, rewards, audit, start, tell)
            file.append([group.to_json() for group in groups])
    return _finish(config, file, model=sampler.name)


def _scored(
    config: BonConfig,
    window: Sequence[PromptRow],
    sampler: Sampler,
    rewards: Rewards,
    audit: Rewards | None,
    start: int,
    told: Told,
) -> list[ScoredGroup]:
    """Draws and rewards the completions of a window of prompts.

    Args:
        start: number of its first prompt.
    """
    keys = range(start, start + len(window))
    if config.search == "beam":
        groups = beam_search(config, window, sampler, rewards, keys=keys, told=told)
    else:
        groups = sampler.draw([row.prompt for row in window], config, n=config.n, keys=keys, told=told)
    batch = RewardBatch.of_groups(window, groups)
    scored = rewards.score(batch)
    audited = None if audit is None else audit.score(batch).total.tolist()
    completions = iter(
        ScoredCompletion(
            text=one.text,
            **one.columns,
            reward=float(scored.total[index]),
            members=scored.raw.members[:, index].tolist(),
            audit=None if audited is None else audited[index],
        )
        for index, one in enumerate(one for group in groups for one in group)
    )
    return [
        ScoredGroup(prompt=row.prompt, completions=tuple(islice(completions, len(group))))
        for row, group in zip(window, groups, strict=True)
    ]


def _header(config: BonConfig, rows: Sequence[PromptRow]) -> dict[str, Any]:
    values = {name: value for name, value in asdict(config).items() if name not in _NO_MATTER}
    return {**values, "prompts_hash": content_id([turns(row.prompt) for row in rows])}


def _finish(config: BonConfig, file: ResumableFile, *, model: str) -> BonResult:
    num_rows = num_without = num_cut = 0
    has_answers = False
    rewards: list[list[float]] = []
    audits: list[list[float]] = []
    choices: dict[str, list[float]] = {"best": [], "majority": [], "weighted_majority": []}
    with file.finish() as write:
        for row in file:
            group = ScoredGroup.from_json(row)
            chosen = chosen_rows(group, config, model=model)
            for chosen_row in chosen:
                write(chosen_row)
            num_rows += len(chosen)
            num_without += not chosen
            num_cut += sum(not one.finished for one in group.completions)
            rewards.append([one.reward for one in group.completions])
            audits.append([one.audit for one in group.completions if one.audit is not None])
            values = audits[-1] or rewards[-1]
            best = int(np.argmax(rewards[-1]))
            choices["best"].append(values[best])
            for name in ("majority", "weighted_majority"):
                place = group.elected(weighted=name == "weighted_majority")
                choices[name].append(values[best if place is None else place])
                has_answers = has_answers or place is not None
    separate = config.search == "best_of_n"
    return BonResult(
        num_prompts=len(rewards),
        num_continued=file.num_rows,
        num_rows=num_rows,
        num_without=num_without,
        num_cut=num_cut,
        curve=best_of_k(np.array(rewards), np.array(audits) if config.audit_reward else None, seed=config.seed)
        if separate
        else [],
        choices={
            name: average_interval(values, seed=config.seed)
            for name, values in choices.items()
            if name == "best" or has_answers
        },
    )
