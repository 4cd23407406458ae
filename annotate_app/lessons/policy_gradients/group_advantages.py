"""GRPO's advantages: a group is its own baseline, and its own unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate_app.lessons.lesson import Choice, Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

if TYPE_CHECKING:
    from alignment.config.policy_gradient_names import ScaleName

GROUP = (0.3, 0.6, 0.8, 0.9)
SCALES: dict[str, ScaleName] = {"group's std (GRPO)": "group", "none (Dr. GRPO)": "none"}


def advantages_of(*groups: tuple[float, ...], scale: ScaleName = "group") -> list[list[float]]:
    """The advantages of groups of completions."""
    import torch

    from alignment.losses.advantages import group_advantages

    return group_advantages(torch.tensor(groups, dtype=torch.float64), baseline="group", scale=scale).tolist()


def spread(group: tuple[float, ...]) -> float:
    """The standard deviation that the advantages are divided by, recovered from them; holds their epsilon of 1e-4."""
    plain, scaled = (advantages_of(group, scale=scale)[0][0] for scale in ("none", "group"))
    return plain / scaled


def move(values: Values) -> Picture:
    """The advantages of four completions while the reward of the last one moves."""
    scale = list(SCALES.values())[int(values["scale"])]
    group = (*GROUP[:3], values["last"])
    (advantages,) = advantages_of(group, scale=scale)
    figures = [
        {"completion": str(place + 1), "reward": reward, "advantage": advantage}
        for place, (reward, advantage) in enumerate(zip(group, advantages, strict=True))
    ]
    places = [place / 40 for place in range(41)]
    lines = advantages_of(*((*GROUP[:3], place) for place in places), scale=scale)
    rows = [
        {"at": place, "value": line[number], "series": f"completion {number + 1}"}
        for number in range(4)
        for place, line in zip(places, lines, strict=True)
    ]
    marks = [{"at": values["last"], "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="advantage", across="reward of the fourth completion", marks=marks),
        words=f"GRPO divides by {spread(group):.4f}, the group's standard deviation with ddof 1 and 1e-4 added. One "
        "completion that gets better makes the others worse.",
    )


def stds() -> Finding:
    """The standard deviation of the four rewards in both ways, and what our advantages divide by."""
    import torch

    rewards = torch.tensor(GROUP, dtype=torch.float64)
    of_group, of_sample = float(rewards.std(correction=0)), float(rewards.std(correction=1))
    return Finding(
        figures=[
            {"std of 0.3, 0.6, 0.8, 0.9": "ddof 0, mean of squares", "value": of_group},
            {"std of 0.3, 0.6, 0.8, 0.9": "ddof 1, TRL's and ours", "value": of_sample},
            {"std of 0.3, 0.6, 0.8, 0.9": "divided by, with 1e-4 added", "value": spread(GROUP)},
        ],
        is_wrong=min(abs(of_group - 0.2217), abs(of_sample - 0.2217)) > 5e-3,
    )


def all_right() -> Finding:
    """The best and the worst group there are, and a mixed one."""
    groups = {"all right": (1.0,) * 4, "all wrong": (0.0,) * 4, "one right": (1.0, 0.0, 0.0, 0.0)}
    advantages = advantages_of(*groups.values())
    return Finding(
        figures=[
            {"group": name, "first": line[0], "last": line[-1]} for name, line in zip(groups, advantages, strict=True)
        ],
        is_wrong=not any(advantages[0]) and any(advantages[2]),
    )


def unit_is_lost() -> Finding:
    """A group that differs by a hundredth, and one that differs by all there is."""
    groups = {"0.50, 0.50, 0.50, 0.51": (0.5, 0.5, 0.5, 0.51), "0, 0, 0, 1": (0.0, 0.0, 0.0, 1.0)}
    scaled, plain = (advantages_of(*groups.values(), scale=scale) for scale in ("group", "none"))
    return Finding(
        figures=[
            {"group": name, "last, by GRPO": scaled[place][-1], "last, by Dr. GRPO": plain[place][-1]}
            for place, name in enumerate(groups)
        ],
        is_wrong=abs(scaled[0][-1] / scaled[1][-1] - 1) < 0.05,
    )


GROUP_ADVANTAGES = Lesson(
    key="group-advantages",
    title="GRPO: a group is its own baseline",
    text="""GRPO has no value head. It draws several completions of the same prompt and compares them with one another:

    advantage = (reward - mean of the group) / (std of the group + 1e-4)

Four completions have rewards of 0.3, 0.6, 0.8 and 0.9; you move the last one. Papers write "std" and do not say which:
the mean of squares (ddof 0) gives 0.2291, the estimate that TRL and Tiebreak divide by (ddof 1) gives 0.2646. Dr. GRPO
does not divide at all.""",
    sliders=(
        Slider(name="last", label="Reward of the fourth completion", low=0, high=1, step=0.05, default=0.9),
        Choice(name="scale", label="Divided by", options=tuple(SCALES)),
    ),
    move=move,
    question=Question(
        text="One of four completions is right: rewards 1, 0, 0, 0. What is its advantage, divided by the group's "
        "std with "
        "ddof 1? (Two decimals.)",
        answer=lambda: advantages_of((1.0, 0.0, 0.0, 0.0))[0][0],
        tolerance=0.006,
        why="The mean is 0.25 and the std 0.5, so 0.75 / 0.5 = 1.5. With ddof 0 it would be 1.73.",
    ),
    mistakes=(
        Mistake(
            claim="The std of the rewards 0.3, 0.6, 0.8, 0.9 is 0.2217.",
            run=stds,
            instead="Neither way of counting gives that: it is 0.2291 with ddof 0 and 0.2646 with ddof 1.",
        ),
        Mistake(
            claim="A prompt that is always answered right teaches the policy most.",
            run=all_right,
            instead="Where all rewards are equal every advantage is 0: the group is drawn, paid for, and teaches "
            "nothing.",
        ),
        Mistake(
            claim="A larger difference of rewards makes a larger step.",
            run=unit_is_lost,
            instead="Not where the std divides: a difference of 0.01 counts as much as one of 1. Dr. GRPO keeps "
            "the unit.",
        ),
    ),
    papers=(
        Paper(title="Shao et al. 2024, DeepSeekMath: GRPO (section 4.1.2)", link="https://arxiv.org/abs/2402.03300"),
        Paper(
            title="Liu et al. 2025, Understanding R1-Zero-like training (Dr. GRPO)",
            link="https://arxiv.org/abs/2503.20783",
        ),
    ),
    needs_torch=True,
)
