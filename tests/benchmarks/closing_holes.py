"""Does a reward model that learns from the pairs of its audit stop paying for what people do not pay for?

    python tests/benchmarks/closing_holes.py --seeds 10 --votes 1500 --pairs 300

Worlds of `rewardkit.simulation.planted_traits`, whose truth pays nothing for the planted trait, which better replies
have more often. `rewardkit train` makes a TF-IDF ensemble of them, and `rewardkit audit` lists what it pays for. People
then vote on the pairs that the audit wrote: the same answer with and without a trait, so that each vote is a coin. The
next model learns from all votes, and `rewardkit audit --previous` says of each hole whether it is closed. Beside it
stands a model that learned from as many votes more on ordinary pairs: what the same labels do without the audit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rewardkit.__main__ import main as rewardkit
from rewardkit.data.export_formats import preference_row
from rewardkit.data.files import write_rows
from rewardkit.data.records import Comparison, Preference
from rewardkit.report.table import interval_text, text_table
from rewardkit.scoring.ranking import read_comparisons
from rewardkit.simulation.planted_traits import PLANTABLE, PlantedWorld
from rewardkit.stats.metrics import Interval
from rewardkit.stats.small_samples import share_bounds

ARMS = ("pairs of the audit", "as many other votes")
STATES = ("closed", "open", "not shown")

States = Mapping[str, Mapping[str, str]]
"""By arm, by trait of the first audit's list, what became of it."""


def call(*words: str) -> None:
    """A command of `rewardkit`, which has to succeed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = rewardkit(list(words))
    if code:
        raise RuntimeError(f"rewardkit {' '.join(words)}\n{said.getvalue()}")


def vote_on(pairs: Sequence[Comparison], seed: int) -> list[Preference]:
    """People who are asked about one answer with and without a trait, for which the truth pays nothing: coins."""
    rng = np.random.default_rng([seed, 4])
    votes = []
    for pair in pairs:
        chosen = pair if rng.random() < 0.5 else pair.swap()
        votes.append(
            Preference(
                prompt=chosen.prompt,
                chosen=chosen.completion_a,
                rejected=chosen.completion_b,
                comparison_id=pair.id,
                source_chosen=chosen.source_a,
                source_rejected=chosen.source_b,
            )
        )
    return votes


def train(folder: Path, votes: Sequence[Preference], seed: int) -> str:
    """The folder of a reward model."""
    write_rows(folder / "votes.jsonl", (preference_row(vote, sources=True) for vote in votes))
    call("train", "--model=tfidf", f"--data={folder / 'votes.jsonl'}", f"--out={folder / 'model'}", "--ensemble=3")
    return str(folder / "model")


def one_seed(folder: Path, seed: int, *, num_votes: int, num_pairs: int, num_answers: int) -> States:
    """The whole way of one world."""
    trait = PLANTABLE[seed % len(PLANTABLE)]
    drawn = PlantedWorld(seed=seed, num_prompts=num_votes + num_pairs, trait=trait).votes()
    votes, more = drawn[:num_votes], drawn[num_votes:]
    for name in ("before", *ARMS):
        (folder / name).mkdir(parents=True)
    before = folder / "before"
    asked = (f"--num-answers={num_answers}", f"--num-pairs={num_pairs}", f"--seed={seed}")
    call("audit", f"--model={train(before, votes, seed)}", f"--out={before / 'audit'}", *asked)
    pairs = before / "audit" / "pairs.jsonl"
    if not pairs.exists():
        return {arm: {} for arm in ARMS}
    labelled = vote_on(read_comparisons(str(pairs)).comparisons, seed)
    states = {}
    for arm, learned in zip(ARMS, (labelled, more[: len(labelled)]), strict=True):
        model = train(folder / arm, [*votes, *learned], seed)
        audit = folder / arm / "audit"
        call("audit", f"--model={model}", f"--previous={before / 'audit'}", f"--out={audit}", *asked)
        holes = json.loads((audit / "audit.json").read_text(encoding="utf-8"))["holes"]
        states[arm] = {hole["trait"]: hole["state"] for hole in holes}
    return states


def table(seeds: Sequence[int], results: Sequence[States]) -> str:
    """A row an arm: what became of all holes, and how often the planted trait's, one a world, was closed."""
    rows = []
    for arm in ARMS:
        states = Counter(state for result in results for state in result[arm].values())
        planted = [
            result[arm][trait] == "closed"
            for seed, result in zip(seeds, results, strict=True)
            if (trait := PLANTABLE[seed % len(PLANTABLE)]) in result[arm]
        ]
        share = "none was listed"
        if planted:
            value = float(np.mean(planted))
            low, high = share_bounds(value, len(planted))
            share = f"{sum(planted)} of {len(planted)}, {interval_text(Interval(value=value, low=low, high=high))}"
        rows.append([arm, *(str(states[state]) for state in STATES), share])
    return text_table(("the next model learns from", *STATES, "planted one closed"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--votes", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--answers", type=int, default=100)
    options = parser.parse_args()
    began = time.process_time()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            results.append(
                one_seed(
                    Path(folder) / str(seed),
                    seed,
                    num_votes=options.votes,
                    num_pairs=options.pairs,
                    num_answers=options.answers,
                )
            )
        print(seed, json.dumps(results[-1]), flush=True)
    print(table(seeds, results))
    print(f"{options.seeds} seeds, {options.votes} votes, {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
