import math

import numpy as np
import pytest

from rewardkit.data.conversations import RowError
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward
from rewardkit.scoring.rows import PROBLEM, detect_scorable, read_completions, score_rows

ASKED = (Message(role="user", content="Why?"),)
TURNS = [{"role": "user", "content": "Why?"}]


class Lengths:
    """Two members: the length of the completion, and the length plus ten times the turns of the prompt, less 12."""

    def __init__(self):
        self.asked = []

    def __call__(self, prompts, completions):
        self.asked.extend(zip(prompts, completions, strict=True))
        lengths = np.array([len(text) for text in completions], dtype=float)
        return Reward(members=np.stack([lengths, lengths + 10 * np.array([len(p) for p in prompts]) - 12]))


def score(*rows, reward_fn=None):
    return score_rows(rows, detect_scorable(rows, "rows"), reward_fn or Lengths())


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "completion": "Because."},
        {"instruction": "Why?", "output": "Because."},
        {"prompt": TURNS, "response": [{"role": "assistant", "content": "Because."}]},
        {"messages": [*TURNS, {"role": "assistant", "content": "Because."}]},
        {"conversation": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
    ],
)
def test_one_completion_gets_its_reward(row):
    reward_fn = Lengths()
    (scored,) = score(row, reward_fn=reward_fn)
    assert reward_fn.asked == [(ASKED, "Because.")]
    # Members say 8 and 8 + 10 - 12 = 6: mean 7, standard deviation sqrt(1 + 1) = 1.414.
    assert scored == row | {"reward": 7.0, "reward_std": pytest.approx(math.sqrt(2))}


def test_chosen_and_rejected_get_theirs_and_the_margin_its_own_deviation():
    (scored,) = score({"prompt": "Why?", "chosen": "Because.", "rejected": "No."})
    assert (scored["chosen_reward"], scored["rejected_reward"]) == (7.0, 2.0)
    assert scored["chosen_reward_std"] == scored["rejected_reward_std"] == pytest.approx(math.sqrt(2))
    # Both members find the same difference, 5: it is certain although the rewards are not.
    assert (scored["reward_margin"], scored["reward_margin_std"]) == (5.0, 0.0)


def test_columns_of_two_responses_are_called_as_the_file_calls_them():
    (scored,) = score({"question": "Why?", "response1": "x", "response2": "xyz", "winner": "a"})
    assert list(scored)[4:] == [
        "response1_reward", "response1_reward_std", "response2_reward", "response2_reward_std",
        "reward_margin", "reward_margin_std",
    ]  # fmt: skip
    assert scored["reward_margin"] == -2.0


def test_dialogues_are_scored_behind_their_common_prompt():
    reward_fn = Lengths()
    score(
        {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: "},
        reward_fn=reward_fn,
    )
    assert reward_fn.asked == [(ASKED, "So."), (ASKED, "")]


def test_a_list_of_responses_gets_lists_and_repeated_ones_are_asked_for_once():
    reward_fn = Lengths()
    row = {"prompt": "Why?", "responses": ["x", "xyz", "x"]}
    first, second = score(row, row, reward_fn=reward_fn)
    assert first == second == row | {"reward": [0.0, 2.0, 0.0], "reward_std": [pytest.approx(math.sqrt(2))] * 3}
    assert reward_fn.asked == [(ASKED, "x"), (ASKED, "xyz")]


def test_one_member_has_no_deviation():
    (scored,) = score(
        {"prompt": "Why?", "completion": "x"}, reward_fn=lambda p, c: Reward(members=np.ones((1, len(c))))
    )
    assert scored["reward_std"] == 0.0


def test_rows_that_cannot_be_scored_stay_in_their_place_with_the_problem():
    rows = [
        {"prompt": "Why?", "completion": "x"},
        {"prompt": None, "completion": "x"},
        {"prompt": "Why?", "completion": 3},
        {"prompt": "Why?", "completion": "x", "note": "\ud800"},
        {"prompt": "Why?", "completion": "xyz"},
    ]
    scored = score(*rows)
    assert [row["reward"] for row in scored] == [0.0, None, None, None, 2.0]
    assert [row.get(PROBLEM, "")[:16] for row in scored] == [
        "",
        "field prompt is ",
        "field completion",
        "field note is '\\",
        "",
    ]
    assert scored[3]["note"] == "'\\ud800'"


def test_no_row_that_can_be_scored_asks_nothing_of_the_model():
    (scored,) = score({"prompt": "Why?", "completion": None}, reward_fn=None)
    assert scored["reward"] is None


def test_a_reward_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="the model gives 1 of 2 completions a reward that is not finite"):
        score(
            {"prompt": "Why?", "responses": ["x", "y"]},
            reward_fn=lambda p, c: Reward(members=np.array([[1.0, np.nan], [1.0, 2.0]])),
        )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            {"prompt": "Why?"},
            "rows: no form fits the columns prompt.*; for one completion a row, name its columns prompt",
        ),
        ({"text": "x"}, "for one completion a row"),
        ({"prompt": "p", "completion": "x", "reward": 1}, "rows: a column reward is there already, and would be added"),
        (
            {"prompt": "p", "chosen": "x", "rejected": "y", "chosen_reward": 1},
            "a column chosen_reward is there already",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(row, problem):
    with pytest.raises(ValueError, match=problem):
        detect_scorable([row], "rows")


def test_a_conversation_has_to_end_in_an_answer():
    row = {"messages": TURNS}
    with pytest.raises(RowError, match="the last turn has to be the assistant's"):
        read_completions(row, detect_scorable([row], "rows"))


def test_a_conversation_is_scored_behind_the_system_prompt_of_its_row():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = {"system": "Be brief.", "messages": turns}
    ((prompt, answer),) = read_completions(row, detect_scorable([row], "rows"))
    assert prompt == (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
    assert answer == "Hello"
