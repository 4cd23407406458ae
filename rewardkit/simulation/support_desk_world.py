"""A world with a known gold reward: messages to a web shop, and replies whose worth can be read off their text.

For learning curves and tests: a world of any size, cheap to make, in which the truth is known. What a reply is worth
depends on what stands in it, part of it on words alone (manners, padding) and part on how it fits the message (the step
for this problem, this amount), so that a text model can learn it, and one that reads the prompt can learn more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from rewardkit.data.records import Comparison, Message
from rewardkit.simulation.annotators import GoldComparison

# What each trait of a reply adds to its gold reward.
WEIGHTS: Mapping[str, float] = {
    "right_step": 2.0,  # says what to do for the problem that was described
    "wrong_step": -0.6,  # says what to do for another problem
    "right_amount": 1.0,  # names the amount that was paid
    "wrong_amount": -1.2,  # names another amount
    "polite": 0.5,
    "blames": -0.8,
    "padding": -0.25,  # for each sentence without content
}

_ITEMS = (
    "kettle", "desk lamp", "rain jacket", "headset", "toaster", "bike light", "backpack", "blender", "office chair",
    "water bottle", "alarm clock", "hand mixer", "tent", "yoga mat", "printer", "rice cooker",
)  # fmt: skip
_PROBLEMS: Mapping[str, tuple[str, str]] = {
    "arrived broken": (
        "arrived with a crack right through it",
        "Please send us a photo of the damage and we will ship a new one today",
    ),
    "late": (
        "should have been here nine days ago",
        "I have asked the carrier to trace the parcel and we will resend it if it is not found by Friday",
    ),
    "wrong one": (
        "is not the colour that I ordered",
        "Put it back into its box, print the return label from your account, and the right colour leaves tomorrow",
    ),
    "charged twice": (
        "was charged to my card twice",
        "I have cancelled the second charge and your bank will show it within three days",
    ),
    "does not start": (
        "does not switch on any more",
        "Hold the power button for ten seconds with the plug out, and if it stays dark we repair it free of charge",
    ),
    "cancel": (
        "was a mistake and I want to cancel it",
        "The order is cancelled and nothing more will be taken from your account",
    ),
    "missing part": (
        "came without its lid and the screws",
        "The missing parts go out by letter today, you do not need to return anything",
    ),
    "invoice": (
        "needs an invoice with our company's name on it",
        "Open the order in your account, choose Invoice, type the company's name and download it",
    ),
}
_OPENINGS = ("Hello,", "Hi there,", "Good morning,", "Hello to the team,", "Dear shop,")
_CLOSINGS = ("What now?", "Please help.", "How do we solve this?", "I need an answer today.", "Can you sort this out?")
_POLITE = ("I am sorry about the trouble.", "Thank you for telling us.", "Sorry that this went wrong.")
_BLAME = (
    "You should have read the description.",
    "Customers usually break this themselves.",
    "That is not our problem.",
)
_PADDING = (
    "We are always happy to hear from you.",
    "Our company has been selling to customers for many years.",
    "Quality is very close to our hearts.",
    "Every message matters to us and we read all of them.",
    "Do follow us to hear about news and offers.",
)
_NEUTRAL = "Somebody will look into it."
_SAFE = "The {} euros are safe in any case."
_AMOUNT = re.compile(r"(\d+) euros")


@dataclass(frozen=True, kw_only=True)
class WorldResponse:
    """A reply, its traits (the keys of WEIGHTS) and the gold reward that follows from them."""

    text: str
    traits: Mapping[str, int]
    gold: float


@dataclass(frozen=True, kw_only=True)
class WorldPrompt:
    """A customer's message and replies to it."""

    id: str
    prompt: tuple[Message, ...]
    responses: tuple[WorldResponse, ...]


