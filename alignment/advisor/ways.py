"""The ways of aligning a policy that are held side by side, and the work that each takes, stage by stage.

All begin with supervised fine-tuning on the chosen answers, unless the model is tuned already; those that draw begin
with a reward model trained on the pairs (its adapters), unless there is one or a program checks answers. Every row is
seen as often as the commands do by default: pairs once, prompts once, PPO's samples `PpoConfig.passes` times.
Prompts are computed once for all their completions, and the head only where completions are (as in our trainings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignment.advisor.work import Draws, Network, Pass, Passes
from alignment.config.advisor import AdvisorConfig
from alignment.config.online import GrpoConfig, OnlineDpoConfig, PpoConfig
from alignment.config.plan import Method

WayName = Literal["sft+dpo", "online-dpo", "grpo", "ppo", "best-of-n"]
WAYS: tuple[WayName, ...] = ("sft+dpo", "online-dpo", "grpo", "ppo", "best-of-n")
TITLES: dict[WayName, str] = {
    "sft+dpo": "SFT + DPO",
    "online-dpo": "Online DPO",
    "grpo": "GRPO",
    "ppo": "PPO",
    "best-of-n": "Best of n",
}
TRAINED_BY: dict[WayName, Method] = {"sft+dpo": "dpo", "online-dpo": "online-dpo", "grpo": "grpo", "ppo": "ppo"}
"""The training whose memory decides; the stages before it take less. Best-of-n trains no policy."""
PASSES: dict[WayName, int] = {
    "online-dpo": OnlineDpoConfig.passes,
    "grpo": GrpoConfig.passes,
    "ppo": PpoConfig.passes,
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a way that is begun when the one before is done.

    Attributes:
        name: for people.
        work: passes and draws.
    """

    name: str
    work: tuple[Passes | Draws, ...]


def draws_with_model(way: WayName, config: AdvisorConfig) -> bool:
    """Whether a reward model judges what is drawn."""
    return way != "sft+dpo" and not config.verifiable


def group_size(way: WayName, config: AdvisorConfig) -> int:
    """Completions that are drawn of a prompt; 0 where none are."""
    match way:
        case "sft+dpo":
            return 0
        case "best-of-n":
            return config.n
        case "online-dpo" | "grpo" | "ppo":
            return config.completions_per_prompt or (1 if way == "ppo" else OnlineDpoConfig.completions_per_prompt)


def stages(
    way: WayName, config: AdvisorConfig, policy: Network, reward: Network, *, lora: bool, recomputes: bool
) -> tuple[Stage, ...]:
    """What a way computes, in order.

    Args:
        policy, reward: the networks; a reward model's head is one row, and counts nothing.
        lora: whether the policy's adapters are trained in place of its weights.
        recomputes: whether backward computes activations again.
    """
    kind: Pass = "train_adapters" if lora else "train"
    prompt, answer, pairs = config.prompt_tokens, config.completion_tokens, config.pairs

    def rows(network: Network, kind: Pass, number: float, branches: int, tokens: int, *, times: int = 1) -> Passes:
        return Passes(
            network=network,
            kind=kind,
            tokens=times * number * (prompt + branches * tokens),
            head_tokens=times * number * branches * tokens,
            length=prompt + tokens,
            recomputes=recomputes,
        )

    parts: list[Stage] = []
    if not config.tuned:
        parts.append(Stage(name="SFT on the chosen answers", work=(rows(policy, kind, pairs, 1, answer),)))
    if way == "sft+dpo":
        work = (rows(policy, "forward", pairs, 2, answer), rows(policy, kind, pairs, 2, answer))
        return (*parts, Stage(name="DPO, the reference computed once", work=work))
    judged = draws_with_model(way, config)
    if judged and not config.reward_model:
        work = (rows(reward, "train_adapters", pairs, 2, answer),)
        parts.append(Stage(name="reward model on the pairs, adapters", work=work))
    size, new, prompts = group_size(way, config), config.drawn_tokens, config.num_prompts
    drawn = Draws(network=policy, prompts=prompts, group=size, prompt_tokens=prompt, new_tokens=new)
    parts.append(Stage(name=f"drawing {size} of each prompt", work=(drawn,)))
    if judged:
        parts.append(Stage(name="their rewards", work=(rows(reward, "forward", prompts, size, new),)))
    if way == "best-of-n":
        return tuple(parts)
    learned = 2 if way == "online-dpo" else size  # the best and the worst of a group
    own = [rows(policy, "forward", prompts, learned, new)]  # of the reference
    if way == "ppo":
        own.append(
            rows(policy, "forward", prompts, learned, new)
        )  # values, and log-probabilities before the first pass
    own.append(rows(policy, kind, prompts, learned, new, times=PASSES[way]))
    return (*parts, Stage(name="reference and learning", work=tuple(own)))
