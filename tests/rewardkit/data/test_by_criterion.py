"""One criterion's judgments in place of the overall ones, as rows and as `rewardkit train` takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardkit.__main__ import main
from rewardkit.commands.train import by_criterion
from rewardkit.config import RewardConfig
from rewardkit.data.records import Message, Preference
from rewardkit.data.training_data import preferences_by

ROW = Preference(
    prompt=(Message(role="user", content="q"),),
    chosen="long",
    rejected="safe",
    p_chosen=0.8,
    weight=2.0,
    margin=1.0,
    criteria={"helpful": 1.5, "safe": -2.0, "kind": 0.0},
    votes={"chosen": 4, "rejected": 1},
    source_chosen="one",
    source_rejected="other",
)


def test_the_sign_of_the_degree_decides() -> None:
    (helpful,), (safe,), (kind,) = (preferences_by(name, [ROW], "f") for name in ("helpful", "safe", "kind"))
    assert (helpful.chosen, helpful.p_chosen, helpful.margin, helpful.weight) == ("long", 1.0, 1.5, 2.0)
    assert (safe.chosen, safe.rejected, safe.p_chosen, safe.margin) == ("safe", "long", 1.0, 2.0)
    assert (safe.source_chosen, safe.source_rejected) == ("other", "one")
    assert (kind.chosen, kind.p_chosen, kind.margin) == ("long", 0.5, 0.0)
    assert not safe.votes


def test_rows_that_were_not_judged_stay_out_and_none_is_an_error() -> None:
    bare = Preference(prompt=ROW.prompt, chosen="a", rejected="b")
    assert len(preferences_by("safe", [ROW, bare], "f")) == 1
    with pytest.raises(ValueError, match="criterion 'fun': no row of f was judged by it, its criteria are"):
        preferences_by("fun", [ROW], "f")
    with pytest.raises(ValueError, match="it has no column criteria"):
        preferences_by("safe", [bare], "f")


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="give one"):
        RewardConfig(model="tfidf", data="d", out="o", criterion=["safe"], criteria=True)
    with pytest.raises(ValueError, match="each name once"):
        RewardConfig(model="tfidf", data="d", out="o", criterion=["safe", "safe"])


@pytest.mark.parametrize("names", [["a b", "a_b"], ["..", "safe"]])
def test_two_criteria_do_not_share_a_folder(names: list[str]) -> None:
    with pytest.raises(ValueError, match="are not one each"):
        by_criterion(RewardConfig(model="tfidf", data="d", out="o", criterion=names))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of two answers the detailed one is always the more helpful and the one with a warning the safer."""
    rows = []
    for number in range(60):
        detailed, warned = f"Open the lid {number} and press.", f"Careful: unplug {number} first."
        pair = {"prompt": f"How does it work, number {number}?", "chosen": detailed, "rejected": warned}
        rows.append(pair | {"criteria": {"helpful": 1, "safe": -1}})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_models_of_two_criteria_disagree_and_go_on(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One folder for each criterion; the other way round in the reward; a criterion that is done is not done again."""
    out = tmp_path / "models"
    words = ["train", "--model=tfidf", f"--data={data}", f"--out={out}", "--criterion=helpful", "--criterion=safe"]
    assert main(words) == 0
    from rewardkit import Message, load_reward_model

    answers = ["Open the lid and press.", "Careful: unplug first."]
    prompts = [[Message(role="user", content="How does it work?")]] * 2
    helpful, safe = (load_reward_model(str(out / name))(prompts, answers).mean for name in ("helpful", "safe"))
    assert helpful[0] - helpful[1] > 1
    assert safe[1] - safe[0] > 1
    (out / "safe" / "status.json").write_text(json.dumps({"state": "cancelled"}))
    before = (out / "helpful" / "config.yaml").stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0
    assert (out / "helpful" / "config.yaml").stat().st_mtime_ns == before
    assert json.loads((out / "safe" / "status.json").read_text())["state"] == "done"
    capsys.readouterr()
    assert main([*words[:3], f"--out={tmp_path / 'none'}", "--criterion=fun"]) == 2
    assert "criterion 'fun': no row of" in capsys.readouterr().err
