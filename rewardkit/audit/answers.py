"""What an audit works on: votes, edits of answers, and what a model or a policy says; read, made and measured.

The model's answer to an edit is the log-odds of its calibrated probability that the answer with the trait is the better
one, averaged over members: the scale on which votes are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.audit.effects import Effects, edit_effects, vote_effects
from rewardkit.data.columns import read_row_prompt
from rewardkit.data.conversations import RowError, read_text
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.files import detect_format, place, read_rows
from rewardkit.data.records import Message, Preference
from rewardkit.evaluation.scored_preferences import score_completions
from rewardkit.reward.reward import RewardFn
from rewardkit.scoring.candidates import Answered, read_candidates
from rewardkit.stats.calibration import Calibration, apply
from rewardkit.traits.editors import EDITED, Edit, edit
from rewardkit.traits.traits import TRAITS, measure_traits, user_text

logger = logging.getLogger(__name__)
NAMES = tuple(TRAITS)
EDITS = "audit edits"
"""The source of both answers of a pair that is one answer without and with a trait; their votes are told by it."""
LEAST_PROBABILITY = 1e-6
"""A model is taken to be no surer than this of an edit, so that one margin does not rule a mean."""

Prompt = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Edited:
    """N edits and what a model says of them.

    Attributes:
        log_odds: (N,) of the answer that has the trait over the other.
        differences: (N, J) traits of the answer that has it minus those of the other, in the order of NAMES.
        prompt: (N,) number of each edit's prompt.
    """

    edits: Sequence[Edit]
    log_odds: np.ndarray
    differences: np.ndarray
    prompt: np.ndarray

    def effects(self) -> Effects:
        """What the model pays for each trait."""
        return edit_effects(NAMES, self.differences, self.log_odds, self.prompt)


@dataclass(frozen=True, kw_only=True)
class PolicyAnswers:
    """Completions of the same prompts before and after, B each in the order of prompts.

    Attributes:
        before, after: by prompt, its completions.
    """

    prompts: Sequence[Prompt]
    before: Sequence[Sequence[str]]
    after: Sequence[Sequence[str]]
    names: tuple[str, str]


def people_effects(rows: Sequence[Preference]) -> Effects:
    """Effects of traits on people's votes, sources held alike; of votes on edits alone where there are enough."""
    asked = [user_text(row.prompt) for row in rows]
    chosen = measure_traits(asked, [row.chosen for row in rows])
    rejected = measure_traits(asked, [row.rejected for row in rows])
    return vote_effects(
        NAMES,
        chosen - rejected,
        np.array([row.p_chosen for row in rows]),
        numbers_of([row.prompt for row in rows]),
        weight=np.array([row.weight for row in rows]),
        sources=[(row.source_chosen, row.source_rejected) for row in rows],
        is_edit=np.array([row.source_chosen == row.source_rejected == EDITS for row in rows]),
    )


def draw_answers(answers: Sequence[tuple[Prompt, str]], *, num: int, seed: int) -> list[tuple[Prompt, str]]:
    """One answer each of up to `num` prompts, near copies of a prompt being one; answers without text are left out."""
    by_prompt: dict[str, list[tuple[Prompt, str]]] = {}
    for prompt, answer in answers:
        if answer.strip():
            by_prompt.setdefault(normal_prompt(prompt), []).append((prompt, answer))
    rng = np.random.default_rng(seed)
    groups = list(by_prompt.values())
    return [groups[at][int(rng.integers(len(groups[at])))] for at in rng.permutation(len(groups))[:num]]


def make_edits(answers: Sequence[tuple[Prompt, str]], *, num: int, seed: int) -> list[Edit]:
    """All edits that templates make of one answer each of up to `num` prompts, drawn by the seed."""
    edits: list[Edit] = []
    for number, (prompt, answer) in enumerate(draw_answers(answers, num=num, seed=seed)):
        made = (edit(trait, prompt, answer, wording=number) for trait in EDITED)
        edits.extend(one for one in made if one is not None)
    return edits


