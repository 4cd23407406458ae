"""From conversations to token ids, once: the same template, BOS and EOS in training and in scoring."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    turns = [{"role": message.role, "content": message.content} for message in prompt]
    return [
        str(
            tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": completion}], tokenize=False),
        )
        for completion in completions
    ]


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
