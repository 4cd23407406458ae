"""One run of `alignment label-steps`: prompts in, rows of answers in steps with Monte-Carlo labels out, resumable."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alignment.config.sampling import LabelStepsConfig
from alignment.generation.completion_sampler import Completion, Sampler, Told
from alignment.rewards.rewards import Rewards, load_rewards
from alignment.rewards.source import RewardBatch
from alignment.step_labels.rollouts import Rollout, StepRollouts, Steps
from rewardkit.data.export_formats import turns
from rewardkit.data.files import ResumableFile
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import content_id
from rewardkit.data.stepwise.stepped_answer import separator_of, split_steps
from rewardkit.data.stepwise.stepwise_rows import read_steps
from rewardkit.network.tokens import policy_prompts, token_ids

_NO_MATTER = ("out", "resume", "json", "window", "token_budget")  # what may change when a run goes on
STEPWISE = ("prompt", "completions", "labels")


@dataclass(frozen=True, kw_only=True)
class LabelledSteps:
    """Counts of a finished `alignment label-steps`.

    Attributes:
        num_continued: of the prompts, those of an earlier run.
        num_rows: answers written; `num_blank` had no step and were left out.
        num_drawn: completions drawn, answers and rollouts; `num_reused` rollouts were there already when a label of
            another step needed them.
        share_right: of the answers written, those that are right.
        mean_label: of all steps.
    """

    num_prompts: int
    num_continued: int
    num_rows: int
    num_blank: int
    num_steps: int
    num_drawn: int
    num_reused: int
    share_right: float
    mean_label: float


def label_prompts(
    config: LabelStepsConfig, rows: Sequence[PromptRow], sampler: Sampler, *, told: Told
) -> LabelledSteps:
    """Draws answers and rollouts of all prompts and writes the labelled rows.

    Args:
        told: called after every window with the prompts labelled and all there are.

    Raises:
        ValueError: if an unfinished run was drawn otherwise, or a prompt is too long.
        RewardError: if a completion gets no reward.
    """
    file = ResumableFile(config.out, _header(config, rows))
    with load_rewards(config, policy_tokenizer=sampler.tokenizer) as rewards:
        for start in range(file.num_rows, len(rows), config.window):
            window = rows[start : start + config.window]
            file.append(_labelled(config, window, range(start, start + len(window)), sampler, rewards))
            told(start + len(window), len(rows))
    return _finish(file)


def _labelled(
    config: LabelStepsConfig, rows: Sequence[PromptRow], keys: Sequence[int], sampler: Sampler, rewards: Rewards
) -> list[dict[str, Any]]:
    """What is written of each prompt: its labelled rows, and counts."""
    own = [number for number, row in enumerate(rows) if row.columns.get("completions") not in (None, "")]
    drawn = [number for number in range(len(rows)) if number not in set(own)]
    groups: dict[int, Sequence[Completion]] = {}
    if drawn:
        prompts = [rows[number].prompt for number in drawn]
        answers = sampler.draw(prompts, config, n=config.n, keys=[keys[number] for number in drawn])
        groups = dict(zip(drawn, answers, strict=True))
    trees = []
    for number, row in enumerate(rows):
        if number in groups:
            steps = [split_steps(one.text, config.steps_by) for one in groups[number]]
        else:
            steps = [read_steps(row.columns["completions"], "completions")]
        trees.append(StepRollouts(prompt=row.prompt, answers=[one for one in steps if one]))
    _reward_answers(config, rows, trees, groups, rewards)
    num_drawn = [len(groups.get(number, ())) for number in range(len(rows))]
    for depth in range(1, max((tree.depth for tree in trees), default=0)):
        _roll_out(config, rows, trees, depth, sampler, rewards, num_drawn)
    return [
        _written(config, row, tree, num_drawn[number], len(groups.get(number, ())))
        for number, (row, tree) in enumerate(zip(rows, trees, strict=True))
    ]


def _reward_answers(
    config: LabelStepsConfig,
    rows: Sequence[PromptRow],
    trees: Sequence[StepRollouts],
    groups: dict[int, Sequence[Completion]],
    rewards: Rewards,
) -> None:
    """Rewards the answers; those that the policy drew are rollouts from their prompt."""
    joint = separator_of(config.steps_by)
    wanted = [(number, steps) for number, tree in enumerate(trees) for steps in tree.answers]
    for (number, steps), reward in zip(
        wanted, _rewards_of(rewards, rows, [(number, joint.join(steps)) for number, steps in wanted]), strict=True
    ):
        trees[number].rewards[steps] = reward
        if number in groups:
            trees[number].rollouts.append(Rollout(begun=(), steps=steps, reward=reward))


def _roll_out(
    config: LabelStepsConfig,
    rows: Sequence[PromptRow],
    trees: Sequence[StepRollouts],
    depth: int,
    sampler: Sampler,
    rewards: Rewards,
    num_drawn: list[int],
) -> None:
    """Draws what is missing of the rollouts behind all prefixes of so many steps."""
    by_number: dict[int, list[tuple[int, Steps]]] = defaultdict(list)
    for number, tree in enumerate(trees):
        for prefix, missing in tree.missing(depth, config.num_rollouts):
            by_number[missing].append((number, prefix))
    joint = separator_of(config.steps_by)
    for missing, prefixes in by_number.items():
        begun = [joint.join(prefix) + joint for _, prefix in prefixes]
        starts = policy_prompts([trees[number].prompt for number, _ in prefixes], sampler.tokenizer)
        ids = [(*start, *more) for start, more in zip(starts, token_ids(begun, sampler.tokenizer), strict=True)]
        keys = [_key(trees[number], prefix) for number, prefix in prefixes]
        groups = sampler.draw_ids(ids, config, n=missing, keys=keys)
        drawn = [
            (number, prefix, text + one.text)
            for (number, prefix), text, group in zip(prefixes, begun, groups, strict=True)
            for one in group
        ]
        rewarded = _rewards_of(rewards, rows, [(number, text) for number, _, text in drawn])
        for (number, prefix, text), reward in zip(drawn, rewarded, strict=True):
            steps = split_steps(text, config.steps_by)
            trees[number].rollouts.append(Rollout(begun=prefix, steps=steps, reward=reward))
            num_drawn[number] += 1


def _key(tree: StepRollouts, prefix: Steps) -> int:
    """What the seed calls a prefix: the same in any batch, and apart from the small numbers of prompts."""
    content = json.dumps([turns(tree.prompt), prefix]).encode()
    return 2**32 + int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _rewards_of(rewards: Rewards, rows: Sequence[PromptRow], texts: Sequence[tuple[int, str]]) -> list[float]:
    """Rewards of texts, each an answer to the prompt of a row."""
    if not texts:
        return []
    names = sorted({name for row in rows for name in row.columns} - set(STEPWISE))
    batch = RewardBatch(
        prompts=[rows[number].prompt for number, _ in texts],
        completions=[text for _, text in texts],
        columns={name: [rows[number].columns.get(name) for number, _ in texts] for name in names},
    )
    return rewards.score(batch).total.tolist()


def _written(
    config: LabelStepsConfig, row: PromptRow, tree: StepRollouts, num_drawn: int, num_answers: int
) -> dict[str, Any]:
    others = {name: value for name, value in row.columns.items() if name not in STEPWISE}
    labelled = []
    num_needed = config.num_rollouts * sum(len(tree.prefixes(depth)) for depth in range(1, tree.depth))
    for steps in tree.answers:
        labels, numbers = tree.labels(steps, config.num_rollouts, config.labels, config.right_from)
        is_right = tree.rewards[steps] >= config.right_from
        labelled.append({"steps": list(steps), "labels": labels, "num_rollouts": numbers, "is_right": is_right})
    return {
        "prompt": turns(row.prompt),
        "others": others,
        "answers": labelled,
        "num_blank": max(0, num_answers - len(tree.answers)),
        "num_drawn": num_drawn,
        "num_reused": num_needed - (num_drawn - num_answers),
    }


def _header(config: LabelStepsConfig, rows: Sequence[PromptRow]) -> dict[str, Any]:
    values = {name: value for name, value in asdict(config).items() if name not in _NO_MATTER}
    return {**values, "prompts_hash": content_id([[turns(row.prompt), dict(row.columns)] for row in rows])}


def _stepwise_rows(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for answer in group["answers"]:
        yield {
            **group["others"],
            "prompt": group["prompt"],
            "completions": answer["steps"],
            "labels": answer["labels"],
            "num_rollouts": answer["num_rollouts"],
        }


def _finish(file: ResumableFile) -> LabelledSteps:
    counts: dict[str, int] = defaultdict(int)
    labels: list[float] = []
    with file.finish() as write:
        for group in file:
            counts["prompts"] += 1
            for name in ("num_blank", "num_drawn", "num_reused"):
                counts[name] += group[name]
            counts["right"] += sum(answer["is_right"] for answer in group["answers"])
            for row in _stepwise_rows(group):
                write(row)
                labels += row["labels"]
                counts["rows"] += 1
    return LabelledSteps(
        num_prompts=counts["prompts"],
        num_continued=file.num_rows,
        num_rows=counts["rows"],
        num_blank=counts["num_blank"],
        num_steps=len(labels),
        num_drawn=counts["num_drawn"],
        num_reused=counts["num_reused"],
        share_right=counts["right"] / max(counts["rows"], 1),
        mean_label=sum(labels) / max(len(labels), 1),
    )
