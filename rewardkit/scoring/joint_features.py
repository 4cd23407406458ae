"""Features of an answer together with its prompt: what the answer says, and how it fits what was asked. No torch.

The words of an answer cannot say that it is the right one for this prompt. Blocks of columns, each brought to mean
squared length 1 so that a prior treats them alike:

    answer     latent dimensions of its TF-IDF row (latent semantic analysis, Deerwester et al. 1990)
    overlap    cosine of prompt and answer by words and by latent dimensions, the share of either's words, by their idf,
               that the other has too, and log(1 + n) of the numbers that do and that do not stand in the prompt
    together   products of latent dimensions of prompt and answer: a head on them is a bilinear form
    states     of a network at the answer, where there is one: their first principal components
    nearness   cosine of a pretrained network's states of prompt and answer

Digits are all one digit for the words, so that an amount is no rare word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.records import Message
from rewardkit.reward.reward import States

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

ANSWER_DIMENSIONS = 48
TOGETHER_DIMENSIONS = (8, 16)  # of the prompt, of the answer
STATE_DIMENSIONS = 64
COMMON = 500  # texts from which on a word has to occur in three
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, kw_only=True)
class JointFeatures:
    """Fitted vocabulary and dimensions.

    Attributes:
        words: of prompts and answers together.
        of_prompts, of_answers: (d, V) right singular vectors of their TF-IDF rows.
        states: of a network; None without one.
        of_states: (d, h) right singular vectors of its states, their mean taken off; None without, or for all of them.
        scales: by block, what its columns are divided by, (columns,).
    """

    words: TfidfVectorizer
    of_prompts: np.ndarray
    of_answers: np.ndarray
    states: States | None
    scales: Sequence[np.ndarray]
    of_states: np.ndarray | None = None

    @classmethod
    def fit(
        cls,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[str],
        *,
        states: States | None = None,
        seed: int = 0,
    ) -> JointFeatures:
        """From B answers, one prompt each, labelled or not.

        Raises:
            ValueError: if there are too few different words to make dimensions of.
            ImportError: if scikit-learn is missing, with the line that installs it.
        """
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.utils.extmath import randomized_svd
        except ImportError as error:
            raise ImportError('features of words need scikit-learn: pip install "tiebreak[train]"') from error

        asked = sorted({_words(plain_prompt(prompt)) for prompt in prompts})
        said = sorted({_words(answer) for answer in answers})
        least = 3 if len(asked) + len(said) >= COMMON else 1
        words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]", min_df=least).fit(asked + said)
        most = min(len(words.vocabulary_) - 1, len(said) - 1)
        if most < 1:
            raise ValueError(f"{len(said)} different answers of {len(words.vocabulary_)} words make no features")

        def directions(rows: csr_matrix | np.ndarray, wanted: int) -> np.ndarray:
            how = {"n_iter": 5, "random_state": seed}
            return randomized_svd(rows, wanted, **how)[2]  # pyright: ignore[reportArgumentType]

        unscaled = cls(
            words=words,
            of_prompts=directions(words.transform(asked), min(TOGETHER_DIMENSIONS[0], most)),
            of_answers=directions(words.transform(said), min(ANSWER_DIMENSIONS, most)),
            states=states,
            scales=(),
        )
        blocks, of_states = unscaled.blocks(prompts, answers), None
        if "states" in blocks and blocks["states"].shape[1] > STATE_DIMENSIONS:
            away = blocks["states"] - blocks["states"].mean(0)
            of_states = directions(away, min(STATE_DIMENSIONS, len(away)))
            blocks["states"] = blocks["states"] @ of_states.T
        scales = [_scale(block, equal=name == "overlap") for name, block in blocks.items()]
        return replace(unscaled, scales=scales, of_states=of_states)

    def blocks(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> dict[str, np.ndarray]:
        """By name, (B, columns) as they are, before scales; see the module."""
        asked = [plain_prompt(prompt) for prompt in prompts]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(asked))}
        prompt_of = np.array([numbers[text] for text in asked], dtype=np.int64)
        prompt_rows = self.words.transform(list(map(_words, numbers)))
        rows = self.words.transform(list(map(_words, answers)))
        latent = rows @ self.of_answers.T
        of_prompt = _to_length_one(prompt_rows @ self.of_prompts.T)[prompt_of]
        prompt_latent = (prompt_rows @ self.of_answers.T)[prompt_of]
        prompt_rows = prompt_rows[prompt_of]
        idf = self.words.idf_
        has, asked_for = (rows > 0).astype(float), (prompt_rows > 0).astype(float)
        shared = has.multiply(asked_for) @ idf
        counts = [_numbers_in_common(prompt, answer) for prompt, answer in zip(asked, answers, strict=True)]
        overlap = np.column_stack(
            (
                np.asarray(rows.multiply(prompt_rows).sum(1)).ravel(),
                (_to_length_one(latent) * _to_length_one(prompt_latent)).sum(1),
                shared / np.maximum(has @ idf, 1e-12),
                shared / np.maximum(asked_for @ idf, 1e-12),
                np.log1p(np.array(counts, dtype=float).reshape(-1, 2)),
            )
        )
        together = of_prompt[:, :, None] * latent[:, None, : TOGETHER_DIMENSIONS[1]]
        blocks = {"answer": latent, "overlap": overlap, "together": together.reshape(len(rows.indptr) - 1, -1)}
        if not self.states:
            return blocks
        of_network = dict(self.states(prompts, answers))
        if self.of_states is not None:
            of_network["states"] = of_network["states"] @ self.of_states.T
        return blocks | of_network

    def __call__(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> np.ndarray:
        """(B, h) float64."""
        blocks = self.blocks(prompts, answers).values()
        return np.hstack([block / scale for block, scale in zip(blocks, self.scales, strict=True)])


def _words(text: str) -> str:
    return re.sub(r"\d+", "0", text)


def _numbers_in_common(prompt: str, answer: str) -> tuple[int, int]:
    """Numbers of the answer that stand in the prompt, and that do not."""
    asked, said = set(NUMBER.findall(prompt)), NUMBER.findall(answer)
    there = sum(number in asked for number in said)
    return there, len(said) - there


def _to_length_one(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _scale(block: np.ndarray, *, equal: bool) -> np.ndarray:
    """(columns,) that bring the block, its mean taken off, to mean squared length 1; equal: its columns alike."""
    spread = block.std(0)
    spread = np.where(spread > 1e-9 * np.maximum(np.abs(block).max(0, initial=0.0), 1e-30), spread, 0.0)
    if not equal:
        return np.full(block.shape[1], np.linalg.norm(spread) or 1.0)
    return np.where(spread > 0, spread * np.sqrt(block.shape[1]), 1.0)
