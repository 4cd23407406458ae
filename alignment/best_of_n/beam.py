"""Beam search by steps: beginnings of completions are rewarded, the best are kept and written on by another step.

Snell et al. 2024, section 5.2 (arXiv 2408.03314): N beginnings of one step; of N, the N / M of largest reward are kept,
and M next steps drawn of each, till all have ended. Where we differ:
1. Of beginnings with the same text one is kept, so that none is written on twice with the same chances.
2. One that has ended stays as it is and keeps its place among those that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignment.config.sampling import BonConfig
from alignment.generation.completion_sampler import Completion, Sampler, Told, text_of
from alignment.generation.generate import Sampled, Sampling, generate
from alignment.rewards.rewards import Rewards
from alignment.rewards.source import RewardBatch
from rewardkit.data.prompts import PromptRow
from rewardkit.network.tokens import end_ids, policy_prompts

SEPARATORS = {"line": "\n", "blank_line": "\n\n"}  # that end a step while it is drawn, by name


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A completion as far as it is written.

    Attributes:
        done: whether it has ended, or is as long as it may be.
    """

    completion: Completion
    done: bool


def beam_search(
    config: BonConfig,
    rows: Sequence[PromptRow],
    sampler: Sampler,
    rewards: Rewards,
    *,
    keys: Sequence[int],
    told: Told = lambda _done, _total: None,
) -> list[tuple[Completion, ...]]:
    """The last beginnings of each prompt, N at most, all done.

    Args:
        keys: a number of its own for each prompt; samples depend on it, the seed, the round and the beginning's place.
        told: called after every round with the prompts done and all there are.

    Raises:
        RewardError: if a beginning gets no reward.
        ValueError: if a prompt does not fit the model's positions together with `max_new_tokens`.
    """
    kept = config.n // config.beam_width
    prompts = policy_prompts([row.prompt for row in rows], sampler.tokenizer)
    nothing = Sampled(prompt=(), completion=(), logps=(), finished=False)
    beams: list[list[Beginning]] = [
        [Beginning(completion=Completion(text="", sampled=replace(nothing, prompt=prompt)), done=False)]
        for prompt in prompts
    ]
    width, number = config.n, 0
    while open_prompts := [place for place, of_one in enumerate(beams) if not all(one.done for one in of_one)]:
        parents = {place: [one for one in beams[place] if not one.done] for place in open_prompts}
        written = _written_on(config, sampler, parents, keys, width=width, number=number)
        for place in open_prompts:
            beams[place] = [one for one in beams[place] if one.done] + written[place]
        undecided = [place for place in open_prompts if not all(one.done for one in beams[place])]
        if undecided:
            best = _best(rewards, [rows[place] for place in undecided], [beams[place] for place in undecided], kept)
            beams = [best[undecided.index(place)] if place in undecided else one for place, one in enumerate(beams)]
        width, number = config.beam_width, number + 1
        told(sum(all(one.done for one in of_one) for of_one in beams), len(rows))
    return [tuple(one.completion for one in of_one) for of_one in beams]


def _written_on(
    config: BonConfig,
    sampler: Sampler,
    parents: dict[int, list[Beginning]],
    keys: Sequence[int],
    *,
    width: int,
    number: int,
) -> dict[int, list[Beginning]]:
    """Draws `width` next steps of every beginning, by place of its prompt.

    Args:
        number: of the round.
    """
    flat = [
        (place, index, one.completion.sampled) for place, of_one in parents.items() for index, one in enumerate(of_one)
    ]
    longest = max(len(one.prompt) + len(one.completion) for _, _, one in flat)
    positions = getattr(sampler.policy.config, "max_position_embeddings", None) or 2**31
    room = max(config.max_new_tokens - len(one.completion) for _, _, one in flat)
    if number:  # in the first round `generate` refuses prompts that leave no room for max_new_tokens
        room = min(room, positions - longest)
    whole = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=room,
        end_ids=end_ids(sampler.policy, sampler.tokenizer),
        stop=tuple(config.stop),
        seed=int(np.random.SeedSequence((config.seed, sampler.number, number)).generate_state(1)[0]),
    )
    groups = generate(
        sampler.policy,
        [one.prompt + one.completion for _, _, one in flat],
        replace(whole, stop=(*config.stop, SEPARATORS.get(config.steps_by, config.steps_by))),
        num_samples=width,
        token_budget=config.token_budget,
        keys=[keys[place] * config.n + index for place, index, _ in flat],
        tokenizer=sampler.tokenizer,
    )
    written: dict[int, list[Beginning]] = {place: [] for place in parents}
    for (place, _, parent), group in zip(flat, groups, strict=True):
        written[place] += [_together(parent, step, whole, sampler, config.max_new_tokens) for step in group]
    return written


def _together(parent: Sampled, step: Sampled, sampling: Sampling, sampler: Sampler, most: int) -> Beginning:
    """A beginning with its next step, cut where it is as long as it may be."""
    ids, logps = (parent.completion + step.completion)[:most], (parent.logps + step.logps)[:most]
    sampled = Sampled(prompt=parent.prompt, completion=ids, logps=logps, finished=False)
    text = text_of(sampled, sampling, sampler.tokenizer)
    stopped = bool(sampling.stop) and any(stop in str(sampler.tokenizer.decode(list(ids))) for stop in sampling.stop)
    finished = ids[-1] in sampling.end_ids or stopped
    completion = Completion(text=text, sampled=replace(sampled, finished=finished))
    return Beginning(completion=completion, done=finished or len(ids) == most)


def _best(
    rewards: Rewards, rows: Sequence[PromptRow], beams: Sequence[Sequence[Beginning]], kept: int
) -> list[list[Beginning]]:
    """Of each prompt the beginnings of largest reward, each text once; of equal ones the first."""
    different = [list({one.completion.text: one for one in reversed(of_one)}.values())[::-1] for of_one in beams]
    batch = RewardBatch.of_groups(rows, [[one.completion for one in of_one] for of_one in different])
    # One that may go on is not one that was cut.
    open_or_ended = [one.completion.sampled.finished or not one.done for of_one in different for one in of_one]
    totals = iter(rewards.score(replace(batch, finished=open_or_ended)).total.tolist())
    scored = [[(next(totals), one) for one in of_one] for of_one in different]
    return [[one for _, one in sorted(of_one, key=lambda pair: -pair[0])[:kept]] for of_one in scored]
