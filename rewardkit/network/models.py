"""Neural models. A reward model is a transformers sequence classifier with one label, read at the last attended token.

Decoders run packed rows with shared prompts (`rewardkit.network.attention`); a model whose packed scores do not equal
its padded ones (encoders, sliding windows) runs padded, and says so once. On disk it stays an ordinary
`AutoModelForSequenceClassification` beside a small `rewardkit.json`. A policy is loaded from its folder: an ordinary
causal language model of transformers, or a PEFT adapter on one. Either can get LoRA adapters, low-rank updates of the
linear layers of its trunk (Hu et al. 2022, arXiv 2106.09685), through peft.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from rewardkit.network import attention
from rewardkit.network.llama import packed_states, try_steps
from rewardkit.network.packed_rows import Branched, pack, pad
from rewardkit.network.tokens import load_tokenizer

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import BitsAndBytesConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


logger = logging.getLogger(__name__)
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4},
    "small": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6},
}


def preset_config(name: str, tokenizer: PreTrainedTokenizerBase, *, max_length: int = 2048) -> PretrainedConfig:
    """The configuration of a small Llama-style decoder for the given tokenizer; `name` is a key of PRESETS."""
    ids: dict[str, Any] = {key: getattr(tokenizer, key) for key in ("pad_token_id", "eos_token_id", "bos_token_id")}
    return preset_shape(name, vocab_size=len(tokenizer), max_length=max_length, **ids)


def preset_shape(name: str, *, vocab_size: int, max_length: int = 2048, **ids: Any) -> PretrainedConfig:
    """The configuration of a small Llama-style decoder; `name` is a key of PRESETS, `ids` are special tokens."""
    from transformers import LlamaConfig

    if name not in PRESETS:
        raise ValueError(f"model preset is {name!r}, allowed are {', '.join(PRESETS)}")
    return LlamaConfig(
        **PRESETS[name],
        num_key_value_heads=PRESETS[name]["num_attention_heads"],
        vocab_size=vocab_size,
        max_position_embeddings=max_length,
        tie_word_embeddings=name == "tiny",
        **ids,
    )


class RewardScorer(torch.nn.Module):
    """Trunk and heads of a reward model, from rows of tokens to one score per branch and member.

    Attributes:
        classifier: the transformers model, num_labels = 1; its own head is written when it is saved.
        heads: (K, h) float32 parameter, one row per ensemble member.
        packed: whether rows run packed with shared prompts.
    """

    def __init__(self, classifier: PreTrainedModel, *, num_members: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.classifier = classifier
        head_of(classifier).requires_grad_(False)  # it is written when the model is saved
        hidden = head_of(classifier).weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        heads = torch.empty(num_members, hidden).normal_(0.0, 1.0 / math.sqrt(hidden + 1), generator=generator)
        self.heads = torch.nn.Parameter(heads.to(next(classifier.parameters()).device))
        self.packed = can_pack(classifier)

    def features(self, rows: Sequence[Branched]) -> Tensor:
        """(S, h) what the score head reads, one per branch, branches in order of rows.

        For a decoder the hidden state at the last attended token; for an encoder whatever its classifier pools.
        """
        if self.packed:
            return packed_features(self.classifier, rows)
        return padded_features(self.classifier, rows)

    def forward(self, rows: Sequence[Branched]) -> Tensor:
        """(K, S) float32 scores of the branches by each member."""
        features = self.features(rows).float()
        with torch.autocast(self.heads.device.type, enabled=False):
            return self.heads.float() @ features.T


def packed_features(classifier: PreTrainedModel, rows: Sequence[Branched]) -> Tensor:
    """(S, h) features with every prompt computed once and no padding."""
    batch = pack(rows)
    return packed_states(classifier, batch, batch.last_index)


def padded_features(classifier: PreTrainedModel, rows: Sequence[Branched]) -> Tensor:
    """(S, h) features of the full sequences, right-padded: the input of the classifier's last linear layer."""
    padded = pad(rows, classifier.config.pad_token_id or 0)
    device = classifier.device
    head_inputs: list[Tensor] = []
    hook = head_of(classifier).register_forward_pre_hook(lambda _module, inputs: head_inputs.append(inputs[0]))
    try:
        classifier(input_ids=padded.input_ids.to(device), attention_mask=padded.attention_mask.to(device))
    finally:
        hook.remove()
    if head_inputs[0].dim() == 2:
        return head_inputs[0]
    return head_inputs[0][torch.arange(len(head_inputs[0]), device=device), padded.last_index.to(device)]


def head_of(classifier: PreTrainedModel) -> torch.nn.Linear:
    """The last linear layer with one output: what turns features into the score."""
    heads = [
        module for module in classifier.modules() if isinstance(module, torch.nn.Linear) and module.out_features == 1
    ]
    if not heads:
        raise ValueError(f"{type(classifier).__name__} has no linear layer with one output to score with")
    return heads[-1]


