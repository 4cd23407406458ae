"""Token rows of policies: the boundary between prompt and completion, masks of turns, what is cut, partners."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import PreTrainedTokenizerBase

from alignment.policy.data import Demonstration, Labelled
from alignment.policy.rows import demonstration_rows, labelled_rows, partner_numbers, preference_rows
from rewardkit.data.records import Message, Preference
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import train_tokenizer

TEXTS = ["How long is the river?", "The river is long and wide.", "Short.", "And the boat?", "It is on the river."]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, vocab_size=320)


def turns(*texts: str) -> tuple[Message, ...]:
    """User and assistant in turn."""
    return tuple(Message(role="assistant" if number % 2 else "user", content=text) for number, text in enumerate(texts))


def decoded(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids)))


def test_a_pair_shares_its_prompt_and_each_completion_ends_once(tokenizer: PreTrainedTokenizerBase) -> None:
    pair = Preference(prompt=turns(TEXTS[0]), chosen=TEXTS[1], rejected=TEXTS[2], p_chosen=0.75, weight=2.0, margin=1.0)
    rows = preference_rows([pair], tokenizer, max_length=100)
    (row,) = rows.rows
    assert decoded(tokenizer, row.prompt) == f"<|user|>\n{TEXTS[0]}<|eos|>\n<|assistant|>\n"
    assert [decoded(tokenizer, branch) for branch in row.branches] == [f"{TEXTS[1]}<|eos|>", f"{TEXTS[2]}<|eos|>"]
    assert (rows.p_chosen.tolist(), rows.weight.tolist(), rows.margin.tolist()) == ([0.75], [2.0], [1.0])
    assert rows.num_targets.tolist() == [sum(map(len, row.branches))]


def test_prompt_and_completion_are_tokenised_apart(tokenizer: PreTrainedTokenizerBase) -> None:
    # the prompt's tokens are those the policy is given when it writes, whatever the completion starts with
    completions = ["\nThe river", " river", "The"]
    pairs = [Preference(prompt=turns(TEXTS[0]), chosen=text, rejected="x") for text in completions]
    rows = preference_rows(pairs, tokenizer, max_length=100).rows
    assert len({row.prompt for row in rows}) == 1
    for row, text in zip(rows, completions, strict=True):
        alone = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert row.branches[0] == (*alone, tokenizer.eos_token_id)


def test_a_prompt_is_cut_at_its_start_and_a_pair_that_is_cut_to_the_same_is_left_out(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    whole = preference_rows(
        [Preference(prompt=turns(TEXTS[0]), chosen=TEXTS[1], rejected=TEXTS[2])], tokenizer, max_length=100
    ).rows[0]
    longest = max(map(len, whole.branches))
    same = "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2
    pairs = [
        Preference(prompt=turns(TEXTS[0]), chosen=TEXTS[1], rejected=TEXTS[2]),
        Preference(prompt=turns(TEXTS[0]), chosen=same + "1", rejected=same + "2"),
    ]
    rows = preference_rows(pairs, tokenizer, max_length=longest + 9)
    assert (len(rows), rows.num_cut, rows.num_left_out) == (1, 2, 1)
    assert decoded(tokenizer, rows.rows[0].prompt).startswith("<|user|>\n")
    assert decoded(tokenizer, rows.rows[0].prompt).endswith("?<|eos|>\n<|assistant|>\n")
    assert len(rows.rows[0].prompt) == 9
    assert rows.rows[0].branches == whole.branches


def test_the_last_turn_alone_is_trained_on(tokenizer: PreTrainedTokenizerBase) -> None:
    said = Demonstration(turns=turns(TEXTS[0], TEXTS[1], TEXTS[3], TEXTS[4]), weight=3.0)
    rows = demonstration_rows([said], tokenizer, max_length=200)
    assert rows.keep is None
    assert rows.weight.tolist() == [3.0]
    assert decoded(tokenizer, rows.rows[0].branches[0]) == f"{TEXTS[4]}<|eos|>"
    assert TEXTS[1] in decoded(tokenizer, rows.rows[0].prompt)


def test_all_turns_of_the_assistant_are_trained_on_and_nothing_else(tokenizer: PreTrainedTokenizerBase) -> None:
    said = Demonstration(turns=turns(TEXTS[0], TEXTS[1], TEXTS[3], TEXTS[4]))
    rows = demonstration_rows([said], tokenizer, max_length=200, all_turns=True)
    assert rows.keep is not None
    (row,), (kept,) = rows.rows, rows.keep
    (branch,) = row.branches
    assert len(kept) == len(branch)
    trained = tuple(token for token, keep in zip(branch, kept.tolist(), strict=True) if keep)
    read = tuple(token for token, keep in zip(branch, kept.tolist(), strict=True) if not keep)
    assert decoded(tokenizer, row.prompt) == f"<|user|>\n{TEXTS[0]}<|eos|>\n<|assistant|>\n"
    assert decoded(tokenizer, trained) == f"{TEXTS[1]}<|eos|>{TEXTS[4]}<|eos|>"
    assert decoded(tokenizer, read) == f"\n<|user|>\n{TEXTS[3]}<|eos|>\n<|assistant|>\n"
    assert rows.num_targets.tolist() == [len(trained)]
    # the whole is what the template writes, up to what it puts behind the last end token
    whole = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in said.turns], tokenize=False
    )
    assert decoded(tokenizer, row.prompt + branch) + "\n" == whole


def test_a_template_that_rewrites_earlier_turns_is_refused_for_all_turns(tokenizer: PreTrainedTokenizerBase) -> None:
    before = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}{{ m['content'] + eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    try:
        said = Demonstration(turns=turns("a", "b", "c", "d"))
        with pytest.raises(ValueError, match="rewrites earlier turns"):
            demonstration_rows([said], tokenizer, max_length=200, all_turns=True)
    finally:
        tokenizer.chat_template = before


def test_a_bare_text_is_all_trained_on_behind_one_start_token(tokenizer: PreTrainedTokenizerBase) -> None:
    text = Demonstration(turns=(Message(role="assistant", content=TEXTS[1]),))
    rows = demonstration_rows([text], tokenizer, max_length=200)
    assert rows.rows[0].prompt == (tokenizer.eos_token_id,)
    assert decoded(tokenizer, rows.rows[0].branches[0]) == f"{TEXTS[1]}<|eos|>"
    assert rows.keep is not None
    assert rows.keep[0].all()


def test_a_long_conversation_is_cut_at_the_end_of_what_is_trained_on(tokenizer: PreTrainedTokenizerBase) -> None:
    said = Demonstration(turns=turns(TEXTS[0], TEXTS[1], TEXTS[3], TEXTS[4]))
    whole = demonstration_rows([said], tokenizer, max_length=500, all_turns=True)
    cut = demonstration_rows([said], tokenizer, max_length=12, all_turns=True)
    assert cut.num_cut == 1
    assert cut.rows[0].branches[0] == whole.rows[0].branches[0][:6]
    assert decoded(tokenizer, cut.rows[0].prompt) == "<|user|>\n<|eos|>\n<|assistant|>\n"
    assert cut.keep is not None
    assert whole.keep is not None
    assert cut.keep[0].tolist() == whole.keep[0][:6].tolist()


def test_partners_have_another_prompt() -> None:
    a, b, c = turns("a"), turns("b"), turns("c")
    assert partner_numbers([a, a, b, b, c]) == [2, 2, 4, 4, 0]
    assert partner_numbers([a, b, a]) == [1, 2, 1]
    with pytest.raises(ValueError, match="2 completions of 1 prompt, two prompts or more"):
        partner_numbers([a, a])


def test_a_partner_is_the_prompt_with_the_completion_of_another(tokenizer: PreTrainedTokenizerBase) -> None:
    labelled = [
        Labelled(prompt=turns(TEXTS[0]), completion=TEXTS[1], desirable=True),
        Labelled(prompt=turns(TEXTS[3]), completion=TEXTS[2], desirable=False, weight=0.5),
    ]
    rows = labelled_rows(labelled, tokenizer, max_length=100)
    assert rows.partners == [
        Branched(prompt=rows.rows[0].prompt, branches=rows.rows[1].branches),
        Branched(prompt=rows.rows[1].prompt, branches=rows.rows[0].branches),
    ]
    assert (rows.desirable.tolist(), rows.weight.tolist()) == ([True, False], [1.0, 0.5])
