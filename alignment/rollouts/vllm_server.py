"""Rollouts by a running vLLM server, plain `vllm serve`, behind `alignment.rollouts.source`.

Written by the source of vLLM 0.33 and tested with a server of our own that speaks as that one does; it has not been run
with vLLM itself, which needs a GPU.

Before each rollout the weights are written to a folder that server and trainer both see, and the server reloads them
from there (`reload_weights` of its workers). vLLM's other way, tensors by NCCL or CUDA IPC into its weight transfer
engine, is faster for large models, but makes trainer and server one group: a server that dies leaves the trainer
waiting in a collective, and one that is started anew needs a new group. A folder is there for whoever comes back.

So that a server which was started anew, and draws from the model it was started with, is noticed: every set of weights
has a label that the server is told after it has reloaded, and every completion says by which label it was drawn.
Completions by any other are drawn again, once the weights have been sent again.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from alignment.generation.generate import Sampled, Sampling
from alignment.policy.policy import Policy
from alignment.rewards.http_client import RefusedError, UnansweredError, ask, head, read_json, with_retries
from alignment.rollouts.source import RolloutError
from alignment.rollouts.vllm_engine import LOGPROBS_MODE, check_count, read_sample, sampling_options
from rewardkit.distributed import collectives
from rewardkit.distributed.merged_weights import write_merged
from rewardkit.distributed.sharding import has_shards

logger = logging.getLogger(__name__)
T = TypeVar("T")
TIMEOUT_S = 600.0  # for all completions of a prompt, or for reloading
WAITS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0)  # before each further try: a restart takes minutes
NUM_AT_ONCE = 64  # prompts, each asked for by itself, as each has a seed of its own
START = f"VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode {LOGPROBS_MODE}"


class VllmServer:
    """A vLLM server that draws for a policy; it sees the run directory under the same path, and serves nobody else.

    Args:
        url: its address.
        out: the run directory, where weights pass through a folder.
        timeout_s: for one try.
        waits_s: seconds before each further try.
    """

    def __init__(
        self,
        url: str,
        policy: Policy,
        out: str | Path,
        *,
        timeout_s: float = TIMEOUT_S,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self.url, self.policy = url.rstrip("/"), policy
        self.dir = Path(out).resolve() / "vllm_weights"
        self.timeout_s, self.waits_s = timeout_s, waits_s
        self.label, self.num_loads = secrets.token_hex(4), 0
        self.is_sent = False

    @property
    def version(self) -> str:
        """The label of the weights that are to draw; also the name of their folder."""
        return f"{self.label}-{self.num_loads}"

    def load(self) -> None:
        """The first process writes the weights and has them reloaded; others write their shards, and wait for that."""
        self.label, self.num_loads = collectives.broadcast_object((self.label, self.num_loads))
        failure = ""
        try:
            self._load()
        except OSError as error:
            failure = str(error)
        failure = collectives.broadcast_object(failure)
        if failure:
            raise RolloutError(failure)
        self.is_sent = True

    def draw(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, num_samples: int, keys: Sequence[int]
    ) -> list[tuple[Sampled, ...]]:
        """See `alignment.rollouts.source.RolloutSource`; prompts that were answered are not asked again."""
        samples: dict[int, tuple[Sampled, ...]] = {}

        def draw_missing() -> None:
            missing = [index for index in range(len(prompts)) if index not in samples]
            with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
                asked = {
                    index: pool.submit(self._completions, prompts[index], sampling, keys[index], num_samples)
                    for index in missing
                }
                wait(asked.values(), return_when=FIRST_EXCEPTION)
                pool.shutdown(cancel_futures=True)
            samples.update({index: future.result() for index, future in asked.items() if _has_result(future)})
            for future in asked.values():
                future.result()

        self._with_weights_sent(draw_missing)
        return [samples[index] for index in range(len(prompts))]

    def close(self) -> None:
        """Removes the folders of weights."""
        if collectives.rank() == 0:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _load(self) -> None:
        """A new set of weights, in a folder of its own: a server that still reads the former one is not disturbed."""
        is_first = collectives.rank() == 0
        if is_first and not self.num_loads:
            shutil.rmtree(self.dir, ignore_errors=True)  # of a run that was killed
        former = self.dir / self.version
        self.num_loads += 1
        self.is_sent = False
        if is_first or has_shards(self.policy.network):
            write_merged(self.policy.network, self.dir / self.version)
        if is_first:
            self._with_weights_sent(lambda: None)
            shutil.rmtree(former, ignore_errors=True)

    def _with_weights_sent(self, work: Callable[[], T]) -> T:
        """Runs work with the weights sent, and sends them again after the server failed; returns its result.

        Raises:
            RolloutError: with how to start the server, where it does not offer what is needed.
        """

        def try_once() -> T:
            try:
                if not self.is_sent:
                    self._send()
                return work()
            except UnansweredError:
                self.is_sent = False  # it may be started anew
                raise

        about = f"vLLM server {self.url}"
        try:
            return with_retries(try_once, about=about, waits_s=self.waits_s)
        except (RolloutError, UnansweredError) as error:
            raise RolloutError(f"{about}: {error}") from error
        except RefusedError as error:
            raise RolloutError(f"{about}: {error}; start it as {START}") from error

    def _send(self) -> None:
        """Has the server reload the weights, forget what it computed with others, and take their label."""
        mode = _logprobs_mode(self._ask("/server_info?config_format=json"))
        if mode != LOGPROBS_MODE:
            raise RefusedError(f"its log-probabilities are {mode}, needed are {LOGPROBS_MODE}")
        folder = {"weights_path": str(self.dir / self.version)}
        self._ask("/collective_rpc", {"method": "reload_weights", "kwargs": folder})
        # Requests that run are another process's, with weights of before a restart, and begin again.
        reset = self._ask("/reset_prefix_cache?reset_running_requests=true", {})
        if reset.get("success") is not True:
            raise UnansweredError("it keeps what it computed with former weights")
        self._ask("/update_weight_version", {"new_version": self.version})
        self.is_sent = True

    def _completions(
        self, prompt: Sequence[int], sampling: Sampling, key: int, num_samples: int
    ) -> tuple[Sampled, ...]:
        """Asks for all completions of one prompt."""
        wanted = {"prompt": list(prompt), "return_token_ids": True, "return_weight_versions": True}
        choices = self._ask("/v1/completions", wanted | sampling_options(sampling, key, num_samples)).get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise RolloutError("the answer has no choices")
        check_count(len(choices), num_samples)
        return tuple(self._read(prompt, choice, sampling) for choice in choices)

    def _read(self, prompt: Sequence[int], choice: dict[str, Any], sampling: Sampling) -> Sampled:
        if choice.get("finish_reason") == "abort":
            raise UnansweredError("it gave a request up")
        ids, read = choice.get("token_ids"), choice.get("prompt_token_ids")
        logps = (choice.get("logprobs") or {}).get("token_logprobs")
        versions = choice.get("weight_versions")
        if not isinstance(ids, list) or not isinstance(logps, list) or not isinstance(versions, list):
            raise RefusedError("a completion without token ids, log-probabilities or weight versions")
        if read != list(prompt):
            raise RolloutError(f"a prompt of {len(prompt)} tokens was read otherwise than it was given")
        drawn_by = {str(span.get("version")) for span in versions if isinstance(span, dict)}
        if drawn_by != {self.version}:
            versions_used = ", ".join(sorted(drawn_by)) or "unnamed"
            raise UnansweredError(
                f"it drew with weights {versions_used}, not with those that it was sent, {self.version}"
            )
        return read_sample(prompt, ids, logps, choice.get("finish_reason"), sampling)

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Returns the JSON object that the server answers; sends a GET where there is no body."""
        sent = None if body is None else json.dumps(body).encode()
        answer = ask(self.url + path, sent, timeout_s=self.timeout_s)
        try:
            reply = read_json(answer) if answer else {}
        except ValueError as error:
            raise RolloutError(f"{path.partition('?')[0]}: {error}") from error
        if not isinstance(reply, dict):
            raise RolloutError(f"{path.partition('?')[0]}: the answer is no object: {head(answer)}")
        return reply


def _logprobs_mode(info: dict[str, Any]) -> str:
    config = info.get("vllm_config")
    model = config.get("model_config") if isinstance(config, dict) else None
    return str(model.get("logprobs_mode")) if isinstance(model, dict) else "unknown"


def _has_result(future: Future[tuple[Sampled, ...]]) -> bool:
    return not future.cancelled() and future.exception() is None
