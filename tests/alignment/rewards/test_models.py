"""Trained reward models as sources: their statistics, and tokens of a policy scored as the texts would be."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from toy_models import save_model, save_policy, tiny_config
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from alignment.config.rewards import RewardOptions
from alignment.config.sampling import DrawConfig
from alignment.generation.completion_sampler import load_samplers
from alignment.rewards.models import ModelReward, shared_end, token_row
from alignment.rewards.rewards import load_rewards
from alignment.rewards.source import RewardBatch
from rewardkit.__main__ import main
from rewardkit.data.preferences import read_preferences
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message
from rewardkit.data.splitting import split_by_prompt
from rewardkit.network.classifier import make_classifier
from rewardkit.network.tokens import load_tokenizer, tokenise, train_tokenizer
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import Card, read_card

GROUP = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained reward models of three members, and `policy`, with the same tokens.

    `heads` and `full` by what their members have of their own, `criteria` as `heads` with the criteria brief and kind.
    """
    folder = tmp_path_factory.mktemp("rewards")
    rng = np.random.default_rng(0)
    filling = ["answer", "about", "the", "harbour", "and", "its", "boats", "today"]
    rows = []
    for number in range(60):
        good, bad = (
            " ".join(rng.permutation([*rng.choice(filling, 4), word])) for word in rng.permutation(["clear", "vague"])
        )
        chosen, rejected = (good, bad) if "clear" in good else (bad, good)
        degrees = {"brief": 1.0 if number % 2 else -1.0, "kind": -1.0 if number % 3 else 1.0}
        row = {"prompt": f"question {number} about boats", "chosen": chosen, "rejected": rejected}
        rows.append(row | {"criteria": degrees})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [row[side] for row in rows for side in ("prompt", "chosen", "rejected")]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    config = tiny_config(tokenizer, max_length=128)
    config.initializer_range = 0.3
    save_policy(folder / "policy", config, tokenizer, seed=1)
    save_model(folder / "trunk", make_classifier(config, seed=0), tokenizer)
    given = ["--data", str(folder / "data.jsonl"), "--model", str(folder / "trunk"), "--ensemble", "3"]
    given += ["--eval_share", "0.2", "--precision", "fp32"]  # as the model scores afterwards
    for members in ("heads", "full"):
        assert main(["train", *given, "--members", members, "--out", str(folder / members)]) == 0
    assert main(["train", *given, "--criteria", "--out", str(folder / "criteria")]) == 0
    return folder


@pytest.fixture(scope="module")
def policy_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """As `load_policy` loads it."""
    return load_tokenizer(folder / "policy", own_pad=False)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> RewardBatch:
    """What the policy answers to prompts of one and of three turns, every second answer ended."""
    turns = (Message(role="user", content="the harbour"), Message(role="assistant", content="the boats"))
    prompts = [
        (Message(role="user", content="question 3 about boats"),),
        (*turns, Message(role="user", content="and today")),
    ]
    (sampler,) = load_samplers([str(folder / "policy")])
    groups = sampler.draw(prompts, DrawConfig(prompts="", max_new_tokens=12, seed=5), n=GROUP)
    rows = [PromptRow(prompt=prompt, columns={}) for prompt in prompts]
    cut = RewardBatch.of_groups(rows, groups)
    assert not any(cut.finished)
    end = sampler.tokenizer.eos_token_id
    ids = [(*each, end) if place % 2 else each for place, each in enumerate(cut.completion_ids)]
    return replace(cut, completion_ids=ids, finished=[place % 2 == 1 for place in range(len(cut))])


def source(folder: Path, members: str, tokenizer: PreTrainedTokenizerBase | None, **options) -> ModelReward:
    path = folder / members
    options = {"normalise": False, **options}
    return ModelReward(load_reward_fn(str(path)), read_card(path), name=members, policy_tokenizer=tokenizer, **options)


