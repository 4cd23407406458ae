"""Labels of people, of a judge under a constitution, and of both: what a model learns of each, where gold is known.

A seed is a world of its own. People see a pair as it is, with little noise. The judge is asked under one principle that
is drawn from the constitution, and sees the traits that this principle stands for, each as one step, whatever it is
worth. It errs on a pair in the same way however often it is asked, likes length, and likes the reply that is shown
first (both orders are asked, and the mean taken). A rule-based reviser edits a reply under a principle, does something
else in a share of cases, and adds a sentence without content in another. Where the judge prefers what was there before,
or nothing changed, the pair is left out. A reward model learns from each set and picks the best of n replies to unseen
messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, hstack

from alignment.config.constitution import FeedbackLabConfig
from alignment.constitution.principles import Constitution, Principle
from rewardkit.data.records import Comparison, Message
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.simulation.annotators import GoldComparison, SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import WEIGHTS, World, WorldPrompt, read_traits

TRAITS: Mapping[str, tuple[str, ...]] = {
    "helpful": ("right_step",),
    "honest": ("right_amount", "wrong_amount"),
    "harmless": ("polite", "blames"),
    "concise": ("padding",),
    "on_topic": ("wrong_step",),
}
PEOPLE = tuple(SimulatedAnnotator(name=f"sim-{name}") for name in ("ada", "ben", "cyd", "dov", "eve"))
SHARE = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
NUM_TEST, NUM_REPLIES = 300, 8
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # what was chosen lay inside on seeds 100 to 102
NUM_FOLDS = 3
ANCHOR_SCALE = 10.0  # the judge's margin as a feature, so large that the prior hardly pulls at it
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[a-z']+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Label:
    """A pair of replies to a message with the probability that the first is better, and who said so."""

    prompt: tuple[Message, ...]
    one: str
    other: str
    p_one: float
    by_people: bool


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """What a training set gave.

    Attributes:
        arm: which set, a key of the report's names.
        people, judge, revisions: labels bought of each kind, whatever was left out of them.
        price: of all labels, in votes of a person.
        rows: that were trained on.
        accuracy: share of unseen pairs that the model orders as gold does.
        gold: mean gold of the replies that it picks.
        words: mean number of words of these.
    """

    arm: str
    people: int
    judge: int
    revisions: int
    price: float
    rows: int
    accuracy: float
    gold: float
    words: float


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """A world's arms, and what stands beside them.

    Attributes:
        yardsticks: gold of a reply, of its revision where it was kept, of the best of n by gold; how often people and
            the judge order a pair as gold does; share of revisions that are unchanged, or worse by the judge's vote;
            length of revisions over that of the replies.
    """

    seed: int
    arms: tuple[ArmResult, ...]
    yardsticks: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class SimulatedJudge:
    """A judge that knows what its principles stand for, and no more."""

    sharpness: float
    noise: float
    length_bias: float
    left_bias: float

    def p_one(
        self, prompt: Sequence[Message], one: str, other: str, principle: Principle, rng: np.random.Generator
    ) -> float:
        """The probability that it gives the first of two replies, mean of both orders."""
        gap = trait_gap(principle, read_traits(prompt, one), read_traits(prompt, other))
        seen = gap + float(rng.normal()) * self.noise / self.sharpness
        comparison = Comparison(id="", prompt=tuple(prompt), completion_a=one, completion_b=other)
        item = GoldComparison(comparison=comparison, gold_a=seen, gold_b=0.0)
        answerer = SimulatedAnnotator(
            name="sim-judge",
            reliability=1.0,
            sharpness=self.sharpness,
            tie_width=0.0,
            length_bias=self.length_bias,
            left_bias=self.left_bias,
        )
        return 0.5 * sum(answerer.probabilities(item, side, tie=False)["a"] for side in ("a", "b"))


def trait_gap(principle: Principle, one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """How many steps the first reply is ahead in the traits that a principle stands for, for good or bad alike."""
    return float(sum(np.sign(WEIGHTS[name]) * (one[name] - other[name]) for name in TRAITS[principle.id]))


class Reviser:
    """Edits replies by rule; the sentences that it adds are those that replies of the world hold.

    Args:
        replies: from which it learns what one can say.
        error: share of edits that do something else.
        padding: share of edits that add a sentence without content.
    """

    def __init__(self, replies: Sequence[str], *, error: float, padding: float) -> None:
        sentences = {_NUMBER.sub("#", one) for reply in replies for one in _SENTENCE.split(reply)}
        self.sentences = sorted(sentences)
        self.error, self.padding = error, padding

    def revise(self, prompt: Sequence[Message], reply: str, principle: Principle, rng: np.random.Generator) -> str:
        """The reply as it stands after an edit under a principle, which may be none."""
        wrong = rng.random() < self.error
        parts = self._wrong(prompt, reply, rng) if wrong else self._right(prompt, reply, principle, rng)
        if rng.random() < self.padding:
            parts.append(str(rng.choice(self._that_are("padding", prompt))))
        return " ".join(parts)

    def _right(
        self, prompt: Sequence[Message], reply: str, principle: Principle, rng: np.random.Generator
    ) -> list[str]:
        parts = _SENTENCE.split(reply)
        for name in TRAITS[principle.id]:
            if WEIGHTS[name] < 0:
                parts = [one for one in parts if not read_traits(prompt, one)[name]]
            elif not read_traits(prompt, reply)[name]:
                parts.append(str(rng.choice(self._that_are(name, prompt))))
        return parts

    def _wrong(self, prompt: Sequence[Message], reply: str, rng: np.random.Generator) -> list[str]:
        parts = _SENTENCE.split(reply)
        if len(parts) > 1 and rng.random() < 0.5:
            parts.pop(int(rng.integers(len(parts))))
        else:
            number = str(rng.choice(_NUMBER.findall(prompt[-1].content)))
            parts.append(str(rng.choice(self.sentences)).replace("#", number))
        return parts

    def _that_are(self, trait: str, prompt: Sequence[Message]) -> list[str]:
        """What one can say to a message that has a trait."""
        amount = re.search(r"(\d+) euros", prompt[-1].content)
        filled = [one.replace("#", amount[1]) if amount else one for one in self.sentences]
        return [one for one in filled if read_traits(prompt, one)[trait]]


class JointFeatures:
    """Sentences of a reply, alone and with each word of the message, whether its numbers are the message's, its length.

    Args:
        rows: messages and replies from which the columns are found.
    """

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self.columns: dict[tuple[str, str], int] = {}
        for prompt, reply in rows:
            for token, _ in _tokens(prompt, reply):
                self.columns.setdefault(token, len(self.columns))

    def transform(self, rows: Sequence[tuple[str, str]]) -> csr_array:
        """(N, h) features; the last is the logarithm of the length in words."""
        values, indices, starts = [], [], [0]
        for prompt, reply in rows:
            for token, value in _tokens(prompt, reply):
                if token in self.columns:
                    indices.append(self.columns[token])
                    values.append(value)
            starts.append(len(indices))
        shape = (len(rows), len(self.columns))
        lengths = np.log1p([len(reply.split()) for _, reply in rows])[:, None]
        return csr_array(hstack([csr_array((values, indices, starts), shape=shape), csr_array(lengths)]))


def _tokens(prompt: str, reply: str) -> Iterator[tuple[tuple[str, str], float]]:
    words = sorted(set(_WORD.findall(prompt.casefold())))
    numbers = set(_NUMBER.findall(prompt))
    for part in _SENTENCE.split(reply.casefold()):
        sentence = _NUMBER.sub("#", part)
        yield ("", sentence), 1.0
        if named := _NUMBER.findall(part):
            yield ("known" if set(named) <= numbers else "unknown", "#"), 1.0
        for word in words:
            yield (word, sentence), len(words) ** -0.5


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of each kind that a world has, as many as the largest set takes; revisions with what was left out."""

    people: Sequence[Label]
    judge: Sequence[Label]
    revisions: Sequence[Label | None]


