"""Conversations in, answers in words out: what judges and critics ask, at an endpoint or in this process.

`open_chat` is the one way in. An answer that is none (nothing came, it was refused, it was no text) is an answer with
a `failure`, so that one bad question does not end a thousand; what no question would survive (a wrong key, a wrong
address) is a `JudgeError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from alignment.judges.spec import WRITES, JudgeSpec
from rewardkit.data.conversations import UNSTORABLE
from rewardkit.data.records import Message

Failure = Literal["", "unanswered", "rejected", "refused", "empty", "calls"]
MOST_RAW = 20_000  # characters kept of an answer


class JudgeError(OSError):
    """A judge that cannot be asked at all, in one line; ends a command with exit code 1."""


@dataclass(frozen=True, kw_only=True)
class WrittenToken:
    """A token of an answer, and the log-probabilities (nats) of the likeliest tokens in its place."""

    text: str
    logps: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ChatAnswer:
    """An answer.

    Attributes:
        text: what it wrote; of a refusal its words, as far as there are any.
        usage: prompt_tokens, completion_tokens, tries, seconds, cost; `estimated` is 1 where the tokens were not told.
        failure: empty for an answer; `unanswered` (no whole answer after all tries), `rejected` (the question is one
            that the endpoint does not take), `refused` (the model or a filter declines), `empty` (no text), `calls` (a
            call of a tool in place of a text).
        error: the failure, in one line.
        cut: whether it reached the limit of tokens.
        tokens: of the text in order; empty where probabilities are not told.
    """

    text: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)
    failure: Failure = ""
    error: str = ""
    cut: bool = False
    tokens: tuple[WrittenToken, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One conversation to be continued.

    Attributes:
        key: what the caller knows it by.
        logprobs: whether the probabilities of the answer's tokens are wanted, where they are told.
    """

    key: object
    messages: tuple[Message, ...]
    max_new_tokens: int
    temperature: float
    seed: int
    logprobs: bool = False


class Chat(Protocol):
    """Something that answers in words."""

    def complete(
        self, conversations: Sequence[tuple[Message, ...]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[ChatAnswer]:
        """Answers of all conversations, in their order; equal seeds give equal answers as far as the model allows.

        Raises:
            JudgeError: if it cannot be asked at all.
        """
        ...

    def stream(self, requests: Iterable[ChatRequest]) -> Iterator[tuple[ChatRequest, ChatAnswer]]:
        """Answers as they come; a request is taken when there is room for it.

        Raises:
            JudgeError: if it cannot be asked at all, or stopped to answer.
        """
        ...

    def close(self) -> None:
        """Ends what it holds; what is under way is given up."""
        ...


def open_chat(spec: JudgeSpec) -> Chat:
    """Opens an endpoint, or loads a local model.

    Raises:
        ValueError: if this kind of judge does not answer in words, its key is not in the environment, or its folder
            holds no policy.
        ImportError: if a package is missing.
    """
    match spec.kind:
        case "endpoint":
            from alignment.judges.endpoint import EndpointChat

            return EndpointChat(spec)
        case "local":
            from alignment.judges.local import LocalChat

            return LocalChat(spec)
        case other:
            raise ValueError(f"a judge of the kind {other} does not answer in words, allowed are {', '.join(WRITES)}")


def complete_all(
    chat: Chat, conversations: Sequence[tuple[Message, ...]], *, max_new_tokens: int, temperature: float, seed: int
) -> list[ChatAnswer]:
    """`Chat.complete` by `Chat.stream`; conversation i gets the seed `seed + i`."""
    requests = (
        ChatRequest(
            key=number, messages=messages, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed + number
        )
        for number, messages in enumerate(conversations)
    )
    answers = {request.key: answer for request, answer in chat.stream(requests)}
    return [answers[number] for number in range(len(conversations))]


def storable(text: str) -> str:
    """A text from elsewhere as it is kept: without what no database takes, and not longer than `MOST_RAW`."""
    text = UNSTORABLE.sub("\ufffd", text[: MOST_RAW + 1])
    return text if len(text) <= MOST_RAW else f"{text[:MOST_RAW]}..."


def one_line(text: str, limit: int = 200) -> str:
    """The beginning of a text in one line."""
    text = " ".join(text[: 4 * limit].split())
    return text if len(text) <= limit else f"{text[:limit]}..."
