"""Whether a model's chat template takes the conversations of a file, asked row by row while the file is read.

Some templates know no system role, others want user and assistant to alternate: such a row is bad like one that cannot
be read, named by its place, and left out where the command says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from rewardkit.data.conversations import RowError
from rewardkit.data.records import Message
from rewardkit.network.chat_template import conversation_texts, prompt_text
from rewardkit.network.models import check_policy_folder
from rewardkit.network.tokens import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TemplateCheck:
    """Asks the chat templates of models; their tokenizers are loaded at the first question.

    Args:
        models: folders or hub ids of tokenizers.
        writes: whether they are policies, which write an answer to a prompt, and do not read the answers of the file.
    """

    def __init__(self, models: Sequence[str], *, writes: bool) -> None:
        self.models, self.writes = models, writes

    @cached_property
    def tokenizers(self) -> list[PreTrainedTokenizerBase]:
        """Those of the models.

        Raises:
            ValueError: naming the model whose tokenizer cannot be read.
        """
        tokenizers = []
        for model in self.models:
            try:
                tokenizers.append(load_tokenizer(check_policy_folder(model), own_pad=False))
            except FileNotFoundError as error:
                raise ValueError(f"model {error}") from error
            except (OSError, ValueError) as error:
                raise ValueError(f"model {model!r} has no tokenizer that can be read: {error}") from error
        return tokenizers

    def __call__(self, prompt: Sequence[Message], completions: Sequence[str]) -> None:
        """Asks for one prompt.

        Raises:
            RowError: `template`, with the template's reason, if it refuses the prompt.
        """
        for model, tokenizer in zip(self.models, self.tokenizers, strict=True):
            try:
                if self.writes:
                    prompt_text(prompt, tokenizer)
                else:
                    conversation_texts(prompt, completions, tokenizer)
            except ValueError as error:
                roles = ", ".join(message.role for message in prompt)
                reason = f"the chat template of {model} refuses these turns: {error.__cause__ or error}"
                raise RowError("template", "prompt", roles, reason) from error
