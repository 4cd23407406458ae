"""Chat templates: the default one, conversations as text, and the token that ends a turn. No token ids here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from rewardkit.data.conversations import call_names, decode_literal
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Given to tokenizers that come without a chat template; ends every turn with EOS.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
PROBE = "probe"  # an answer that no template changes
# A template is a small program of somebody else: it divides, calls itself, writes more than there is memory.
TEMPLATE_ERRORS = (
    *(TemplateError, TypeError, LookupError, AttributeError, ValueError),
    *(ArithmeticError, RecursionError, MemoryError),
)
BRACKETED = re.compile(r"<[^<>\s]{2,}>|\[[^\[\]\s]{2,}\]")


def default_template(tokenizer: PreTrainedTokenizerBase, *, ends_once: bool = False) -> str | None:
    """DEFAULT_TEMPLATE with the special tokens that the tokenizer puts around a text, each where it puts them.

    BERT reads [CLS] turn [SEP] turn [SEP], a decoder with a BOS has it once at the start; both stand in the template,
    because texts are tokenised without adding any. None if there is no token to end a turn with.

    Args:
        ends_once: turns end with a line break, and only the last one with EOS: classifiers on T5 and BART read the
            state at EOS, and take it once.
    """
    before, after = special_tokens_around(tokenizer)
    start = "".join(before)
    if after:  # its first token ends every turn: [SEP] of BERT, <sep> of XLNet, </s> of T5 and RoBERTa
        turn_end = f"({_quoted(after[0])} if loop.last else '\n')"
        if not ends_once:
            turn_end = f"{_quoted(after[0])} + ('' if loop.last else '\n')"
        template = DEFAULT_TEMPLATE.replace("eos_token + '\n'", turn_end)
        end = _quoted("".join(after[1:]))
        template = template.replace("{{ '<|assistant|>", "{{ '\n<|assistant|>")
        template = template.replace("{% endif %}", f"{{% else %}}{{{{ {end} }}}}{{% endif %}}")
    elif tokenizer.eos_token is not None:
        template = DEFAULT_TEMPLATE
    elif tokenizer.sep_token is not None:
        template = DEFAULT_TEMPLATE.replace("eos_token", _quoted(str(tokenizer.sep_token)))
    else:
        return None
    return f"{{{{ {_quoted(start)} }}}}{template}" if start else template


def special_tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[str], list[str]]:
    """The special tokens that the tokenizer puts before and after a text that is tokenised alone."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            around = whole[:start], whole[start + len(bare) :]
            return tuple([str(token) for token in tokenizer.convert_ids_to_tokens(ids)] for ids in around)  # type: ignore
    return [], []


def _quoted(text: str) -> str:
    """The text as a string of a template."""
    return json.dumps(text)


def render(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, starts_turn: bool = False) -> str:
    """A conversation as text, by the tokenizer's chat template.

    Args:
        starts_turn: the text goes on to where the assistant's turn starts.

    Raises:
        ValueError: with the template's reason, if it refuses the conversation: no system role, say.
    """
    shown = template_turns(messages, tokenizer)
    try:
        return str(tokenizer.apply_chat_template(shown, add_generation_prompt=starts_turn, tokenize=False))
    except TEMPLATE_ERRORS as error:
        roles = ", ".join(message.role for message in messages)
        raise ValueError(f"the chat template refuses a conversation of {roles}: {error}") from error


def conversation_texts(
    prompt: Sequence[Message], completions: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """The whole conversation as text, once per completion, by the tokenizer's chat template."""
    return [render([*prompt, Message(role="assistant", content=text)], tokenizer) for text in completions]


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
    try:
        text = str(tokenizer.apply_chat_template(shown, tokenize=False))
    except TEMPLATE_ERRORS as error:  # a template may ask for ids or roles of its own form
        raise ValueError(f"the tokenizer's chat template does not take the call of {names[0]!r}: {error}") from error
    if lost := next((name for name in names if text.count(name) < names.count(name)), ""):
        raise ValueError(f"a prompt calls the tool {lost!r}, which the tokenizer's chat template does not write")
    return shown


def prompt_text(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """The conversation up to where the assistant's turn starts, by the tokenizer's chat template."""
    return render(prompt, tokenizer, starts_turn=True)


def completion_text(prompt: Sequence[Message], completion: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """What the policy has to write after `prompt_text`: the completion as it stands, and the end token of its turn."""
    return ended(completion, turn_end(prompt, tokenizer))


def ended(completion: str, end: str) -> str:
    """The completion with its end token, which some data hold already."""
    written = completion.rstrip()
    return written if written.endswith(end) else completion + end


def turn_end(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that the chat template writes behind the assistant's answer to a prompt; EOS where it writes none.

    It is read behind a short answer in place of the real one, so that what templates do to an answer (they trim it, or
    drop its thoughts) does not hide it. What a template writes behind the end token is left out.
    """
    (end,) = turn_ends([prompt], tokenizer)
    return end


def turn_ends(prompts: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """`turn_end` of every prompt."""
    tails = []
    for prompt in prompts:
        try:
            _, _, tail = render([*prompt, Message(role="assistant", content=PROBE)], tokenizer).rpartition(PROBE)
        except ValueError:
            tail = ""
        tails.append(tail)
    ends = {tail: _end_token(tail, tokenizer) or str(tokenizer.eos_token) for tail in dict.fromkeys(tails)}
    return [ends[tail] for tail in tails]


def _end_token(tail: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The first token of a text that no ordinary text has: an added one, special or not, or a bracketed one."""
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail.strip() else []
    added, special = tokenizer.added_tokens_decoder, set(tokenizer.all_special_ids)
    for token in ids:
        text = str(added[token]) if token in added else str(tokenizer.convert_ids_to_tokens(token))
        if (token in added and text.strip()) or token in special or BRACKETED.fullmatch(text):
            return text
    return ""
