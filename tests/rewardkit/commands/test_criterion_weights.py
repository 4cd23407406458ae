"""`--criterion-weights` in score, rank and evaluate: values by hand for every kind of model, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import tiny_config

from rewardkit.__main__ import main
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.records import Message
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.tokens import tokenise, train_tokenizer
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.lora_ensemble import LoraEnsemble, MemberLinear
from rewardkit.reward.metadata import Card
from rewardkit.reward.reward_model import RewardModel, save
from rewardkit.reward.tfidf import TfidfFeatures, TfidfReward

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there is no TF-IDF model")
TEXTS = ["a parcel came today", "never", "the desk gladly sent a refund", "a label"]
PROMPT = (Message(role="user", content="where is my parcel"),)
CRITERIA = ("helpful", "safe")
KINDS = ("tfidf", "heads", "head", "lora", "full")
TEMPERATURE = {"kind": "temperature", "temperature": 0.25}


def tfidf_model(folder: Path, *, criteria: tuple[str, ...] = CRITERIA) -> np.ndarray:
    """Saves a model of two members with random heads; returns (K + C, B), what each head says of TEXTS."""
    features = TfidfFeatures.fit("words", TEXTS)
    heads = np.random.default_rng(0).standard_normal((2 + len(criteria), features.num_features))
    heads = heads.astype(np.float32).astype(float)
    TfidfReward(features, heads, Card(kind="tfidf", num_members=2, criteria=criteria, calibration=TEMPERATURE)).save(
        folder
    )
    return (features.transform(TEXTS) @ heads.T).T


def neural_model(folder: Path, kind: str, *, seed: int = 0, num_members: int = 2) -> np.ndarray:
    """As `tfidf_model`, with a small trunk of random weights."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    classifier = make_classifier(tiny_config(tokenizer, max_length=64), seed=seed)
    if kind == "lora":
        scorer: RewardScorer = LoraEnsemble(classifier, num_members=num_members, num_criteria=2, rank=2, num_layers=1)
        for module in scorer.modules():
            if isinstance(module, MemberLinear):
                module.up.data.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(7))
    else:
        scorer = RewardScorer(classifier, num_members=num_members + 2, seed=seed)
    rows, _ = tokenise([PROMPT], [TEXTS], tokenizer, max_length=64)
    scores = scorer.eval()(rows).detach().double().numpy()
    save(scorer, tokenizer, Card(kind=kind, num_members=num_members, criteria=CRITERIA, max_length=64), folder)
    return scores


