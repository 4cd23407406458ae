"""Requests to write: what they may ask, what comes of them, and the pairs made of the answers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from model_stand_ins import ADMIN, finish_run

from annotate_app.trainings.scorer import LONGEST_TEXT
from annotate_app.writing.asking import MOST_WRITERS, WriteRequest, item_prompt, send_pair, write
from annotate_app.writing.writers import Models, list_models
from rewardkit.data.records import Message


def prompt(text: str = "Where?") -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def asked(store, processes, **values) -> dict:
    project = store.projects.get(ADMIN, "desk")
    models = list_models(store, ADMIN, project.id)
    request = WriteRequest(**{"writers": tuple(models.writers), "prompt": prompt(), "seed": 3, **values})
    return {written.writer.key: written for written in write(request, models, processes=processes)}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"writers": ()}, "0 policies are asked, allowed are 1 to 3"),
        ({"writers": tuple("1234")}, "4 policies are asked"),
        ({"writers": ("1", "1")}, "named twice"),
        ({"prompt": prompt("  ")}, "the prompt is empty"),
        ({"prompt": prompt("x" * (LONGEST_TEXT + 1))}, "50,001 characters"),
        ({"temperature": float("nan")}, "temperature is nan, allowed is 0 to 5"),
        ({"n": 9}, "n is 9, allowed is 1 to 8"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"temperature": 0.0, "n": 2}, "all answers of a policy are the same"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(values, said):
    with pytest.raises(ValueError, match=said):
        WriteRequest(**{"writers": ("1",), "prompt": prompt(), **values})


def test_every_policy_answers_and_the_reward_model_scores(store, processes):
    one, other = finish_run(store), finish_run(store)
    reward = finish_run(store, "reward", model="tfidf", mode="head")
    written = asked(store, processes, n=2, scorer=str(reward))
    assert set(written) == {str(one), str(other)}
    first, second = written[str(one)].answers
    run = list_models(store, ADMIN, store.projects.get(ADMIN, "desk").id).writers[str(one)].folder.parent.name
    assert (first.text, second.text) == (f"Where? 1 of {run}, seed 3", f"Where? 2 of {run}, seed 3")
    assert (first.finished, second.finished, second.logp, second.number) == (True, False, -4.0, 2)
    assert first.source == f"run-{one}"
    # members value the length once and twice
    assert first.reward == pytest.approx(1.5 * len(first.text))
    assert first.reward_std == pytest.approx(len(first.text) / 2**0.5)
    assert asked(store, processes)[str(one)].answers[0].reward is None


def test_the_whole_conversation_of_a_comparison_is_the_prompt(store, processes):
    run = str(finish_run(store))
    project = store.projects.get(ADMIN, "desk")
    found = item_prompt(store, ADMIN, project.id, "first")
    assert [message.role for message in found] == ["system", "user"]
    assert asked(store, processes, prompt=found, item="first")[run].answers[0].text.startswith("Where is it? 1")
    with pytest.raises(ValueError, match="nothing"):
        item_prompt(store, ADMIN, project.id, "nothing")


def two_policies(store, other_folder: str) -> tuple[str, str, Models]:
    """Two runs, the model of the first of which lies in a folder of this name, and all that can be asked."""
    first, second = str(finish_run(store)), str(finish_run(store))
    models = list_models(store, ADMIN, store.projects.get(ADMIN, "desk").id)
    moved = replace(models.writers[first], folder=models.writers[first].folder.parent / other_folder)
    return first, second, replace(models, writers={**models.writers, first: moved})


def test_one_policy_that_fails_does_not_keep_the_other_from_answering(store, processes):
    gone, good, models = two_policies(store, "broken")
    request = WriteRequest(writers=(gone, good), prompt=prompt())
    written = {one.writer.key: one for one in write(request, models, processes=processes)}
    assert (len(written[good].answers), written[good].problem) == (1, "")
    assert (written[gone].answers, written[gone].problem) == ((), "no model")


def test_what_is_ready_first_is_given_first(store, processes):
    slow, quick, models = two_policies(store, "slow")
    request = WriteRequest(writers=(slow, quick), prompt=prompt())
    assert [one.writer.key for one in write(request, models, processes=processes)] == [quick, slow]
    assert len(processes._processes) == 2 <= MOST_WRITERS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("refuse this", "the prompt is too long"),
        ("end yourself", "ended; ask again"),
        ("be killed", "was killed, as a system does that runs out of memory"),
    ],
)
def test_what_goes_wrong_is_one_line_and_the_next_request_is_answered(store, processes, text, said):
    run = str(finish_run(store))
    written = asked(store, processes, prompt=prompt(text))[run]
    assert said in written.problem
    assert "\n" not in written.problem
    assert asked(store, processes)[run].answers


def test_two_answers_of_different_policies_become_one_blind_pair(store, processes):
    one, other = str(finish_run(store)), str(finish_run(store))
    written = asked(store, processes)
    project = store.projects.get(ADMIN, "desk")
    request = WriteRequest(writers=(one, other), prompt=prompt(), seed=3)
    first, second = (written[key].answers[0] for key in (one, other))
    key = send_pair(store, ADMIN, project.id, request, first, second)
    assert send_pair(store, ADMIN, project.id, request, second, first) == key
    pair = store.comparisons.get(ADMIN, project.id, key)
    assert {(pair.source_a, pair.completion_a), (pair.source_b, pair.completion_b)} == {
        (answer.source, answer.text) for answer in (first, second)
    }
    assert pair.meta["written"]["seed"] == 3
    assert store.comparisons.count(ADMIN, project.id) == 2
    for left, right, said in (
        (first, first, "both answers are of"),
        (first, replace(second, text=f" {first.text}"), "the same text"),
        (first, replace(second, text=" "), "empty"),
    ):
        with pytest.raises(ValueError, match=said):
            send_pair(store, ADMIN, project.id, request, left, right)


def test_who_stops_listening_does_not_wait_for_the_rest(store, processes):
    slow, quick, models = two_policies(store, "slow")
    answers = write(WriteRequest(writers=(slow, quick), prompt=prompt()), models, processes=processes)
    next(answers)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 0.5
