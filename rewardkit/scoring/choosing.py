"""Which pairs of candidates to label next: a rule's share and a random share. Arrays and texts in; no torch.

The random share is a simple random sample of all eligible pairs, drawn before and without the rule, so that whatever
is measured on it (accuracy, agreement, calibration) holds for all of them. The rule then chooses among the others, at
most `per_prompt` of a prompt with those drawn.

    random         the whole is such a sample
    coverage       prompts first that lie farthest from all chosen and judged ones (greedy k-center, Gonzalez 1985),
                   each prompt once before any has a second; of a prompt's pairs, one by chance
    epig           the votes that lower the variance of all pairs' probabilities most, one after the other
    log_det        the votes that together tell most about the model, one after the other
    uncertainty    nearest to a toss-up with the members averaged out: -|d| / sqrt(1 + pi std^2 / 8); among them are
                   pairs that are a toss-up for people too, whose votes teach little
    disagreement   near to judged pairs of which the model was surely wrong (`disagreement_scores`)

The members' std alone is no rule here: it grows with the margin, so that it puts the plainest pairs first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.config import ChoiceRule
from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.records import Preference
from rewardkit.reward.reward import RewardFn
from rewardkit.scoring.acquisition import Informativeness, order, prioritise
from rewardkit.scoring.candidates import Candidate, EligiblePairs, Prompt
from rewardkit.scoring.greedy import GaussianMargins, GreedyChoice, GreedyRule
from rewardkit.scoring.joint_head import measure_pairs
from rewardkit.scoring.ranking import prompt_features
from rewardkit.stats.uncertainty import sigmoid

NEIGHBOURS = 5
CHUNK = 2048  # pairs whose distances to all judged ones are held at once


@dataclass(frozen=True, kw_only=True)
class ChosenPair:
    """A pair to label; `rule` is `random` for the random share, whose score is 0, `margin` None without a model."""

    prompt: Prompt
    a: Candidate
    b: Candidate
    rule: ChoiceRule
    score: float
    margin: float | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The pairs, in the order in which they are to be written: shuffled, so that any beginning has its random share.

    Attributes:
        num_random: pairs of the random share.
        num_judged: judged pairs that the rule looked at; `num_sure_errors` those of which the model was surely wrong.
    """

    pairs: list[ChosenPair]
    num_random: int
    num_judged: int
    num_sure_errors: int


def choose_pairs(
    eligible: EligiblePairs,
    rule: ChoiceRule,
    *,
    num_pairs: int,
    random_share: float,
    per_prompt: int,
    seed: int,
    reward_fn: RewardFn | None = None,
    judged: Sequence[Preference] = (),
) -> Choice:
    """Chooses pairs by a rule and at random; see the module.

    Args:
        num_pairs: wanted; fewer where there are not so many.
        random_share: of them, above 0 up to 1; at least one pair.
        per_prompt: most pairs of a prompt, those of the random share among them; these alone may be more.

    Raises:
        ValueError: if there is no eligible pair, or the rule lacks what it needs.
    """
    if not len(eligible.pairs):
        raise ValueError(f"no two answers make a pair that may be labelled: {explain_left_out(eligible)}")
    count = min(num_pairs, len(eligible.pairs))
    num_random = count if rule == "random" else min(count, max(1, round(random_share * num_pairs)))
    drawn = np.random.default_rng([seed, 1]).choice(len(eligible.pairs), num_random, replace=False)
    measured = _measure(eligible, reward_fn) if reward_fn else None
    errors = np.zeros(0)
    scores = np.zeros(len(eligible.pairs))
    by_rule = np.array([], dtype=np.int64)
    if num_random < count:
        if rule == "disagreement":
            assert reward_fn is not None
            errors = sure_errors(judged, reward_fn)
        spare = _Spare(eligible, drawn, per_prompt, count - num_random)
        by_rule, scores = _by_rule(rule, spare, measured, judged, errors, seed)
    chosen = [*drawn.tolist(), *by_rule.tolist()]
    places = np.random.default_rng([seed, 2]).permutation(len(chosen))
    margins = measured.margin if measured else None
    pairs = [
        ChosenPair(
            prompt=eligible.prompts[eligible.prompt_of_pair[index]],
            a=eligible.candidates[eligible.pairs[index, 0]],
            b=eligible.candidates[eligible.pairs[index, 1]],
            rule="random" if place < num_random else rule,
            score=0.0 if place < num_random else float(scores[index]),
            margin=None if margins is None else float(margins[index]),
        )
        for place, index in ((place, chosen[place]) for place in places)
    ]
    return Choice(
        pairs=pairs, num_random=num_random, num_judged=len(judged), num_sure_errors=int(np.count_nonzero(errors))
    )