def plain_scores(folder: Path, sequences: list[list[int]]) -> np.ndarray:
    """Scores of token ids by the ordinary sequence classifier, one at a time: the mean of the heads."""
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return np.array([float(plain(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in sequences])


def as_canonical(batch: RewardBatch, tokenizer: PreTrainedTokenizerBase) -> RewardBatch:
    """The batch with texts of a person, in the tokens that the tokenizer gives them, alternately ended and cut."""
    texts = ["a clear answer about boats", "the harbour", " vague\n", "", "its boats today, and the", "x", "é", "the"]
    end = tokenizer.eos_token_id
    ids = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    finished = [place % 2 == 0 for place in range(len(texts))]
    ids = [(*each, end) if done else each for each, done in zip(ids, finished, strict=True)]
    return replace(batch, completions=texts, completion_ids=ids, finished=finished)


@pytest.mark.parametrize("members", ["heads", "full"])
def test_tokens_get_the_rewards_of_their_texts(
    folder: Path, members: str, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase, monkeypatch
) -> None:
    by_token, by_text = source(folder, members, policy_tokenizer), source(folder, members, None)
    assert by_token.end is not None
    assert by_text.end is None
    batch = as_canonical(drawn, policy_tokenizer)
    expected = by_text(batch).members
    assert expected.shape == (3, 2 * GROUP)
    assert expected.std(1).min() > 1e-3
    monkeypatch.setattr(
        type(by_token.reward_fn), "__call__", lambda *_: pytest.fail("texts were scored where tokens are known")
    )
    np.testing.assert_allclose(by_token(batch).members, expected, atol=1e-5)


def test_sampled_tokens_are_scored_as_they_were_written(
    folder: Path, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase
) -> None:
    found = source(folder, "heads", policy_tokenizer)
    end = policy_tokenizer("<|eos|>\n", add_special_tokens=False)["input_ids"]
    assert found.end == tuple(end)
    sequences = [
        [*prompt, *(ids[:-1] if ids[-1] == end[0] else ids), *end]
        for prompt, ids in zip(drawn.prompt_ids, drawn.completion_ids, strict=True)
    ]
    np.testing.assert_allclose(found(drawn).mean, plain_scores(folder / "heads", sequences), atol=1e-4)


def test_a_stop_text_is_scored_without_its_tokens(
    folder: Path, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase
) -> None:
    batch = as_canonical(drawn, policy_tokenizer)
    more = tuple(policy_tokenizer(" today", add_special_tokens=False)["input_ids"])
    # sample 2 was ended by a stop text, which its tokens hold and its text does not; sample 1 holds an unknown token
    ids = list(batch.completion_ids)
    ids[2], ids[1] = (*ids[2][:-1], *more), (10**6,)
    batch = replace(batch, completion_ids=ids)
    expected = source(folder, "heads", None)(batch).members
    np.testing.assert_allclose(source(folder, "heads", policy_tokenizer)(batch).members, expected, atol=1e-5)


def test_a_prompt_with_a_completion_that_is_too_long_is_scored_as_texts(
    folder: Path, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase
) -> None:
    batch = as_canonical(drawn, policy_tokenizer)
    sources = source(folder, "heads", policy_tokenizer), source(folder, "heads", None)
    for each in sources:
        each.card = each.reward_fn.card = replace(each.card, max_length=24)  # type: ignore[attr-defined]
        assert each.card.keeps_marks
    by_token, by_text = sources
    rewards = by_token(batch).members
    np.testing.assert_allclose(rewards, by_text(batch).members, atol=1e-5)
    assert by_token.reward_fn.num_cut > 0  # type: ignore[attr-defined]


def test_rows_of_models_of_before_lose_their_start_as_texts_do(policy_tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = (Message(role="user", content="question 3 about boats " * 5),)
    texts = ["a clear answer", "the harbour"]
    (expected,), num_cut = tokenise([prompt], [texts], policy_tokenizer, max_length=12, keeps_marks=False)
    assert num_cut == 2
    start = tuple(
        policy_tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt[0].content}], add_generation_prompt=True, return_dict=False
        )
    )
    end = tuple(policy_tokenizer("<|eos|>\n", add_special_tokens=False)["input_ids"])
    ids = [tuple(policy_tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert token_row([(start, each) for each in ids], end, Card(max_length=12)) == expected


@pytest.mark.parametrize("change", ["template", "trims", "more tokens", "other tokens", "splitting", "merges", "none"])
def test_tokens_are_shared_only_where_text_would_come_to_the_same(
    folder: Path, policy_tokenizer: PreTrainedTokenizerBase, change: str
) -> None:
    ours = load_tokenizer(folder / "heads")
    theirs = load_tokenizer(folder / "policy", own_pad=False)
    match change:
        case "template":
            theirs.chat_template = "{{ bos_token }}" + str(theirs.chat_template)
        case "trims":
            for each in (ours, theirs):
                each.chat_template = str(each.chat_template).replace("['content']", "['content'] | trim")
        case "more tokens":
            theirs.add_tokens(["<new>"])
        case "splitting":
            theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        case "merges":
            state = json.loads(theirs.backend_tokenizer.to_str())
            del state["model"]["merges"][-1]
            changed = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)))
            changed.chat_template = theirs.chat_template
            assert changed.get_vocab() == theirs.get_vocab()
            theirs = changed
        case "other tokens":
            theirs = train_tokenizer(["zebra zebra zebra"], vocab_size=len(ours))
    assert (shared_end(ours, theirs) is not None) == (change == "none")


