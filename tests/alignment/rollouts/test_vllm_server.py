"""Rollouts by a vLLM server, a stand-in that really draws; vLLM itself needs a GPU."""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm_stand_in import VllmStandIn, serving

from alignment.generation.completion_sampler import Sampler
from alignment.generation.generate import Sampling
from alignment.policy.policy import Policy
from alignment.rollouts.source import RolloutError
from alignment.rollouts.vllm_server import VllmServer

SAMPLING = Sampling(temperature=0.7, max_new_tokens=6, end_ids=(2,), seed=5)
PROMPTS, KEYS = [(5, 6, 7), (9,), (4, 3)], (0, 7, 3)
WAITS = (0.01, 0.01)


@pytest.fixture
def server(policy_folders: tuple[Path, Path]) -> Iterator[VllmStandIn]:
    """A server of the first policy."""
    with serving(policy_folders[0]) as running:
        yield running


@pytest.fixture(scope="module")
def policy(policy_folders: tuple[Path, Path]) -> Policy:
    """Another policy than the one that is served."""
    network = AutoModelForCausalLM.from_pretrained(policy_folders[1]).eval()
    tokenizer = AutoTokenizer.from_pretrained(policy_folders[1])
    return Policy(network=network, tokenizer=tokenizer, adapted=None, packed=False)


@pytest.fixture
def source(server: VllmStandIn, policy: Policy, tmp_path: Path) -> VllmServer:
    """Loaded with the policy."""
    found = VllmServer(server.url, policy, tmp_path, timeout_s=30, waits_s=WAITS)
    found.load()
    return found


def draw(source: VllmServer, places: tuple[int, ...] = (0, 1, 2)) -> list[Any]:
    return source.draw(
        [PROMPTS[place] for place in places], SAMPLING, num_samples=4, keys=[KEYS[place] for place in places]
    )


def failure(source: VllmServer) -> str:
    with pytest.raises(RolloutError) as caught:
        draw(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def difference(source: VllmServer, groups: list[Any]) -> float:
    """Largest between the log-probabilities that came with completions and the policy's own."""
    drawn = [one for group in groups for one in group]
    sampler = Sampler(name="p", number=0, policy=source.policy.network, tokenizer=source.policy.tokenizer)
    own = sampler.logps(drawn, temperature=SAMPLING.temperature)
    return max(abs(one.logps - logps).max() for one, logps in zip(drawn, own, strict=True))


def test_the_policy_as_it_is_draws(source: VllmServer, server: VllmStandIn) -> None:
    groups = draw(source)
    assert [one.prompt for group in groups for one in group] == [prompt for prompt in PROMPTS for _ in range(4)]
    assert all(1 <= len(one.completion) <= 6 for group in groups for one in group)
    assert len({one.completion for one in groups[0]}) > 1
    assert difference(source, groups) < 1e-4
    with torch.no_grad():
        source.policy.network.get_output_embeddings().weight.mul_(1.5)
    stale = draw(source)
    assert difference(source, stale) > 0.05  # the policy moved, and nobody loaded it
    source.load()
    assert difference(source, draw(source)) < 1e-4
    sent = [path for path in server.paths() if path != "/v1/completions"]
    assert sent == ["/server_info", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version"] * 2


def test_the_batch_does_not_change_what_is_drawn(source: VllmServer) -> None:
    whole = draw(source)
    assert [draw(source, (place,))[0] for place in (2, 0, 1)] == [whole[2], whole[0], whole[1]]


def test_weights_pass_through_one_folder_at_a_time(source: VllmServer, tmp_path: Path) -> None:
    for _ in range(2):
        source.load()
        (folder,) = (tmp_path / "vllm_weights").iterdir()
        assert folder.name == source.version
    source.close()
    assert not (tmp_path / "vllm_weights").exists()


def failing(times: int, answer: Callable[[], Any]) -> Callable[[str, dict], Any]:
    """A server that does not answer some completion requests."""
    left = iter(range(times))
    return lambda path, _body: answer() if path == "/v1/completions" and next(left, None) is not None else None


def dropped() -> None:
    raise ConnectionError


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (dropped, "disconnected without sending a response"),
        (lambda: (500, {"error": {"message": "EngineCore died"}}), "EngineCore died"),
    ],
)
def test_a_server_that_is_started_anew_is_sent_the_weights_again(
    source: VllmServer, server: VllmStandIn, answer: Callable[[], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = draw(source, (0,))

    def restart() -> Any:
        server.begin()
        return answer()

    server.before = failing(1, restart)
    with caplog.at_level(logging.WARNING):
        assert draw(source, (0,)) == expected
    assert said in caplog.text
    assert "asking again in 0.01 s" in caplog.text
    assert server.paths().count("/collective_rpc") == 2


def test_a_restart_that_nobody_saw_is_noticed_by_its_weights(
    source: VllmServer, server: VllmStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    expected = draw(source)
    server.begin()
    with caplog.at_level(logging.WARNING):
        assert draw(source) == expected
    assert "it drew with weights default, not with those that it was sent" in caplog.text


def test_prompts_that_were_answered_are_not_asked_again(source: VllmServer, server: VllmStandIn) -> None:
    tries: list[int] = []

    def once(path: str, body: dict) -> Any:
        if path == "/v1/completions":
            tries.append(body["prompt"][0])
            if body["prompt"] == [9] and tries.count(9) == 1:
                threading.Event().wait(0.2)  # the others are through
                return 503, b"busy"
        return None

    server.before = once
    draw(source)
    assert sorted(tries) == [4, 5, 9, 9]


def test_a_server_that_stays_away_is_one_line(source: VllmServer, server: VllmStandIn) -> None:
    server.before = lambda _path, _body: (503, b"generation is paused")
    said = failure(source)
    assert said.startswith(f"vLLM server {server.url}: no answer after 3 tries, the last: HTTP status 503")


def test_a_server_that_hangs_is_one_line(source: VllmServer, server: VllmStandIn) -> None:
    let_go = threading.Event()
    source.timeout_s, source.waits_s = 0.2, ()
    server.before = lambda _path, _body: (503, b"") if let_go.wait(20) else None
    assert "no answer after 1 tries, the last: timed out" in failure(source)
    let_go.set()


def test_nobody_listening_is_one_line(source: VllmServer) -> None:
    source.url = "http://127.0.0.1:9"
    assert "no answer after 3 tries, the last: [Errno 111] Connection refused" in failure(source)


def changed(change: Callable[[dict], None]) -> Callable[[dict], Any]:
    def after(answer: dict) -> dict:
        found = copy.deepcopy(answer)
        change(found["choices"][1])
        return found

    return after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_ids": None}, "without token ids, log-probabilities or weight versions; start it as VLLM_SERVER_DEV"),
        ({"logprobs": None}, "without token ids, log-probabilities or weight versions; start it as"),
        ({"weight_versions": None}, "without token ids, log-probabilities or weight versions; start it as"),
        ({"token_ids": []}, "a completion of 0 tokens, allowed is 1 to 6"),
        ({"token_ids": [1] * 7}, "a completion of 7 tokens, allowed is 1 to 6"),
        ({"token_ids": [1, 1], "logprobs": {"token_logprobs": [-1.0]}}, "1 log-probabilities for 2 tokens"),
        ({"token_ids": [1], "logprobs": {"token_logprobs": [float("nan")]}}, "token 0 is nan, allowed is a finite"),
        ({"token_ids": [1], "logprobs": {"token_logprobs": [None]}}, "token 0 is None, allowed is a finite number"),
        ({"finish_reason": "repetition"}, "ended by 'repetition', allowed is stop or length"),
        ({"finish_reason": "abort"}, "no answer after 3 tries, the last: it gave a request up"),
        ({"prompt_token_ids": [1]}, "was read otherwise than it was given"),
        ({"weight_versions": [{"version": "x", "start": 0, "end": 1}]}, "it drew with weights x, not with those"),
    ],
)
def test_a_completion_that_was_not_asked_for_is_one_line(
    source: VllmServer, server: VllmStandIn, change: dict[str, Any], message: str
) -> None:
    server.after = changed(lambda choice: choice.update(change))
    assert message in failure(source)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda answer: answer | {"choices": answer["choices"][:3]}, "3 completions of a prompt, 4 were asked for"),
        (lambda answer: {"choices": None}, "the answer has no choices"),
        (lambda answer: b"<html>", "/v1/completions: the answer is no JSON: '<html>'"),
        (lambda answer: [answer], "/v1/completions: the answer is no object"),
    ],
)
def test_an_answer_of_another_form_is_one_line(
    source: VllmServer, server: VllmStandIn, after: Callable[[dict], Any], message: str
) -> None:
    server.after = after
    assert message in failure(source)