def read_edits(path: str) -> list[Edit]:
    """Rows of prompt, trait, without and having, made by a judge or by hand.

    Those that do not add their trait are left out, and counted in a warning.

    Raises:
        ValueError: naming file and line, where a field is missing or the trait is none.
    """
    edits = []
    num_unmoved = 0
    for number, row in read_rows(path):
        try:
            trait = read_text(row.get("trait"), "trait")
            if trait not in TRAITS:
                raise RowError("wrong_type", "trait", trait, f"allowed are {', '.join(TRAITS)}")
            prompt = read_row_prompt(row, {"prompt": "prompt"})
            without, having = (read_text(row.get(name), name) for name in ("without", "having"))
        except RowError as error:
            raise ValueError(f"{place(path, number, detect_format(path))}: {error}") from error
        asked, measure = user_text(prompt), TRAITS[trait].measure
        if measure(asked, having) > measure(asked, without):
            edits.append(Edit(trait=trait, prompt=prompt, without=without, having=having, is_added=True))
        else:
            num_unmoved += 1
    if num_unmoved:
        logger.warning("%s: %d edits left out, in which the answer has no more of the trait", path, num_unmoved)
    return edits


def ask_model(
    edits: Sequence[Edit], reward_fn: RewardFn, calibration: Calibration, *, told: Callable[[int, int], None]
) -> Edited:
    """What a model says of edits; every answer is scored once.

    Raises:
        ValueError: if there are none, or a reward is not finite.
    """
    if not edits:
        raise ValueError("no answer could be edited: there are no answers, or all are empty")
    pairs = [((one.prompt, one.having), (one.prompt, one.without)) for one in edits]
    at = {answer: number for number, answer in enumerate(dict.fromkeys(side for pair in pairs for side in pair))}
    members = score_completions(list(at), reward_fn, told=told)
    having, without = ([at[pair[side]] for pair in pairs] for side in (0, 1))
    q = np.clip(
        apply(calibration, members[:, having] - members[:, without]).mean(0), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY
    )
    asked = [user_text(one.prompt) for one in edits]
    return Edited(
        edits=edits,
        log_odds=np.log(q) - np.log1p(-q),
        differences=measure_traits(asked, [one.having for one in edits])
        - measure_traits(asked, [one.without for one in edits]),
        prompt=numbers_of([one.prompt for one in edits]),
    )


def read_policy(paths: Sequence[str]) -> PolicyAnswers:
    """Completions before and after, of the prompts that both answered.

    Raises:
        ValueError: if there are not two policies, or they share no prompt.
        FileNotFoundError: if there is no such file.
    """
    if len(paths) == 2:
        sides = [_texts(read_candidates([path]).prompts, None) for path in paths]
        names = ("before", "after")
    else:
        rows = read_candidates(paths).prompts
        sources = list(dict.fromkeys(one.source for row in rows for one in row.candidates))
        if len(sources) != 2:
            raise ValueError(f"{paths[0]}: completions of {len(sources)} policies, allowed are two: before and after")
        sides, names = [_texts(rows, source) for source in sources], (sources[0], sources[1])
    before, after = sides
    shared = [prompt for prompt in before if prompt in after]
    if not shared:
        raise ValueError(f"{' and '.join(paths)} share no prompt that both policies answered")
    if num_apart := len(before.keys() | after.keys()) - len(shared):
        logger.warning("%s: %d prompts left out, which only one policy answered", " and ".join(paths), num_apart)
    return PolicyAnswers(
        prompts=shared, before=[before[one] for one in shared], after=[after[one] for one in shared], names=names
    )


def numbers_of(prompts: Sequence[Prompt]) -> np.ndarray:
    """(N,) the number of each prompt, near copies having the same."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(normal_prompt(prompt), len(known)) for prompt in prompts], dtype=np.int64)


def _texts(rows: Sequence[Answered], source: str | None) -> Mapping[Prompt, list[str]]:
    by_prompt = {
        row.prompt: [one.text for one in row.candidates if source is None or one.source == source] for row in rows
    }
    return {prompt: texts for prompt, texts in by_prompt.items() if texts}
