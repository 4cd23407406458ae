"""The configuration of the commands that draw completions and judge policies; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass, field

from alignment.config.training import OnBadRow, check_least


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How completions are drawn.

    Attributes:
        prompts: rows with a prompt, alone or in any form that holds one: a file, a saved `datasets` folder or a hub id.
        max_prompts: take only the first so many different prompts; 0 takes all.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: draw from the smallest set of tokens that has this probability.
        max_new_tokens: a completion that has not ended by then is cut.
        stop: text that ends a completion and is left out of it, besides the end of the turn; may be given repeatedly.
        token_budget: tokens of a batch, prompts and new ones.
        on_bad_row: stop at a row without a prompt, or leave it out and say so.
        seed: of the samples.
    """

    prompts: str
    max_prompts: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    stop: list[str] = field(default_factory=list, metadata={"repeated": True})
    token_budget: int = 16384
    on_bad_row: OnBadRow = "error"
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, max_prompts=0, temperature=0, max_new_tokens=1, token_budget=1, seed=0)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, allowed is above 0 and up to 1")
        if not all(self.stop):
            raise ValueError("a stop text is empty")


@dataclass(frozen=True, kw_only=True)
class SampleConfig(DrawConfig):
    """Completions of prompts by one or more policies.

    Attributes:
        model: folder of a policy, or a hub id; given repeatedly, each prompt is answered by all of them.
        out: file to write: of one policy and one completion a prompt, rows of prompt and completion; else rows of
            prompt and responses with their models, which `annotate-app import` takes as a blind round. Its name says
            the format.
        n: completions per prompt and policy.
        resume: continue an unfinished run into the same output.
        window: prompts answered and saved at a time.
        json: print the summary as JSON.
    """

    model: list[str] = field(metadata={"repeated": True})
    out: str
    n: int = 1
    resume: bool = False
    window: int = 256
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, n=1, window=1)
        if not self.model:
            raise ValueError("model is missing: name one policy or more")
        if len(set(self.model)) < len(self.model):
            raise ValueError("a model is given twice; for several completions of one give n")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n is {self.n} at temperature 0, where all completions of a prompt are the same")


@dataclass(frozen=True, kw_only=True)
class EvaluatePolicyConfig(DrawConfig):
    """A trained policy beside the one it was trained from, on held-out prompts.

    Attributes:
        model: folder of the trained policy, or a hub id.
        base: folder of the policy it is held against, also the reference of the KL.
        out: the run directory: evaluation.json, report.html and completions.jsonl.
        reward: folder of a reward model; without it there is no reward and no win rate.
        n: completions per prompt and policy.
        json: print the figures as JSON instead of the table.
    """

    model: str
    base: str
    out: str
    reward: str = ""
    n: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, n=1)
