"""The configuration of drawing completions, judging policies, and choosing the best of several. Nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from alignment.config.rewards import RewardOptions, read_reward_model, read_rewards
from alignment.config.training import OnBadRow, check_least


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How completions are drawn.

    Attributes:
        prompts: rows with a prompt, alone or in any form that holds one: a file, a saved `datasets` folder or a hub id.
        max_prompts: number of different prompts to take, the first ones; 0 takes all.
        temperature: divisor of the logits; 0 takes the likeliest token.
        top_p: probability of the smallest set of tokens that is drawn from.
        max_new_tokens: largest number of tokens of a completion; one that has not ended by then is cut.
        stop: text that ends a completion and is left out of it, besides the end of the turn; may be given repeatedly.
        token_budget: tokens of a batch, prompts and new ones.
        on_bad_row: what a row without a prompt does: stop the command, or be left out and named.
        seed: number that decides the samples.
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
        n: number of completions per prompt and policy.
        resume: whether an unfinished run into the same output is continued.
        window: number of prompts answered and saved at a time.
        json: whether the summary is printed as JSON.
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
class LabelStepsConfig(DrawConfig, RewardOptions):
    """Monte-Carlo labels of the steps of answers, from a policy and a reward that says which answers are right.

    Attributes:
        model: folder of the policy that draws answers and finishes what they began, or a hub id.
        out: file to write, rows of prompt, completions (the steps) and labels as `rewardkit train` and TRL's
            PRMTrainer read them; its name says the format.
        n: number of answers drawn of each prompt; a row whose column `completions` lists steps has its own instead, and
            so has each of several such rows of a prompt.
        num_rollouts: number of rollouts behind the label of a step, N; those that already pass through it count.
        labels: what a label is: soft, the share of rollouts that end right, or hard, whether one of them does.
        right_from: least reward of an answer that is right.
        resume: whether an unfinished run into the same output is continued.
        window: number of prompts labelled and saved at a time.
        json: whether the summary is printed as JSON.
    """

    model: str
    out: str
    n: int = 1
    num_rollouts: int = 8
    labels: Literal["soft", "hard"] = "soft"
    right_from: float = 0.5
    resume: bool = False
    window: int = 32
    json: bool = False

    def __post_init__(self) -> None:
        DrawConfig.__post_init__(self)
        RewardOptions.__post_init__(self)
        check_least(self, n=1, num_rollouts=1, window=1)
        if not self.reward:
            raise ValueError("reward is missing: name what says which answers are right, a verifier such as numeric")
        if self.temperature == 0:
            raise ValueError("temperature is 0, where all rollouts of a step are the same")


@dataclass(frozen=True, kw_only=True)
class EvaluatePolicyConfig(DrawConfig):
    """A trained policy beside the one it was trained from, on held-out prompts.

    Attributes:
        model: folder of the trained policy, or a hub id.
        base: folder of the policy it is held against, also the reference of the KL.
        out: the run directory: evaluation.json, report.html and completions.jsonl.
        reward: folder of a reward model, or FOLDER#CRITERION=WEIGHT,... with weights of its criteria; without it
            there is no reward and no win rate.
        n: number of completions per prompt and policy.
        suite: what training may have cost elsewhere, NAME=FILE, given repeatedly: text, gsm8k, svamp, ifeval, benign,
            red_team; the last two have sets of their own without a file.
        json: whether figures are printed as JSON instead of the table.
    """

    model: str
    base: str
    out: str
    reward: str = ""
    n: int = 1
    suite: list[str] = field(default_factory=list, metadata={"repeated": True})
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, n=1)
        if self.reward:
            read_reward_model(self.reward)
        read_suite(self.suite)


SUITE = {
    "text": "held-out text, nats a token",
    "gsm8k": "GSM8K, right",
    "svamp": "SVAMP, right",
    "ifeval": "IFEval, instructions followed",
    "benign": "benign prompts, declined",
    "red_team": "red-team prompts, not declined",
}
"""Parts of a suite, and what their figures are."""
SUITE_WITHOUT_FILE = ("benign", "red_team")


def read_suite(parts: Sequence[str]) -> list[tuple[str, str]]:
    """Reads `gsm8k=FILE` and `benign`; the name and the file of each, which is empty where our own set is meant.

    Raises:
        ValueError: for a name that is none, one given twice, or one without its file.
    """
    named = [(name, path) for name, _, path in (part.partition("=") for part in parts)]
    for name, path in named:
        if name not in SUITE:
            raise ValueError(f"suite names {name!r}, allowed are {', '.join(SUITE)}")
        if not path and name not in SUITE_WITHOUT_FILE:
            raise ValueError(f"suite {name} needs a file: {name}=FILE")
    if len({name for name, _ in named}) < len(named):
        raise ValueError("suite names a part twice")
    return named


@dataclass(frozen=True, kw_only=True)
class BonConfig(DrawConfig, RewardOptions):
    """Completions of a policy, chosen by a reward, as rows to train on.

    Attributes:
        model: folder of a policy, or a hub id. Without it a simulated world is made beside the output: a tiny policy,
            fine-tuned there, its prompts and rewards.
        out: file to write; its name says the format.
        n: number of completions drawn of each prompt; of beginnings held at a time, where search is beam.
        search: how completions are drawn: best_of_n, each from its start to its end; or beam, step by step, where the
            best beginnings by the reward are kept and written on (steps_by line, blank_line or a text parts them).
        beam_width: number of next steps drawn of each beginning that is kept, of which there are n / beam_width.
        keep: what becomes rows: of each prompt the best completion, all that reach the threshold (rejection sampling),
            or the best of those whose final number most give (majority) or that has the largest sum of rewards
            (weighted_majority), as sft reads them; or pairs of the best and the worst, as dpo reads them.
        threshold: least reward or quantile of a completion, where keep is above.
        threshold_of: whether the threshold is a reward, or a quantile, 0 to 1, of the rewards of the same prompt.
        soft_labels: whether pairs get a p_chosen, the mean over the reward's members of sigma(difference), at least
            0.5; rewards count as log-odds then.
        audit_reward: a reward by which nothing is chosen, in the same forms as reward; given repeatedly, they are
            added.
        resume: whether an unfinished run into the same output is continued.
        window: number of prompts answered, rewarded and saved at a time.
        json: whether the summary is printed as JSON.
    """

    prompts: str = ""
    model: str = ""
    out: str
    n: int = 16
    search: Literal["best_of_n", "beam"] = "best_of_n"
    beam_width: int = 4
    keep: Literal["best", "above", "majority", "weighted_majority", "pairs"] = "best"
    threshold: float | None = None
    threshold_of: Literal["reward", "quantile"] = "reward"
    soft_labels: bool = False
    audit_reward: list[str] = field(default_factory=list, metadata={"repeated": True})
    resume: bool = False
    window: int = 64
    json: bool = False

    def __post_init__(self) -> None:
        DrawConfig.__post_init__(self)
        RewardOptions.__post_init__(self)
        check_least(self, n=2, window=1, beam_width=1)
        if self.search == "beam" and self.n % self.beam_width:
            raise ValueError(f"beam_width is {self.beam_width}, allowed is what divides n, {self.n}")
        if self.search == "beam" and self.steps_by == "sentence":
            raise ValueError("steps_by is sentence: while one is drawn no text ends it, allowed are the others")
        if bool(self.model) != bool(self.prompts):
            raise ValueError("give model and prompts together, or neither for a simulated world")
        if self.model and not self.reward:
            raise ValueError("reward is missing: name a reward model, a function, a verifier or a server")
        if self.temperature == 0:
            raise ValueError("temperature is 0, where all completions of a prompt are the same")
        if (self.keep == "above") != (self.threshold is not None):
            raise ValueError(f"keep is {self.keep} and threshold {self.threshold}: a threshold goes with keep above")
        if self.threshold_of == "quantile" and not 0 <= (self.threshold or 0.0) <= 1:
            raise ValueError(f"threshold is {self.threshold}, a quantile is 0 to 1")
        if self.threshold_of == "quantile" and self.keep != "above":
            raise ValueError("threshold_of quantile goes with keep above")
        if self.soft_labels and self.keep != "pairs":
            raise ValueError("soft_labels are for keep pairs")
        if self.step_reward == "steps":
            raise ValueError("step_reward is steps: completions are chosen as wholes, allowed is any other")
        if self.audit_reward:
            read_rewards(self.audit_reward)
