"""Measures the Loop page at the size it has to bear: 20 turns and 100,000 judgments.

    python tests/benchmarks/loop_page.py [--turns 20] [--judgments 100000] [--database FILE]

Builds the database (or takes the file, where it is there), then draws the page under AppTest as a lead: the first run
of a process, which computes every figure, five reruns, as each click makes one, one of which chooses another turn, and
one after somebody has judged.
Prints one JSON document, seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.pages.kit import context
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.server.sessions import open_sessions
from annotate_app.store.judgments.simulated import SimulatedAnswer
from annotate_app.store.store import Store
from annotate_app.turns.turn import STAGES, Stage
from rewardkit.data.records import Choice, Comparison, Judgment, Message

ADMIN = Actor.command_line()
PROJECT, PEOPLE, OVERLAP, ROUND_SHARE = "loop", 6, 3, 0.25
PAGE = "from annotate_app.pages import loop\nloop.page()"


def fill(store: Store, num_turns: int, num_judgments: int) -> None:
    """A project whose judgments all belong to turns; a quarter of each turn's pairs are its blind round."""
    rubric = rubric_text(Rubric(title="Loop", guidelines="Read both."))
    design = Design(overlap=OVERLAP)
    project = store.projects.create(ADMIN, PROJECT, rubric_text=rubric, design=design, simulated=True)
    for number in range(PEOPLE):
        user = store.people.add(ADMIN, f"sim-{number}", role="annotator", origin="simulated")
        store.projects.add_member(ADMIN, project.id, user.id)
    rng = np.random.default_rng(3)
    per_turn = num_judgments // OVERLAP // num_turns
    for number in range(1, num_turns + 1):
        turn = store.turns.add(ADMIN, project.id, {}, number - 1 or None)
        one, other = f"turn-{number}", f"turn-{number - 1}"
        pairs = [_comparison(number, place, one, other) for place in range(per_turn)]
        store.comparisons.add(ADMIN, project.id, pairs)
        store.judgments.add_simulated(ADMIN, project.id, [answer for pair in pairs for answer in _answers(pair, rng)])
        num_round = int(ROUND_SHARE * per_turn)
        chosen = {
            pair.id: "random" if place % 4 == 0 else "uncertainty" for place, pair in enumerate(pairs[num_round:])
        }
        store.turns.add_pairs(ADMIN, turn.id, chosen)
        keys = [pair.id for pair in pairs[:num_round]]
        made = store.rounds.add(ADMIN, project.id, one=one, other=other, comparisons=keys, turn_id=turn.id)
        results = _results(number, made.id)
        for stage in STAGES:
            store.turns.update_stage(ADMIN, turn.id, stage, state="running", begins=True)
            store.turns.update_stage(ADMIN, turn.id, stage, state="done", result=results.get(stage, {}))
        store.turns.end(ADMIN, turn.id, "done")


def _results(number: int, round_id: int) -> dict[Stage, dict[str, Any]]:
    """What the stages of a turn leave, in the form in which they leave it."""
    policies = [{"name": f"run-{turn}", "model": f"/runs/{turn}/model"} for turn in (number - 1, number)]
    bounds = {"value": number / 20, "low": number / 20 - 0.1, "high": number / 20 + 0.1}
    measured = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}, "ece": 0.05, "num_pairs": 250}
    return {
        "write": {"num_prompts": 200, "num_candidates": 800, "policies": policies[:1], "first": policies[0]},
        "choose": {"num_pairs": 1250, "by_rule": {"random": 312, "uncertainty": 938}},
        "learn": {"run": 2 * number, "model": f"/runs/{number}/reward", "before": measured, "after": measured},
        "align": {"run": 2 * number + 1, "policy": policies[1]},
        "check": {
            "rounds": {"previous": round_id, "first": round_id},
            "figures": dict.fromkeys(("kl", "words", "proxy", "gold"), bounds),
        },
    }


def _comparison(number: int, place: int, one: str, other: str) -> Comparison:
    return Comparison(
        id=f"t{number}-{place}",
        prompt=(Message(role="user", content=f"Question {place % 200} of turn {number}?"),),
        completion_a=f"Reply {place} of turn {number}, " + "and so on " * 20,
        completion_b=f"Reply {place} of turn {number - 1}, " + "and so forth " * 20,
        source_a=one,
        source_b=other,
    )


def _answers(pair: Comparison, rng: np.random.Generator) -> list[SimulatedAnswer]:
    choices: tuple[Choice, ...] = ("a", "b", "tie")
    drawn = [choices[int(number)] for number in rng.choice(3, OVERLAP, p=[0.5, 0.4, 0.1])]
    return [
        SimulatedAnswer(
            judgment=Judgment(
                comparison_id=pair.id,
                annotator=f"sim-{who}",
                choice=choice,
                strength=int(choice != "tie"),
                seconds=float(rng.integers(5, 60)),
                shown_left="a",
                rubric_version=1,
            )
        )
        for who, choice in zip(rng.permutation(PEOPLE), drawn, strict=False)
    ]


def measure(store: Store) -> dict[str, Any]:
    """Seconds of the first run and of reruns."""
    if store.people.by_name(ADMIN, "lea") is None:
        store.people.add(ADMIN, "lea", role="admin")
    token = open_sessions(store.database.url).start("lea")
    context.session_token = lambda: token
    page = AppTest.from_string(PAGE, default_timeout=600)
    page.session_state["project"] = PROJECT
    first = _run(page)
    reruns = [_run(page) for _ in range(4)]
    chooser = next(box for box in page.selectbox if str(box.key).startswith("loop-turn"))
    chooser.set_value(chooser.options[-1])
    reruns.append(_run(page))
    _judge_once(store)
    after = _run(page)
    return {
        "first_s": first,
        "after_a_judgment_s": after,
        "rerun_median_s": statistics.median(reruns),
        "rerun_worst_s": max(reruns),
    }


def _judge_once(store: Store) -> None:
    """Judges one more pair of the newest turn, so that figures of before are not those of now."""
    project = store.projects.get(ADMIN, PROJECT)
    pair = _comparison(0, time.time_ns(), "one", "other")
    store.comparisons.add(ADMIN, project.id, [pair])
    store.turns.add_pairs(ADMIN, store.turns.list(ADMIN, project.id)[-1].id, {pair.id: "random"})
    store.judgments.add_simulated(ADMIN, project.id, _answers(pair, np.random.default_rng(0)))


def _run(page: AppTest) -> float:
    started = time.perf_counter()
    page.run()
    if page.exception:
        raise RuntimeError(page.exception)
    return round(time.perf_counter() - started, 3)


def main() -> None:
    """Builds, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--judgments", type=int, default=100_000)
    parser.add_argument("--database", help="file to build in, or to take as it is")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # AppTest runs without a server, of which Streamlit speaks at every call
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.database or f"{folder}/loop.db").resolve()
        is_there = path.exists()
        url = f"sqlite:///{path}"
        os.environ["TIEBREAK_DB"] = url
        with Store.open(url) as store:
            started = time.perf_counter()
            if not is_there:
                fill(store, options.turns, options.judgments)
            built = time.perf_counter() - started
            print(
                json.dumps(
                    {"turns": options.turns, "judgments": options.judgments, "built_s": round(built, 1)}
                    | measure(store)
                )
            )


if __name__ == "__main__":
    main()
