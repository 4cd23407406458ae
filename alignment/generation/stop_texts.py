"""Whether the newest token of a row completes a text that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What bytes that are no whole character are decoded to.
BROKEN = "\ufffd"
# A token has a byte or more of a text, but for some special ones; these may stand between.
SPECIAL_TOKENS = 4


class StopTexts:
    """Looks at the end of a row only where its newest token may have brought a stop text's last character."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
        self.texts, self.tokenizer = texts, tokenizer
        self.window = max(len(text.encode()) for text in texts) + SPECIAL_TOKENS
        self._may_end: dict[int, bool] = {}

    def ended(self, tokens: Tensor) -> list[bool]:
        """For each row of (rows, new tokens so far) ids, whether one of the texts stands at its end, or just before."""
        newest = tokens[:, -1].tolist()
        self._learn([token for token in dict.fromkeys(newest) if token not in self._may_end])
        rows = [row for row, token in enumerate(newest) if self._may_end[token]]
        ended = [False] * len(newest)
        if rows:
            tails = self.tokenizer.batch_decode(tokens[rows, -self.window :].tolist())
            for row, tail in zip(rows, tails, strict=True):
                ended[row] = any(text in tail for text in self.texts)
        return ended

    def _learn(self, tokens: Sequence[int]) -> None:
        """Notes of tokens whether they may bring a last character: once for each, whatever the vocabulary."""
        if not tokens:
            return
        last = {text[-1] for text in self.texts} | {BROKEN}
        # Twice, as a space at the beginning of a text may be left out.
        texts = self.tokenizer.batch_decode([[token, token] for token in tokens])
        for token, text in zip(tokens, texts, strict=True):
            self._may_end[token] = not last.isdisjoint(text)
