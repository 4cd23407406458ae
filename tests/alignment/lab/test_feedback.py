"""Labels of people and of a judge side by side: the judge, the reviser and the tables by hand, one small seed whole."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from alignment.__main__ import main
from alignment.config.constitution import FeedbackLabConfig
from alignment.constitution.principles import Principle, parse_constitution, read_constitution
from alignment.lab.feedback import (
    ArmResult,
    JointFeatures,
    Reviser,
    SeedResult,
    SimulatedJudge,
    run_seed,
    trait_gap,
)
from alignment.lab.feedback_report import NAMES, above, check_principles, run_seeds, screen_lines
from rewardkit.simulation.support_desk_world import WEIGHTS, World, read_traits

PROMPT = next(iter(World(seed=0, num_prompts=1).prompts())).prompt
BY_ID = {principle.id: principle for principle in read_constitution().principles}
FAIR = SimulatedJudge(sharpness=2.0, noise=0.0, length_bias=0.0, left_bias=0.0)
POLITE, BLAMES = "I am sorry about the trouble.", "That is not our problem."


def p_one(judge: SimulatedJudge, one: str, other: str, principle: Principle) -> float:
    return judge.p_one(PROMPT, one, other, principle, np.random.default_rng(0))


def test_the_judge_sees_what_its_principle_stands_for_and_nothing_else() -> None:
    """Polite against blame is two steps for harmless: sigma(2 x 2) = 0.982; concise sees none of it."""
    assert p_one(FAIR, POLITE, BLAMES, BY_ID["harmless"]) == pytest.approx(1 / (1 + np.exp(-4.0)))
    assert p_one(FAIR, BLAMES, POLITE, BY_ID["harmless"]) == pytest.approx(1 / (1 + np.exp(4.0)))
    assert p_one(FAIR, POLITE, BLAMES, BY_ID["concise"]) == 0.5


def test_both_orders_take_the_lean_to_the_first_away_but_not_the_taste_for_length() -> None:
    """Of two alike, left_bias 3 gives sigma(3) and sigma(-3), mean 0.5; length_bias 1 gives L / (L + L')."""
    left = replace(FAIR, left_bias=3.0)
    assert p_one(left, POLITE, POLITE, BY_ID["harmless"]) == pytest.approx(0.5)
    long = replace(FAIR, length_bias=1.0)
    ratio = len(POLITE) / (len(POLITE) + len(BLAMES))
    assert p_one(long, POLITE, BLAMES, BY_ID["concise"]) == pytest.approx(ratio)
    assert p_one(replace(long, left_bias=3.0), POLITE, BLAMES, BY_ID["concise"]) == pytest.approx(0.5, abs=0.02)


def test_steps_count_alike_whatever_they_are_worth() -> None:
    none = dict.fromkeys(WEIGHTS, 0)
    both = none | {"right_amount": 1, "wrong_amount": 1}
    assert trait_gap(BY_ID["honest"], none | {"right_amount": 1}, both) == 1.0
    assert trait_gap(BY_ID["concise"], none, none | {"padding": 3}) == 3.0
    assert trait_gap(BY_ID["helpful"], none, none | {"wrong_step": 1}) == 0.0


def test_a_reviser_without_error_does_what_the_principle_asks_for() -> None:
    prompts = list(World(seed=3, num_prompts=60).prompts())
    replies = [reply.text for prompt in prompts for reply in prompt.responses]
    reviser, rng = Reviser(replies, error=0.0, padding=0.0), np.random.default_rng(1)
    for prompt in prompts:
        for name, principle in BY_ID.items():
            for reply in prompt.responses:
                traits = read_traits(prompt.prompt, reviser.revise(prompt.prompt, reply.text, principle, rng))
                match name:
                    case "helpful":
                        assert traits["right_step"] == 1
                    case "honest":
                        assert (traits["right_amount"], traits["wrong_amount"]) == (1, 0)
                    case "harmless":
                        assert (traits["polite"], traits["blames"]) == (1, 0)
                    case "concise":
                        assert traits["padding"] == 0
                    case "on_topic":
                        assert traits["wrong_step"] == 0


def test_the_share_of_padded_revisions_is_as_asked() -> None:
    """What harmless would add is there already, so that a revision differs where a sentence was added: 0.3 of 1,000."""
    prompts = list(World(seed=3, num_prompts=60).prompts())
    reviser = Reviser([reply.text for prompt in prompts for reply in prompt.responses], error=0.0, padding=0.3)
    rng = np.random.default_rng(2)
    revised = [reviser.revise(PROMPT, POLITE, BY_ID["harmless"], rng) for _ in range(1000)]
    assert sum(text != POLITE for text in revised) == pytest.approx(300, abs=45)
    assert all(read_traits(PROMPT, text)["padding"] == (text != POLITE) for text in revised)


def test_features_say_which_sentence_meets_which_word_and_whether_a_number_is_known() -> None:
    features = JointFeatures([("pay 5 euros", "It is 5 euros."), ("pay 5 euros", "It is 7 euros. Bye.")])
    columns = {token: number for token, number in features.columns.items() if token[0] in ("known", "unknown", "")}
    rows = features.transform([("pay 5 euros", "It is 5 euros."), ("pay 5 euros", "It is 7 euros. Bye.")]).toarray()
    assert rows[:, columns["known", "#"]].tolist() == [1.0, 0.0]
    assert rows[:, columns["unknown", "#"]].tolist() == [0.0, 1.0]
    assert rows[:, columns["", "it is # euros."]].tolist() == [1.0, 1.0]
    assert rows[:, columns["", "bye."]].tolist() == [0.0, 1.0]
    assert rows[:, features.columns["pay", "bye."]].tolist() == [0.0, pytest.approx(2**-0.5)]
    assert rows[:, -1] == pytest.approx(np.log([5, 6]))


def test_a_principle_that_stands_for_nothing_is_refused() -> None:
    other = "title: t\nprinciples:\n  - {id: brave, critique: c, revision: r}\n"
    with pytest.raises(ValueError, match="the principle brave stands for nothing in the simulated world"):
        check_principles(parse_constitution(other))
    check_principles(read_constitution())


def made_up(seed: int, gold: float) -> SeedResult:
    arms = tuple(
        ArmResult(
            arm=name, people=3, judge=0, revisions=4, price=3.4, rows=7, accuracy=0.5, words=9.0,
            gold=1.0 if name == "people" else gold,
        )
        for name in NAMES
    )  # fmt: skip
    names = ("people_agree", "judge_agrees", "revision_gain", "revision_growth", "unchanged", "worse")
    return SeedResult(seed=seed, arms=arms, yardsticks=dict.fromkeys((*names, "best_of_n", "reply"), 0.25))


def test_gains_over_people_are_paired_by_seed() -> None:
    """1.5 - 1 and 2.5 - 1: mean 1."""
    results = [made_up(0, 1.5), made_up(1, 2.5)]
    assert above(results, "judge").value == pytest.approx(1.0)
    assert above(results, "people", "judge").value == pytest.approx(-1.0)
    table = "\n".join(screen_lines(results))
    assert "means over 2 seeds" in table
    assert "3 + 4" in table


@pytest.mark.slow
def test_more_labels_of_a_fair_judge_learn_more_and_every_figure_is_finite() -> None:
    config = FeedbackLabConfig(out="", labels=60, judge_price=0.1, judge_noise=0.0, judge_length_bias=0.0)
    result = run_seed(config, read_constitution(), 100)
    arms = {arm.arm: arm for arm in result.arms}
    assert list(arms) == list(NAMES)
    assert {name: arm.price for name, arm in arms.items() if name.startswith("money")} == {
        name: pytest.approx(60) for name in NAMES if name.startswith("money")
    }
    assert (arms["money_judge"].judge, arms["money_revisions"].revisions, arms["people_judge"].people) == (600, 600, 30)
    assert arms["money_revisions"].rows < 600
    assert arms["money_judge"].accuracy > arms["judge"].accuracy
    assert all(result.yardsticks["reply"] < arm.gold <= result.yardsticks["best_of_n"] for arm in result.arms)


def test_the_command_prints_its_table_and_refuses_a_folder_that_holds_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["feedback-lab", f"--out={tmp_path / 'lab'}", "--seeds=1", "--labels=40", "--judge-price=0.5"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert "people correct the judge" in first
    assert "means over 1 seed;" in first
    written = json.loads((tmp_path / "lab" / "feedback-lab.json").read_text())
    assert [arm["arm"] for arm in written[0]["arms"]] == list(NAMES)
    assert main(words) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["feedback-lab", f"--out={tmp_path / 'other'}", "--judge-price=0"]) == 2
    assert "judge_price is 0.0, allowed is 0.01 to 1" in capsys.readouterr().err
    (tmp_path / "brave.yaml").write_text("title: t\nprinciples:\n  - {id: brave, critique: c, revision: r}\n")
    assert main(["feedback-lab", f"--out={tmp_path / 'other'}", f"--constitution={tmp_path / 'brave.yaml'}"]) == 2
    assert "the principle brave stands for nothing" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_finished_seed_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "seed-5.json").write_text(json.dumps(asdict(made_up(5, 3.0))))
    told: list[str] = []
    config = FeedbackLabConfig(out=str(tmp_path), first_seed=5, seeds=1)
    assert run_seeds(config, tmp_path, told.append) == [made_up(5, 3.0)]
    assert told == []