def load_classifier(
    path: str | Path, tokenizer: PreTrainedTokenizerBase, *, dtype: torch.dtype, load_in_4bit: bool = False
) -> PreTrainedModel:
    """A sequence classifier with one label from a folder or hub id, ready for packed rows, dropout off.

    Its attribute `has_own_head` says whether the head was in the file, or is new and random.

    Raises:
        ImportError: if 4 bits are asked for and bitsandbytes is missing.
    """
    from transformers import AutoModelForSequenceClassification

    attention.register()
    classifier, report = AutoModelForSequenceClassification.from_pretrained(
        path,
        num_labels=1,
        dtype=dtype,
        attn_implementation=attention.NAME,
        quantization_config=four_bits() if load_in_4bit else None,
        output_loading_info=True,
    )
    head = head_of(classifier)
    names = {name for name, module in classifier.named_modules() if module is head}
    classifier.has_own_head = f"{names.pop()}.weight" not in report["missing_keys"]
    if len(tokenizer) > classifier.get_input_embeddings().weight.shape[0]:
        classifier.resize_token_embeddings(len(tokenizer))
    classifier.config.pad_token_id = tokenizer.pad_token_id
    switch_off_dropout(classifier)
    return classifier


def four_bits() -> BitsAndBytesConfig:
    """NF4 with bf16 products, as in QLoRA (Dettmers et al. 2023, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError("load_in_4bit needs bitsandbytes: pip install bitsandbytes")
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def make_classifier(config: PretrainedConfig, *, seed: int) -> PreTrainedModel:
    """A sequence classifier with random weights from a configuration."""
    from transformers import AutoModelForSequenceClassification

    attention.register()
    config.num_labels = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention.NAME)
    switch_off_dropout(classifier)
    return classifier


def recompute_activations(network: PreTrainedModel) -> None:
    """Gradient checkpointing, layer by layer: activations are computed again in backward instead of kept."""
    options = {"use_reentrant": False, "context_fn": attention.recomputing}
    if hasattr(network, "activation_checkpointing_enable"):  # its name since transformers 5
        network.activation_checkpointing_enable(options)
    else:
        network.gradient_checkpointing_enable(options)


def switch_off_dropout(module: torch.nn.Module) -> None:
    """Sets every dropout probability to 0, so that training and scoring compute the same function."""
    for child in module.modules():
        if isinstance(child, torch.nn.Dropout):
            child.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(child, name, None), float):
                setattr(child, name, 0.0)


@torch.no_grad()
def can_pack(classifier: PreTrainedModel, tolerance: float = 1e-3) -> bool:
    """Whether packed rows give the padded features, tried on small rows; where not, one warning and plain attention."""
    rows = [
        Branched(prompt=(5, 6, 7), branches=((8, 9), (10, 11, 12))),
        Branched(prompt=(9, 8), branches=((7,), (6, 5))),
    ]
    try:
        if attention.has_sliding_window(classifier.config):
            raise ValueError("it attends in a sliding window")
        classifier.set_attn_implementation("sdpa")
        expected = padded_features(classifier, rows).float()
        classifier.set_attn_implementation(attention.NAME)
        try_steps(classifier, pack(rows))
        difference = (packed_features(classifier, rows).float() - expected).abs().max()
        if difference > tolerance * max(1.0, float(expected.abs().max())):
            raise ValueError(f"packed features differ from padded ones by {float(difference):.2g}")
    except (ValueError, TypeError, LookupError, AttributeError) as reason:
        logger.warning("%s runs padded, which is slower: %s", type(classifier).__name__, reason)
        classifier.set_attn_implementation("sdpa")
        return False
    return True


ADAPTER_FILE = "adapter_config.json"


def load_policy(
    path: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy in a folder (or of a hub id) and its tokenizer, in evaluation mode; an adapter is merged.

    Raises:
        FileNotFoundError: if a path is given and there is no such folder.
        ValueError: if the folder holds no model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights, which is short
    folder = check_policy_folder(path)
    base = adapter_base(folder)
    policy = AutoModelForCausalLM.from_pretrained(base or folder, dtype=dtype, attn_implementation="sdpa")
    has_own = not base or (Path(folder) / "tokenizer_config.json").exists()
    tokenizer = load_tokenizer(folder if has_own else base, own_pad=False)
    if len(tokenizer) > policy.get_input_embeddings().num_embeddings:  # pyright: ignore[reportOperatorIssue]
        policy.resize_token_embeddings(len(tokenizer))
    if base:
        from peft import PeftModel

        policy = PeftModel.from_pretrained(policy, str(folder)).merge_and_unload()  # pyright: ignore[reportCallIssue]
    policy.config.pad_token_id = tokenizer.pad_token_id
    switch_off_dropout(policy)
    policy.to(torch.device(device))  # type: ignore[arg-type]
    return policy.eval(), tokenizer


def check_policy_folder(path: str | Path) -> str:
    """The path, once it is known to hold a model; a hub id as it is.

    Raises:
        FileNotFoundError, ValueError: see `load_policy`.
    """
    folder = Path(path)
    if not folder.is_dir():
        if folder.is_absolute() or len(folder.parts) != 2:
            raise FileNotFoundError(f"{path}: there is no such folder")
        return str(path)
    if not (folder / "config.json").exists() and not (folder / ADAPTER_FILE).exists():
        raise ValueError(f"{path}: no model, it holds neither config.json nor {ADAPTER_FILE}")
    return str(path)


def adapter_base(path: str | Path) -> str:
    """What the adapter in a folder was trained on; empty for a whole model."""
    file = Path(path) / ADAPTER_FILE
    if not file.exists() or (Path(path) / "config.json").exists():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])


LAYER = re.compile(r"\.(\d+)\.")


def add_adapters(classifier: PreTrainedModel, *, rank: int, num_layers: int, seed: int) -> PeftModel:
    """Adapts a classifier, see `adapt`; what stands between trunk and head (as in some encoders) is trained whole."""
    trunk = {id(parameter) for parameter in classifier.base_model.parameters()}
    between = [p for p in classifier.parameters() if id(p) not in trunk]
    adapted = adapt(classifier, rank=rank, num_layers=num_layers, seed=seed)
    for parameter in between:
        parameter.requires_grad_(True)
    head_of(classifier).requires_grad_(False)
    return adapted


def adapt(network: PreTrainedModel, *, rank: int, num_layers: int, seed: int, task: str | None = None) -> PeftModel:
    """Puts adapters into a network's trunk, in place, and freezes all its own weights.

    Scale alpha / rank = 2, no dropout.

    Args:
        rank: of the adapters.
        num_layers: adapt only this many top layers; 0 adapts all.
        task: peft's name of what the network does, noted in the adapter's file.

    Raises:
        ValueError: if the trunk has fewer layers.
        ImportError: if peft is missing.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError('LoRA needs peft: pip install "tiebreak[train]"') from error
    names = linear_layers(network, num_layers=num_layers)
    lora = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=names,
        task_type=task,  # pyright: ignore[reportArgumentType]
        fan_in_fan_out=isinstance(network.get_submodule(names[0]), Conv1D),
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        torch.manual_seed(seed)
        return get_peft_model(network, lora)  # pyright: ignore[reportReturnType]


