"""All worlds of the experiment, one after another, part by part; a part that is done is not done again.

loop-lab.json    all figures
report.html      the same for people, with charts
seed-0/          the parts; see `alignment.loop_lab.seed_turns`
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from alignment.config.lab import LoopLabConfig
from alignment.loop_lab.arms import ARMS
from alignment.loop_lab.loop_report import report_page
from alignment.loop_lab.seed_turns import SeedLab
from alignment.loop_lab.turn_figures import Base, TurnRow, contrasts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.run.directory import write_text
from rewardkit.run.training_command import Interruption


@dataclass(frozen=True, kw_only=True)
class LoopResults:
    """What the experiment found."""

    bases: list[Base]
    rows: list[TurnRow]

    def __len__(self) -> int:
        return len(self.rows)


def loop_lab(config: LoopLabConfig, interruption: Interruption, told: Callable[[str], None]) -> LoopResults:
    """Runs all arms in all worlds, arm by arm of a world; after each world the files say what is known so far.

    Args:
        told: given a line for people.

    Raises:
        KeyboardInterrupt: if it is stopped; it can be continued.
    """
    labs = {seed: SeedLab(config, seed, Path(config.out) / f"seed-{seed}", interruption) for seed in config.numbers}
    parts = [(seed, arm, turn) for seed in labs for arm in ARMS for turn in arm.turns(config)]
    left = sum(not labs[seed].is_done(arm, turn) for seed, arm, turn in parts)
    results, done, start = LoopResults(bases=[], rows=[]), 0, time.monotonic()
    for seed, lab in labs.items():
        told(f"world {seed - config.first_seed + 1} of {config.seeds}: its SFT policy")
        results.bases.append(lab.begin())
        for arm in ARMS:
            for turn in arm.turns(config):
                is_new = not lab.is_done(arm, turn)
                row = lab.take_turn(arm, turn)
                results.rows.append(row)
                if is_new:
                    done += 1
                    minutes = (time.monotonic() - start) / done * (left - done) / 60
                    told(
                        f"world {seed - config.first_seed + 1} of {config.seeds}: {arm.title}, turn {turn}: gold "
                        f"{row.gain:+.2f} above SFT; {done} of {left} parts, about {minutes:.0f} minutes left"
                    )
        write_results(config, results)
        labs[seed] = SeedLab(config, seed, lab.folder, interruption)  # lets the world's texts and models go
    return results


def write_results(config: LoopLabConfig, results: LoopResults) -> None:
    """Writes loop-lab.json and report.html."""
    values = {
        "bases": [finite(asdict(base)) for base in results.bases],
        "turns": [finite(asdict(row)) for row in results.rows],
        "contrasts": [finite(asdict(contrast)) for contrast in contrasts(results.rows)],
    }
    out_dir = Path(config.out)
    write_text(out_dir / "loop-lab.json", json.dumps(values, indent=1))
    write_text(out_dir / "report.html", report_page(config, results.bases, results.rows))