def test_a_server_started_otherwise_is_told_how_to_start(server: VllmStandIn, policy: Policy, tmp_path: Path) -> None:
    source = VllmServer(server.url, policy, tmp_path, waits_s=())
    server.mode = "raw_logprobs"
    with pytest.raises(
        RolloutError, match=r"are raw_logprobs, needed are processed_logprobs; start it as VLLM_SERVER_"
    ):
        source.load()
    server.before = lambda path, _body: (404, b'{"detail": "Not Found"}')
    with pytest.raises(RolloutError, match=r"HTTP status 404: .*; start it as VLLM_SERVER_DEV_MODE=1 vllm serve MODEL"):
        source.load()
    server.mode, server.before = (
        "processed_logprobs",
        lambda path, _: (200, b'{"success": false}') if "prefix" in path else None,
    )
    with pytest.raises(RolloutError, match="it keeps what it computed with former weights"):
        source.load()


def test_weights_that_the_server_does_not_see_are_one_line(
    source: VllmServer, server: VllmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "dir", Path("/nowhere"))
    source.is_sent = False
    assert "Cannot find any model weights with `/nowhere/" in failure(source)


def test_what_is_asked(source: VllmServer, server: VllmStandIn) -> None:
    source.draw([(5, 6)], Sampling(max_new_tokens=3, end_ids=(2, 4), stop=("x",)), num_samples=2, keys=[1])
    body = json.loads(json.dumps(server.asked[-1][1]))
    seed = body.pop("seed")
    assert 0 <= seed < 2**62
    assert body == {
        "prompt": [5, 6],
        "n": 2,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_tokens": 3,
        "stop": ["x"],
        "stop_token_ids": [2, 4],
        "ignore_eos": True,
        "skip_special_tokens": False,
        "logprobs": 0,
        "return_token_ids": True,
        "return_weight_versions": True,
    }
