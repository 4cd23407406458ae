"""Two golds traded off: the front's area, what is averaged, and tables on made-up figures."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM

from alignment.config.lab import CompareConfig
from alignment.lab.objectives import Point, Way, interpolate
from alignment.lab.objectives_report import area_shares, front_area, report_page, screen_lines, summary
from alignment.simulated_world import helpfulness_rewards, safety_rewards
from rewardkit.simulation.support_desk_world import World
from rewardkit.stats.metrics import Interval


def point(way: Way, setting: float, helpfulness: float, safety: float, **more: float) -> Point:
    pair = [Interval(value=value, low=value - 0.1, high=value + 0.1) for value in (helpfulness, safety)]
    return Point(seed=0, way=way, setting=setting, helpfulness=pair[0], safety=pair[1], kl=1.0, **more)


def test_the_area_of_a_front_by_hand() -> None:
    """(1, 3) and (2, 1) above (0, 0): 1 x 3 and, right of it, 1 x 1. (0.5, 2) is dominated, (3, -1) outside."""
    points = [(1.0, 3.0), (2.0, 1.0), (0.5, 2.0), (3.0, -1.0)]
    assert front_area(points, (0.0, 0.0)) == 4.0
    assert front_area(points, (0.0, 1.0)) == 2.0
    assert front_area(points, (9.0, 0.0)) == 0.0
    assert front_area([], (0.0, 0.0)) == 0.0


def test_each_way_is_held_against_the_same_box() -> None:
    """Box 0 to 2 and 0 to 2. Ends (2, 0) and (0, 2) dominate nothing; (1, 1) a quarter; (1.5, 1.5) nine sixteenths."""
    points = [
        point("sft", float("nan"), 0.5, 0.5),
        *(point("weighted sum", weight, 2 * weight, 2 - 2 * weight) for weight in (0.0, 0.5, 1.0)),
        point("constraint", -0.4, 1.5, 1.5),
        point("soup", 0.5, 0.0, 1.0),
    ]
    shares = {way: by_seed[0] for way, by_seed in area_shares(points).items()}
    assert shares == {"weighted sum": 0.25, "constraint": 0.5625, "soup": 0.0}
    text = "\n".join(screen_lines(points))
    assert "0.562" in text
    assert "+1.50 (+1.40 to +1.60)" in text
    assert report_page(points).count("<circle") > 6


def test_starts_of_the_multiplier_are_policies_of_their_own() -> None:
    points = [
        point("constraint", -0.4, helpfulness, 0.0, start=start, multiplier=1.5)
        for helpfulness, start in ((0.3, 1.0), (0.9, 0.1))
    ]
    found = [line[:3] for line in summary(points)]
    assert found == [["constraint", "-0.4 from 1", "+0.30"], ["constraint", "-0.4 from 0.1", "+0.90"]]
    assert "constraint -0.4 from 0.1" in "\n".join(screen_lines(points))


def test_interpolated_weights_lie_between(policy_folders: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = policy_folders
    interpolate(one, other, 0.25, tmp_path / "soup")
    first, second, soup = (
        torch.cat([p.flatten() for p in AutoModelForCausalLM.from_pretrained(folder).parameters()])
        for folder in (one, other, tmp_path / "soup")
    )
    torch.testing.assert_close(soup, 0.25 * first + 0.75 * second)
    assert (first - second).abs().max() > 0.1
    assert (tmp_path / "soup" / "tokenizer.json").exists()


def test_the_two_golds_by_hand() -> None:
    prompt = next(iter(World(seed=0, num_prompts=1).prompts())).prompt[-1].content
    replies = [
        "The 1 euros are safe in any case. The 2 euros are safe in any case.",
        "That is not our problem.",
        "Sorry that this went wrong. Quality is very close to our hearts.",
    ]
    assert helpfulness_rewards([prompt] * 3, replies) == [1.0, 0.0, 0.25]
    assert safety_rewards([prompt] * 3, replies) == [-1.0, -1.0, 0.0]


def test_options_of_the_two_golds() -> None:
    assert CompareConfig(out="o", objectives=True, weights=[0.9, 0.1]).weight_shares == [0.1, 0.9]
    assert CompareConfig(out="o", objectives=True).safety_floors == (-0.6, -0.4, -0.2)
    with pytest.raises(ValueError, match="give objectives too"):
        CompareConfig(out="o", floors=[-0.3])
    assert CompareConfig(out="o", objectives=True).starts == (1.0,)
    assert CompareConfig(out="o", objectives=True, multiplier_starts=[0.1, 1.0]).starts == [1.0, 0.1]
    with pytest.raises(ValueError, match=r"multiplier_start is 0.0, allowed is multiplier_min, 0.02"):
        CompareConfig(out="o", objectives=True, multiplier_starts=[0.0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        CompareConfig(out="o", objectives=True, weights=[1.0])
