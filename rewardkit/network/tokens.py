"""From conversations to token ids: one template, BOS and EOS for training, sampling and scoring.

A reward model reads a conversation whole (`tokenise`). A policy reads a prompt up to where its turn starts, then writes
a completion and its end (`policy_rows`); the two are tokenised apart, as they are when the policy writes, so that what
is trained on, sampled and scored as an implicit reward are the same tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.data.records import Message
from rewardkit.network.chat_template import (
    DEFAULT_TEMPLATE,
    PROBE,
    conversation_texts,
    default_template,
    ended,
    prompt_text,
    render,
    turn_end,
    turn_ends,
)
from rewardkit.network.packed_rows import Branched, branch_at_common_prefix
from rewardkit.network.shortening import cut_tokens, shortened_prompt, shortened_text
from rewardkit.run.model_folder import adapter_base, reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


logger = logging.getLogger(__name__)
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
    """The tokenizer of a model, with a template and a pad token of its own; an adapter may have that of its base.

    Plain transformers finds the scored token as the last one that is not pad, so a pad equal to EOS would hide the EOS
    that ends a text; such a tokenizer gets a separate pad token here, and the model one more embedding row.

    Args:
        own_pad: False pads with EOS instead: a policy's distribution is over its tokens, and one more would change it.
    """
    from transformers import AutoTokenizer

    if not (Path(path) / "tokenizer_config.json").exists():
        path = adapter_base(path) or path
    with reading(path):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    if tokenizer.chat_template is None:
        template = default_template(tokenizer, ends_once=_is_encoder_decoder(path))
        if template is None:
            raise ValueError(
                f"{path}: the tokenizer has neither a chat template nor an EOS or separator token to end a turn with"
            )
        logger.info("%s comes without a chat template and gets the default one, <|role|> before each turn", path)
        tokenizer.chat_template = template
    _check_template_writes(path, tokenizer)
    if not own_pad:
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    elif tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def _check_template_writes(path: str | Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ValueError if a chat template takes a conversation and leaves out what was said.

    Templates of models that see images read the parts of a list, and write nothing where a turn is a text.
    """
    said = {"user": "asked", "assistant": PROBE}
    try:
        text = render([Message(role=role, content=content) for role, content in said.items()], tokenizer)  # type: ignore
    except ValueError:
        return  # it wants another conversation, which the rows of a file may be
    if lost := [role for role, content in said.items() if content not in text.lower()]:
        raise ValueError(f"{path}: the chat template does not write the text of a turn of {' and '.join(lost)}")


def _is_encoder_decoder(path: str | Path) -> bool:
    from transformers import AutoConfig

    try:
        with reading(path):
            config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        return bool(getattr(config, "is_encoder_decoder", False))
    except (OSError, ValueError):  # a tokenizer by itself
        return False


def tokenise(
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    keeps_marks: bool = True,
) -> tuple[list[Branched], int]:
    """Rows of token ids, and how many conversations lost tokens to `max_length`.

    Each conversation is tokenised whole, exactly as plain transformers would, and what the completions of a prompt
    have in common at the start becomes the shared prompt. Where one of a row is too long, all of the row get the prompt
    shortened alike (`rewardkit.network.shortening`).

    Args:
        prompts: one conversation per row.
        completions: for each row, its completions; every one becomes a branch.
        max_length: tokens kept of each conversation.
        keeps_marks: False keeps the last tokens of each conversation, whatever they are, as models that were trained
            so read them.

    Raises:
        ValueError: if the chat template refuses a conversation.
    """
    texts = [
        text
        for prompt, row in zip(prompts, completions, strict=True)
        for text in conversation_texts(prompt, row, tokenizer)
    ]
    ids = token_ids(texts, tokenizer)
    rows, num_cut, start = [], 0, 0
    for prompt, row in zip(prompts, completions, strict=True):
        sequences = ids[start : start + len(row)]
        start += len(row)
        if max(map(len, sequences)) > max_length:
            whole = sequences
            if keeps_marks:
                sequences = _cut_conversations(prompt, row, whole, tokenizer, max_length)
            else:
                sequences = [sequence[-max_length:] for sequence in whole]
            num_cut += sum(len(cut) < len(uncut) for cut, uncut in zip(sequences, whole, strict=True))
        rows.append(branch_at_common_prefix(sequences))
    return rows, num_cut


