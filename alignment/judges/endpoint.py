"""Chat completions of an OpenAI-compatible endpoint: many questions at once, paced, asked again where that may help.

What becomes of an answer, by what comes:

    429, 5xx, no connection, broken off, too slow,   asked again, after Retry-After where it is given; in the end
    no JSON, an error in place of an answer          `unanswered`
    400, 413, 422                                    `rejected`; before any answer came, and as many in a row as run at
                                                     once, `JudgeError`
    any other 4xx (402: no money left), a redirect   `JudgeError`: no question would be answered
    a refusal, the content filter                    `refused`, whatever the status
    no text                                          `empty`; with calls of tools `calls`

Redirects are not followed, so that the key goes to nobody but the address that was named. The key stands in one header
and nowhere else: it is taken out of every text that comes back.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from alignment.judges.chat import ChatAnswer, ChatRequest, JudgeError, WrittenToken, complete_all, one_line, storable
from alignment.judges.pacing import Pace
from alignment.judges.spec import JudgeSpec
from alignment.rewards.http_client import INSTALL, UnansweredError
from rewardkit.data.records import Message

if TYPE_CHECKING:
    import httpx
    import tenacity

logger = logging.getLogger(__name__)
WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before each further try, where the endpoint names no time
LONGEST_WAIT_S = 120.0  # an endpoint that asks for more is one that does not answer
MOST_BYTES = 4 << 20  # of an answer
TOP = 20  # alternatives of a token that are asked for; servers that allow fewer say so
REJECTED = (400, 413, 422)  # what may be wrong with one question alone
PASSING = (408, 409, 425, 429)
OF_THE_QUESTION = re.compile(
    r"content[ _](?:filter|management|policy)|moderation|flagged|context[ _](?:length|window)|too (?:long|many tokens)",
    re.IGNORECASE,
)
BYTES_PER_TOKEN = 3.0  # where tokens are not told: rather too many than too few
TEXTS = ("text", "output_text")  # kinds of parts of an answer that are no thoughts
DECLINED = ("content_filter", "refusal")
SPEND = ("prompt_tokens", "completion_tokens")


class WaitError(UnansweredError):
    """Worth asking again, after so many seconds where the endpoint says it."""

    def __init__(self, cause: str, wait_s: float | None = None) -> None:
        super().__init__(cause)
        self.wait_s = wait_s


class _RejectedError(OSError):
    """This question is one that the endpoint does not take; `of_the_question` where it says that it is to blame."""

    def __init__(self, cause: str, *, of_the_question: bool = False) -> None:
        super().__init__(cause)
        self.of_the_question = of_the_question


class EndpointChat:
    """An endpoint; see the module.

    Args:
        waits_s: seconds before each further try of a question.

    Raises:
        ValueError: if its key is not in the environment.
        ImportError: if httpx or tenacity is missing.
    """

    def __init__(self, spec: JudgeSpec, *, waits_s: Sequence[float] = WAITS_S) -> None:
        try:
            import httpx
            import tenacity  # noqa: F401 (used when a question is asked)
        except ImportError as error:
            raise ImportError(INSTALL) from error
        self.spec, self.waits_s = spec, tuple(waits_s)
        self._key = read_key(spec)
        self._url = spec.target.rstrip("/") + "/chat/completions"
        limits = httpx.Limits(max_connections=spec.concurrency, max_keepalive_connections=spec.concurrency)
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # trust_env off: a proxy or .netrc of the machine gets neither key nor prompts.
        self._client = httpx.Client(limits=limits, headers=headers, timeout=spec.timeout_s, trust_env=False)
        self._ended = threading.Event()
        self._pace = Pace(spec.requests_per_minute, self._ended)
        self._left_out: set[str] = set()  # optional fields that it does not take
        self._num_answered = 0
        self._lock = threading.Lock()

    def complete(
        self, conversations: Sequence[tuple[Message, ...]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[ChatAnswer]:
        """See `alignment.judges.chat.Chat`."""
        return complete_all(self, conversations, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)

    def stream(self, requests: Iterable[ChatRequest]) -> Iterator[tuple[ChatRequest, ChatAnswer]]:
        """Answers as they come. As many requests wait as are under way: no place is empty while answers are kept.

        Raises:
            JudgeError: if no question would be answered, or as many in a row as run at once, three or more, were not
                or were not taken, for a cause that is not their own. Those not taken are told only when one is
                answered after them: where something else than the questions is wrong, each of them is asked again.
        """
        room = 2 * self.spec.concurrency
        todo: queue.SimpleQueue[ChatRequest | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[ChatRequest, ChatAnswer | BaseException]] = queue.SimpleQueue()
        for _ in range(self.spec.concurrency):  # daemons: a command that is interrupted waits for no answer
            threading.Thread(target=self._work, args=(todo, done), daemon=True).start()
        waiting = iter(requests)
        under_way = num_unanswered = 0
        rejected: list[tuple[ChatRequest, ChatAnswer]] = []
        most = max(3, self.spec.concurrency)
        try:
            while True:
                while under_way < room and (request := next(waiting, None)) is not None:
                    todo.put(request)
                    under_way += 1
                if not under_way:
                    if rejected and not self._num_answered:
                        self._not_taken(rejected)
                    yield from rejected
                    return
                request, answer = done.get()
                under_way -= 1
                if isinstance(answer, BaseException):
                    raise answer
                if answer.failure == "rejected":
                    rejected.append((request, answer))
                    if len(rejected) >= most:
                        self._not_taken(rejected)
                    continue
                if answer.failure != "unanswered":
                    yield from rejected
                    rejected = []
                num_unanswered = num_unanswered + 1 if answer.failure == "unanswered" else 0
                yield request, answer
                if num_unanswered >= most:
                    raise JudgeError(f"{self.spec.about} stopped answering: {answer.error}")
        finally:
            if under_way:
                self._ended.set()  # what waits for its turn gives up
            for _ in range(self.spec.concurrency):
                todo.put(None)

    def _not_taken(self, rejected: Sequence[tuple[ChatRequest, ChatAnswer]]) -> None:
        raise JudgeError(f"{self.spec.about} does not take the question: {rejected[-1][1].error}")

    def _work(
        self,
        todo: queue.SimpleQueue[ChatRequest | None],
        done: queue.SimpleQueue[tuple[ChatRequest, ChatAnswer | BaseException]],
    ) -> None:
        while (request := todo.get()) is not None and not self._ended.is_set():
            try:
                done.put((request, self._answer(request)))
            except BaseException as error:  # told where the answers are read
                done.put((request, error))

    def close(self) -> None:
        """Gives up what is under way."""
        self._ended.set()
        self._client.close()

    def _answer(self, request: ChatRequest) -> ChatAnswer:
        """Asks one question as often as it takes."""
        import tenacity

        started_at, tries = time.monotonic(), 0

        def ask() -> dict[str, Any]:
            nonlocal tries
            self._pace.wait()
            tries += 1
            return self._post(request)

        def wait_s(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            told = error.wait_s if isinstance(error, WaitError) else None
            return told if told is not None else (*self.waits_s, 0.0)[state.attempt_number - 1]

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(UnansweredError),
            wait=wait_s,
            stop=tenacity.stop_after_attempt(len(self.waits_s) + 1),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            body = retrying(ask)
        except UnansweredError as error:
            answer = ChatAnswer(failure="unanswered", error=f"no answer after {tries} tries, the last: {error}")
            body = {}
        except _RejectedError as error:
            failure = "refused" if error.of_the_question else "rejected"
            answer = ChatAnswer(failure=failure, error=str(error), text=str(error))
            body = {}
        else:
            with self._lock:
                self._num_answered += 1
            answer = read_body(body, self._clean)
        return _with_usage(answer, body, request, self.spec, tries, time.monotonic() - started_at)

    def _sleep(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def _post(self, request: ChatRequest) -> dict[str, Any]:
        """One try."""
        import httpx

        if self._ended.is_set():
            raise _RejectedError("given up")
        deadline = time.monotonic() + self.spec.timeout_s
        content = bytearray()
        body = json.dumps(self._body(request)).encode()
        try:
            with self._client.stream("POST", self._url, content=body) as response:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise WaitError(f"an answer of more than {MOST_BYTES >> 20} MiB")
                    if time.monotonic() > deadline:  # httpx's timeout is for a single read
                        raise WaitError(f"no whole answer within {self.spec.timeout_s:g} s")
        except httpx.TimeoutException as error:
            raise WaitError(f"no whole answer within {self.spec.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # RuntimeError: the client was closed
            raise WaitError(one_line(self._clean(str(error))) or type(error).__name__) from error
        if not response.is_success:
            return self._failed(request, response, bytes(content))
        try:
            read = json.loads(bytes(content))
            first = read["choices"][0]["message"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise WaitError(f"no chat completion: {self._head(bytes(content))}") from error
        if not isinstance(first, dict):
            raise WaitError(f"no chat completion: {self._head(bytes(content))}")
        if read["choices"][0].get("finish_reason") == "error":  # a provider behind the endpoint broke off
            raise WaitError(f"it broke off: {self._head(bytes(content))}")
        return read

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        values: dict[str, Any] = {
            "model": self.spec.model,
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "temperature": request.temperature,
            "seed": request.seed % 2**31,
            "stream": False,
        }
        values["max_completion_tokens" if "max_tokens" in self._left_out else "max_tokens"] = request.max_new_tokens
        if request.logprobs:
            values |= {"logprobs": True, "top_logprobs": 5 if "top_logprobs" in self._left_out else TOP}
        for name in self._left_out & {"seed", "logprobs", "temperature"}:
            values.pop(name, None)
        if "logprobs" not in values:
            values.pop("top_logprobs", None)
        return values

    def _failed(self, request: ChatRequest, response: httpx.Response, content: bytes) -> dict[str, Any]:
        """Raises what an answer that is no success means; asks again without an optional field that is not taken."""
        status = response.status_code
        cause = f"HTTP status {status}: {self._head(content)}"
        if response.has_redirect_location:
            address = one_line(self._clean(response.headers["Location"]))
            raise JudgeError(f"{self.spec.about}: {cause}; it redirects to {address}, which is not followed")
        text = content.decode(errors="replace")
        of_the_question = OF_THE_QUESTION.search(text[:1000]) is not None  # further on it may quote the question
        if status == 403 and of_the_question:
            raise _RejectedError(cause, of_the_question=True)
        if status in PASSING or status >= 500:
            wait_s = _retry_after_s(response.headers.get("Retry-After"))
            if wait_s is not None and wait_s > LONGEST_WAIT_S:
                raise JudgeError(f"{self.spec.about} asks to wait {wait_s:.0f} s: {cause}")
            if wait_s is not None:
                self._pace.pause(wait_s)
            raise WaitError(cause, wait_s)
        if status not in REJECTED:
            raise JudgeError(f"{self.spec.about}: {cause}")
        sent = self._body(request)
        for name in ("top_logprobs", "logprobs", "max_tokens", "seed", "temperature"):
            if status in (400, 422) and name in text and name in sent and name not in self._left_out:
                self._left_out.add(name)
                try:
                    body = self._post(request)
                except _RejectedError:  # an error may quote the whole question, and every field with it
                    self._left_out.discard(name)
                    raise
                logger.warning("%s does not take %s as it is sent: %s", self.spec.about, name, self._head(content))
                return body
        raise _RejectedError(cause, of_the_question=of_the_question)

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _head(self, content: bytes) -> str:
        # Cleaned before it is cut: of a key at the cut, the beginning would stay.
        return repr(one_line(self._clean(content.decode(errors="replace"))))


def read_key(spec: JudgeSpec) -> str:
    """The endpoint's key from the environment; empty where it has none.

    Raises:
        ValueError: if the variable is not set, or holds what no header takes.
    """
    if not spec.key_variable:
        return ""
    key = os.environ.get(spec.key_variable, "").strip()
    if not key:
        raise ValueError(f"the environment variable {spec.key_variable} is not set: it is to hold the judge's key")
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"the environment variable {spec.key_variable} holds no key: it has characters that none has")
    return key


def read_body(body: Mapping[str, Any], clean: Any = str) -> ChatAnswer:
    """Reads a chat completion: its text, or in one word why it has none."""
    choice = body["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    content = message.get("content")
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict) and part.get("type", "text") in TEXTS)
        content = "".join(text for part in parts if isinstance(text := part.get("text"), str))
    text = storable(clean(content)) if isinstance(content, str) else ""
    refusal = message.get("refusal")
    if (isinstance(refusal, str) and refusal) or finish in DECLINED:
        words = storable(clean(refusal)) if isinstance(refusal, str) else text
        return ChatAnswer(text=words, failure="refused", error=one_line(words) or "the content filter took it away")
    if not text.strip():
        if message.get("tool_calls") or message.get("function_call"):
            calls = storable(clean(json.dumps(message.get("tool_calls") or message.get("function_call"))))
            return ChatAnswer(text=calls, failure="calls", error="it called a tool in place of an answer")
        error = "it thought until its limit of tokens" if finish == "length" else "it answered without a text"
        return ChatAnswer(failure="empty", error=error, cut=finish == "length")
    return ChatAnswer(text=text, cut=finish == "length", tokens=_read_tokens(choice, text))


def _read_tokens(choice: Mapping[str, Any], text: str) -> tuple[WrittenToken, ...]:
    """The tokens of a text with their probabilities; nothing where they are not told, or do not make the text."""
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, list):
        return ()
    tokens = []
    try:
        for one in content:
            logps = {str(other["token"]): float(other["logprob"]) for other in one.get("top_logprobs") or ()}
            logps.setdefault(str(one["token"]), float(one["logprob"]))
            tokens.append(WrittenToken(text=str(one["token"]), logps=logps))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    if any(math.isnan(logp) for token in tokens for logp in token.logps.values()):
        return ()
    return tuple(tokens) if "".join(token.text for token in tokens).startswith(text) else ()


def _with_usage(
    answer: ChatAnswer, body: Mapping[str, Any], request: ChatRequest, spec: JudgeSpec, tries: int, seconds: float
) -> ChatAnswer:
    told = body.get("usage")
    told = told if isinstance(told, dict) else {}
    usage: dict[str, float] = {"tries": tries, "seconds": round(seconds, 4)}
    if body:
        counts = {name: told[name] for name in SPEND if isinstance(told.get(name), int) and told[name] >= 0}
        if len(counts) < len(SPEND):
            counts = {
                "prompt_tokens": estimated_tokens(request.messages),
                "completion_tokens": len(answer.text.encode()),
            }
            counts["completion_tokens"] = int(counts["completion_tokens"] / BYTES_PER_TOKEN) + 1
            usage["estimated"] = 1
        usage |= counts
        usage["cost"] = cost_of(spec, usage["prompt_tokens"], usage["completion_tokens"])
    return ChatAnswer(**{**vars(answer), "usage": usage})


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Tokens of a conversation, rather too many than too few."""
    return int(sum(len(one.content.encode()) / BYTES_PER_TOKEN + 6 for one in messages)) + 1


def cost_of(spec: JudgeSpec, prompt_tokens: float, completion_tokens: float) -> float:
    """What so many tokens cost, in the currency of the prices."""
    return (prompt_tokens * spec.prompt_price + completion_tokens * spec.completion_price) / 1e6


def _retry_after_s(value: str | None) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date; None where it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
