"""A policy as a reward model: what training by preferences made likelier, it holds to be better.

    reward(x, y) = beta (log policy(y | x) - log reference(y | x)),  summed over the completion and its end token

Rafailov et al. 2023, eq. 5 without the term of the prompt, which falls out of every comparison (arXiv 2305.18290).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from rewardkit.data.records import Message
from rewardkit.data.training_data import find_run, keeps_marks
from rewardkit.distributed.collectives import default_device
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import check_policy_folder, load_policy
from rewardkit.network.packed_rows import Branched, branches_within, token_budget_batches
from rewardkit.network.tokens import policy_rows
from rewardkit.reward.reward import Reward
from rewardkit.run.model_folder import adapter_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BETA = 0.1  # where neither an option nor a run says it
MAX_LENGTH = 2048


class ImplicitReward:
    """A policy and its reference ready to score; a `RewardFn` of one member.

    Attributes:
        beta: multiplies the log-ratio, > 0; it scales rewards and changes no order.
        max_length, keeps_marks: tokens kept of a conversation, see `rewardkit.network.tokens.policy_rows`.
        about: by name, what a report says of it.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        beta: float,
        max_length: int,
        keeps_marks: bool = True,
        about: dict[str, str] | None = None,
    ) -> None:
        if not 0 < beta < float("inf"):
            raise ValueError(f"beta is {beta}, allowed is more than 0")
        self.policy, self.reference, self.tokenizer = policy, reference, tokenizer
        self.beta, self.max_length, self.about = beta, max_length, about or {}
        self.keeps_marks = keeps_marks
        self.num_cut = 0  # prompts so far that were too long with a completion
        self.packed = [can_pack_policy(model) for model in (policy, reference)]

    @classmethod
    def load(cls, path: str, *, reference: str = "", beta: float = 0.0) -> ImplicitReward:
        """Loads the policy in a folder and what it is held against.

        Args:
            reference: folder of the reference; empty takes what the policy's run says it began from.
            beta: 0 takes the run's, or 0.1 where there is none.

        Raises:
            ValueError: if the reference is not known or has other tokens.
            FileNotFoundError: if there is no such folder.
        """
        run = _run_config(path)
        reference_dir = reference or adapter_base(check_policy_folder(path)) or _reference_of(path, run)
        policy, tokenizer = load_policy(path, device=default_device())
        base, its_tokenizer = load_policy(reference_dir, device=default_device())
        if tokenizer.get_vocab() != its_tokenizer.get_vocab():
            raise ValueError(f"the policy {path} and the reference {reference_dir} have different tokens")
        factor = beta or float(run.get("beta") or BETA)
        about = {"kind": "implicit reward of a policy", "reference": reference_dir, "beta": f"{factor:g}"}
        max_length = int(run.get("max_length") or MAX_LENGTH)
        run_dir = find_run(path)
        marks = keeps_marks(run_dir) if run_dir else True
        return cls(policy, base, tokenizer, beta=factor, max_length=max_length, keeps_marks=marks, about=about)

    @torch.no_grad()
    def __call__(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], *, token_budget: int = 8192
    ) -> Reward:
        """Rewards of B completions, one prompt each; those of one prompt share its tokens."""
        groups: dict[tuple[Message, ...], list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(tuple(prompt), []).append(index)
        texts = [[completions[index] for index in group] for group in groups.values()]
        whole, num_cut = policy_rows(
            list(groups), texts, self.tokenizer, max_length=self.max_length, keeps_marks=self.keeps_marks
        )
        self.num_cut += num_cut
        rows: list[Branched] = []
        indices: list[list[int]] = []  # of the completions, by row
        for row, group in zip(whole, groups.values(), strict=True):
            for branches in branches_within(row, token_budget):
                rows.append(Branched(prompt=row.prompt, branches=row.branches[branches]))
                indices.append(group[branches])
        rewards = np.zeros(len(completions))
        for batch in token_budget_batches([row.num_tokens for row in rows], token_budget=token_budget):
            of_policy, of_reference = (
                completion_logps(model, [rows[number] for number in batch], packed=packed).sums().double().cpu()
                for model, packed in zip((self.policy, self.reference), self.packed, strict=True)
            )
            places = [index for number in batch for index in indices[number]]
            rewards[places] = self.beta * (of_policy - of_reference).numpy()
        return Reward(members=rewards[None])


def _run_config(path: str) -> dict[str, Any]:
    """The configuration of the run that a policy lies in; empty for one from elsewhere."""
    run_dir = find_run(path)
    return yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8")) if run_dir else {}


def _reference_of(path: str, run: dict[str, Any]) -> str:
    if not run:
        raise ValueError(f"{path} records no run that says what it was trained from: name it with --reference")
    began = str(run.get("model", ""))
    if "beta" not in run or not Path(began).is_dir():
        raise ValueError(f"the run of {path} began from {began!r}, which is no folder here: give --reference")
    return began
