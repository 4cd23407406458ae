"""The world: its texts say what its gold rewards are made of, and more of it changes nothing of what was there."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import numpy as np
import pytest

from rewardkit.data.records import Message
from rewardkit.simulation.annotators import SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import WEIGHTS, World, read_traits


def test_a_larger_world_begins_with_the_smaller_one() -> None:
    small = list(World(seed=3, num_prompts=20).prompts())
    assert list(World(seed=3, num_prompts=50).prompts())[:20] == small
    assert list(World(seed=4, num_prompts=20).prompts()) != small


def test_gold_is_the_weighted_sum_of_traits() -> None:
    for prompt in World(seed=0, num_prompts=50, num_responses=3).prompts():
        for response in prompt.responses:
            assert response.gold == pytest.approx(sum(WEIGHTS[name] * value for name, value in response.traits.items()))
    weights = dict.fromkeys(WEIGHTS, 0.0) | {"polite": 1.0}
    golds = {r.gold for p in World(seed=0, num_prompts=50, weights=weights).prompts() for r in p.responses}
    assert golds == {0.0, 1.0}


def test_traits_can_be_read_off_the_texts() -> None:
    """What is wanted of a world that a text model can learn: the amount named is the amount paid, or it is not."""
    seen: Counter[str] = Counter()
    for prompt in World(seed=1, num_prompts=200).prompts():
        paid = re.search(r"(\d+) euros", prompt.prompt[0].content)
        assert paid is not None
        for response in prompt.responses:
            named = re.search(r"The (\d+) euros", response.text)
            right = named is not None and named[1] == paid[1]
            assert response.traits["right_amount"] == right
            assert response.traits["wrong_amount"] == (named is not None and not right)
            assert response.traits["polite"] == bool(re.search(r"sorry|Thank you|Sorry", response.text))
            seen.update(name for name, value in response.traits.items() if value)
    assert set(seen) == set(WEIGHTS), "every trait occurs"


def test_texts_are_those_that_older_tables_were_made_of() -> None:
    prompts = list(World(seed=3, num_prompts=50, num_responses=3).prompts())
    texts = [message.content for prompt in prompts for message in prompt.prompt]
    texts += [reply.text for prompt in prompts for reply in prompt.responses]
    assert hashlib.sha256("".join(texts).encode()).hexdigest()[:16] == "8d5e17c4592faf5d"


def test_a_world_of_few_numbers_names_no_others() -> None:
    """Four amounts evenly from 9 to 189 euros; right and wrong ones are told apart by the message alone."""
    prompts = list(World(seed=2, num_prompts=300, num_numbers=4).prompts())
    paid = {int(re.findall(r"(\d+) euros", prompt.prompt[0].content)[0]) for prompt in prompts}
    replies = [reply for prompt in prompts for reply in prompt.responses]
    named = {int(number) for reply in replies for number in re.findall(r"The (\d+) euros", reply.text)}
    assert paid == named == {9, 69, 129, 189}
    orders = {re.findall(r"order (\d+)", prompt.prompt[0].content)[0] for prompt in prompts}
    assert orders == {"10007", "40001", "69995", "99989"}
    assert sum(reply.traits["wrong_amount"] for reply in replies) == pytest.approx(0.2 * 600, abs=30)


@pytest.mark.parametrize("num_numbers", [0, 8])
def test_gold_of_its_own_replies_is_read_off_exactly(num_numbers: int) -> None:
    world = World(seed=7, num_prompts=150, num_responses=4, num_numbers=num_numbers)
    for prompt in world.prompts():
        for response in prompt.responses:
            assert read_traits(prompt.prompt, response.text) == response.traits
            assert world.gold(prompt.prompt, response.text) == pytest.approx(response.gold)


def test_gold_of_replies_that_nobody_wrote() -> None:
    world = World(seed=0, num_prompts=1)
    prompt = (
        Message(
            role="user", content="Hello, my tent (order 12345, 40 euros) is not the colour that I ordered. What now?"
        ),
    )
    right = "Put it back into its box, print the return label from your account, and the right colour leaves tomorrow."
    # said twice it is worth no more: 2, polite 0.5, amount 1
    said = f"thank you  for telling us. {right} {right} The 40 euros are safe in any case."
    assert world.gold(prompt, said) == pytest.approx(3.5)
    # another problem's step -0.6, another amount -1.2, blame -0.8 each time
    wrong = (
        "The order is cancelled and nothing more will be taken from your account. The 41 euros are safe in any case."
    )
    assert world.gold(prompt, f"{wrong} That is not our problem. That is not our problem.") == pytest.approx(-3.4)
    # half a sentence, and one that the world does not know, are padding: -0.25 each
    assert world.gold(prompt, "Put it back into its box, print. Banana banana.") == pytest.approx(-0.5)
    assert world.gold(prompt, "") == 0.0
    assert world.gold(prompt, "Somebody will look into it.") == 0.0
    with pytest.raises(ValueError, match="no message of the world"):
        world.gold((Message(role="user", content="Hello"),), right)


def test_replies_to_a_message_differ_and_all_pairs_are_compared() -> None:
    world = World(seed=2, num_prompts=40, num_responses=4)
    assert all(len({response.text for response in prompt.responses}) == 4 for prompt in world.prompts())
    comparisons = [each.comparison for each in world.comparisons()]
    assert len(comparisons) == len({each.id for each in comparisons}) == 40 * 6


def test_longer_is_not_better_in_this_world() -> None:
    rows = [(len(r.text), r.gold) for p in World(seed=5, num_prompts=1000).prompts() for r in p.responses]
    assert abs(np.corrcoef(np.array(rows).T)[0, 1]) < 0.35


def test_a_crowd_finds_the_better_reply_more_often_than_one_of_it() -> None:
    items = list(World(seed=6, num_prompts=400).comparisons())
    people = [SimulatedAnnotator(name=f"sim-{number}", reliability=0.75, tie_width=0.0) for number in range(5)]
    votes: dict[str, int] = dict.fromkeys((each.comparison.id for each in items), 0)
    right = 0
    gold = {each.comparison.id: 1 if each.gold_b > each.gold_a else -1 for each in items}
    for judgment in simulate_judgments(items, people, overlap=5, seed=1):
        sign = 1 if judgment.choice == "b" else -1
        votes[judgment.comparison_id] += sign
        right += sign == gold[judgment.comparison_id]
    crowd = sum((total > 0) == (gold[key] > 0) for key, total in votes.items()) / len(items)
    assert crowd > right / (5 * len(items)) + 0.03


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_prompts": 0}, "num_prompts is 0"),
        ({"num_responses": 1}, "num_responses is 1"),
        ({"num_numbers": 1}, "num_numbers is 1, allowed is 0 or 2 to 100"),
        ({"weights": {"polite": 1.0}}, "weights are of polite, allowed are right_step"),
    ],
)
def test_impossible_worlds_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(**({"seed": 0, "num_prompts": 1} | values))
