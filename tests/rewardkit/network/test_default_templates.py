"""Tokenizers that come without a chat template: special tokens stand where the tokenizer puts them, each once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config

from rewardkit.data.records import Message
from rewardkit.network.chat_template import DEFAULT_TEMPLATE, prompt_text
from rewardkit.network.tokens import load_tokenizer, tokenise, turn_end_id

SPECIAL = ["<s>", "</s>", "[CLS]", "[SEP]", "<pad>"]
PROMPT = (
    Message(role="user", content="Why?"),
    Message(role="assistant", content="So."),
    Message(role="user", content="?"),
)


def save_tokenizer(folder: Path, pattern: str, **names: str) -> None:
    """A byte-level tokenizer whose post-processor puts special tokens around a text; empty puts none."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=SPECIAL, initial_alphabet=alphabet, vocab_size=0, show_progress=False)
    bpe.train_from_iterator([""], trainer)
    if pattern:
        ids = [(token, bpe.token_to_id(token)) for token in SPECIAL]
        bpe.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=ids)
    PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", **names).save_pretrained(folder)


@pytest.mark.parametrize(
    ("pattern", "names", "start", "turn_end", "end"),
    [
        ("[CLS] $A [SEP]", {"cls_token": "[CLS]", "sep_token": "[SEP]"}, "[CLS]", "[SEP]", ""),  # BERT
        ("<s> $A </s>", {"bos_token": "<s>", "eos_token": "</s>"}, "<s>", "</s>", ""),  # RoBERTa
        ("$A </s>", {"eos_token": "</s>"}, "", "</s>", ""),  # T5
        (
            "$A [SEP] [CLS]",
            {"eos_token": "</s>", "sep_token": "[SEP]", "cls_token": "[CLS]"},
            "",
            "[SEP]",
            "[CLS]",
        ),  # XLNet
        ("<s> $A", {"bos_token": "<s>", "eos_token": "</s>"}, "<s>", "</s>", "\n"),  # Llama
        ("", {"eos_token": "</s>"}, "", "</s>", "\n"),  # GPT-2
    ],
    ids=["bert", "roberta", "t5", "xlnet", "llama", "gpt2"],
)
def test_special_tokens_stand_once_where_the_tokenizer_puts_them(
    pattern: str, names: dict[str, str], start: str, turn_end: str, end: str, tmp_path: Path
) -> None:
    save_tokenizer(tmp_path, pattern, **names)
    tokenizer = load_tokenizer(tmp_path)
    (row,), _ = tokenise([PROMPT], [("Because.",)], tokenizer, max_length=1000)
    turns = [f"<|user|>\nWhy?{turn_end}", f"<|assistant|>\nSo.{turn_end}", f"<|user|>\n?{turn_end}"]
    before = start + "\n".join(turns)
    assert tokenizer.decode(row.prompt + row.branches[0]) == f"{before}\n<|assistant|>\nBecause.{turn_end}{end}"
    assert prompt_text(PROMPT, tokenizer) == f"{before}\n<|assistant|>\n"
    assert turn_end_id(tokenizer) == tokenizer.convert_tokens_to_ids(turn_end)
    tokenizer.save_pretrained(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").chat_template == tokenizer.chat_template
    assert (tokenizer.chat_template == DEFAULT_TEMPLATE) == (pattern == "")


def test_a_model_that_is_read_at_eos_gets_it_once(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, "$A </s>", eos_token="</s>")
    T5Config().save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    (row,), _ = tokenise([PROMPT], [("Because.",)], tokenizer, max_length=1000)
    text = "<|user|>\nWhy?\n<|assistant|>\nSo.\n<|user|>\n?\n<|assistant|>\nBecause.</s>"
    assert tokenizer.decode(row.prompt + row.branches[0]) == text


def test_shortened_conversations_keep_them(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, "[CLS] $A [SEP]", cls_token="[CLS]", sep_token="[SEP]")
    tokenizer = load_tokenizer(tmp_path)
    prompt = (Message(role="user", content="long " * 100),)
    (row,), num_cut = tokenise([prompt], [("Because.", "No.")], tokenizer, max_length=64)
    assert num_cut == 2
    for branch, answer in zip(row.branches, ("Because.", "No."), strict=True):
        text = tokenizer.decode(row.prompt + branch)
        assert text.startswith("[CLS]<|user|>\n")
        assert text.endswith(f"long [SEP]\n<|assistant|>\n{answer}[SEP]")


def test_a_tokenizer_with_no_token_to_end_a_turn_is_refused(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, "")
    with pytest.raises(ValueError, match="neither a chat template nor an EOS or separator token"):
        load_tokenizer(tmp_path)
