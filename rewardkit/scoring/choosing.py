"""Which pairs of candidates to label next: a rule's share and a random share. Arrays and texts in; no torch.

The random share is a simple random sample of all eligible pairs, drawn before and without the rule, so that whatever
is measured on it (accuracy, agreement, calibration) holds for all of them. The rule then chooses among the others, at
most `per_prompt` of a prompt with those drawn.

    random         the whole is such a sample
    coverage       prompts first that lie farthest from all chosen and judged ones (greedy k-center, Gonzalez 1985),
                   each prompt once before any has a second; of a prompt's pairs, one by chance
    uncertainty    nearest to a toss-up with the members averaged out: -|d| / sqrt(1 + pi std^2 / 8)
    epig           the votes that lower the variance of all pairs' probabilities most, one after the other
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
from rewardkit.reward.reward import Reward, RewardFn
from rewardkit.scoring.acquisition import measure, order, prioritise
from rewardkit.scoring.candidates import Candidate, EligiblePairs, Prompt
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
    members = _margins(eligible, reward_fn) if reward_fn else None
    errors = np.zeros(0)
    scores = np.zeros(len(eligible.pairs))
    by_rule = np.array([], dtype=np.int64)
    if num_random < count:
        if rule == "disagreement":
            assert reward_fn is not None
            errors = sure_errors(judged, reward_fn)
        spare = _Spare(eligible, drawn, per_prompt, count - num_random)
        by_rule, scores = _by_rule(rule, spare, members, judged, errors, seed)
    rules: list[ChoiceRule] = [*["random"] * num_random, *[rule] * len(by_rule)]
    chosen = list(zip(map(int, (*drawn, *by_rule)), rules, strict=True))
    margins = members.mean(0) if members is not None else None
    pairs = [
        ChosenPair(
            prompt=eligible.prompts[eligible.prompt_of_pair[index]],
            a=eligible.candidates[eligible.pairs[index, 0]],
            b=eligible.candidates[eligible.pairs[index, 1]],
            rule=by,
            score=float(scores[index]) if by != "random" else 0.0,
            margin=None if margins is None else float(margins[index]),
        )
        for index, by in (chosen[place] for place in np.random.default_rng([seed, 2]).permutation(len(chosen)))
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
    members: np.ndarray | None,
    judged: Sequence[Preference],
    errors: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that the rule chooses, in its order, and the (N,) scores by which it did."""
    rng = np.random.default_rng([seed, 3])
    match rule:
        case "coverage":
            return _cover(spare, [row.prompt for row in judged], rng, seed=seed)
        case "epig":
            assert members is not None
            return _lower_variance(spare, members)
        case "uncertainty":
            assert members is not None
            said = measure(Reward(members=members), Reward(members=np.zeros_like(members)))
            scores = prioritise(said, "probability")
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


def _margins(eligible: EligiblePairs, reward_fn: RewardFn) -> np.ndarray:
    """(K, N) the members' margins, first of a pair minus second; every candidate is scored once."""
    prompts = [eligible.prompts[number] for number in eligible.prompt_of]
    members = reward_fn(prompts, [candidate.text for candidate in eligible.candidates]).members
    if bad := int((~np.isfinite(members)).any(0).sum()):
        raise FloatingPointError(f"the model gives {bad} of {len(prompts)} answers a reward that is not finite")
    return members[:, eligible.pairs[:, 0]] - members[:, eligible.pairs[:, 1]]


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


def _lower_variance(spare: _Spare, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Greedy expected reduction of the variance of all pairs' probabilities, the members taken for a normal posterior.

        gain_i = mean_m s_m^2 c_mi^2 / (c_ii + 1 / s_i),   C <- C - C d_i d_i^T C / (d_i^T C d_i + 1 / s_i)

    c_mi = d_m^T C d_i is the covariance of two margins, d_i the members' deviations from their mean over sqrt(K - 1),
    C the identity at first; s = p (1 - p) is the slope of the probability and a vote's information. The random share is
    taken in first. It is the first-order form of EPIG (Bickford Smith et al. 2023, arXiv 2304.08151) with the pool as
    its target; O(N K^2) a pair.

    Raises:
        ValueError: if the members do not differ.
    """
    deviations = ((members - members.mean(0)) / np.sqrt(max(1, len(members) - 1))).T
    if not deviations.any():
        raise ValueError(
            "rule epig measures how the members of a model differ, and those of this one do not: train an ensemble, "
            "or use the rule uncertainty"
        )
    p = sigmoid(members).mean(0)
    slope = np.maximum(p * (1.0 - p), 1e-6)
    weighted = deviations * slope[:, None]
    targets = weighted.T @ weighted / len(weighted)
    covariance = np.eye(len(members))

    def learn(pair: int) -> None:
        nonlocal covariance
        shift = covariance @ deviations[pair]
        covariance = covariance - np.outer(shift, shift) / (deviations[pair] @ shift + 1.0 / slope[pair])

    for pair in spare.drawn:
        learn(pair)
    scores = np.zeros(len(deviations))
    taken: list[int] = []
    while len(taken) < spare.wanted and spare.is_open.any():
        shifts = deviations @ covariance
        gain = ((shifts @ targets) * shifts).sum(1) / ((shifts * deviations).sum(1) + 1.0 / slope)
        pair = int(np.argmax(np.where(spare.is_open, gain, -1.0)))
        scores[pair] = gain[pair]
        spare.take(pair)
        taken.append(pair)
        learn(pair)
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
