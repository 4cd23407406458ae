"""Features of prompt and answer together, the head on them, and what the labels at hand promise of more."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.data.records import Message, Preference
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.heads.posterior import laplace_posterior
from rewardkit.reward.reward import Reward
from rewardkit.scoring.acquisition import measure
from rewardkit.scoring.joint_features import JointFeatures
from rewardkit.scoring.joint_head import JointHead, find_headroom, head_margins, measure_pairs
from rewardkit.simulation.support_desk_world import World

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there are no words to count")


def prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def world_rows(num_prompts: int) -> list[Preference]:
    rows = []
    for item in World(seed=3, num_prompts=num_prompts).comparisons():
        better = item.comparison if item.gold_a >= item.gold_b else item.comparison.swap()
        rows.append(
            Preference(prompt=better.prompt, chosen=better.completion_a, rejected=better.completion_b, p_chosen=1.0)
        )
    return rows


def test_overlap_is_of_words_and_numbers_that_prompt_and_answer_share():
    prompts = [prompt("my kettle cost 20 euros"), prompt("the lamp is broken")] * 2
    answers = ["the kettle for 20 euros", "the lamp is broken", "30 euros or 20 or 40", "nothing"]
    features = JointFeatures.fit(prompts, answers)
    overlap = features.blocks(prompts, answers)["overlap"]
    assert overlap[1, 0] == pytest.approx(1.0)  # the prompt itself
    assert overlap[1, 2:4].tolist() == [1.0, 1.0]
    assert overlap[3, [0, 2, 3, 4, 5]].tolist() == [0.0] * 5
    # numbers of the answer in the prompt, and not: one and none, one and two
    assert overlap[0, 4:].tolist() == pytest.approx([np.log(2), 0.0])
    assert overlap[2, 4:].tolist() == pytest.approx([np.log(2), np.log(3)])
    # kettle, 0, euros of "the kettle for 0 euros": idf ln((1 + 6) / (1 + n)) + 1, n texts hold it, of two prompts and
    # four answers: the 3, kettle 2, for 1, 0 (any number) 3, euros 3
    idf = {word: np.log(7 / (1 + n)) + 1 for word, n in {"the": 3, "kettle": 2, "for": 1, "0": 3, "euros": 3}.items()}
    shared = (idf["kettle"] + idf["0"] + idf["euros"]) / sum(idf.values())
    assert overlap[0, 2] == pytest.approx(shared)


def test_each_block_has_mean_squared_length_one_about_its_mean():
    rows = world_rows(40)
    prompts, answers = [row.prompt for row in rows], [row.chosen for row in rows]
    states = np.random.default_rng(0).normal(size=(len(rows), 3)) * 100.0
    features = JointFeatures.fit(prompts, answers, states=lambda asked, said: {"states": states})
    values, start = features(prompts, answers), 0
    for block in features.blocks(prompts, answers).values():
        part = values[:, start : start + block.shape[1]]
        assert ((part - part.mean(0)) ** 2).sum(1).mean() == pytest.approx(1.0)
        start += block.shape[1]
    assert start == values.shape[1]


def test_states_of_a_wide_network_are_brought_to_their_first_principal_components():
    rows = world_rows(60)
    prompts, answers = [row.prompt for row in rows] * 2, [text for row in rows for text in (row.chosen, row.rejected)]
    rng = np.random.default_rng(0)
    states = rng.normal(size=(len(answers), 80)) * 0.9 ** np.arange(80) + 5.0
    numbers = {text: number for number, text in enumerate(answers)}
    places = [numbers[text] for text in answers]
    blocks_of = {"states": states[places], "more": states}
    features = JointFeatures.fit(prompts, answers, states=lambda asked, said: blocks_of)
    blocks = features.blocks(prompts, answers)
    assert blocks["more"].shape == (len(answers), 80)
    away = states[places] - states[places].mean(0)
    left, sizes, _ = np.linalg.svd(away, full_matrices=False)
    expected = (left[:, :64] * sizes[:64]) @ (left[:, :64] * sizes[:64]).T
    found = blocks["states"] - blocks["states"].mean(0)
    assert found @ found.T == pytest.approx(expected, abs=0.02 * expected.max())


def test_one_prompt_or_none_has_no_part_in_it():
    for asked in ((), prompt("how many")):
        features = JointFeatures.fit([asked] * 3, ["1 apple", "2 pears", "no plums"])
        values = features([asked] * 3, ["1 apple", "2 pears", "kiwis"])
        assert np.isfinite(values).all()
        assert np.ptp(values[:, :2], axis=0).max() > 0


def test_joint_features_learn_what_answers_alone_cannot_say():
    """The right answer names what the prompt names: every answer is right once and wrong once."""
    things = ("kettle", "lamp", "tent", "printer", "chair", "bottle", "toaster", "blender")
    rows = [
        Preference(prompt=prompt(f"about my {one} please"), chosen=f"your {one} comes", rejected=f"your {other} comes")
        for one in things
        for other in things
        if one != other
    ]
    train = [row for row in rows if "toaster" not in row.prompt[0].content]
    test = [row for row in rows if "toaster" in row.prompt[0].content]
    head = JointHead.fit(train, [(row.prompt, row.chosen) for row in test])
    prompts = [row.prompt for row in test]
    chosen, rejected = head(prompts, [row.chosen for row in test]), head(prompts, [row.rejected for row in test])
    assert (chosen.mean > rejected.mean).all()


def test_exact_margins_are_those_of_many_members():
    rows = world_rows(40)
    head = JointHead.fit(rows[:30], [(row.prompt, text) for row in rows[30:] for text in (row.chosen, row.rejected)])
    prompts = [row.prompt for row in rows[30:]] * 2
    texts = [row.chosen for row in rows[30:]] + [row.rejected for row in rows[30:]]
    first, second = np.arange(10), np.arange(10, 20)
    found = measure_pairs(head, prompts, texts, first, second)
    differences = head.features(prompts, texts)[first] - head.features(prompts, texts)[second]
    mean, std = head.posterior.margins(differences)
    assert found.margin == pytest.approx(mean)
    assert found.std == pytest.approx(std)
    drawn = head.posterior.members(20_000, np.random.default_rng(0)) @ differences.T
    by_members = measure(Reward(members=drawn), Reward(members=np.zeros_like(drawn)))
    assert found.mutual_information == pytest.approx(by_members.mutual_information, abs=3e-3)
    assert found.margins is not None
    assert by_members.margins is not None
    assert found.margins.probability == pytest.approx(by_members.margins.probability, abs=5e-3)
    covariance = found.margins.root @ found.margins.root.T
    assert covariance == pytest.approx(by_members.margins.root @ by_members.margins.root.T, abs=0.05 * covariance.max())
    reward = head(prompts, texts)
    assert (reward.mean[first] - reward.mean[second]) == pytest.approx(mean)  # members are centred


def test_headroom_is_seen_where_labels_teach_and_not_where_they_are_noise():
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(300, 20))
    weights = rng.normal(size=20)
    taught = make_pairs(differences, (differences @ weights > 0).astype(float))
    noise = make_pairs(differences, (rng.random(300) < 0.5).astype(float))
    steep, flat = (find_headroom(pairs, prior_precision=1.0, num_unlabelled=900) for pairs in (taught, noise))
    assert steep.is_shown
    assert steep.num_doublings == 2.0
    assert steep.at_all == pytest.approx(min(1.0, steep.accuracy.value + 2 * steep.a_doubling.value))
    assert steep.accuracy.value > 0.85
    assert not flat.is_shown
    assert "take random pairs" in str(flat)
    assert "take random pairs" not in str(steep)
    with pytest.raises(ValueError, match="none of the 300 labels says which answer is better"):
        find_headroom(make_pairs(differences, np.full(300, 0.5)), prior_precision=1.0, num_unlabelled=900)


def test_margins_of_a_head_by_hand():
    # one pair x = (2, 0) of weight 3 at d = 0 and prior 1: precision diag(4, 1), as in the posterior's own test
    pairs = make_pairs(np.array([[2.0, 0.0]]), np.array([0.5]), weight=np.array([3.0]))
    posterior = laplace_posterior(fit_head(pairs, prior_precision=1.0), pairs)
    margins = head_margins(posterior, np.array([[2.0, 0.0], [2.0, 1.0]]))
    assert margins.root @ margins.root.T == pytest.approx(np.array([[1.0, 1.0], [1.0, 2.0]]))
    assert margins.probability == pytest.approx([0.5, 0.5])
