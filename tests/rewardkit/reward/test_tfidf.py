"""The TF-IDF reward model: features by hand, saved and loaded without pickle, trained by the command as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rewardkit.config import RewardConfig
from rewardkit.data.records import Message, Preference
from rewardkit.data.training_data import Loaded
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import Card, read_card
from rewardkit.reward.tfidf import RECIPES, TfidfFeatures, TfidfReward
from rewardkit.run.directory import Run, read_metrics
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, RunContext
from rewardkit.training.fixed_features.frozen_head import check_options, fit_heads, train_tfidf_head

TEXTS = ["the cat sat", "the dog", "a cat and a dog and a cat", "nobody"]
GOOD, BAD = ("clear", "correct", "kind", "thorough"), ("vague", "wrong", "rude", "hasty")
FILLING = ("answer", "about", "the", "harbour", "and", "its", "boats", "today")


def preferences(count: int, seed: int = 0, *, criteria: bool = False) -> list[Preference]:
    """Pairs whose chosen completion holds a good word and whose rejected one a bad word."""
    rng = np.random.default_rng(seed)

    def text(words: tuple[str, ...]) -> str:
        return " ".join(rng.permutation([*rng.choice(FILLING, 6), rng.choice(words)]))

    return [
        Preference(
            prompt=(Message(role="user", content=f"question {seed} {number}"),),
            chosen=text(GOOD),
            rejected=text(BAD),
            criteria={"brief": -1.0 if number % 2 else 1.0} if criteria else {},
            meta={"annotator": "anna" if number % 3 else "ben"},
        )
        for number in range(count)
    ]


def config(out: Path, **options: object) -> RewardConfig:
    return RewardConfig(model="tfidf", mode="head", data="x", out=str(out), **options)  # type: ignore[arg-type]


def loaded(count: int = 120, **options: bool) -> Loaded:
    return Loaded(
        train=preferences(count, **options),
        held_out=preferences(40, seed=1, **options),
        data_hash="0" * 64,
        bad_rows=[],
        description="",
    )


def trained(out: Path, **options: object) -> TfidfReward:
    settings = config(out, **options)
    data = loaded(criteria=bool(options.get("criteria")))
    check_options(settings, data.train)
    run = Run(out, settings)
    context = RunContext(config=settings, run=run, interruption=Interruption(), progress=Progress())
    train_tfidf_head(context, data)
    return TfidfReward.load(out)


def test_features_by_hand() -> None:
    features = TfidfFeatures.fit("words", TEXTS)
    row = features.transform(["cat cat dog unknown"]).toarray()[0]
    column = features.vectorizers[0].vocabulary_
    # 4 texts, `cat` and `dog` in 2 each: idf = log(5 / 3) + 1; weights (1 + log 2) idf and idf, scaled to length 1
    ratio = 1 + np.log(2)
    assert row[column["cat"]] == pytest.approx(ratio / np.sqrt(1 + ratio**2))
    assert row[column["dog"]] == pytest.approx(1 / np.sqrt(1 + ratio**2))
    assert row[-1] == pytest.approx(np.log(5))
    assert np.count_nonzero(row) == 3


@pytest.mark.parametrize("recipe", RECIPES)
def test_saved_and_loaded_scores_the_same_without_pickle(recipe: str, tmp_path: Path) -> None:
    features = TfidfFeatures.fit(recipe, TEXTS)
    heads = np.random.default_rng(0).standard_normal((3, features.num_features)).astype(np.float32).astype(float)
    model = TfidfReward(features, heads, Card(kind="tfidf", num_members=2, criteria=("kind",)))
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"rewardkit.json", "terms.json", "tfidf.npz"}
    again = TfidfReward.load(tmp_path)
    texts = ["a cat", "dogs and cats, überall 猫", ""]
    prompts = [()] * 3
    expected = model(prompts, texts).members
    assert expected.shape == (2, 3)
    np.testing.assert_allclose(again(prompts, texts).members, expected, atol=1e-12)
    kind = TfidfReward.load(tmp_path, criterion_weights={"kind": 2.0})
    np.testing.assert_allclose(kind(prompts, texts).members[0], 2.0 * (features.transform(texts) @ heads[2]))


def test_without_a_length_a_text_said_twice_is_worth_the_same(tmp_path: Path) -> None:
    counted, bare = (TfidfFeatures.fit("words", TEXTS, has_length=has_length) for has_length in (True, False))
    assert counted.num_features == bare.num_features + 1
    assert (counted.name, bare.name) == ("words, length", "words")
    once, twice = bare.transform(["cat", "cat cat"]).toarray()
    np.testing.assert_allclose(once, twice)
    heads = np.arange(1.0, bare.num_features + 1)[None]
    TfidfReward(bare, heads, Card(kind="tfidf", features=bare.name)).save(tmp_path)
    again = TfidfReward.load(tmp_path)
    assert not again.features.has_length
    assert read_card(tmp_path).features == "words"
    np.testing.assert_allclose(again([()], ["a cat"]).members, (bare.transform(["a cat"]) @ heads.T).T)


def test_a_model_saved_before_the_length_was_a_choice_counts_it(tmp_path: Path) -> None:
    features = TfidfFeatures.fit("words", TEXTS)
    heads = np.ones((1, features.num_features))
    TfidfReward(features, heads, Card(kind="tfidf")).save(tmp_path)
    for name, key in (("terms.json", "length"), ("rewardkit.json", "features")):
        values = json.loads((tmp_path / name).read_text())
        del values[key]
        (tmp_path / name).write_text(json.dumps(values))
    again = TfidfReward.load(tmp_path)
    assert again.features.has_length
    np.testing.assert_allclose(again([()], ["a cat"]).members, (features.transform(["a cat"]) @ heads.T).T)


def test_the_length_is_there_where_it_is_asked_for(tmp_path: Path) -> None:
    names = [trained(tmp_path / str(asked), length_feature=asked).card.features for asked in (False, True)]
    assert [name.endswith(", length") for name in names] == [False, True]
    with pytest.raises(ValueError, match="length_feature is a column of tfidf, the model is 'tiny'"):
        RewardConfig(model="tiny", data="x", out="y", length_feature=True)


def test_folders_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    features = TfidfFeatures.fit("words", TEXTS)
    TfidfReward(features, np.zeros((1, features.num_features)), Card(kind="tfidf")).save(tmp_path)
    terms = json.loads((tmp_path / "terms.json").read_text())
    (tmp_path / "terms.json").write_text(json.dumps(terms | {"recipe": "letters"}))
    with pytest.raises(ValueError, match="recipe 'letters'"):
        TfidfReward.load(tmp_path)
    (tmp_path / "terms.json").write_text(json.dumps(terms))
    (tmp_path / "rewardkit.json").write_text('{"kind": "tfidf", "num_members": 7}')
    with pytest.raises(ValueError, match="heads have shape"):
        TfidfReward.load(tmp_path)
    (tmp_path / "rewardkit.json").write_text('{"kind": "heads"}')
    with pytest.raises(ValueError, match="not tfidf"):
        TfidfReward.load(tmp_path)


def test_objects_in_the_arrays_are_refused(tmp_path: Path) -> None:
    features = TfidfFeatures.fit("words", TEXTS)
    TfidfReward(features, np.zeros((1, features.num_features)), Card(kind="tfidf")).save(tmp_path)
    np.savez(tmp_path / "tfidf.npz", idf=np.array([print], dtype=object), heads=np.zeros((1, 1)))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        TfidfReward.load(tmp_path)


def test_no_words_make_no_vocabulary() -> None:
    with pytest.raises(ValueError, match="2 completions make no TF-IDF vocabulary"):
        TfidfFeatures.fit("words", ["", " "])


def test_training_learns_the_words_and_knows_what_it_has_not_seen(tmp_path: Path) -> None:
    model = trained(tmp_path / "run")
    card = read_card(tmp_path / "run")
    assert (card.kind, card.num_members, card.data_hash) == ("tfidf", 32, "0" * 64)
    assert card.likelihood["converged"] is True
    assert [row["eval/nll"] for row in read_metrics(tmp_path / "run")]
    pair = model([(), ()], ["kind and clear", "rude and vague"])
    assert pair.mean[0] > pair.mean[1] + 1
    fn = load_reward_fn(str(tmp_path / "run"))
    np.testing.assert_array_equal(fn([(), ()], ["kind and clear", "rude and vague"]).members, pair.members)


def test_ensemble_is_how_many_members_are_drawn(tmp_path: Path) -> None:
    one, few = trained(tmp_path / "one"), trained(tmp_path / "few", ensemble=4)
    assert (len(one.heads), len(few.heads)) == (32, 4)
    np.testing.assert_allclose(one.heads.mean(0), few.heads.mean(0), atol=1e-6)


def test_criterion_heads_follow_their_own_judgments(tmp_path: Path) -> None:
    model = trained(tmp_path / "run", criteria=True)
    assert model.card.criteria == ("brief",)
    assert len(model.heads) == 33
    # the criterion was judged at random, the overall preference was not
    assert np.linalg.norm(model.heads[32]) < 0.5 * np.linalg.norm(model.heads[:32].mean(0))


def test_crowd_learns_annotators_and_writes_them_down(tmp_path: Path) -> None:
    trained(tmp_path / "run", likelihood="crowd")
    reliability = read_card(tmp_path / "run").likelihood["reliability"]
    assert reliability.keys() == {"anna", "ben"}
    assert all(value > 0.8 for value in reliability.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"likelihood": "davidson"}, "likelihood is 'davidson', mode head allows"),
        ({"use_margin": True}, "use_margin is True, mode head has no use for it"),
        ({"centring": 0.1}, "centring is 0.1"),
        ({"criteria": True}, "no row of the training data has judgments by criterion"),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        check_options(config(tmp_path, **options), preferences(3))


def test_crowd_without_annotators_is_refused(tmp_path: Path) -> None:
    prompt = (Message(role="user", content="why?"),)
    rows = [Preference(prompt=prompt, chosen="a", rejected="b")]
    with pytest.raises(ValueError, match="needs a column annotator or reliability"):
        check_options(config(tmp_path, likelihood="crowd"), rows)


def test_features_that_never_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are the same in all 3 pairs"):
        fit_heads(np.zeros((3, 2)), preferences(3), config(tmp_path))


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("has_length", [False, True])
def test_what_words_add_and_the_length_are_the_reward(recipe: str, has_length: bool) -> None:
    texts = [*TEXTS, "Straße, 3.5 km — gut!", "I I I a"]
    features = TfidfFeatures.fit(recipe, texts, has_length=has_length)
    heads = np.random.default_rng(1).normal(size=(3 + 1, features.num_features))
    model = TfidfReward(features, heads, Card(kind="tfidf", num_members=3, criteria=("brief",)))
    for text in [*texts, "The CAT\tsat,  again\n\nunknown ", "", "x"]:
        words, length = model.word_contributions(text)
        assert [text[word.start : word.end] for word in words] == text.split()
        reward = model([()], [text]).mean[0]
        assert sum(word.value for word in words) + length == pytest.approx(reward, abs=1e-9)
        assert has_length or length == 0.0


def test_what_a_word_adds_by_hand() -> None:
    """One vocabulary of words and pairs of words; "b b c": b is twice as often as c, pairs are shared by their two."""
    features = TfidfFeatures.fit("words", ["b b c"], has_length=False)
    terms = features.vectorizers[0].vocabulary_
    weight = dict.fromkeys(terms, 0.0) | {"b": 1.0, "c": 10.0, "b c": 100.0}
    heads = np.zeros((1, len(terms)))
    for term, column in terms.items():
        heads[0, column] = weight[term]
    model = TfidfReward(features, heads, Card(kind="tfidf"))
    twice = 1 + np.log(2)  # of b; c, "b b" and "b c" occur once, and all are as rare as each other
    norm = np.sqrt(twice**2 + 1 + 1 + 1)
    words, _ = model.word_contributions("b b c")
    first, second, third = (word.value for word in words)
    assert first == pytest.approx(twice / norm / 2)
    assert second == pytest.approx(twice / norm / 2 + 100 / norm / 2)
    assert third == pytest.approx(10 / norm + 100 / norm / 2)