def run_seed(config: FeedbackLabConfig, constitution: Constitution, seed: int) -> SeedResult:
    """Labels a world in every way, learns from each set, and looks at gold."""
    judged = int(config.labels / config.judge_price)
    revised = int(config.labels / config.revision_price)
    num_prompts = max(config.labels, judged, revised) + config.labels  # people's pairs are their own
    prompts = list(World(seed=2 * seed, num_prompts=num_prompts).prompts())
    labels, yardsticks = _labels(config, constitution, prompts, seed, judged, revised)
    test = list(World(seed=2 * seed + 1, num_prompts=NUM_TEST, num_responses=NUM_REPLIES).prompts())
    half = config.labels // 2
    sets: dict[str, tuple[int, int, int]] = {  # labels of people, of the judge, revisions
        "people": (config.labels, 0, 0),
        "judge": (0, config.labels, 0),
        "revisions": (0, 0, config.labels),
        "people_judge": (half, half, 0),
        "people_revisions": (half, 0, half),
        "money_judge": (0, judged, 0),
        "money_revisions": (0, 0, revised),
        "money_people_judge": (half, judged // 2, 0),
        "money_people_correct": (half, judged // 2, 0),
    }
    scorer = _Scorer(labels, test, seed)
    arms = []
    for arm, (num_people, num_judged, num_revised) in sets.items():
        rows = [
            *labels.people[:num_people],
            *labels.judge[:num_judged],
            *(one for one in labels.revisions[:num_revised] if one),
        ]
        price = num_people + num_judged * config.judge_price + num_revised * config.revision_price
        accuracy, gold, words = scorer.score(rows, corrects=arm == "money_people_correct")
        arms.append(
            ArmResult(
                arm=arm,
                people=num_people,
                judge=num_judged,
                revisions=num_revised,
                price=price,
                rows=len(rows),
                accuracy=accuracy,
                gold=gold,
                words=words,
            )
        )
    yardsticks["best_of_n"] = float(np.mean([max(reply.gold for reply in prompt.responses) for prompt in test]))
    yardsticks["reply"] = float(np.mean([reply.gold for prompt in test for reply in prompt.responses]))
    return SeedResult(seed=seed, arms=tuple(arms), yardsticks=yardsticks)


def _labels(
    config: FeedbackLabConfig,
    constitution: Constitution,
    prompts: Sequence[WorldPrompt],
    seed: int,
    judged: int,
    revised: int,
) -> tuple[Labels, dict[str, float]]:
    rng = np.random.default_rng([seed, 11])
    judge = SimulatedJudge(
        sharpness=config.judge_sharpness,
        noise=config.judge_noise,
        length_bias=config.judge_length_bias,
        left_bias=config.judge_left_bias,
    )
    by_people = _peoples_labels(prompts[: config.labels], seed)
    others = prompts[config.labels :]
    by_judge = []
    for prompt in others[:judged]:
        one, other = (reply.text for reply in prompt.responses)
        p_one = judge.p_one(prompt.prompt, one, other, _drawn(constitution, prompt, rng), rng)
        by_judge.append(Label(prompt=prompt.prompt, one=one, other=other, p_one=p_one, by_people=False))
    replies = [reply.text for prompt in prompts[: config.labels] for reply in prompt.responses]
    reviser = Reviser(replies, error=config.reviser_error, padding=config.reviser_padding)
    revisions: list[Label | None] = []
    gains, growth, unchanged, worse = [], [], 0, 0
    for prompt in others[:revised]:
        first, principle = prompt.responses[0].text, _drawn(constitution, prompt, rng)
        text = reviser.revise(prompt.prompt, first, principle, rng)
        if text == first or not text:
            unchanged += 1
            revisions.append(None)
        elif judge.p_one(prompt.prompt, text, first, principle, rng) < 0.5:
            worse += 1
            revisions.append(None)
        else:
            world = World(seed=0, num_prompts=1)
            gains.append(world.gold(prompt.prompt, text) - prompt.responses[0].gold)
            growth.append(len(text) / len(first))
            revisions.append(Label(prompt=prompt.prompt, one=text, other=first, p_one=1.0, by_people=False))
    yardsticks = {
        "people_agree": _agreement(by_people, prompts[: config.labels]),
        "judge_agrees": _agreement(by_judge, others[:judged]),
        "revision_gain": float(np.mean(gains)),
        "revision_growth": float(np.mean(growth)),
        "unchanged": unchanged / revised,
        "worse": worse / revised,
    }
    return Labels(people=by_people, judge=by_judge, revisions=revisions), yardsticks


def _drawn(constitution: Constitution, prompt: WorldPrompt, rng: np.random.Generator) -> Principle:
    principle = constitution.sample(prompt.prompt, rng)
    if principle is None:
        raise ValueError(f"no principle applies to {prompt.prompt[-1].content!r}")
    return principle


def _peoples_labels(prompts: Sequence[WorldPrompt], seed: int) -> list[Label]:
    """One vote a pair, of one of five people."""
    items = [
        GoldComparison(
            comparison=Comparison(
                id=prompt.id,
                prompt=prompt.prompt,
                completion_a=prompt.responses[0].text,
                completion_b=prompt.responses[1].text,
            ),
            gold_a=prompt.responses[0].gold,
            gold_b=prompt.responses[1].gold,
        )
        for prompt in prompts
    ]
    votes = simulate_judgments(items, PEOPLE, overlap=1, seed=seed)
    return [
        Label(
            prompt=item.comparison.prompt,
            one=item.comparison.completion_a,
            other=item.comparison.completion_b,
            p_one=SHARE[vote.choice],
            by_people=True,
        )
        for item, vote in zip(items, votes, strict=True)
    ]


def _agreement(labels: Sequence[Label], prompts: Sequence[WorldPrompt]) -> float:
    """Share of pairs that are labelled in the order of gold, ties half."""
    gaps = np.array([prompt.responses[0].gold - prompt.responses[1].gold for prompt in prompts])
    leans = np.array([label.p_one - 0.5 for label in labels])
    decided = np.abs(gaps) > 1e-9
    return float(np.mean(0.5 + 0.5 * np.sign(gaps[decided]) * np.sign(leans[decided])))


class _Scorer:
    """Learns from labels, then picks among the replies to unseen messages."""

    def __init__(self, labels: Labels, test: Sequence[WorldPrompt], seed: int) -> None:
        known = [*labels.people, *labels.judge, *(one for one in labels.revisions if one)]
        self.seed = seed
        self.features = JointFeatures([row for one in known for row in _rows(one)])
        self.test = test
        texts = [(prompt.prompt[-1].content, reply.text) for prompt in test for reply in prompt.responses]
        self.replies = self.features.transform(texts)
        self.gold = np.array([[reply.gold for reply in prompt.responses] for prompt in test])
        self.words = np.array([[len(reply.text.split()) for reply in prompt.responses] for prompt in test])

    def score(self, labels: Sequence[Label], *, corrects: bool = False) -> tuple[float, float, float]:
        """Accuracy on unseen pairs, gold and words of the picks.

        Args:
            corrects: learn from the judge first, then from people with the judge's margin as one more feature, instead
                of from all at once.
        """
        if corrects:
            weights = self._fit([label for label in labels if not label.by_people])
            people = [label for label in labels if label.by_people]
            offset = self._fit(people, anchor=weights)
            weights = weights * offset[-1] * ANCHOR_SCALE + offset[:-1]
        else:
            weights = self._fit(labels)
        rewards = (self.replies @ weights).reshape(self.gold.shape)
        gaps = self.gold[:, 0] - self.gold[:, 1]
        right = np.sign(gaps) == np.sign(rewards[:, 0] - rewards[:, 1])
        picks = (np.arange(len(self.test)), rewards.argmax(axis=1))
        accuracy = float(right[np.abs(gaps) > 1e-9].mean())
        return accuracy, float(self.gold[picks].mean()), float(self.words[picks].mean())

    def _fit(self, labels: Sequence[Label], anchor: np.ndarray | None = None) -> np.ndarray:
        one = self.features.transform([_rows(label)[0] for label in labels])
        other = self.features.transform([_rows(label)[1] for label in labels])
        differences = csr_array(one - other)
        if anchor is not None:
            margins = csr_array((differences @ anchor * ANCHOR_SCALE)[:, None])
            differences = csr_array(hstack([differences, margins]))
        pairs = make_pairs(differences, np.array([label.p_one for label in labels]))
        choice = choose_prior_precision(pairs, seed=self.seed, candidates=PRIORS, num_folds=NUM_FOLDS)
        return fit_head(pairs, prior_precision=choice.prior_precision).weights


def _rows(label: Label) -> tuple[tuple[str, str], tuple[str, str]]:
    message = label.prompt[-1].content
    return (message, label.one), (message, label.other)