def saved_model(folder: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Saves a model of two members; returns (2, B) their overall scores and (1 or 2, 2, B) scores by criterion."""
    if kind == "full":
        scores = [neural_model(folder / "members" / str(n), "heads", seed=n, num_members=1) for n in (0, 1)]
        Card(kind="full", num_members=2, criteria=CRITERIA, max_length=64).write(folder)
        return np.stack([each[0] for each in scores]), np.stack([each[1:] for each in scores])
    scores = tfidf_model(folder) if kind == "tfidf" else neural_model(folder, kind)
    return scores[:2], scores[None, 2:]


def rewards(folder: Path, **weights: float) -> np.ndarray:
    reward_fn = load_reward_fn(str(folder), criterion_weights=weights)
    return reward_fn([PROMPT] * len(TEXTS), TEXTS).members


@pytest.mark.parametrize("kind", KINDS)
def test_the_reward_is_the_weighted_sum_of_the_heads(kind: str, tmp_path: Path) -> None:
    overall, criteria = saved_model(tmp_path, kind)
    by_criteria = criteria[:, 0] + 2 * criteria[:, 1]
    np.testing.assert_allclose(rewards(tmp_path, helpful=1, safe=2), by_criteria, atol=1e-5)
    expected = 0.5 * overall + by_criteria
    np.testing.assert_allclose(rewards(tmp_path, helpful=1, overall=0.5, safe=2), expected, atol=1e-5)
    np.testing.assert_allclose(rewards(tmp_path), overall, atol=1e-5)
    assert np.abs(expected - overall).max() > 0.1  # or the heads say nothing


@pytest.mark.parametrize("kind", KINDS)
def test_score_writes_the_weighted_reward(kind: str, tmp_path: Path) -> None:
    overall, criteria = saved_model(tmp_path / "model", kind)
    write_rows(tmp_path / "in.jsonl", [{"prompt": PROMPT[0].content, "completion": text} for text in TEXTS])
    files = [f"--input={tmp_path / 'in.jsonl'}", f"--output={tmp_path / 'out.jsonl'}"]
    words = [f"--model={tmp_path / 'model'}", *files, "--criterion-weights=overall=1,safe=-2"]
    assert main(["score", *words]) == 0
    members = overall - 2 * criteria[:, 1]
    rows = [row for _, row in read_rows(tmp_path / "out.jsonl")]
    np.testing.assert_allclose([row["reward"] for row in rows], members.mean(0), atol=1e-5)
    np.testing.assert_allclose([row["reward_std"] for row in rows], members.std(0, ddof=1), atol=1e-5)


def test_rank_orders_by_the_weighted_margin(tmp_path: Path) -> None:
    _, criteria = saved_model(tmp_path / "model", "tfidf")
    pool = [
        {"id": f"c{number}", "prompt": PROMPT[0].content, "response_a": TEXTS[0], "response_b": TEXTS[number]}
        for number in (1, 2, 3)
    ]
    write_rows(tmp_path / "pool.jsonl", pool)
    words = [f"--model={tmp_path / 'model'}", f"--input={tmp_path / 'pool.jsonl'}", f"--out={tmp_path / 'p.jsonl'}"]
    assert main(["rank", *words, "--rule=margin", "--criterion-weights=helpful=1,safe=2"]) == 0
    reward = criteria[0, 0] + 2 * criteria[0, 1]
    margins = {f"c{number}": reward[0] - reward[number] for number in (1, 2, 3)}
    rows = [row for _, row in read_rows(tmp_path / "p.jsonl")]
    assert [row["comparison_id"] for row in rows] == sorted(margins, key=lambda name: abs(margins[name]))
    assert {row["comparison_id"]: row["margin"] for row in rows} == pytest.approx(margins)


def evaluation(folder: Path, out: str, *words: str) -> dict:
    data = [f"--data={folder / 'data.jsonl'}", f"--out={folder / out}"]
    assert main(["evaluate", f"--model={folder / 'model'}", *data, *words]) == 0
    return json.loads((folder / out / "evaluation.json").read_text())


def test_evaluate_does_not_use_the_overall_heads_calibration_and_says_so(tmp_path: Path) -> None:
    overall, criteria = saved_model(tmp_path / "model", "tfidf")
    pairs = [(0, 1), (2, 3), (1, 2)]
    write_rows(
        tmp_path / "data.jsonl",
        [{"prompt": f"q{one}", "chosen": TEXTS[one], "rejected": TEXTS[two]} for one, two in pairs],
    )

    def nll(members: np.ndarray, temperature: float) -> float:
        margins = np.array([members[:, one] - members[:, two] for one, two in pairs])
        return float(-np.log(np.mean(1 / (1 + np.exp(-margins / temperature)), axis=1)).mean())

    weighted = evaluation(tmp_path, "weighted", "--criterion-weights=overall=1,helpful=3")
    assert weighted["evaluation"]["calibration"].keys() == {"sigmoid", "integrated"}
    members = overall + 3 * criteria[:, 0]
    assert weighted["evaluation"]["calibration"]["integrated"]["nll"] == pytest.approx(nll(members, 1.0))
    margins = np.array([members.mean(0)[one] - members.mean(0)[two] for one, two in pairs])
    assert weighted["evaluation"]["overall"]["accuracy"]["value"] == pytest.approx((margins > 0).mean())
    assert weighted["about"]["calibration"] == "none for a reward with criterion weights"
    assert weighted["about"]["criterion weights"] == "helpful=3.0, overall=1.0"
    assert any("calibration was fitted to its overall head and is not used" in note for note in weighted["notes"])

    for words in ([], ["--criterion-weights=overall=1,helpful=0"]):  # the same reward, so its calibration holds
        plain = evaluation(tmp_path, f"plain{len(words)}", *words)
        assert plain["evaluation"]["calibration"]["integrated"]["nll"] == pytest.approx(nll(overall, 0.25))
        assert plain["about"]["calibration"] == "temperature, T = 0.25"
        assert not any("calibration was fitted" in note for note in plain["notes"])


def test_evaluate_says_that_criteria_alone_are_one_member(tmp_path: Path) -> None:
    saved_model(tmp_path / "model", "tfidf")
    write_rows(tmp_path / "data.jsonl", [{"prompt": "q", "chosen": TEXTS[0], "rejected": TEXTS[1]}])
    found = evaluation(tmp_path, "out", "--criterion-weights=safe=1")
    assert found["evaluation"]["num_members"] == 1
    assert any("Without a weight of overall" in note for note in found["notes"])


@pytest.mark.parametrize("command", ["score", "rank", "evaluate"])
@pytest.mark.parametrize(
    ("criteria", "weights", "says"),
    [
        (CRITERIA, "helpful", "criterion_weights is 'helpful': 'helpful' is not NAME=NUMBER"),
        (CRITERIA, "helpful=0", "criterion_weights is 'helpful=0', allowed is one weight or more that is not 0"),
        (CRITERIA, "kind=1", "criterion_weights names 'kind', of which the model has no head: its heads are overall, "
                             "helpful, safe"),
        ((), "safe=1", "criterion_weights names 'safe', of which the model has no head: it has the overall head alone"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_end_in_one_line_before_anything_is_read(
    command: str,
    criteria: tuple[str, ...],
    weights: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tfidf_model(tmp_path / "model", criteria=criteria)
    out = "--output" if command == "score" else "--out"
    data = "--data" if command == "evaluate" else "--input"
    words = [f"--model={tmp_path / 'model'}", f"{data}={tmp_path / 'absent.jsonl'}", f"{out}={tmp_path / 'out.jsonl'}"]
    assert main([command, *words, f"--criterion-weights={weights}"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1, error
    assert not (tmp_path / "out.jsonl").exists()


def test_an_implicit_reward_has_no_criterion_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model=policy", f"--out={tmp_path / 'out'}", "--implicit", "--criterion-weights=safe=1"]
    assert main(["evaluate", *words]) == 2
    assert "criterion_weights is 'safe=1', but an implicit reward has no criterion heads" in capsys.readouterr().err


def test_a_model_loaded_by_itself_refuses_what_it_has_no_head_for(tmp_path: Path) -> None:
    neural_model(tmp_path, "heads")
    with pytest.raises(ValueError, match="names 'kind'"):
        RewardModel.load(tmp_path, criterion_weights={"kind": 1.0})