def explain_left_out(eligible: EligiblePairs) -> str:
    """For people: what was left out of the candidates and their pairs, in one line; empty where nothing was."""
    parts = [f"{count:,} answers {reason}" for reason, count in eligible.left_out.items()]
    for count, what in (
        (eligible.num_near_duplicates, "pairs of nearly the same answer"),
        (eligible.num_same, "pairs that say the same as another or a judged one"),
        (eligible.num_other_policies, "pairs not of the wanted policies"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return ", ".join(parts)


class _Spare:
    """The pairs that a rule may choose: those not drawn, of prompts that are not full yet.

    Attributes:
        prompt_of: (N,) the prompt of each pair.
        num_of_prompt: (P,) pairs chosen so far.
        is_open: (N,) whether the rule may take it.
    """

    def __init__(self, eligible: EligiblePairs, drawn: np.ndarray, per_prompt: int, wanted: int) -> None:
        self.eligible, self.drawn, self.per_prompt, self.wanted = eligible, drawn, per_prompt, wanted
        self.prompt_of = eligible.prompt_of_pair
        self.num_of_prompt = np.bincount(self.prompt_of[drawn], minlength=len(eligible.prompts))
        self.is_open = (self.num_of_prompt < per_prompt)[self.prompt_of]
        self.is_open[drawn] = False
        self._first_of = np.searchsorted(self.prompt_of, np.arange(len(eligible.prompts) + 1))

    def of_prompt(self, prompt: int) -> np.ndarray:
        """The pairs of a prompt that are open; pairs of a prompt lie side by side."""
        start, stop = self._first_of[prompt : prompt + 2]
        return start + np.flatnonzero(self.is_open[start:stop])

    def take(self, pair: int) -> None:
        """Marks a pair as chosen, and its prompt as full if it is."""
        prompt = self.prompt_of[pair]
        self.num_of_prompt[prompt] += 1
        self.is_open[pair] = False
        if self.num_of_prompt[prompt] >= self.per_prompt:
            self.is_open[self._first_of[prompt] : self._first_of[prompt + 1]] = False


def _by_rule(
    rule: ChoiceRule,
    spare: _Spare,
    measured: Informativeness | None,
    judged: Sequence[Preference],
    errors: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that the rule chooses, in its order, and the (N,) scores by which it did."""
    rng = np.random.default_rng([seed, 3])
    match rule:
        case "coverage":
            return _cover(spare, [row.prompt for row in judged], rng, seed=seed)
        case "epig" | "log_det":
            assert measured is not None
            assert measured.margins is not None
            return _one_after_the_other(rule, spare, measured.margins)
        case "uncertainty":
            assert measured is not None
            scores = prioritise(measured, "probability")
        case "disagreement":
            scores = disagreement_scores(spare.eligible, judged, errors, seed=seed)
        case "random":
            raise AssertionError("the random share is the whole")
    # Equal scores in an order of chance, so that the first prompts of a file have no advantage.
    shuffled = rng.permutation(len(scores))
    taken = []
    for pair in shuffled[order(scores[shuffled])]:
        if len(taken) == spare.wanted:
            break
        if spare.is_open[pair]:
            spare.take(pair)
            taken.append(pair)
    return np.array(taken, dtype=np.int64), scores


def _measure(eligible: EligiblePairs, reward_fn: RewardFn) -> Informativeness:
    """What the model says of the pairs, first minus second; every candidate is scored once."""
    prompts = [eligible.prompts[number] for number in eligible.prompt_of]
    texts = [candidate.text for candidate in eligible.candidates]
    return measure_pairs(reward_fn, prompts, texts, *eligible.pairs.T)


def _cover(
    spare: _Spare, judged: Sequence[Prompt], rng: np.random.Generator, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy k-center over prompts in rounds, see the module; scores are distances, 0 to 2, of lengths 1."""
    eligible = spare.eligible
    texts = {plain_prompt(prompt): None for prompt in (*eligible.prompts, *judged)}
    places = {text: place for place, text in enumerate(texts)}
    features = prompt_features(list(texts), seed=seed)
    own = features[[places[plain_prompt(prompt)] for prompt in eligible.prompts]]
    centres = features[sorted({places[plain_prompt(prompt)] for prompt in judged})]
    centres = np.concatenate([centres, own[np.flatnonzero(spare.num_of_prompt)]])
    chance = rng.random(len(own))  # decides between prompts of one distance
    scores = np.zeros(len(eligible.pairs))
    taken: list[int] = []
    level = 1
    while len(taken) < spare.wanted and spare.is_open.any():
        distance = np.full(len(own), 2.0)
        for centre in centres:
            distance = np.minimum(distance, _distances(own, centre))
        waiting = np.zeros(len(own), dtype=bool)
        waiting[spare.prompt_of[spare.is_open]] = True
        waiting &= spare.num_of_prompt < level
        while len(taken) < spare.wanted and waiting.any():
            prompt = int(np.lexsort((chance, np.where(waiting, distance, -1.0)))[-1])
            waiting[prompt] = False
            pair = int(rng.choice(spare.of_prompt(prompt)))
            scores[pair] = distance[prompt]
            spare.take(pair)
            taken.append(pair)
            distance = np.minimum(distance, _distances(own, own[prompt]))
        centres = features[:0]
        level += 1
    return np.array(taken, dtype=np.int64), scores


def _distances(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.sqrt(((points - centre) ** 2).sum(1))


def _one_after_the_other(rule: GreedyRule, spare: _Spare, margins: GaussianMargins) -> tuple[np.ndarray, np.ndarray]:
    """Greedy choice of the largest gain (`rewardkit.scoring.greedy`), the random share taken in first.

    Raises:
        ValueError: if the members do not differ.
    """
    if not margins.root.any():
        raise ValueError(
            f"rule {rule} measures how the members of a model differ, and those of this one do not: train an ensemble, "
            "or use the rule uncertainty"
        )
    choice = GreedyChoice(margins, rule)
    for pair in spare.drawn:
        choice.learn(pair)
    scores = np.zeros(len(margins.mean))
    taken: list[int] = []
    while len(taken) < spare.wanted and spare.is_open.any():
        gain = choice.gains()
        pair = int(np.argmax(np.where(spare.is_open, gain, -1.0)))
        scores[pair] = gain[pair]
        spare.take(pair)
        taken.append(pair)
        choice.learn(pair)
    return np.array(taken, dtype=np.int64), scores


def sure_errors(judged: Sequence[Preference], reward_fn: RewardFn) -> np.ndarray:
    """(M,) how surely the model was wrong of each judged pair: (2 p_chosen - 1) (1 - 2 q), 0 where q is 1/2 or more.

    q is the model's probability of the chosen answer with the members averaged out.

    Raises:
        ValueError: if it is wrong of none, so that nothing is to be near to.
    """
    if not judged:
        raise ValueError("rule disagreement needs judged pairs: name their file with --judged")
    prompts = [row.prompt for row in judged]
    rewards = [reward_fn(prompts, [getattr(row, side) for row in judged]).members for side in ("chosen", "rejected")]
    q = sigmoid(rewards[0] - rewards[1]).mean(0)
    agreed = np.array([2.0 * row.p_chosen - 1.0 for row in judged])
    errors = agreed * np.maximum(0.0, 1.0 - 2.0 * q)
    if not errors.any():
        raise ValueError(
            f"the model and the people agree on all {len(judged):,} judged pairs, so that no pair is near to a "
            "disagreement: use the rule uncertainty"
        )
    return errors


def disagreement_scores(
    eligible: EligiblePairs, judged: Sequence[Preference], errors: np.ndarray, *, seed: int
) -> np.ndarray:
    """(N,) mean of the errors of the NEIGHBOURS judged pairs that are nearest to each pair.

    A pair's place is the mean of its two answers' places, each read with its prompt: TF-IDF of their words, reduced as
    `rewardkit.scoring.ranking.prompt_features` does.
    """
    texts: dict[str, int] = {}

    def place(prompt: Prompt, answer: str) -> int:
        return texts.setdefault(f"{plain_prompt(prompt)}\n{answer}", len(texts))

    places = np.array(
        [
            place(eligible.prompts[number], candidate.text)
            for number, candidate in zip(eligible.prompt_of, eligible.candidates, strict=True)
        ]
    )
    judged_places = np.array([[place(row.prompt, row.chosen), place(row.prompt, row.rejected)] for row in judged])
    features = prompt_features(list(texts), seed=seed)
    pairs = features[places][eligible.pairs].mean(1)
    known = features[judged_places].mean(1)
    nearest = min(NEIGHBOURS, len(known))
    scores = np.empty(len(pairs))
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        distance = (known**2).sum(1) - 2.0 * part @ known.T
        scores[start : start + CHUNK] = errors[np.argpartition(distance, nearest - 1, axis=1)[:, :nearest]].mean(1)
    return scores
