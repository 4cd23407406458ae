"""A policy: a causal language model of transformers that is trained here, whole or by adapters, and saved as one.

Decoders run packed rows (`rewardkit.network.attention`), others padded; dropout is off. With adapters the reference is
the same weights without them, so that they are in memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from alignment.config.training import PolicyConfig
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.network import attention
from rewardkit.network.layout import trial_rows
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import (
    PRESETS,
    adapt,
    load_network,
    merged,
    preset_config,
    recompute_activations,
    saved_positions,
    switch_off_dropout,
)
from rewardkit.network.tokens import end_ids, load_tokenizer
from rewardkit.training.training_run import preset_tokenizer
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Without effect on greedy decoding.
SAMPLING_OPTIONS = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A causal language model and how it is run.

    Attributes:
        network: the transformers model; adapters sit in it as modules.
        adapted: peft's view of it; None where all weights are trained.
        packed: whether rows run packed with shared prompts.
        only_adapters: whether only they are saved, because the weights below are quantised.
        read_base: reads the weights below adapters as they are on disk, where those in memory are held narrower.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    adapted: PeftModel | None
    packed: bool
    only_adapters: bool = False
    read_base: Callable[[], PreTrainedModel] | None = None

    @property
    def device(self) -> torch.device:
        return self.network.get_input_embeddings().weight.device  # pyright: ignore[reportReturnType]

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """Switches the adapters off within the block: the policy is then its own reference."""
        assert self.adapted is not None, "without adapters a reference has weights of its own"
        with self.adapted.disable_adapter():
            yield

    def save(self, out_dir: Path) -> None:
        """Writes an ordinary transformers model with its tokenizer; adapters merged, and by themselves in adapter/.

        Raises:
            OSError: if the disk is full.
        """
        try:
            self._write(out_dir)
        except SafetensorError as error:
            raise OSError(f"the model could not be written to {out_dir}: {error}") from error

    def _write(self, out_dir: Path) -> None:
        self.network.config.pad_token_id = self.tokenizer.pad_token_id
        generation_config = self._generation_config()
        self.network.generation_config = generation_config
        if self.only_adapters and self.adapted is not None:
            self.adapted.save_pretrained(str(out_dir))
            generation_config.save_pretrained(out_dir)
        else:
            self._whole(out_dir / "adapter").save_pretrained(out_dir)
        self.tokenizer.save_pretrained(out_dir)

    def _whole(self, adapter_dir: Path) -> PreTrainedModel:
        """The network with its adapters written into a folder and added to its weights, in fp32."""
        if self.adapted is None:
            return self.network
        self.adapted.save_pretrained(str(adapter_dir))
        if self.read_base is None:
            self.adapted.merge_and_unload()  # pyright: ignore[reportCallIssue]
            return self.network
        whole = merged(self.read_base(), adapter_dir)
        whole.config.pad_token_id = self.network.config.pad_token_id
        whole.generation_config = self.network.generation_config
        return whole

    def _generation_config(self) -> GenerationConfig:
        """What the model came with, ending at all its end tokens and at those that were trained."""
        from transformers import GenerationConfig

        config = self.network.generation_config or GenerationConfig.from_model_config(self.network.config)
        before = config.eos_token_id
        first = before if isinstance(before, list) else [before]
        ends = [token for token in dict.fromkeys((*first, *end_ids(self.network, self.tokenizer))) if token is not None]
        config.eos_token_id = ends if len(ends) > 1 else ends[0]
        config.pad_token_id = self.tokenizer.pad_token_id
        if not config.do_sample:  # transformers reads such a file, but writes none
            for name in SAMPLING_OPTIONS:
                setattr(config, name, None)
        return config


def prepare_tokenizer(config: PolicyConfig, run_dir: Path, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, or for a preset one trained on the data and kept in the run, so that it resumes alike.

    Raises:
        ValueError: if it cannot be read, or has no token that ends a text.
    """
    if config.model in PRESETS:
        return preset_tokenizer(run_dir, texts)
    try:
        tokenizer = load_tokenizer(config.model, own_pad=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"model {config.model!r} has no tokenizer that can be read: {error}") from error
    if tokenizer.eos_token is None:
        raise ValueError(f"model {config.model!r}: its tokenizer has no token that ends a text")
    return tokenizer


def check_model(model: str) -> int | None:
    """Returns how many tokens a saved model takes, where its configuration says so.

    Raises:
        ValueError: if it is no preset and has no configuration that can be read.
    """
    if model in PRESETS:
        return None
    try:
        return saved_positions(model)
    except (OSError, ValueError) as error:
        raise ValueError(f"model {model!r}, allowed are {', '.join(PRESETS)}, a folder, a hub id: {error}") from error


def build_policy(
    config: PolicyConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    device: torch.device | None = None,
) -> Policy:
    """The policy that a configuration names, with new adapters where it asks for them, on the CPU.

    Args:
        device: where it will be run, which decides how its weights are held; None is the CPU.

    Raises:
        ValueError: if the architecture cannot be run here, or not with weights held as asked.
    """
    read_base = partial(_read_network, config, tokenizer, max_length)
    network = read_base(load_in_4bit=config.load_in_4bit)
    packed = can_pack_policy(network)
    adapted = None
    if config.lora:
        adapted = adapt(
            network, rank=config.lora_rank, num_layers=config.lora_layers, seed=config.seed, task="CAUSAL_LM"
        )
    narrow = config.lora and wants_bf16(config.frozen_weights, device or torch.device("cpu"))
    if narrow or config.trained_weights != "fp32":
        run = partial(completion_logps, network, trial_rows(network.config), packed=packed)
        hold_in_bf16(network, trained=not config.lora, must=not narrow or config.frozen_weights == "bf16", run=run)
    if config.gradient_checkpointing:
        recompute_activations(network)
    return Policy(
        network=network,
        tokenizer=tokenizer,
        adapted=adapted,
        packed=packed,
        only_adapters=config.load_in_4bit,
        read_base=read_base if narrow else None,
    )


def _read_network(
    config: PolicyConfig, tokenizer: PreTrainedTokenizerBase, max_length: int, *, load_in_4bit: bool = False
) -> PreTrainedModel:
    """The network that a configuration names, from its file or made here, the same at every call."""
    if config.model in PRESETS:
        made = preset_config(config.model, tokenizer, max_length=max(2048, max_length))
        return make_network(made, seed=config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)  # of embeddings for tokens that the file does not hold
        return load_network(config.model, tokenizer, load_in_4bit=load_in_4bit, precision=config.precision)


def make_network(config: PretrainedConfig, *, seed: int) -> PreTrainedModel:
    """Makes a causal language model with random weights from a configuration."""
    from transformers import AutoModelForCausalLM

    attention.register()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config)
    switch_off_dropout(network)
    return network
