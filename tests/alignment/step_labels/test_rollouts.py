from alignment.step_labels.rollouts import Rollout, StepRollouts, Steps

ANSWERS = [("a", "b", "c"), ("a", "x"), ("a", "b", "d")]


def tree() -> StepRollouts:
    rewards = [1.0, 0.0, 0.0]
    return StepRollouts(
        prompt=(),
        answers=ANSWERS,
        rewards=dict(zip(ANSWERS, rewards, strict=True)),
        rollouts=[rollout(steps, reward) for steps, reward in zip(ANSWERS, rewards, strict=True)],
    )


def rollout(steps: Steps, reward: float, begun: Steps = ()) -> Rollout:
    return Rollout(begun=begun, steps=steps, reward=reward)


def test_only_what_is_missing_is_asked_for_and_each_prefix_once() -> None:
    """Behind a there are 3 of 4 already, behind a b there are 2; behind a x nothing follows."""
    assert list(tree().missing(1, 4)) == [(("a",), 1)]
    assert list(tree().missing(2, 4)) == [(("a", "b"), 2)]
    assert list(tree().missing(2, 2)) == []
    assert list(tree().missing(3, 4)) == []


def test_rollouts_count_for_every_prefix_they_pass_through() -> None:
    one = tree()
    one.rollouts.append(rollout(("a", "b", "e", "f"), 1.0))
    one.rollouts.append(rollout(("q",), 1.0))
    assert one.through(("a",)) == [1.0, 0.0, 0.0, 1.0]
    assert one.through(("a", "b")) == [1.0, 0.0, 1.0]
    assert one.through(("a", "b", "c")) == []  # the answer itself ends there


def test_labels_are_shares_and_the_last_is_the_answers_own() -> None:
    """Of 4 rollouts behind a two end right, of 3 behind a b two: with N of 2 the first two count."""
    one = tree()
    one.rollouts.append(rollout(("a", "b", "e"), 1.0))
    labels, numbers = one.labels(("a", "b", "c"), 4, "soft", 0.5)
    assert labels == [0.5, 2 / 3, 1.0]
    assert numbers == [4, 3, 1]
    assert one.labels(("a", "b", "d"), 2, "soft", 0.5) == ([0.5, 0.5, 0.0], [2, 2, 1])
    assert one.labels(("a", "b", "d"), 4, "hard", 0.5)[0] == [1.0, 1.0, 0.0]
    assert one.labels(("a", "x"), 4, "soft", 2.0)[0] == [0.0, 0.0]


def test_a_rollout_that_ends_where_it_was_begun_counts_there() -> None:
    one = tree()
    one.rollouts.append(rollout(("a", "b"), 1.0, begun=("a", "b")))
    assert one.through(("a", "b")) == [1.0, 0.0, 1.0]
    one.rollouts.append(rollout(("a", "b"), 1.0))  # the policy ended there, and did not go on behind the separator
    assert one.through(("a", "b")) == [1.0, 0.0, 1.0]
