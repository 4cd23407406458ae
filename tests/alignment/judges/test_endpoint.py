"""An endpoint that really answers, and every way in which one does not."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from typing import Any

import pytest
from judge_endpoint import Behaviour, Reply, by_length, said, serve

from alignment.judges.chat import ChatAnswer, ChatRequest, JudgeError
from alignment.judges.endpoint import EndpointChat
from alignment.judges.spec import JudgeSpec
from rewardkit.data.records import Message

TALK = (Message(role="user", content="<<answer A 1>>\nlong one\n<<end 1>>\n<<answer B 1>>\nshort\n<<end 1>>"),)
KEY = "sk-very-secret-4711"


def chat_at(url: str, **differing: Any) -> EndpointChat:
    values = {"kind": "endpoint", "target": url, "model": "m", "timeout_s": 5.0, "concurrency": 2}
    return EndpointChat(JudgeSpec(**values | differing), waits_s=(0.0, 0.0))


def answers(behaviour: Behaviour, count: int = 1, **differing: Any) -> tuple[list[ChatAnswer], Any]:
    with serve(behaviour) as endpoint, closing(chat_at(endpoint.url, **differing)) as chat:
        given = chat.complete([TALK] * count, max_new_tokens=64, temperature=0.5, seed=7)
    return given, endpoint


def test_what_is_sent_and_what_comes_back() -> None:
    (answer, other), endpoint = answers(by_length, 2, prompt_price=2.0, completion_price=30.0)
    assert json.loads(answer.text) == {"overall": "A", "strength": 2}
    assert (answer.failure, answer.error, answer.cut) == ("", "", False)
    # 100 tokens at 2 and 10 tokens at 30 a million
    assert {name: answer.usage[name] for name in ("prompt_tokens", "completion_tokens", "tries", "cost")} == {
        "prompt_tokens": 100, "completion_tokens": 10, "tries": 1, "cost": pytest.approx(0.0005),
    }  # fmt: skip
    assert answer.usage["seconds"] > 0
    assert sorted(body["seed"] for body in endpoint.bodies) == [7, 8]
    body = endpoint.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 64, 0.5)
    assert body["messages"] == [{"role": "user", "content": TALK[0].content}]
    assert "logprobs" not in body
    assert other.failure == ""


def failing(*replies: Reply) -> Behaviour:
    """These replies one after another, then real answers."""
    return lambda body, number: replies[number] if number < len(replies) else by_length(body, number)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=429, body=b"slow down"),
        Reply(status=500, body=b"oops"),
        Reply(status=503, body=b"<html>busy</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b"<html>sign in</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"error": {"message": "overloaded"}}'),
        Reply(body=b'{"choices": [{"message": "text"}]}'),
        said("half an ans", finish_reason="error"),
        Reply(status=409, body=b"busy"),
        Reply(body=b"[" * 100_000),
        Reply(body=b'{"choices": [{"message": {"content": "cut off', drop=True),
    ],
    ids=[
        "429",
        "500",
        "503 html",
        "html",
        "no choice",
        "error",
        "no message",
        "error behind it",
        "409",
        "deep",
        "broken off",
    ],
)
def test_what_may_pass_is_asked_again(reply: Reply) -> None:
    (answer,), endpoint = answers(failing(reply))
    assert answer.failure == ""
    assert answer.usage["tries"] == 2
    assert len(endpoint.bodies) == 2


def test_what_does_not_pass_is_unanswered_with_its_last_cause() -> None:
    (answer,), endpoint = answers(lambda *_: Reply(status=500, body=b"still broken"))
    assert answer.failure == "unanswered"
    assert answer.error == "no answer after 3 tries, the last: HTTP status 500: 'still broken'"
    assert len(endpoint.bodies) == 3


def test_an_answer_that_takes_too_long_is_unanswered() -> None:
    (answer,), _ = answers(lambda *_: Reply(wait_s=0.5), timeout_s=0.1)
    assert answer.error == "no answer after 3 tries, the last: no whole answer within 0.1 s"


def test_retry_after_is_waited_for() -> None:
    started_at = time.monotonic()
    (answer,), endpoint = answers(failing(Reply(status=429, headers={"Retry-After": "0.3"})))
    assert answer.failure == ""
    assert endpoint.asked_at[1] - endpoint.asked_at[0] >= 0.3
    assert time.monotonic() - started_at < 3
    with pytest.raises(JudgeError, match="asks to wait 3600 s"):
        answers(failing(Reply(status=429, headers={"Retry-After": "3600"})))


@pytest.mark.parametrize(
    ("reply", "failure", "text"),
    [
        (said(None, refusal="I won't."), "refused", "I won't."),
        (said("", finish_reason="content_filter"), "refused", ""),
        (said("", finish_reason="refusal"), "refused", ""),
        (
            Reply(status=400, body=b'{"error": {"code": "content_filter"}}'),
            "refused",
            """HTTP status 400: '{"error": {"code": "content_filter"}}'""",
        ),
        (Reply(status=403, body=b"your input was flagged"), "refused", "HTTP status 403: 'your input was flagged'"),
        (Reply(status=400, body=b"prompt is too long"), "refused", "HTTP status 400: 'prompt is too long'"),
        (said(None), "empty", ""),
        (said("  \n"), "empty", ""),
        (said(None, tool_calls=[{"function": {"name": "vote"}}]), "calls", '[{"function": {"name": "vote"}}]'),
        (said([{"type": "text", "text": "A"}]), "", "A"),  # type: ignore[arg-type]
        (said([{"type": "reasoning", "text": "B?"}, {"type": "text", "text": "A"}]), "", "A"),  # type: ignore[arg-type]
        (said("A\x00\ud800".encode("utf-8", "replace").decode()), "", "A\ufffd?"),
    ],
)
def test_an_answer_without_a_text_says_why(reply: Reply, failure: str, text: str) -> None:
    (answer,), _ = answers(lambda *_: reply)
    assert (answer.failure, answer.text) == (failure, text)
    assert bool(answer.error) == bool(failure)


def test_an_answer_at_its_limit_is_cut_and_a_huge_one_is_shortened() -> None:
    (answer,), _ = answers(lambda *_: said("x" * 50_000, finish_reason="length"))
    assert answer.cut
    assert len(answer.text) == 20_003
    (answer,), _ = answers(lambda *_: Reply(body=b" " * (5 << 20)))
    assert "more than 4 MiB" in answer.error


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(status=401, body=f"bad key {KEY}".encode()), r"HTTP status 401: 'bad key \*\*\*'"),
        (Reply(status=404, body=b"no such model"), "HTTP status 404: 'no such model'"),
        (Reply(status=402, body=b"no credit"), "HTTP status 402: 'no credit'"),
        (Reply(status=403, body=b"not for you"), "HTTP status 403: 'not for you'"),
        (
            Reply(status=307, headers={"Location": "http://elsewhere/v1"}),
            "redirects to http://elsewhere/v1, which",
        ),
        (Reply(status=400, body=b"what is this"), "does not take the question: HTTP status 400"),
    ],
)
def test_what_no_question_would_survive_ends_at_once(
    reply: Reply, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with pytest.raises(JudgeError, match=problem) as error:
        answers(lambda *_: reply, key_variable="JUDGE_KEY", concurrency=1)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_question_that_is_not_taken_among_others_that_are(place: int) -> None:
    given, _ = answers(
        lambda body, number: Reply(status=400, body=b"odd") if number == place else by_length(body, number),
        3,
        concurrency=1,
    )
    assert [answer.failure for answer in given] == ["rejected" if number == place else "" for number in range(3)]
    assert given[place].text == "HTTP status 400: 'odd'"


def test_when_nothing_is_taken_any_more_no_question_is_to_blame() -> None:
    def revoked(body: dict[str, Any], number: int) -> Reply:
        return by_length(body, number) if number < 2 else Reply(status=400, body=b"API key expired")

    with serve(revoked) as endpoint, closing(chat_at(endpoint.url, concurrency=1)) as chat:
        requests = (
            ChatRequest(key=number, messages=TALK, max_new_tokens=9, temperature=0.0, seed=0) for number in range(100)
        )
        got = []
        with pytest.raises(JudgeError, match="does not take the question: HTTP status 400: 'API key expired'"):
            got.extend(answer for _, answer in chat.stream(requests))
    assert [answer.failure for answer in got] == ["", ""]  # none that would be kept as refused


def test_an_error_that_quotes_the_question_takes_no_field_away() -> None:
    def echoing(body: dict[str, Any], number: int) -> Reply:
        return Reply(status=400, body=json.dumps(body).encode()) if number < 4 else by_length(body, number)

    given, endpoint = answers(echoing, 2, concurrency=1)
    assert [answer.failure for answer in given] == ["rejected", ""]
    assert {"max_tokens", "seed", "temperature"} <= endpoint.bodies[-1].keys()


@pytest.mark.parametrize("offset", range(150, 210, 7))
def test_a_key_at_the_cut_of_an_error_leaves_nothing(offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with pytest.raises(JudgeError) as error:
        answers(lambda *_: Reply(status=401, body=b"x" * offset + KEY.encode()), key_variable="JUDGE_KEY")
    assert "sk-" not in str(error.value)


def test_the_key_goes_in_its_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    (answer,), endpoint = answers(lambda *_: said(f"your key is {KEY}"), key_variable="JUDGE_KEY")
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert answer.text == "your key is ***"
    assert KEY not in json.dumps(endpoint.bodies)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ValueError, match="the environment variable JUDGE_KEY is not set"):
        chat_at("http://host/v1", key_variable="JUDGE_KEY")


def test_a_field_that_is_not_taken_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def picky(body: dict[str, Any], number: int) -> Reply:
        for name in ("max_tokens", "logprobs"):
            if name in body:
                return Reply(status=400, body=f"unsupported parameter: {name}".encode())
        return by_length(body, number)

    with (
        serve(picky) as endpoint,
        closing(chat_at(endpoint.url, concurrency=1)) as chat,
        caplog.at_level(logging.WARNING),
    ):
        options: dict[str, Any] = {"messages": TALK, "max_new_tokens": 9, "temperature": 0.0, "seed": 0}
        requests = [ChatRequest(key=number, logprobs=True, **options) for number in range(3)]
        given = [answer for _, answer in chat.stream(requests)]
    assert [answer.failure for answer in given] == ["", "", ""]
    assert endpoint.bodies[-1]["max_completion_tokens"] == 9
    assert len(endpoint.bodies) == 5
    assert len([record for record in caplog.records if "does not take" in record.message]) == 2


def test_no_more_are_under_way_than_may_be_and_all_places_are_filled() -> None:
    def slow(body: dict[str, Any], number: int) -> Reply:
        time.sleep(0.05)
        return by_length(body, number)

    _, endpoint = answers(slow, 20, concurrency=4)
    assert endpoint.most_at_once == 4


def test_requests_a_minute_are_spread_evenly() -> None:
    _, endpoint = answers(by_length, 4, requests_per_minute=600, concurrency=4)
    gaps = [later - earlier for earlier, later in zip(endpoint.asked_at, endpoint.asked_at[1:], strict=False)]
    assert sum(gaps) >= 0.2  # three gaps of a tenth of a second, the first request being late on a busy machine


def test_one_that_stops_answering_ends_the_run_with_what_came_before() -> None:
    def dies(body: dict[str, Any], number: int) -> Reply:
        return by_length(body, number) if number < 3 else Reply(status=502, body=b"gone")

    with serve(dies) as endpoint, closing(chat_at(endpoint.url, concurrency=1)) as chat:
        requests = (
            ChatRequest(key=number, messages=TALK, max_new_tokens=9, temperature=0.0, seed=0) for number in range(1000)
        )
        got = []
        with pytest.raises(JudgeError, match=r"m at 127.0.0.1:.* stopped answering: no answer after 3 tries"):
            got.extend(answer for _, answer in chat.stream(requests))
    assert len(endpoint.bodies) < 3 + 3 * 5


def test_nobody_there_is_said_as_it_is() -> None:
    with closing(chat_at("http://127.0.0.1:9/v1", concurrency=1)) as chat:
        (answer,) = chat.complete([TALK], max_new_tokens=9, temperature=0.0, seed=0)
    assert "Connection refused" in answer.error