def linear_layers(network: PreTrainedModel, *, num_layers: int) -> list[str]:
    """Names of the linear layers in the trunk's top layers; 0 takes all.

    Raises:
        ValueError: if there are fewer layers.
    """
    prefix = f"{network.base_model_prefix}."
    names = [
        prefix + name
        for name, module in network.base_model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
    ]
    numbered = [(name, int(match[1])) for name in names if (match := LAYER.search(name))]
    depth = 1 + max((number for _, number in numbered), default=-1)
    if num_layers > depth:
        raise ValueError(f"lora_layers is {num_layers}, the model has {depth} layers")
    return [name for name, number in numbered if not num_layers or number >= depth - num_layers]


def merge_adapters(adapted: PeftModel, adapter_dir: Path) -> None:
    """Writes the adapters by themselves, then adds them to the weights of the network they were put into."""
    adapted.save_pretrained(str(adapter_dir))
    adapted.merge_and_unload()  # pyright: ignore[reportCallIssue]


def complete_adapters(classifier: PreTrainedModel, adapter_dir: Path) -> None:
    """Adds to written adapters what plain PEFT needs to score as the classifier does: all that stands after its trunk.

    Those modules, the head among them, go into the adapters' file as they are now, and their names into its
    `modules_to_save`; the task is sequence classification.
    """
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import load_file, save_file

    trunk = classifier.base_model
    after = {name: module for name, module in classifier.named_children() if module is not trunk}
    weights = load_file(adapter_dir / SAFETENSORS_WEIGHTS_NAME)
    for name, module in after.items():
        for key, tensor in module.state_dict().items():
            weights[f"base_model.model.{name}.{key}"] = tensor.detach().cpu().contiguous()
    save_file(weights, adapter_dir / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    names = sorted(name for name, module in after.items() if module.state_dict())
    file = adapter_dir / ADAPTER_FILE
    values = json.loads(file.read_text(encoding="utf-8")) | {"task_type": "SEQ_CLS", "modules_to_save": names}
    file.write_text(json.dumps(values, indent=2, sort_keys=True), encoding="utf-8")
