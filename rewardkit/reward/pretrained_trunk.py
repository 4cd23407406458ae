"""A pretrained network as features of texts: the mean of its last states, as sentence encoders are read.

It has no head, so that it rewards nothing by itself (`rewardkit.scoring.joint_features` learns from it). Texts are read
as they stand, between what the tokenizer puts around a text, and not as turns of a chat; prompt and answer apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.records import Message
from rewardkit.distributed.collectives import default_device
from rewardkit.network.models import num_positions
from rewardkit.run.model_folder import reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_TOKENS = 256  # of a text
BATCH = 16  # texts of like length


class PretrainedTrunk:
    """A network and its tokenizer, as `rewardkit.reward.reward.States`; means of texts read once are kept."""

    def __init__(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.max_tokens = min(MAX_TOKENS, num_positions(network.config) or MAX_TOKENS)
        self._known: dict[tuple[str, str], np.ndarray] = {}

    @classmethod
    def load(cls, path: str | Path) -> PretrainedTrunk:
        """Loads the trunk of any model of transformers: an encoder, the encoder of two, or a decoder.

        Raises:
            ValueError: if it cannot be read, or its file has no weights for some of its layers.
        """
        from transformers import AutoModel, AutoTokenizer

        with reading(path):
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            network, report = AutoModel.from_pretrained(
                path, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
        if missing := sorted(name for name in report["missing_keys"] if "pooler" not in name):
            raise ValueError(f"{path}: no whole model, its file has no {', '.join(missing[:4])}")
        if network.config.is_encoder_decoder:
            network = network.get_encoder()
        return cls(network.to(default_device()), tokenizer)

    def __call__(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> dict[str, np.ndarray]:
        """(B, h) `states` of B answers, one prompt each, and (B, 1) `nearness`: their cosine with those of the prompt.

        Without a prompt that is 0.
        """
        asked = [plain_prompt(prompt) for prompt in prompts]
        states = self.means(answers)
        is_asked = np.array([[bool(prompt)] for prompt in prompts])
        nearness = (states * self.means(asked, keeps="end")).sum(1, keepdims=True)
        return {"states": states, "nearness": np.where(is_asked, nearness, 0.0)}

    def means(self, texts: Sequence[str], *, keeps: Literal["start", "end"] = "start") -> np.ndarray:
        """(B, h) float64, the mean over its tokens of each text's last states, of length 1.

        Args:
            keeps: what is left of a text of more than `max_tokens`.
        """
        new = [text for text in dict.fromkeys(texts) if (keeps, text) not in self._known]
        self.tokenizer.truncation_side = "right" if keeps == "start" else "left"
        limit = {"truncation": True, "max_length": self.max_tokens}
        ids = self.tokenizer(new, **limit)["input_ids"] if new else []
        longest_first = sorted(range(len(new)), key=lambda number: -len(ids[number]))
        for start in range(0, len(new), BATCH):
            batch = longest_first[start : start + BATCH]
            for number, mean in zip(batch, self._batch_means([ids[number] for number in batch]), strict=True):
                self._known[keeps, new[number]] = mean
        return np.array([self._known[keeps, text] for text in texts])

    @torch.inference_mode()
    def _batch_means(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        longest = max(1, *map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=self.network.device)
        mask = torch.tensor([[1] * max(1, len(row)) + [0] * (longest - max(1, len(row))) for row in rows])
        mask = mask.to(self.network.device)
        states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(means, dim=1).double().cpu().numpy()
