"""Stop texts: what decoding every row at every step would find, with fewer rows decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alignment.generation.generate import StopTexts
from rewardkit.network.tokens import train_tokenizer

TEXTS = ["So der Käse, naïve café – the end.\n\nUser: what now? ", "A kettle arrived broken. Ünd so weiter é ö\n"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=320)


@pytest.mark.parametrize("stops", [("\n\n",), ("é",), ("e ",), (" the",), ("User:", "ö\n"), ("– t",)])
def test_ends_are_those_that_decoding_everything_finds(tokenizer, stops: tuple[str, ...]) -> None:
    generator = np.random.default_rng(0)
    known = [token for text in TEXTS[:2] for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    found = StopTexts(stops, tokenizer)
    num_ended = 0
    for _ in range(40):
        # Pieces of the texts, with tokens of any kind between: bytes that are no character, special tokens.
        start = int(generator.integers(len(known)))
        piece = (known + known)[start : start + 12]
        piece[int(generator.integers(12))] = int(generator.integers(len(tokenizer)))
        tokens = torch.tensor([piece])
        for length in range(1, 13):
            tail = tokenizer.decode(piece[max(0, length - found.window) : length])
            before = tokenizer.decode(piece[max(0, length - found.window) : length - 1])
            is_new = any(stop in tail and stop not in before for stop in stops)
            (ended,) = found.ended(tokens[:, :length])
            assert ended or not is_new
            assert not ended or any(stop in tail for stop in stops)
            num_ended += ended
    assert num_ended


def test_only_rows_that_may_have_ended_are_decoded(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("k", ".")}
    rows = torch.tensor([[*ids["k"], *ids["k"]], [*ids["k"], *ids["."]], [*ids["."], *ids["k"]]])
    found = StopTexts(("k.",), tokenizer)
    decoded = []
    decode = tokenizer.batch_decode
    monkeypatch.setattr(tokenizer, "batch_decode", lambda rows: decoded.append(len(rows)) or decode(rows))
    assert found.ended(rows) == [False, True, False]
    assert decoded == [2, 1]  # two tokens looked up, then one row
    assert found.ended(rows) == [False, True, False]
    assert decoded == [2, 1, 1]


def test_a_character_may_arrive_in_bytes() -> None:
    tokenizer = train_tokenizer(["abc"] * 3, vocab_size=262)
    ids = tokenizer("xé", add_special_tokens=False)["input_ids"]
    assert len(ids) == 3  # each byte a token: alone the last is no character
    found = StopTexts(("é",), tokenizer)
    assert [found.ended(torch.tensor([ids[:length]])) for length in (1, 2, 3)] == [[False], [False], [True]]


def test_a_space_may_be_left_out_where_a_text_begins() -> None:
    class Stripping:
        def batch_decode(self, rows) -> list[str]:
            return ["".join(("a", " b", "c")[token] for token in row).lstrip() for row in rows]

    found = StopTexts(("a ",), Stripping())  # type: ignore[arg-type]
    assert found.ended(torch.tensor([[0, 1], [0, 2], [2, 1]])) == [True, False, False]
