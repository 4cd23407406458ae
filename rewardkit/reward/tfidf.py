"""Texts as TF-IDF features, and the reward model that needs no neural weights. No torch; scikit-learn while it runs.

    rewardkit.json    the card, kind `tfidf`
    terms.json        the recipe and its vocabularies, terms in the order of their columns
    tfidf.npz         `idf` (one per term) and `heads`, (K + C, h) members drawn from the posterior, then criteria

Plain JSON and arrays: loading executes nothing, as a pickle would. Features are of the completion alone: the prompt is
the same on both sides of a pair. Terms are weighed by (1 + log tf) idf and scaled to length 1 per vocabulary. The last
column may be log(1 + words): longer answers are often preferred, and a scaled row does not say how long it is. With it
the model mostly measures length, so that it is there only where it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, hstack

from rewardkit.data.records import Message
from rewardkit.reward.metadata import Card, read_card
from rewardkit.reward.reward import Reward, check_criterion_weights, combine
from rewardkit.run.directory import write_text

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

WORDS = {"analyzer": "word", "ngram_range": [1, 2], "token_pattern": r"\w+|[^\w\s]"}
CHARACTERS = {"analyzer": "char_wb", "ngram_range": [2, 4]}
RECIPES: Mapping[str, Sequence[Mapping[str, Any]]] = {"words": [WORDS], "words and characters": [WORDS, CHARACTERS]}
MAX_TERMS = 20_000  # of each vocabulary, the most frequent ones
COMMON = 500  # completions from which on a term has to occur in three


class TfidfFeatures:
    """Fitted vocabularies of a recipe.

    Attributes:
        recipe: a key of RECIPES.
        vectorizers: one per vocabulary.
        has_length: whether the last column is the length.
    """

    def __init__(self, recipe: str, vectorizers: Sequence[TfidfVectorizer], *, has_length: bool = True) -> None:
        self.recipe = recipe
        self.vectorizers = vectorizers
        self.has_length = has_length

    @property
    def name(self) -> str:
        """What is counted, for people and the card: `words`, `words and characters, length`."""
        return f"{self.recipe}, length" if self.has_length else self.recipe

    @classmethod
    def fit(cls, recipe: str, texts: Sequence[str], *, has_length: bool = True) -> TfidfFeatures:
        """Finds the vocabularies and the inverse document frequencies of texts."""
        least = 3 if len(texts) >= COMMON else 1
        vectorizers = [_vectorizer(part, min_df=least, max_features=MAX_TERMS) for part in RECIPES[recipe]]
        for vectorizer in vectorizers:
            try:
                vectorizer.fit(texts)
            except ValueError as error:
                raise ValueError(f"{len(texts)} completions make no TF-IDF vocabulary: {error}") from error
        return cls(recipe, vectorizers, has_length=has_length)

    def transform(self, texts: Sequence[str]) -> csr_array:
        """(B, h) features, float64."""
        parts = [vectorizer.transform(texts) for vectorizer in self.vectorizers]
        if self.has_length:
            parts.append(csr_array(np.log1p([len(text.split()) for text in texts])[:, None]))
        return csr_array(hstack(parts))

    @property
    def num_features(self) -> int:
        """Number of features h: one per term, and one for the length where it is there."""
        return sum(len(vectorizer.vocabulary_) for vectorizer in self.vectorizers) + self.has_length

    def write(self, folder: Path) -> np.ndarray:
        """Writes terms.json; the inverse document frequencies, which it leaves out, are returned."""
        terms = [
            sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__) for vectorizer in self.vectorizers
        ]
        values = {"recipe": self.recipe, "length": self.has_length, "terms": terms}
        write_text(folder / "terms.json", json.dumps(values, ensure_ascii=False))
        return np.concatenate([vectorizer.idf_ for vectorizer in self.vectorizers])

    @classmethod
    def read(cls, folder: Path, idf: np.ndarray) -> TfidfFeatures:
        """What `write` wrote; a file that does not say so is of a model with a length.

        Raises:
            ValueError: if terms.json names an unknown recipe or does not fit to `idf`.
        """
        values = json.loads((folder / "terms.json").read_text(encoding="utf-8"))
        recipe, terms = values["recipe"], values["terms"]
        if recipe not in RECIPES or len(terms) != len(RECIPES[recipe]) or sum(map(len, terms)) != len(idf):
            raise ValueError(
                f"{folder / 'terms.json'}: recipe {recipe!r} and {len(idf)} frequencies do not fit together"
            )
        vectorizers, start = [], 0
        for part, names in zip(RECIPES[recipe], terms, strict=True):
            vectorizer = _vectorizer(part, vocabulary={name: column for column, name in enumerate(names)})
            vectorizer.idf_ = idf[start : start + len(names)]
            vectorizers.append(vectorizer)
            start += len(names)
        return cls(recipe, vectorizers, has_length=bool(values.get("length", True)))


@dataclass(frozen=True, kw_only=True)
class WordContribution:
    """What the word at characters [start, end) of a text adds to its reward."""

    start: int
    end: int
    value: float


class TfidfReward:
    """A saved TF-IDF reward model ready to score; a `RewardFn`."""

    def __init__(
        self,
        features: TfidfFeatures,
        heads: np.ndarray,
        card: Card,
        *,
        criterion_weights: Mapping[str, float] | None = None,
    ) -> None:
        check_criterion_weights(criterion_weights or {}, card.criteria)
        if heads.shape != (card.num_members + len(card.criteria), features.num_features):
            raise ValueError(
                f"heads have shape {heads.shape}, {features.num_features} features and the card say otherwise"
            )
        self.features = features
        self.heads = heads
        self.card = card
        self.criterion_weights = criterion_weights or {}

    @classmethod
    def load(cls, path: str | Path, *, criterion_weights: Mapping[str, float] | None = None) -> TfidfReward:
        """Loads what `save` wrote.

        Raises:
            ValueError: if the folder holds no TF-IDF model, or its parts do not fit together.
            ImportError: if scikit-learn is missing.
        """
        folder = Path(path)
        card = read_card(folder)
        if card.kind != "tfidf":
            raise ValueError(f"{folder}: a model of kind {card.kind!r}, not tfidf")
        with np.load(folder / "tfidf.npz", allow_pickle=False) as arrays:
            features = TfidfFeatures.read(folder, arrays["idf"])
            return cls(features, arrays["heads"].astype(np.float64), card, criterion_weights=criterion_weights)

    def save(self, out_dir: str | Path) -> None:
        """Writes the model; see the module's docstring."""
        folder = Path(out_dir)
        folder.mkdir(parents=True, exist_ok=True)
        idf = self.features.write(folder)
        np.savez_compressed(folder / "tfidf.npz", idf=idf, heads=self.heads.astype(np.float32))
        self.card.write(folder)

    def word_contributions(self, completion: str) -> tuple[list[WordContribution], float]:
        """What each word of a completion adds to its reward, mean over members, and what its length adds.

        Exact, as the reward is linear in its features: all of them add up to it. A term that occurs several times adds
        alike at each place, one of several words alike to each of them; words are what stands between white space.
        """
        words = list(re.finditer(r"\S+", completion))
        weights = self.heads[: self.card.num_members].mean(0)
        row = self.features.transform([completion]).toarray()[0]
        added = np.zeros(len(words))
        start = 0
        for vectorizer in self.features.vectorizers:
            places = _places(vectorizer, [word[0].lower() for word in words])
            for term, occurrences in places.items():
                column = vectorizer.vocabulary_.get(term)
                if column is None:
                    continue
                share = weights[start + column] * row[start + column] / len(occurrences)
                for numbers in occurrences:
                    for number in numbers:
                        added[number] += share / len(numbers)
            start += len(vectorizer.vocabulary_)
        length = float(weights[-1] * row[-1]) if self.features.has_length else 0.0
        contributions = [
            WordContribution(start=word.start(), end=word.end(), value=float(value))
            for word, value in zip(words, added, strict=True)
        ]
        return contributions, length

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        """Rewards of B completions by every member; the prompts, one each, do not change them."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts for {len(completions)} completions, allowed is one each")
        scores = (self.features.transform(completions) @ self.heads.T).T
        return Reward(members=combine(scores, criteria=self.card.criteria, weights=self.criterion_weights))


def _places(vectorizer: TfidfVectorizer, words: Sequence[str]) -> dict[str, list[list[int]]]:
    """By term, for each of its occurrences the numbers of the words that it lies in."""
    low, high = vectorizer.ngram_range
    places: dict[str, list[list[int]]] = {}
    if vectorizer.analyzer == "word":
        pattern = re.compile(vectorizer.token_pattern)
        tokens = [(token, number) for number, word in enumerate(words) for token in pattern.findall(word)]
        for count in range(low, high + 1):
            for first in range(len(tokens) - count + 1):
                part = tokens[first : first + count]
                places.setdefault(" ".join(token for token, _ in part), []).append([number for _, number in part])
        return places
    for number, word in enumerate(words):  # as scikit-learn's char_wb cuts them
        padded = f" {word} "
        for count in range(low, high + 1):
            for first in range(max(1, len(padded) - count + 1)):
                places.setdefault(padded[first : first + count], []).append([number])
            if len(padded) <= count:
                break  # a short word counts once
    return places


def _vectorizer(part: Mapping[str, Any], **options: Any) -> TfidfVectorizer:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ImportError('a TF-IDF model needs scikit-learn: pip install "tiebreak[train]"') from error
    return TfidfVectorizer(**{**part, "ngram_range": tuple(part["ngram_range"])}, sublinear_tf=True, **options)
