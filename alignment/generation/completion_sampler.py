"""Policies from folders that answer prompts in text; how tokens are drawn is `alignment.generation.generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignment.config.sampling import DrawConfig
from rewardkit.data.conversations import UNSTORABLE
from rewardkit.data.records import Message
from rewardkit.network.tokens import end_ids, policy_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from alignment.generation.generate import Sampled, Sampling
    from rewardkit.network.template_check import TemplateCheck

Told = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A completion as text.

    Attributes:
        text: without its end; bytes that are no character, and characters that no file takes, are U+FFFD.
        sampled: its tokens and their log-probabilities.
    """

    text: str
    sampled: Sampled

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that a row of this completion has besides its text."""
        return {"finished": self.sampled.finished, "num_tokens": len(self.sampled.completion)}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A policy that answers prompts.

    Attributes:
        name: what its completions are called by.
        number: its place among those that answer the same prompts; each draws from chance of its own.
    """

    name: str
    number: int
    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def draw(
        self,
        prompts: Sequence[Sequence[Message]],
        config: DrawConfig,
        *,
        n: int,
        keys: Sequence[int] | None = None,
        told: Told = lambda _done, _total: None,
    ) -> list[tuple[Completion, ...]]:
        """`n` completions of each prompt; see `alignment.generation.generate.generate`."""
        return self.draw_ids(policy_prompts(prompts, self.tokenizer), config, n=n, keys=keys, told=told)

    def draw_ids(
        self,
        prompt_ids: Sequence[tuple[int, ...]],
        config: DrawConfig,
        *,
        n: int,
        keys: Sequence[int] | None = None,
        told: Told = lambda _done, _total: None,
    ) -> list[tuple[Completion, ...]]:
        """`n` completions of each row of tokens: a prompt, or one with the beginning of its answer behind it."""
        from alignment.generation.generate import Sampling, generate

        seed = int(np.random.SeedSequence((config.seed, self.number)).generate_state(1)[0])
        sampling = Sampling(
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=config.max_new_tokens,
            end_ids=end_ids(self.policy, self.tokenizer),
            stop=tuple(config.stop),
            seed=seed,
        )
        groups = generate(
            self.policy,
            prompt_ids,
            sampling,
            num_samples=n,
            token_budget=config.token_budget,
            keys=keys,
            tokenizer=self.tokenizer,
            told=told,
        )
        return [
            tuple(Completion(text=text_of(one, sampling, self.tokenizer), sampled=one) for one in group)
            for group in groups
        ]

    def logps(self, sampled: Sequence[Sampled], *, temperature: float, token_budget: int = 8192) -> list[np.ndarray]:
        """Returns this policy's log-probabilities, nats, of tokens that another policy drew, one array a completion."""
        import torch

        from rewardkit.network.logps import can_pack_policy, completion_logps
        from rewardkit.network.packed_rows import Branched, token_budget_batches

        packed = can_pack_policy(self.policy)
        rows = [Branched(prompt=one.prompt, branches=(one.completion,)) for one in sampled]
        token_logps: dict[int, np.ndarray] = {}
        for batch in token_budget_batches([row.num_tokens for row in rows], token_budget=token_budget):
            with torch.no_grad():
                logps = completion_logps(
                    self.policy, [rows[index] for index in batch], temperature=temperature, packed=packed
                ).token_logps
            parts = logps.double().cpu().split([len(rows[index].branches[0]) for index in batch])
            token_logps |= {index: part.numpy() for index, part in zip(batch, parts, strict=True)}
        return [token_logps[index] for index in range(len(rows))]


def text_of(sampled: Sampled, sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> str:
    """Decodes a completion, cut at its end token or stop text, as `Completion.text` holds it."""
    ids = sampled.completion
    text = str(tokenizer.decode(list(ids[:-1] if ids[-1] in sampling.end_ids else ids)))
    ends = [start for stop in sampling.stop if (start := text.find(stop)) >= 0]
    return UNSTORABLE.sub("\ufffd", text[: min(ends)] if ends else text)


def load_samplers(paths: Sequence[str]) -> list[Sampler]:
    """Loads the policies in folders, on a GPU in bf16 if there is one, else on the CPU in fp32."""
    import torch

    from rewardkit.network.models import load_policy

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    samplers = []
    for number, (name, path) in enumerate(zip(policy_names(paths), paths, strict=True)):
        policy, tokenizer = load_policy(path, dtype=dtype, device=device)
        samplers.append(Sampler(name=name, number=number, policy=policy, tokenizer=tokenizer))
    return samplers


def template_check(paths: Sequence[str]) -> TemplateCheck:
    """Asks whether the chat templates of policies take a prompt."""
    from rewardkit.network.template_check import TemplateCheck

    return TemplateCheck(paths, writes=True)


def policy_names(paths: Sequence[str]) -> list[str]:
    """Returns the last part of each path, with as many parts before it as make the names differ."""
    parts = [Path(path).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path_parts[-length:]) for path_parts in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)
