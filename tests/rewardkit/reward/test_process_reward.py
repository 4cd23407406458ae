"""Process reward models: read as plain transformers reads them; other tools' models; packing, long answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_architectures import make_folder, make_tokenizer, sentences
from toy_models import config_for, save_model
from transformers import AutoModelForTokenClassification, BertConfig

from rewardkit.data.records import Message
from rewardkit.network.chat_template import prompt_text
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.layout import attend_plainly
from rewardkit.network.packed_rows import Branched, pack, pad
from rewardkit.network.tokens import load_tokenizer
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import Card, read_card
from rewardkit.reward.process_reward import ProcessRewardModel, save_process_reward, step_logits, step_rows
from rewardkit.reward.step_rewards import AGGREGATIONS, StepRewards, aggregate
from rewardkit.scoring.lines import answer
from rewardkit.training.merging import check_alike

TEXTS = sentences(12)
PROMPTS = [[Message(role="user", content=text)] for text in TEXTS[:3]]
STEPS = [TEXTS[3:4], TEXTS[4:7], TEXTS[7:9]]


def own_model(folder: Path, *, num_members: int = 3, max_length: int = 400, **steps: object) -> Path:
    """A saved process reward model of random weights and biases."""
    tokenizer = make_tokenizer("llama")
    classifier = make_classifier(config_for(tokenizer), seed=0, per_token=True)
    scorer = RewardScorer(classifier, num_members=num_members, seed=1)
    scorer.bias += torch.tensor([0.3, -0.2, 0.5])[:num_members]
    layout = {"separator": "\n", "plain_prompt": False, **steps}
    card = Card(kind="steps", num_members=num_members, max_length=max_length, steps=layout)
    save_process_reward(scorer, tokenizer, card, folder)
    return folder


def naive(folder: Path, prompt: str, steps: list[str]) -> list[float]:
    """Probabilities by plain transformers: one step after another, softmax over both labels at its last token."""
    classifier = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = ProcessRewardModel.load(folder).tokenizer
    ids, found = tokenizer(prompt, add_special_tokens=False).input_ids, []
    for step in steps:
        ids = ids + tokenizer(step, add_special_tokens=False).input_ids
        ids = ids + tokenizer("\n", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = classifier(input_ids=torch.tensor([ids])).logits[0, -1]
        found.append(float(logits.softmax(-1)[1]) if len(logits) == 2 else float(logits.sigmoid()))
    return found


def test_the_mean_logit_is_what_plain_transformers_reads(tmp_path: Path) -> None:
    model = ProcessRewardModel.load(own_model(tmp_path))
    scores = model.score_steps(PROMPTS, STEPS)
    assert [one.members.shape for one in scores] == [(3, 1), (3, 3), (3, 2)]
    for prompt, steps, one in zip(PROMPTS, STEPS, scores, strict=True):
        mean_logit = np.log(one.members / (1 - one.members)).mean(0)
        expected = naive(tmp_path, prompt_text(prompt, model.tokenizer), steps)
        assert 1 / (1 + np.exp(-mean_logit)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("num_labels", "names"), [(1, None), (2, None), (2, {0: "wrong", 1: "right"}), (2, {0: "Correct", 1: "Incorrect"})]
)
def test_other_tools_models_are_read_as_they_lay_rows_out(
    num_labels: int, names: dict[int, str] | None, tmp_path: Path
) -> None:
    """A plain prompt behind BOS, steps with a line break behind each; of two labels the one named so, or the second."""
    tokenizer = make_tokenizer("llama")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = config_for(tokenizer, num_labels=num_labels)
        config.id2label = names or config.id2label
        save_model(tmp_path, AutoModelForTokenClassification.from_config(config), tokenizer)
    model = load_reward_fn(str(tmp_path), aggregation="product")
    assert isinstance(model, ProcessRewardModel)
    assert read_card(tmp_path).kind == "steps"
    prompt, steps = "How many?", ["Two and two.", "That is four."]
    (one,) = model.score_steps([[Message(role="user", content=prompt)]], [steps])
    expected = naive(tmp_path, str(tokenizer.bos_token or "") + prompt, steps)
    if names and names[0] == "Correct":
        expected = [1 - value for value in expected]  # the twin takes the second label for right
    assert one.members[0] == pytest.approx(expected, abs=1e-5)
    reward = model([[Message(role="user", content=prompt)]], ["\n".join(steps)])
    assert reward.mean[0] == pytest.approx(expected[0] * expected[1], abs=1e-5)


def test_a_causal_model_is_no_process_reward_model(tmp_path: Path) -> None:
    folder = make_folder("Llama 2", tmp_path, classifier=False)
    with pytest.raises(ValueError, match="no process reward model, its file has no score"):
        ProcessRewardModel.load(folder)


def test_neither_packing_nor_padding_moves_a_score() -> None:
    tokenizer = make_tokenizer("llama")
    of_answers, _ = step_rows(PROMPTS, STEPS, tokenizer, separator="\n", max_length=400)
    rows = [row for rows in of_answers for row in rows]
    scorer = RewardScorer(make_classifier(config_for(tokenizer), seed=0, per_token=True), num_members=2).eval()
    assert scorer.packed
    together = scorer(rows)
    alone = torch.cat([scorer([row]) for row in rows], dim=1)
    assert together.shape == (2, 6)
    assert together.tolist() == [pytest.approx(member, abs=1e-5) for member in alone.tolist()]
    scorer.layout = "padded"
    attend_plainly(scorer.classifier)
    assert scorer(rows).tolist() == [pytest.approx(member, abs=1e-5) for member in alone.tolist()]
    by_budget = step_logits(scorer, rows, token_budget=max(row.num_tokens for row in rows))
    assert np.concatenate(by_budget, axis=1).tolist() == [pytest.approx(member, abs=1e-5) for member in alone.tolist()]


def test_places_that_are_read_lie_at_the_ends_of_steps() -> None:
    row = Branched(prompt=(1, 2), branches=((3, 4, 5), (6, 7)), reads=((0, 2), (1,)))
    other = Branched(prompt=(8,), branches=((9,),))
    batch, padded = pack([row, other]), pad([row, other], 0)
    assert batch.input_ids[0, batch.last_index].tolist() == [3, 5, 7, 9]
    assert padded.input_ids[padded.read_row, padded.read_index].tolist() == [3, 5, 7, 9]


def test_an_encoder_is_read_at_step_ends(tmp_path: Path) -> None:
    make_tokenizer("bert").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    scorer = RewardScorer(make_classifier(config, seed=0, per_token=True), num_members=1)
    card = Card(kind="steps", max_length=400, steps={"separator": " / ", "plain_prompt": False})
    save_process_reward(scorer, tokenizer, card, tmp_path)
    scores = ProcessRewardModel.load(tmp_path).score_steps(PROMPTS, STEPS)
    assert [one.members.shape[1] for one in scores] == [1, 3, 2]
    assert np.concatenate([one.mean for one in scores]).std() > 0


def test_long_answers_are_read_to_their_last_step(tmp_path: Path) -> None:
    """Steps beyond the length are read behind the prompt and what fits of the steps before them."""
    tokenizer = make_tokenizer("llama")
    long = [TEXTS[number % 12] for number in range(30)]
    ((whole,),), _ = step_rows(PROMPTS[:1], [long], tokenizer, separator="\n", max_length=10_000)
    limit = whole.num_tokens // 3
    (rows,), num_cut = step_rows(PROMPTS[:1], [long], tokenizer, separator="\n", max_length=limit)
    assert num_cut == 1
    assert sum(len(row.read_places[0]) for row in rows) == 30
    assert max(row.num_tokens for row in rows) <= limit
    assert len(rows) > 2
    last = rows[-1]
    assert whole.branches[0][-len(last.branches[0]) :] == last.branches[0]
    assert rows[0].branches[0] == whole.branches[0][: len(rows[0].branches[0])]
    model = ProcessRewardModel.load(own_model(tmp_path, max_length=limit))
    (one,) = model.score_steps(PROMPTS[:1], [long])
    assert one.members.shape == (3, 30)
    assert model.num_cut == 1


def test_later_steps_change_nothing_before_them(tmp_path: Path) -> None:
    model = ProcessRewardModel.load(own_model(tmp_path))
    (short,) = model.score_steps(PROMPTS[:1], [TEXTS[3:5]])
    (longer,) = model.score_steps(PROMPTS[:1], [TEXTS[3:8]])
    assert longer.members[:, :2] == pytest.approx(short.members, abs=1e-6)


def test_rewards_of_answers_aggregate_their_calibrated_steps(tmp_path: Path) -> None:
    temperature = {"kind": "temperature", "temperature": 2.0}
    folder = own_model(tmp_path, calibration=temperature)
    model = ProcessRewardModel.load(folder, aggregation="mean", steps_by=" | ")
    answers = ["a | b | c", "  ", "d"]
    scores = model.score_steps([PROMPTS[0]] * 2, [["a", "b", "c"], ["d"]])
    reward = model([PROMPTS[0]] * 3, answers)
    assert reward.members[:, 0] == pytest.approx(scores[0].members.mean(1))
    assert reward.members[:, 1].tolist() == [0.0] * 3
    assert reward.members[:, 2] == pytest.approx(scores[1].members[:, 0])
    uncalibrated = ProcessRewardModel.load(own_model(tmp_path / "plain"))
    plain = uncalibrated.score_steps([PROMPTS[0]], [["a", "b", "c"]])[0].members
    odds = scores[0].members / (1 - scores[0].members)
    assert odds**2 == pytest.approx(plain / (1 - plain), rel=1e-4)  # half the log-odds


def test_it_answers_line_by_line_and_is_not_merged(tmp_path: Path) -> None:
    folder = own_model(tmp_path)
    request = {"prompt": [{"role": "user", "content": "a"}], "completions": ["b\nc", "d"], "parts": True}
    reply = answer(request, load_reward_fn(str(folder)))
    assert np.array(reply["members"]).shape == (3, 2)
    assert (reply["criteria"], reply["words"]) == ({}, None)
    with pytest.raises(ValueError, match="is a process reward model, and these are not merged"):
        check_alike(folder, folder)


def test_an_answer_without_steps_is_refused(tmp_path: Path) -> None:
    model = ProcessRewardModel.load(own_model(tmp_path))
    with pytest.raises(ValueError, match="answer 1 has no step"):
        model.score_steps(PROMPTS[:2], [["a"], []])


@pytest.mark.parametrize(("rule", "value"), list(zip(AGGREGATIONS, [0.2, 0.08, 0.5, 0.5], strict=True)))
def test_aggregates_by_value(rule, value) -> None:
    """Steps 0.8, 0.2, 0.5: min 0.2, product 0.08, last 0.5, mean 0.5."""
    assert aggregate(np.array([0.8, 0.2, 0.5]), rule) == pytest.approx(value)
    assert aggregate(np.array([[0.8, 0.2, 0.5]] * 2), rule) == pytest.approx([value] * 2)


def test_no_step_has_no_aggregate() -> None:
    with pytest.raises(ValueError, match="without a step"):
        aggregate(np.zeros((2, 0)), "min")


def test_spread_is_over_members() -> None:
    one = StepRewards(members=np.array([[0.2, 0.5], [0.4, 0.5]]))
    assert one.mean == pytest.approx([0.3, 0.5])
    assert one.std == pytest.approx([0.02**0.5, 0.0])  # ddof 1
    assert StepRewards(members=np.array([[0.2]])).std.tolist() == [0.0]