def test_a_policy_that_pads_with_eos_shares_tokens(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder / "policy")
    theirs = train_tokenizer(["a text"], vocab_size=300)
    theirs.pad_token = None
    theirs.save_pretrained(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), load_tokenizer(tmp_path, own_pad=False)
    assert theirs.pad_token == theirs.eos_token != ours.pad_token
    assert shared_end(ours, theirs) is not None
    assert shared_end(tokenizer, theirs) is None


@pytest.mark.parametrize("members", ["heads", "full"])
def test_rewards_stand_on_the_scale_of_saved_statistics(folder: Path, members: str, drawn: RewardBatch) -> None:
    card = read_card(folder / members)
    assert card.has_statistics
    own, scaled = (source(folder, members, None, normalise=normalise)(drawn).members for normalise in (False, True))
    np.testing.assert_allclose(scaled, card.normalised_members(own))
    np.testing.assert_allclose(scaled.mean(0), (own.mean(0) - card.score_mean) / card.score_std, atol=1e-6)
    assert abs(scaled - own).max() > 1e-3


def test_held_out_chosen_completions_have_mean_zero_and_std_one(folder: Path) -> None:
    """P11, on the completions that the statistics were measured on."""
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    held = [row for row in rows if row["prompt"] in held_out_prompts(folder)]
    assert 3 < len(held) < len(rows)
    batch = RewardBatch(
        prompts=[(Message(role="user", content=row["prompt"]),) for row in held],
        completions=[row["chosen"] for row in held],
    )
    found = source(folder, "heads", None, normalise=True)(batch).mean
    assert found.mean() == pytest.approx(0, abs=1e-4)
    assert found.std(ddof=1) == pytest.approx(1, abs=1e-4)


def test_criteria_are_weighed_by_tokens_as_by_texts(
    folder: Path, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase
) -> None:
    def members(**weights: float) -> np.ndarray:
        model = load_reward_fn(str(folder / "criteria"), criterion_weights=weights)
        return model(batch.prompts, batch.completions).members

    batch = as_canonical(drawn, policy_tokenizer)
    options = RewardOptions(reward=[f"{folder / 'criteria'}#brief=2,kind=-0.5,overall=1.5"])
    with load_rewards(options, policy_tokenizer=policy_tokenizer) as rewards:
        found = rewards.score(batch).by_source["criteria"].members
    expected = 2 * members(brief=1) - 0.5 * members(kind=1) + 1.5 * members()
    assert found.shape == (3, 2 * GROUP)
    assert np.abs(members(brief=1) - members(kind=1)).max() > 1e-2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def held_out_prompts(folder: Path) -> set[str]:
    rows = read_preferences(str(folder / "data.jsonl")).rows
    _, held = split_by_prompt(rows, eval_share=0.2, seed=0)
    return {row.prompt[0].content for row in held}


def test_a_model_without_statistics_says_so_and_stays_as_it_is(
    folder: Path, drawn: RewardBatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"name": "plain", "policy_tokenizer": None}
    model = load_reward_fn(str(folder / "heads"))
    with caplog.at_level(logging.WARNING):
        found = ModelReward(model, Card(), normalise=True, **options)
    assert "reward plain has no saved statistics: its rewards stay on their own scale" in caplog.text
    np.testing.assert_array_equal(found(drawn).members, model(drawn.prompts, drawn.completions).members)


def test_an_ensemble_and_a_verifier_are_added(
    folder: Path, drawn: RewardBatch, policy_tokenizer: PreTrainedTokenizerBase
) -> None:
    options = RewardOptions(reward=[str(folder / "heads"), "0.5*length:3"], penalty="uwo", penalty_strength=2.0)
    with load_rewards(options, policy_tokenizer=policy_tokenizer) as rewards:
        scored = rewards.score(drawn)
    assert scored.raw.members.shape == (3, 2 * GROUP)
    model = source(folder, "heads", policy_tokenizer, normalise=True)(drawn)
    length = np.array([max(0, 1 - abs(len(text.split()) - 3) / 3) for text in drawn.completions])
    np.testing.assert_allclose(scored.raw.members, model.members + 0.5 * length)
    np.testing.assert_allclose(scored.total, model.mean + 0.5 * length - 2.0 * model.members.var(0, ddof=1))
    assert set(scored.by_source) == {"heads", "length"}
