"""From conversations to token ids: one template, BOS and EOS for training, sampling and scoring.

A reward model reads a conversation whole (`tokenise`). A policy reads a prompt up to where its turn starts, then writes
a completion and its end (`policy_rows`); the two are tokenised apart, as they are when the policy writes, so that what
is trained on, sampled and scored as an implicit reward are the same tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.data.conversations import call_names, decode_literal
from rewardkit.data.export_formats import turn, turns
from rewardkit.data.records import Message
from rewardkit.network.packed_rows import Branched

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


logger = logging.getLogger(__name__)
# Given to tokenizers that come without a chat template; ends every turn with EOS.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
PAD_TOKEN = "<|pad|>"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 8192) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer trained on the given texts, with its own EOS and pad and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|eos|>", PAD_TOKEN, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|eos|>", pad_token=PAD_TOKEN, additional_special_tokens=special[2:]
    )
    tokenizer.chat_template = DEFAULT_TEMPLATE
    return tokenizer


def load_tokenizer(path: str | Path, *, own_pad: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a template and a pad token of its own.

    Plain transformers finds the scored token as the last one that is not pad, so a pad equal to EOS would hide the EOS
    that ends a text; such a tokenizer gets a separate pad token here, and the model one more embedding row.

    Args:
        own_pad: False pads with EOS instead: a policy's distribution is over its tokens, and one more would change it.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.chat_template is None:
        if tokenizer.eos_token is None:
            raise ValueError(f"{path}: the tokenizer has neither a chat template nor an EOS token to end a turn with")
        logger.info("%s comes without a chat template and gets the default one, <|role|> before each turn", path)
        tokenizer.chat_template = DEFAULT_TEMPLATE
    if not own_pad:
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    elif tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def conversation_texts(
    prompt: Sequence[Message], completions: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """The whole conversation as text, once per completion, by the tokenizer's chat template."""
    before = template_turns(prompt, tokenizer)
    return [
        str(tokenizer.apply_chat_template([*before, turn("assistant", completion)], tokenize=False))
        for completion in completions
    ]


def template_turns(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """The turns of a prompt as chat templates take them: the arguments of a call as an object, not as its JSON.

    Raises:
        ValueError: if the prompt calls tools and the tokenizer's template does not write the calls.
    """
    shown = turns(prompt)
    names = call_names(prompt)
    if not names:
        return shown
    for one in shown:
        calls = one.get("tool_calls", [])
        for call in [*(calls if isinstance(calls, list) else [calls]), one.get("function_call")]:
            function = call.get("function", call) if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                function["arguments"] = decode_literal(function["arguments"])
    from jinja2 import TemplateError

    try:
        text = str(tokenizer.apply_chat_template(shown, tokenize=False))
    except (TemplateError, TypeError, KeyError) as error:  # a template may ask for ids or roles of its own form
        raise ValueError(f"the tokenizer's chat template does not take the call of {names[0]!r}: {error}") from error
    if lost := next((name for name in names if text.count(name) < names.count(name)), ""):
        raise ValueError(f"a prompt calls the tool {lost!r}, which the tokenizer's chat template does not write")
    return shown


def tokenise(
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
) -> tuple[list[Branched], int]:
    """Rows of token ids, and how many conversations were cut to `max_length`.

    Each conversation is tokenised whole, exactly as plain transformers would, and what the completions of a prompt
    have in common at the start becomes the shared prompt. A conversation that is too long loses tokens at its start.

    Args:
        prompts: one conversation per row.
        completions: for each row, its completions; every one becomes a branch.
        max_length: tokens kept of each conversation.
    """
    texts = [
        text
        for prompt, row in zip(prompts, completions, strict=True)
        for text in conversation_texts(prompt, row, tokenizer)
    ]
    ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    num_cut = sum(len(sequence) > max_length for sequence in ids)
    rows, start = [], 0
    for row in completions:
        rows.append(branch_at_common_prefix([sequence[-max_length:] for sequence in ids[start : start + len(row)]]))
        start += len(row)
    return rows, num_cut


def branch_at_common_prefix(sequences: Sequence[Sequence[int]]) -> Branched:
    """One row from full sequences: their longest common prefix as prompt, each rest (never empty) as a branch."""
    ordered = sorted(map(tuple, sequences))
    shortest, longest = ordered[0], ordered[-1]  # lexicographic: all others share what these two share
    limit = min(map(len, sequences)) - 1
    common = 0
    while common < limit and shortest[common] == longest[common]:
        common += 1
    return Branched(
        prompt=tuple(sequences[0][:common]), branches=tuple(tuple(sequence[common:]) for sequence in sequences)
    )


def prompt_text(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """The conversation up to where the assistant's turn starts, by the tokenizer's chat template."""
    before = template_turns(prompt, tokenizer)
    return str(tokenizer.apply_chat_template(before, add_generation_prompt=True, tokenize=False))


def completion_text(
    prompt: Sequence[Message], completion: str, tokenizer: PreTrainedTokenizerBase, *, start: str | None = None
) -> str:
    """What the policy has to write after `prompt_text`: the completion and the end token of its turn.

    What a template puts behind the end token is left out. Where a template rewrites what stands before the completion
    (it drops earlier thoughts, say), or ends a turn without a special token, the completion is followed by EOS.

    Args:
        start: the `prompt_text`, where it is known already.
    """
    start = prompt_text(prompt, tokenizer) if start is None else start
    (whole,) = conversation_texts(prompt, [completion], tokenizer)
    if whole.startswith(start + completion):
        end = whole[len(start + completion) :].rstrip()
        if end in tokenizer.all_special_tokens:
            return completion + end
    return completion + str(tokenizer.eos_token)


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a turn of the assistant: EOS, unless the chat template has another."""
    text = completion_text([Message(role="user", content="a")], "b", tokenizer)
    return tokenizer.get_vocab()[text.removeprefix("b")]


def policy_prompts(prompts: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Token ids of the prompts, each up to where the assistant's turn starts."""
    return _tokenise([prompt_text(prompt, tokenizer) for prompt in prompts], tokenizer)


def policy_rows(
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
) -> tuple[list[Branched], int]:
    """One row per prompt, a branch per completion with its end token; and how many rows were cut to `max_length`.

    A prompt loses tokens at its start until it fits with the longest of its completions; a completion that leaves no
    room for one token of the prompt loses its end.

    Raises:
        ValueError: if the tokenizer has no end token, or max_length leaves no room for a prompt and a completion.
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}, allowed is 2 or more: a token of the prompt and one after it")
    if tokenizer.eos_token is None:
        raise ValueError("the tokenizer has no EOS token to end a completion with")
    start_texts = [prompt_text(prompt, tokenizer) for prompt in prompts]
    starts = _tokenise(start_texts, tokenizer)
    texts = [
        completion_text(prompt, completion, tokenizer, start=start)
        for prompt, row, start in zip(prompts, completions, start_texts, strict=True)
        for completion in row
    ]
    ids = iter(_tokenise(texts, tokenizer))
    rows, num_cut = [], 0
    for start, row in zip(starts, completions, strict=True):
        branches = [next(ids) for _ in row]
        longest = max(map(len, branches))
        num_cut += len(start) + longest > max_length
        branches = [branch[: max_length - 1] for branch in branches]
        room = max_length - min(longest, max_length - 1)
        rows.append(Branched(prompt=start[-room:], branches=tuple(branches)))
    return rows, num_cut


def _tokenise(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    if not texts:
        return []
    ids = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return [tuple(sequence) for sequence in ids]
