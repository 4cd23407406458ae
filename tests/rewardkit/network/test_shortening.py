"""What a conversation loses that is too long: the marks and the system prompt stay, both sides lose the same."""

from __future__ import annotations

import pytest

from rewardkit.data.records import Message
from rewardkit.network.tokens import policy_rows, tokenise, train_tokenizer

SYSTEM = Message(role="system", content="Be brief.")
TALK = tuple(
    Message(role="assistant" if number % 2 else "user", content=f"{number}: " + "words and words " * 6)
    for number in range(5)
)
ALTERNATING = (
    "{{ '<|tool|>' }}{% for m in messages %}"
    "{% if m['role'] == 'system' or (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('no') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] | trim }}<|eos|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Be brief. words and words 0: 1: 2: 3: 4: Yes, certainly. No."] * 3, vocab_size=320)


@pytest.fixture(scope="module")
def alternating():
    own = train_tokenizer(["words and words 0: 1: 2: 3: 4: Yes, certainly. No."] * 3, vocab_size=320)
    own.chat_template, own.bos_token = ALTERNATING, "<|tool|>"
    return own


def texts_of(tokenizer, prompt, completions, max_length: int) -> list[str]:
    (row,), _ = tokenise([prompt], [completions], tokenizer, max_length=max_length)
    sequences = [row.prompt + branch for branch in row.branches]
    assert max(map(len, sequences)) <= max_length
    return [str(tokenizer.decode(sequence)) for sequence in sequences]


def test_oldest_turns_go_first_and_the_system_prompt_stays(tokenizer) -> None:
    chosen, rejected = texts_of(tokenizer, (SYSTEM, *TALK), ("Yes, certainly.", "No."), 80)
    assert chosen.startswith("<|system|>\nBe brief.<|eos|>\n<|user|>\n")
    assert "0: " not in chosen
    assert chosen.count("<|user|>") == 2  # 2 without its start, 4 whole
    assert TALK[3].content in chosen
    assert chosen.endswith(f"<|user|>\n{TALK[4].content}<|eos|>\n<|assistant|>\nYes, certainly.<|eos|>\n")
    assert rejected == chosen.replace("Yes, certainly.", "No.")


@pytest.mark.parametrize("max_length", [20, 40, 70, 100])
def test_a_template_that_wants_turns_to_alternate_writes_what_is_left(alternating, max_length: int) -> None:
    chosen, rejected = texts_of(alternating, TALK, ("Yes.", "No."), max_length)
    assert chosen.startswith("<|tool|><|user|>")
    assert chosen.endswith("<|eos|><|assistant|>Yes.<|eos|>")
    assert rejected == chosen.replace("Yes.", "No.")
    (row,), num_cut = policy_rows([TALK], [("Yes.", "No.")], alternating, max_length=max_length)
    assert alternating.decode(row.prompt).startswith("<|tool|><|user|>")
    assert alternating.decode(row.prompt).endswith("<|eos|><|assistant|>")
    assert num_cut == 1


def test_an_answer_that_is_too_long_loses_its_end_and_keeps_the_end_of_its_turn(tokenizer) -> None:
    long = "words and " * 40
    chosen, rejected = texts_of(tokenizer, (SYSTEM, TALK[0]), (long, "No."), 60)
    start = "<|system|>\nBe brief.<|eos|>\n<|user|>\n<|eos|>\n<|assistant|>\n"
    assert chosen.startswith(start + "words and words")
    assert chosen.endswith("<|eos|>\n")
    assert rejected == f"{start}No.<|eos|>\n"
    (row,), _ = policy_rows([(SYSTEM, TALK[0])], [(long,)], tokenizer, max_length=60)
    assert tokenizer.decode(row.prompt) == start
    assert tokenizer.eos_token_id not in row.branches[0]  # a policy that was cut does not learn to stop there


def test_a_system_prompt_without_room_keeps_its_start_and_leaves_half_of_the_length(tokenizer) -> None:
    system = Message(role="system", content="Be brief. " + "words and " * 60)
    (text,) = texts_of(tokenizer, (system, TALK[0]), ("Yes, certainly.",), 40)
    assert text.startswith("<|system|>\nBe brief. words")
    assert text.endswith("<|user|>\n<|eos|>\n<|assistant|>\nYes, certainly.<|eos|>\n")
    (row,), _ = policy_rows([(system, TALK[0])], [("words and " * 40,)], tokenizer, max_length=40)
    assert len(row.prompt) <= 20
    assert len(row.prompt) + len(row.branches[0]) == 40


def test_what_fits_is_not_touched(tokenizer) -> None:
    whole, num_cut = tokenise([TALK], [("Yes.", "No.")], tokenizer, max_length=10**6)
    length = max(len(whole[0].prompt + branch) for branch in whole[0].branches)
    assert num_cut == 0
    assert tokenise([TALK], [("Yes.", "No.")], tokenizer, max_length=length) == (whole, 0)


def test_models_of_before_keep_the_last_tokens_of_each_conversation(tokenizer) -> None:
    (whole,), _ = tokenise([TALK], [("Yes, certainly.", "No.")], tokenizer, max_length=10**6)
    (cut,), num_cut = tokenise([TALK], [("Yes, certainly.", "No.")], tokenizer, max_length=30, keeps_marks=False)
    for branch, uncut in zip(cut.branches, whole.branches, strict=True):
        assert cut.prompt + branch == (whole.prompt + uncut)[-30:]
    assert num_cut == 2
