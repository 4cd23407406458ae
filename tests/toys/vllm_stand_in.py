"""What speaks as vLLM 0.33 does and really draws, from a model of transformers by our own loops: server and `LLM`.

Requests and answers have the names of vllm/entrypoints/openai/completion/protocol.py, serve/dev and rl/online; what
vLLM would not know is refused.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.generation.completion_sampler import text_of
from alignment.generation.generate import Sampling, generate

DRAWN = {  # of `SamplingParams`
    *("n", "seed", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty"),
    *("frequency_penalty", "max_tokens", "stop", "stop_token_ids", "ignore_eos", "skip_special_tokens", "logprobs"),
}
ASKED = {*DRAWN, "model", "prompt", "return_token_ids", "return_weight_versions"}  # of `CompletionRequest`
Answer = tuple[int, Any]


class Engine:
    """A model and what is drawn from it."""

    def __init__(self, folder: str | Path) -> None:
        policy, self.tokenizer = _served(folder)
        self.policy = copy.deepcopy(policy)
        self.lock = threading.Lock()

    def draw(self, prompt: list[int], options: dict[str, Any]) -> list[SimpleNamespace]:
        """Completions with the fields of vLLM's `CompletionOutput`."""
        assert options["ignore_eos"]
        assert options["logprobs"] == 0
        assert (options["top_p"], options["top_k"], options["repetition_penalty"]) == (1.0, 0, 1.0)
        sampling = Sampling(
            temperature=options["temperature"],
            max_new_tokens=options["max_tokens"],
            end_ids=tuple(options["stop_token_ids"]),
            stop=tuple(options["stop"]),
            seed=options["seed"],
        )
        with self.lock:
            (group,) = generate(
                self.policy, [prompt], sampling, num_samples=options["n"], tokenizer=self.tokenizer, precision="fp32"
            )
        return [
            SimpleNamespace(
                token_ids=list(one.completion),
                text=text_of(one, sampling, self.tokenizer),
                logprobs=[
                    {token: SimpleNamespace(logprob=logp)}
                    for token, logp in zip(one.completion, one.logps, strict=True)
                ],
                finish_reason="stop" if one.finished else "length",
            )
            for one in group
        ]

    def reload(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Puts all weights in place; of tied ones either may be left out."""
        with self.lock:
            found = self.policy.load_state_dict({name: weight.clone() for name, weight in weights}, strict=False)
        assert not found.unexpected_keys


class VllmStandIn(ThreadingHTTPServer):
    """`vllm serve FOLDER --logprobs-mode processed_logprobs` in development mode.

    Attributes:
        before: sees path and body of a request; answers in the server's place, drops the connection by raising
            ConnectionError, or returns None.
        after: changes the answer of a completion request.
        asked: paths and bodies, in order.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: str | Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.before: Callable[[str, dict], Answer | None] = lambda _path, _body: None
        self.after: Callable[[dict], Any] = lambda answer: answer
        self.mode = "processed_logprobs"
        self.asked: list[tuple[str, dict]] = []
        self.begin()

    def begin(self) -> None:
        """As it is after a start: the weights of the folder it serves."""
        self.engine, self.version = Engine(self.folder), "default"

    def handle_error(self, request, client_address) -> None:
        """A connection that is dropped is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[str]:
        return [path.partition("?")[0] for path, _ in self.asked]

    def answer(self, path: str, body: dict) -> Answer:
        self.asked.append((path, body))
        match path:
            case "/server_info?config_format=json":
                return 200, {"vllm_config": {"model_config": {"logprobs_mode": self.mode}}, "vllm_env": {}}
            case "/collective_rpc":
                assert body["method"] == "reload_weights"
                folder = body["kwargs"]["weights_path"]
                if not list(Path(folder).glob("*.safetensors")):
                    return 500, _error(f"Cannot find any model weights with `{folder}`", 500)
                self.engine.reload(_load(folder).state_dict().items())
                return 200, {"results": [None]}
            case "/reset_prefix_cache?reset_running_requests=true":
                return 200, {"success": True}
            case "/update_weight_version":
                self.version = body["new_version"]
                return 200, {"success": True, "new_version": self.version}
            case "/v1/completions":
                return 200, self.after(self.completions(body))
        return 404, {"detail": "Not Found"}

    def completions(self, body: dict) -> dict:
        assert body.keys() <= ASKED
        assert all(type(token) is int for token in body["prompt"])
        version = self.version
        drawn = self.engine.draw(body["prompt"], {name: body[name] for name in DRAWN})
        choices = [
            {
                "index": index,
                "text": one.text,
                "logprobs": {
                    "text_offset": [],
                    "token_logprobs": [
                        each[token].logprob for token, each in zip(one.token_ids, one.logprobs, strict=True)
                    ],
                    "tokens": [],
                    "top_logprobs": [],
                },
                "finish_reason": one.finish_reason,
                "stop_reason": None,
                "token_ids": one.token_ids if body.get("return_token_ids") else None,
                "prompt_logprobs": None,
                "prompt_token_ids": body["prompt"] if body.get("return_token_ids") else None,
                "weight_versions": [{"version": version, "start": 0, "end": len(one.token_ids)}]
                if body.get("return_weight_versions")
                else None,
            }
            for index, one in enumerate(drawn)
        ]
        return {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": "m", "choices": choices}


@contextmanager
def serving(folder: str | Path) -> Iterator[VllmStandIn]:
    """A running server."""
    with VllmStandIn(folder) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: VllmStandIn

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: dict) -> None:
        try:
            found = self.server.before(self.path, body) or self.server.answer(self.path, body)
        except ConnectionError:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, said = found
        answer = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


class StandInLLM:
    """`vllm.LLM` in one process."""

    def __init__(self, model: str, **options: Any) -> None:
        self.options, self.engine, self.num_resets, self.is_open = options, Engine(model), 0, True
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shut))

    def _shut(self) -> None:
        self.is_open = False

    def collective_rpc(self, method: str, timeout: float | None = None, args: tuple = (), kwargs: Any = None) -> list:
        assert method == "reload_weights"
        self.engine.reload(kwargs["weights_iterator"])
        return [None]

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        self.num_resets += 1
        return True

    def generate(self, prompts: Any, sampling_params: Any, *, use_tqdm: bool) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(outputs=self.engine.draw(asked["prompt_token_ids"], options))
            for asked, options in zip(prompts, sampling_params, strict=True)
        ]


def _sampling_params(**options: Any) -> dict[str, Any]:
    assert options.keys() <= DRAWN
    return options


def stand_in_module() -> ModuleType:
    """Stands for the package `vllm`."""
    module = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)
    module.LLM, module.SamplingParams = StandInLLM, _sampling_params  # type: ignore[attr-defined]
    return module


def _load(folder: str | Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@cache
def _served(folder: str | Path) -> tuple[Any, Any]:
    """Model and tokenizer of a folder that does not change."""
    return _load(folder), AutoTokenizer.from_pretrained(folder)


def _error(message: str, code: int) -> dict:
    return {"error": {"message": message, "type": "InternalServerError", "param": None, "code": code}}