@dataclass(frozen=True, kw_only=True)
class World:
    """`num_prompts` messages with `num_responses` different replies each.

    Prompt n comes from a generator seeded by (seed, n): a larger world begins with the smaller one. The gold reward of
    a reply is the sum of `weights` times its traits, in logits.

    Attributes:
        num_numbers: how many amounts there are, and as many order numbers; 0 draws them from all of a range. With few
            of them each is one token of a tokenizer that is trained on the messages, and stands there often enough for
            a small policy to learn to copy it.
    """

    seed: int
    num_prompts: int
    num_responses: int = 2
    num_numbers: int = 0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))

    def __post_init__(self) -> None:
        if self.num_prompts < 1:
            raise ValueError(f"num_prompts is {self.num_prompts}, allowed is 1 or more")
        if not 2 <= self.num_responses <= 8:
            raise ValueError(f"num_responses is {self.num_responses}, allowed is 2 to 8")
        if self.num_numbers and not 2 <= self.num_numbers <= 100:
            raise ValueError(f"num_numbers is {self.num_numbers}, allowed is 0 or 2 to 100")
        if set(self.weights) != set(WEIGHTS):
            raise ValueError(f"weights are of {', '.join(self.weights)}, allowed are {', '.join(WEIGHTS)}")

    def prompts(self) -> Iterator[WorldPrompt]:
        """The messages with their replies, in order."""
        for number in range(self.num_prompts):
            yield self._prompt(number)

    def comparisons(self) -> Iterator[GoldComparison]:
        """All pairs of replies to a message; sources are `world-0`, `world-1`, ... by position, and mean nothing."""
        for prompt in self.prompts():
            for one, other in combinations(range(self.num_responses), 2):
                a, b = prompt.responses[one], prompt.responses[other]
                yield GoldComparison(
                    comparison=Comparison(
                        id=f"{prompt.id}-{one}-{other}",
                        prompt=prompt.prompt,
                        completion_a=a.text,
                        completion_b=b.text,
                        source_a=f"world-{one}",
                        source_b=f"world-{other}",
                    ),
                    gold_a=a.gold,
                    gold_b=b.gold,
                )

    def gold(self, prompt: Sequence[Message], reply: str) -> float:
        """The gold reward of any reply to a message of the world, made here or by a policy; see `read_traits`."""
        return sum(self.weights[name] * value for name, value in read_traits(prompt, reply).items())

    def numbers(self, low: int, high: int) -> tuple[int, ...]:
        """The `num_numbers` whole numbers that there are from low to high, evenly spread."""
        return tuple(int(number) for number in np.linspace(low, high, self.num_numbers).round())

    def _other_amount(self, amount: int, rng: np.random.Generator) -> int:
        if not self.num_numbers:
            return amount + int(rng.integers(1, 60))
        return int(rng.choice([other for other in self.numbers(9, 189) if other != amount]))

    def _prompt(self, number: int) -> WorldPrompt:
        rng = np.random.default_rng([self.seed, number])
        problem = str(rng.choice(list(_PROBLEMS)))
        amount = int(rng.choice(self.numbers(9, 189)) if self.num_numbers else rng.integers(9, 190))
        item = rng.choice(_ITEMS)
        order = rng.choice(self.numbers(10_007, 99_989)) if self.num_numbers else rng.integers(10_000, 99_999)
        what = f"my {item} (order {order}, {amount} euros)"
        text = f"{rng.choice(_OPENINGS)} {what} {_PROBLEMS[problem][0]}. {rng.choice(_CLOSINGS)}"
        responses: dict[str, WorldResponse] = {}
        while len(responses) < self.num_responses:
            response = self._response(problem, amount, rng)
            responses.setdefault(response.text, response)
        return WorldPrompt(
            id=f"world-{self.seed}-{number}",
            prompt=(Message(role="user", content=text),),
            responses=tuple(responses.values()),
        )

    def _response(self, problem: str, amount: int, rng: np.random.Generator) -> WorldResponse:
        traits = dict.fromkeys(WEIGHTS, 0)
        parts: list[str] = []
        match str(rng.choice(("polite", "blames", "neither"), p=(0.5, 0.15, 0.35))):
            case "polite":
                traits["polite"] = 1
                parts.append(str(rng.choice(_POLITE)))
            case "blames":
                traits["blames"] = 1
                parts.append(str(rng.choice(_BLAME)))
            case _:
                pass
        match str(rng.choice(("right_step", "wrong_step", "none"), p=(0.5, 0.25, 0.25))):
            case "right_step":
                traits["right_step"] = 1
                parts.append(_PROBLEMS[problem][1] + ".")
            case "wrong_step":
                traits["wrong_step"] = 1
                parts.append(_PROBLEMS[str(rng.choice([name for name in _PROBLEMS if name != problem]))][1] + ".")
            case _:
                parts.append(_NEUTRAL)
        match str(rng.choice(("right_amount", "wrong_amount", "none"), p=(0.35, 0.2, 0.45))):
            case "right_amount":
                traits["right_amount"] = 1
                parts.append(_SAFE.format(amount))
            case "wrong_amount":
                traits["wrong_amount"] = 1
                parts.append(_SAFE.format(self._other_amount(amount, rng)))
            case _:
                pass
        traits["padding"] = int(rng.integers(0, 4))
        for sentence in rng.permutation(_PADDING)[: traits["padding"]]:
            parts.insert(int(rng.integers(0, len(parts) + 1)), str(sentence))
        gold = sum(self.weights[name] * value for name, value in traits.items())
        return WorldResponse(text=" ".join(parts), traits=traits, gold=gold)


def read_traits(prompt: Sequence[Message], reply: str) -> dict[str, int]:
    """The traits of any reply to a message of the world, sentence by sentence; case and blanks do not count.

    What speaks for a reply counts once, however often it is said, what speaks against it each time. A sentence that the
    world does not know (a garbled one, or half of one) is without content: padding.

    Raises:
        ValueError: if the message is none of the world's.
    """
    message = prompt[-1].content
    problem = next((name for name, (complaint, _) in _PROBLEMS.items() if complaint in message), None)
    amount = _AMOUNT.search(message)
    if problem is None or amount is None:
        raise ValueError(f"prompt {message[:80]!r} is no message of the world")
    trait_of = {
        _normal(f"{step}."): "right_step" if name == problem else "wrong_step" for name, (_, step) in _PROBLEMS.items()
    }
    trait_of |= {_normal(text): "polite" for text in _POLITE} | {_normal(text): "blames" for text in _BLAME}
    trait_of[_normal(_NEUTRAL)] = ""
    traits = dict.fromkeys(WEIGHTS, 0)
    for sentence in map(_normal, re.split(r"(?<=[.!?])\s+", reply.strip())):
        named = _AMOUNT.search(sentence)
        if named and sentence == _normal(_SAFE.format(named[1])):
            trait = "right_amount" if named[1] == amount[1] else "wrong_amount"
        else:
            trait = trait_of.get(sentence, "padding" if sentence else "")
        if trait:
            traits[trait] += 1
    return {name: min(value, 1) if WEIGHTS[name] > 0 else value for name, value in traits.items()}


def _normal(sentence: str) -> str:
    return " ".join(sentence.casefold().split())
