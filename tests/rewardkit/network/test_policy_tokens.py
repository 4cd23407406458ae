"""Where a prompt ends and a completion begins, for training, sampling and scoring alike."""

from __future__ import annotations

import pytest
from transformers import AddedToken

from rewardkit.data.records import Message
from rewardkit.network.chat_template import completion_text, prompt_text
from rewardkit.network.tokens import policy_prompts, policy_rows, tokenise, train_tokenizer, turn_end_id

PROMPT = (Message(role="user", content="My kettle is broken."),)
TEXTS = ["My kettle is broken. We send a new one today, please keep the old one."] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=320)


def test_the_default_template_is_cut_behind_its_end_token(tokenizer) -> None:
    # the template writes <|user|>\n...<|eos|>\n<|assistant|>\n before, and a line break behind the end token
    assert prompt_text(PROMPT, tokenizer) == "<|user|>\nMy kettle is broken.<|eos|>\n<|assistant|>\n"
    assert completion_text(PROMPT, "We send a new one.", tokenizer) == "We send a new one.<|eos|>"


def test_rows_are_prompt_and_completions_tokenised_apart(tokenizer) -> None:
    (row,), num_cut = policy_rows([PROMPT], [("We send a new one.", "")], tokenizer, max_length=100)
    assert [row.prompt] == policy_prompts([PROMPT], tokenizer)
    assert tokenizer.decode(row.branches[0]) == "We send a new one.<|eos|>"
    assert row.branches[1] == (tokenizer.eos_token_id,)
    assert num_cut == 0


TURN = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}END{% endfor %}"
START = "{% if add_generation_prompt %}[assistant]{% endif %}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TURN.replace("END", "<|eos|>\n") + START, "<|eos|>"),
        (TURN.replace("END", "<|tool|>\n") + START, "<|tool|>"),  # a special token of the template's own
        (TURN.replace("END", "\n") + START, "<|eos|>"),  # no end token
        (TURN.replace("END", "<|eos|>").replace("content'] ", "content'].strip() ") + START, "<|eos|>"),
        (TURN.replace("END", "<|eos|>") + START.replace("]{%", "]<think>{%"), "<|eos|>"),  # no part of whole turns
        (TURN.replace("END", "<|tool|>").replace("content']", "content'] | trim") + START, "<|tool|>"),  # as Gemma's
        (TURN.replace("END", "<|tool|>\n<|eos|>") + START, "<|tool|>"),  # as Phi's
        (TURN.replace("END", " <|eos|>") + START, "<|eos|>"),  # as Llama 2's
    ],
)
def test_every_template_ends_a_completion_with_one_end_token(template: str, end: str) -> None:
    own = train_tokenizer(TEXTS, vocab_size=320)
    own.chat_template = template
    assert completion_text(PROMPT, " Yes", own) == f" Yes{end}"
    assert turn_end_id(own) == own.convert_tokens_to_ids(end)


@pytest.mark.parametrize("completion", ["Yes", " Yes", "Yes\n", "", " \n", "probe", "<think>a</think>Yes"])
@pytest.mark.parametrize("is_special", [True, False])
def test_a_trimming_template_s_own_end_token_is_trained_whatever_stands_around_the_completion(
    completion: str, is_special: bool
) -> None:
    own = train_tokenizer(TEXTS, vocab_size=320)
    own.add_tokens([AddedToken("<end_of_turn>", special=is_special, normalized=False)])
    own.chat_template = (
        TURN.replace("END", "<end_of_turn>\n").replace("content']", "content'].split('</think>')[-1] | trim") + START
    )
    assert completion_text(PROMPT, completion, own) == f"{completion}<end_of_turn>"
    end = own.convert_tokens_to_ids("<end_of_turn>")
    assert turn_end_id(own) == end
    (row,), _ = policy_rows([PROMPT], [(completion,)], own, max_length=100)
    assert row.branches[0][-1] == end


def test_an_end_token_that_a_completion_holds_already_is_not_written_twice(tokenizer) -> None:
    assert completion_text(PROMPT, "Yes<|eos|>\n", tokenizer) == "Yes<|eos|>"


def test_a_conversation_that_the_template_refuses_is_told_in_one_line() -> None:
    own = train_tokenizer(TEXTS, vocab_size=320)
    own.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ValueError, match="refuses a conversation of user: System role not supported"):
        prompt_text(PROMPT, own)
    own.chat_template = "{{ messages[3]['content'] + 1 }}"
    with pytest.raises(ValueError, match="refuses a conversation of user"):
        policy_rows([PROMPT], [("Yes",)], own, max_length=100)


def test_too_long_rows_lose_the_start_of_the_prompt_then_the_end_of_the_completion(tokenizer) -> None:
    (whole,), _ = policy_rows([PROMPT], [("We send a new one.", "No.")], tokenizer, max_length=1000)
    longest = max(map(len, whole.branches))
    (cut,), num_cut = policy_rows([PROMPT], [("We send a new one.", "No.")], tokenizer, max_length=longest + 8)
    # the marks <|user|> \n <|eos|> \n <|assistant|> \n are six tokens, two are left of the user's words
    assert len(cut.prompt) == 8
    assert cut.prompt[:2] + cut.prompt[-4:] == whole.prompt[:2] + whole.prompt[-4:]
    assert cut.prompt[2:4] == whole.prompt[-6:-4]
    assert cut.branches == whole.branches
    assert num_cut == 1
    (short,), num_cut = policy_rows([PROMPT], [("We send a new one.", "No.")], tokenizer, max_length=3)
    assert short.prompt == whole.prompt[-2:]
    assert short.branches == (whole.branches[0][:1], whole.branches[1][:1])
    assert num_cut == 1


def test_a_length_without_room_is_refused(tokenizer) -> None:
    with pytest.raises(ValueError, match="max_length is 1"):
        policy_rows([PROMPT], [("Yes",)], tokenizer, max_length=1)


CALLS = (
    *PROMPT,
    Message(
        role="assistant",
        content="",
        more='{"tool_calls": [{"id": "1", "function": {"arguments": "{\\"item\\": \\"kettle\\"}", "name": "send"}}]}',
    ),
    Message(role="tool", content="sent", more='{"tool_call_id": "1"}'),
)
WITH_CALLS = (
    "{% for m in messages %}[{{ m['role'] }}]{% for call in m.tool_calls or [] %}"
    "{{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}{{ m['content'] }}<|eos|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_calls_of_tools_go_to_the_template_with_their_arguments_as_an_object() -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    tokenizer.chat_template = WITH_CALLS
    before = prompt_text(CALLS, tokenizer)
    assert before == (
        '[user]My kettle is broken.<|eos|>[assistant]send{"item": "kettle"}<|eos|>[tool]sent<|eos|>[assistant]'
    )
    assert completion_text(CALLS, "Done.", tokenizer) == "Done.<|eos|>"


def test_a_template_that_does_not_write_calls_is_refused_by_the_name_of_the_tool(tokenizer) -> None:
    with pytest.raises(ValueError, match="calls the tool 'send', which the tokenizer's chat template does not write"):
        policy_rows([CALLS], [("Done.",)], tokenizer, max_length=100)
    with pytest.raises(ValueError, match="calls the tool 'send'"):
        tokenise([CALLS], [["Done."]], tokenizer, max_length=100)
    strict = train_tokenizer(TEXTS, vocab_size=320)
    strict.chat_template = "{{ raise_exception('ids have nine letters') }}"
    with pytest.raises(ValueError, match="does not take the call of 'send': ids have nine letters"):
        prompt_text(CALLS, strict)