def _cut_conversations(
    prompt: Sequence[Message],
    completions: Sequence[str],
    whole: Sequence[tuple[int, ...]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[tuple[int, ...]]:
    """Token ids of the conversations of one prompt, shortened."""

    def ids_of(messages: Sequence[Message], completion: str) -> tuple[int, ...]:
        return token_ids(conversation_texts(messages, [completion], tokenizer), tokenizer)[0]

    longest = completions[max(range(len(whole)), key=lambda number: len(whole[number]))]
    (answer,) = token_ids([longest], tokenizer)
    try:
        short = shortened_prompt(
            prompt,
            lambda messages: len(ids_of(messages, longest)),
            max_length,
            tokenizer,
            frame_room=max_length + max(0, len(answer) - max_length // 2),
        )
        answers = [
            shortened_text(text, lambda cut: len(ids_of(short, cut)) - max_length, tokenizer, keeps="start")
            for text in completions
        ]
        sequences = [ids_of(short, text) for text in answers]
    except ValueError:  # the template takes no conversation without its first turns, or with an empty one
        sequences = whole
    return [cut_tokens(sequence, max_length, tokenizer) for sequence in sequences]


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends a turn of the assistant: EOS, unless the chat template has another."""
    token_id = tokenizer.convert_tokens_to_ids(turn_end([Message(role="user", content="a")], tokenizer))
    return token_id if isinstance(token_id, int) else None


def end_ids(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end a completion: the chat template's, EOS, and those of the model's generation config."""
    configured = getattr(network.generation_config, "eos_token_id", None)
    generation_ids = configured if isinstance(configured, list) else [configured]
    candidates = (turn_end_id(tokenizer), tokenizer.eos_token_id, *generation_ids)
    return tuple(dict.fromkeys(token for token in candidates if isinstance(token, int)))


def policy_prompts(prompts: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Token ids of the prompts, each up to where the assistant's turn starts."""
    return token_ids([prompt_text(prompt, tokenizer) for prompt in prompts], tokenizer)


def policy_rows(
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    keeps_marks: bool = True,
) -> tuple[list[Branched], int]:
    """One row per prompt, a branch per completion with its end token; and how many rows were cut to `max_length`.

    A prompt is shortened (`rewardkit.network.shortening`) until it fits with the longest of its completions; a
    completion that leaves no room for the marks of a prompt loses its end.

    Args:
        keeps_marks: False cuts the start of a prompt, whatever stands there, as runs of before read it.

    Raises:
        ValueError: if the tokenizer has no end token, max_length leaves no room for a prompt and a completion, or the
            chat template refuses a prompt.
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}, allowed is 2 or more: a token of the prompt and one after it")
    if tokenizer.eos_token is None:
        raise ValueError("the tokenizer has no EOS token to end a completion with")
    starts = policy_prompts(prompts, tokenizer)
    texts = [
        ended(completion, end)
        for end, row in zip(turn_ends(prompts, tokenizer), completions, strict=True)
        for completion in row
    ]
    ids = iter(token_ids(texts, tokenizer))
    rows, num_cut = [], 0
    for prompt, start, row in zip(prompts, starts, completions, strict=True):
        branches = [next(ids) for _ in row]
        longest = max(map(len, branches))
        if len(start) + longest > max_length:
            num_cut += 1
            if not keeps_marks:
                start = start[-(max_length - min(longest, max_length - 1)) :]
            else:
                start = cut_prompt(prompt, start, tokenizer, max_length=max_length, num_answer_tokens=longest)
            branches = [branch[: max_length - len(start)] for branch in branches]
        rows.append(Branched(prompt=start, branches=tuple(branches)))
    return rows, num_cut


def cut_prompt(
    prompt: Sequence[Message],
    ids: tuple[int, ...],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    num_answer_tokens: int = 0,
) -> tuple[int, ...]:
    """Token ids of a prompt that leave room for an answer, or for half of `max_length` where that is less.

    Args:
        ids: of the whole prompt, as `policy_prompts` gives them.
        max_length: tokens of prompt and answer.
    """
    room = max_length - num_answer_tokens
    if len(ids) <= room:
        return ids
    frame_room = max_length - min(num_answer_tokens, max_length // 2)
    try:
        short = shortened_prompt(
            prompt,
            lambda messages: len(policy_prompts([messages], tokenizer)[0]),
            room,
            tokenizer,
            frame_room=frame_room,
        )
        (ids,) = policy_prompts([short], tokenizer)
    except ValueError:  # the template takes no conversation without its first turns, or with an empty one
        pass
    return cut_tokens(ids, frame_room, tokenizer)


def token_ids(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Token ids of texts as they stand, no special tokens added.

    Raises:
        ValueError: if a token is one that the model has no weights for.
    """
    if not texts:
        return []
    ids = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    num_known = getattr(tokenizer, "num_known", None)
    if num_known is not None and (strange := max(max(sequence, default=0) for sequence in ids)) >= num_known:
        token = tokenizer.convert_ids_to_tokens(strange)
        raise ValueError(f"{tokenizer.name_or_path}: the model has no weights for {token!r}, a token of a text")
    return [tuple(sequence) for sequence in ids]
