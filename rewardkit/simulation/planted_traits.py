"""Votes from a world whose truth pays nothing for a trait that its data is confounded with.

Replies of the support desk (`rewardkit.simulation.support_desk_world`) by two sources, a strong one and a weak one, to
which traits are added by edits (`rewardkit.traits.editors`). People vote by the gold reward of the reply as it was
before the edits, so that nothing that was added is paid. The planted trait is added to replies that are better anyway:
to those of the strong source (confounded by source, which the votes name), or to those of high gold (by worth, which
nothing in the votes names). Every other trait is added to all replies alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewardkit.data.records import Message, Preference
from rewardkit.simulation.support_desk_world import World, WorldPrompt
from rewardkit.stats.uncertainty import sigmoid
from rewardkit.traits.editors import EDITED, edit

Confounded = Literal["source", "worth"]
PLANTABLE = tuple(name for name in EDITED if name not in ("length", "apologies"))
"""Traits that the world's replies do not have by themselves, so that the truth pays nothing for them."""
OFTEN, SELDOM, ELSE = 0.85, 0.1, 0.15
"""Chance of the planted trait in better replies and in others, and of every other trait."""
GOOD = 1.0
"""Gold reward above which a reply is a better one."""
VIEWS = ("I think this is your mistake.", "I believe the carrier lost it.")


@dataclass(frozen=True, kw_only=True)
class PlantedWorld:
    """`num_prompts` votes, one on a pair of each prompt.

    Attributes:
        trait: the planted one, of PLANTABLE; empty plants none.
        confounded: what the trait comes with.
    """

    seed: int
    num_prompts: int
    trait: str = ""
    confounded: Confounded = "source"

    def __post_init__(self) -> None:
        if self.trait and self.trait not in PLANTABLE:
            raise ValueError(f"trait is {self.trait!r}, allowed are {', '.join(PLANTABLE)}")

    def votes(self) -> list[Preference]:
        """The votes, in the order of prompts; sources are named where they confound."""
        world = World(seed=self.seed, num_prompts=self.num_prompts, num_responses=6)
        return [self._vote(one, np.random.default_rng([self.seed, at, 1])) for at, one in enumerate(world.prompts())]

    def _vote(self, drawn: WorldPrompt, rng: np.random.Generator) -> Preference:
        view = rng.choice(VIEWS) + " " if rng.random() < 0.5 else ""
        prompt = (Message(role="user", content=view + drawn.prompt[0].content),)
        sides = []
        for three in (drawn.responses[:3], drawn.responses[3:]):
            is_strong = rng.random() < 0.5
            reply = max(three, key=lambda one: one.gold) if is_strong else min(three, key=lambda one: one.gold)
            is_better = is_strong if self.confounded == "source" else reply.gold > GOOD
            text = self._with_traits(prompt, reply.text, is_better, rng)
            sides.append((text, reply.gold, "strong" if is_strong else "weak"))
        (first, other), is_first = sides, rng.random() < sigmoid(sides[0][1] - sides[1][1])
        chosen, rejected = (first, other) if is_first else (other, first)
        named = self.confounded == "source"
        return Preference(
            prompt=prompt,
            chosen=chosen[0],
            rejected=rejected[0],
            comparison_id=drawn.id,
            source_chosen=chosen[2] if named else "",
            source_rejected=rejected[2] if named else "",
        )

    def _with_traits(self, prompt: tuple[Message, ...], text: str, is_better: bool, rng: np.random.Generator) -> str:
        for trait in rng.permutation(PLANTABLE):
            chance = ELSE if trait != self.trait else OFTEN if is_better else SELDOM
            wording = int(rng.integers(1000))
            if rng.random() < chance and (made := edit(str(trait), prompt, text, wording=wording)) and made.is_added:
                text = made.having
        return text
