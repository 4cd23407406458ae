"""A causal language model in a folder as a judge: its words, or the log-probabilities of the answers it may give.

Loaded and run as every policy is (`alignment.generation.completion_sampler`), packed where its network takes packed
rows. A chat template is used where there is one; a model without gets the default one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from alignment.config.sampling import DrawConfig
from alignment.generation.completion_sampler import load_samplers
from alignment.judges.chat import ChatAnswer, ChatRequest, complete_all, storable
from alignment.judges.spec import JudgeSpec
from rewardkit.data.records import Message
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import check_policy_folder, num_positions
from rewardkit.network.packed_rows import Branched, branch_at_common_prefix, token_budget_batches
from rewardkit.network.tokens import policy_prompts
from rewardkit.run.model_folder import model_folder

Asked = tuple[tuple[Message, ...], tuple[str, ...]]  # a conversation and the answers that it may get
AT_ONCE = 64  # conversations answered together
TOKEN_BUDGET = 16384


class LocalChat:
    """A local model; see the module.

    Raises:
        ValueError: if the folder holds no policy.
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, spec: JudgeSpec) -> None:
        self.spec = spec
        folder = str(model_folder(spec.target))
        check_policy_folder(folder)
        (self._sampler,) = load_samplers([folder])
        self._packed = can_pack_policy(self._sampler.policy)
        self._room = num_positions(self._sampler.policy.config) or 0

    def complete(
        self, conversations: Sequence[tuple[Message, ...]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[ChatAnswer]:
        """See `alignment.judges.chat.Chat`."""
        return complete_all(self, conversations, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)

    def stream(self, requests: Iterable[ChatRequest]) -> Iterator[tuple[ChatRequest, ChatAnswer]]:
        """Answers, a batch at a time; what an answer is depends on its request alone."""
        waiting = iter(requests)
        while batch := list(islice(waiting, AT_ONCE)):
            by_options: dict[tuple[int, float], list[ChatRequest]] = {}
            for request in batch:
                by_options.setdefault((request.max_new_tokens, request.temperature), []).append(request)
            for (max_new_tokens, temperature), alike in by_options.items():
                yield from self._draw(alike, max_new_tokens, temperature)

    def option_logps(self, groups: Sequence[Sequence[Asked]]) -> list[list[np.ndarray] | str]:
        """Log-probabilities (nats) of the answers that conversations may get, all of a group in one forward.

        Where rows run packed, what the conversations of a group have in common at the start is computed once.

        Returns:
            For each group the (O,) float64 of each conversation's options, or in one line why it cannot be asked.
        """
        logps: list[list[np.ndarray] | str] = []
        rows: list[tuple[Branched, list[int]]] = []
        for group in groups:
            sequences, counts = self._sequences(group)
            problem = self._too_long(max(map(len, sequences)), 0)
            logps.append(problem or [])
            if not problem:
                rows.append((branch_at_common_prefix(sequences), counts))
        sums = iter(self._option_sums(rows))
        for place, group in enumerate(groups):
            if not isinstance(logps[place], str):
                ends = np.cumsum([len(options) for _, options in group])[:-1]
                logps[place] = list(np.split(next(sums), ends))
        return logps

    def _sequences(self, group: Sequence[Asked]) -> tuple[list[tuple[int, ...]], list[int]]:
        """Token ids of each conversation with each of its options, and how many of them are the option's."""
        tokenizer = self._sampler.tokenizer
        starts = policy_prompts([conversation for conversation, _ in group], tokenizer)
        sequences, counts = [], []
        for start, (_, options) in zip(starts, group, strict=True):
            for text in options:
                ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
                sequences.append((*start, *ids))
                counts.append(len(ids))
        return sequences, counts

    def _option_sums(self, rows: Sequence[tuple[Branched, list[int]]]) -> list[np.ndarray]:
        """For each row the summed log-probabilities of the last tokens of its branches, as many as its counts say."""
        sums: list[np.ndarray] = [np.empty(0)] * len(rows)
        lengths = [row.num_tokens if self._packed else row.num_padded_free_tokens for row, _ in rows]
        for batch in token_budget_batches(lengths, token_budget=TOKEN_BUDGET):
            chosen = [rows[index] for index in batch]
            keep = [
                place >= len(branch) - count
                for row, counts in chosen
                for branch, count in zip(row.branches, counts, strict=True)
                for place in range(len(branch))
            ]
            with torch.inference_mode():
                logps = completion_logps(
                    self._sampler.policy, [row for row, _ in chosen], packed=self._packed, keep=torch.tensor(keep)
                ).sums()
            parts = logps.double().cpu().split([len(row.branches) for row, _ in chosen])
            for index, part in zip(batch, parts, strict=True):
                sums[index] = part.numpy()
        return sums

    def num_tokens(self, conversation: tuple[Message, ...]) -> int:
        """Tokens of a conversation up to where its answer begins."""
        return len(policy_prompts([conversation], self._sampler.tokenizer)[0])

    def close(self) -> None:
        """Nothing is held but memory."""

    def _draw(
        self, requests: Sequence[ChatRequest], max_new_tokens: int, temperature: float
    ) -> Iterator[tuple[ChatRequest, ChatAnswer]]:
        starts = policy_prompts([request.messages for request in requests], self._sampler.tokenizer)
        problems = [self._too_long(len(start), max_new_tokens) for start in starts]
        for request, problem in zip(requests, problems, strict=True):
            if problem:
                yield request, ChatAnswer(failure="rejected", error=problem, text=problem)
        fitting = [index for index, problem in enumerate(problems) if not problem]
        if not fitting:
            return
        config = DrawConfig(
            prompts="", max_new_tokens=max_new_tokens, temperature=temperature, token_budget=TOKEN_BUDGET
        )
        started_at = time.monotonic()
        groups = self._sampler.draw(
            [requests[index].messages for index in fitting],
            config,
            n=1,
            keys=[requests[index].seed for index in fitting],
        )
        seconds = round((time.monotonic() - started_at) / len(fitting), 4)
        for index, (completion,) in zip(fitting, groups, strict=True):
            written = len(completion.sampled.completion)
            usage = {"prompt_tokens": len(starts[index]), "completion_tokens": written, "tries": 1, "seconds": seconds}
            text, cut = storable(completion.text), not completion.sampled.finished
            if text.strip():
                yield requests[index], ChatAnswer(text=text, usage=usage, cut=cut)
            else:
                error = "it answered without a text"
                yield requests[index], ChatAnswer(failure="empty", error=error, usage=usage, cut=cut)

    def _too_long(self, num_prompt: int, num_new: int) -> str:
        if self._room and num_prompt + num_new > self._room:
            return f"{num_prompt} tokens and {num_new} of an answer are more than the {self._room} that the model takes"
        return ""
