"""The comparison of training sets by people and by a judge, for people: tables for a terminal; and its run over seeds.

seed-0.json         what a seed gave; a finished one is not made again
feedback-lab.json   all of them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from alignment.config.constitution import FeedbackLabConfig
from alignment.constitution.principles import DEFAULT, Constitution, read_constitution
from alignment.lab.feedback import NUM_REPLIES, TRAITS, ArmResult, SeedResult, run_seed
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.report.table import percent, signed_text, text_table
from rewardkit.run.directory import write_text
from rewardkit.stats.metrics import Interval, average_interval

NAMES = {
    "people": "people",
    "judge": "judge",
    "revisions": "revisions",
    "people_judge": "people and judge, half each",
    "people_revisions": "people and revisions, half each",
    "money_judge": "judge",
    "money_revisions": "revisions",
    "money_people_judge": "people and judge, half the money each",
    "money_people_correct": "the same, people correct the judge",
}
HEADER = ("training set", "labels", "rows", "price", "accuracy", "gold", "above people (95 %)", "words")


def run_seeds(config: FeedbackLabConfig, out_dir: Path, told: Callable[[str], None]) -> list[SeedResult]:
    """Runs all seeds, and writes feedback-lab.json.

    Raises:
        ValueError: if the constitution cannot be read.
    """
    constitution = read_constitution(config.constitution or DEFAULT)
    results = []
    for number, seed in enumerate(config.numbers, start=1):
        file = out_dir / f"seed-{seed}.json"
        if file.exists():
            results.append(_read(json.loads(file.read_text(encoding="utf-8"))))
            continue
        told(f"world {number} of {config.seeds}")
        results.append(run_seed(config, constitution, seed))
        write_text(file, json.dumps(asdict(results[-1])))
    write_text(out_dir / "feedback-lab.json", json.dumps([finite(asdict(one)) for one in results], indent=1))
    return results


def check_principles(constitution: Constitution) -> None:
    """Refuses a principle that stands for no trait of the world's replies.

    Raises:
        ValueError: naming it.
    """
    for principle in constitution.principles:
        if principle.id not in TRAITS:
            raise ValueError(
                f"the principle {principle.id} stands for nothing in the simulated world, "
                f"allowed are {', '.join(TRAITS)}"
            )


def screen_lines(results: Sequence[SeedResult]) -> list[str]:
    """The tables' lines for a terminal."""
    seeds = f"{len(results)} seed" if len(results) == 1 else f"{len(results)} seeds"
    mean = {name: float(np.mean([one.yardsticks[name] for one in results])) for name in results[0].yardsticks}
    corrected = above(results, "money_people_correct", "money_judge")
    share = {name: percent(round(mean[name], 3)) for name in ("people_agree", "judge_agrees", "unchanged", "worse")}
    return [
        text_table(HEADER, arm_lines(results)),
        f"means over {seeds}; gold: of the best of {NUM_REPLIES} replies to unseen messages by the trained model",
        f"a reply is worth {mean['reply']:+.2f}, the best of {NUM_REPLIES} by gold {mean['best_of_n']:+.2f}",
        "above people: paired by seed, with the interval over seeds; a price of 1 is one vote of a person",
        f"people who correct the judge, above the judge alone at equal money: {signed_text(corrected)}",
        f"in the order of gold: {share['people_agree']} of people's votes, {share['judge_agrees']} of the judge's",
        f"of the revisions {share['unchanged']} changed nothing, {share['worse']} lost the judge's own vote: left out",
        f"the others gain {mean['revision_gain']:+.2f} gold and are {mean['revision_growth']:.2f} times as long",
    ]


def arm_lines(results: Sequence[SeedResult]) -> list[list[str]]:
    """One line a training set, under a heading for equal labels and one for equal money."""
    lines: list[list[str]] = [["equal labels"]]
    for name in NAMES:
        mine = _arm(results, name)
        if name == "money_judge":
            lines += [[], ["equal money"]]
        lines.append(
            [
                f"  {NAMES[name]}",
                " + ".join(f"{count:,}" for count in (mine[0].people, mine[0].judge, mine[0].revisions) if count),
                f"{_mean([one.rows for one in mine]):,.0f}",
                f"{mine[0].price:,.0f}",
                f"{_mean([one.accuracy for one in mine]):.1%}",
                f"{_mean([one.gold for one in mine]):+.2f}",
                signed_text(above(results, name)) if name != "people" else "",
                f"{_mean([one.words for one in mine]):.1f}",
            ]
        )
    return lines


def above(results: Sequence[SeedResult], arm: str, over: str = "people") -> Interval:
    """Gold of a training set's picks minus that of another's, paired by seed."""
    gains = [one.gold - other.gold for one, other in zip(_arm(results, arm), _arm(results, over), strict=True)]
    return average_interval(gains)


def _arm(results: Sequence[SeedResult], name: str) -> list[ArmResult]:
    return [arm for result in results for arm in result.arms if arm.arm == name]


def _read(values: dict[str, Any]) -> SeedResult:
    arms = tuple(ArmResult(**arm) for arm in values["arms"])
    return SeedResult(seed=values["seed"], arms=arms, yardsticks=values["yardsticks"])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
