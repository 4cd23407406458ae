"""Networks of transformers: their presets, where they are loaded from, and what is put into or taken out of them.

A policy is loaded from its folder: an ordinary causal language model of transformers, or a PEFT adapter on one. A
network can get LoRA adapters, low-rank updates of the linear layers of its trunk (Hu et al. 2022, arXiv 2106.09685),
through peft. Reward models are in `rewardkit.network.classifier`.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.pytorch_utils import Conv1D

from rewardkit.config import Precision
from rewardkit.distributed.collectives import default_device
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.network import attention
from rewardkit.network.layout import attend_plainly
from rewardkit.network.tokens import load_tokenizer, turn_end_id
from rewardkit.run.model_folder import ADAPTER_FILE, HUB_ID, adapter_base, reading

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


def head_of(classifier: PreTrainedModel) -> torch.nn.Linear:
    """The last linear layer with one output: what turns features into the score."""
    heads = [
        module for module in classifier.modules() if isinstance(module, torch.nn.Linear) and module.out_features == 1
    ]
    if not heads:
        raise ValueError(f"{type(classifier).__name__} has no linear layer with one output to score with")
    return heads[-1]


def merged(network: PreTrainedModel, path: str | Path) -> PreTrainedModel:
    """A network with the adapter of a folder added to its weights.

    Raises:
        ValueError: if the adapter cannot be read, fits another model or has no weights to add.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if Path(path).is_dir() and not any(Path(path).glob("adapter_model.*")):
        raise ValueError(f"{path}: no adapter, it holds {ADAPTER_FILE} and no weights")
    with warnings.catch_warnings(), reading(path):
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # refused below
        adapted = PeftModel.from_pretrained(network, str(path))
        if not hasattr(adapted.base_model, "merge_and_unload"):
            kind = adapted.peft_config["default"].peft_type
            raise ValueError(f"an adapter of type {getattr(kind, 'value', kind)} adds nothing to weights")
        wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
        held = set(load_peft_weights(str(path), device="cpu"))
        if missing := sorted(wanted - held):
            raise ValueError(f"the adapter has no weights for {', '.join(missing[:4])}")
        if strange := sorted(name for name in held - wanted if "lora_" in name):
            raise ValueError(f"the model has no place for the adapter's {', '.join(strange[:4])}")
        whole = adapted.merge_and_unload()  # pyright: ignore
    for name, parameter in whole.named_parameters():
        parameter.requires_grad_(name in trained)  # peft froze them
    return whole


def four_bits(precision: Precision) -> BitsAndBytesConfig:
    """NF4 as in QLoRA (Dettmers et al. 2023, arXiv 2305.14314), products in the format that a precision means here."""
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError("load_in_4bit needs bitsandbytes: pip install bitsandbytes")
    products = torch.bfloat16 if wants_bf16(precision, default_device()) else torch.float32
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=products)


def recompute_activations(network: PreTrainedModel) -> None:
    """Gradient checkpointing, layer by layer: activations are computed again in backward instead of kept."""
    options = {"use_reentrant": False, "context_fn": attention.recomputing}
    if hasattr(network, "activation_checkpointing_enable"):  # its name since transformers 5
        network.activation_checkpointing_enable(options)
    else:
        network.gradient_checkpointing_enable(options)


def recomputes_activations(network: torch.nn.Module) -> bool:
    """Whether `recompute_activations` was asked of a network, or of the one that a PEFT wrapper holds."""
    return any(getattr(module, "gradient_checkpointing", False) for module in network.modules())


def switch_off_dropout(module: torch.nn.Module) -> None:
    """Sets every dropout probability to 0, so that training and scoring compute the same function."""
    for child in module.modules():
        if isinstance(child, torch.nn.Dropout):
            child.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(child, name, None), float):
                setattr(child, name, 0.0)


def load_policy(
    path: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy in a folder (or of a hub id) and its tokenizer, in evaluation mode; an adapter is merged.

    Raises:
        FileNotFoundError: if a path is given and there is no such folder.
        ValueError: if the folder holds no causal language model, or one that computes no finite numbers.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights, which is short
    folder = check_policy_folder(path)
    tokenizer = load_tokenizer(folder, own_pad=False)
    policy = load_network(folder, tokenizer, dtype=dtype, may_grow=False)
    attend_plainly(policy)
    policy.config.pad_token_id = tokenizer.pad_token_id
    policy.to(torch.device(device))  # type: ignore[arg-type]
    policy.eval()
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([[1, 2]], device=policy.device)).logits
    if not logits.isfinite().all():
        raise ValueError(f"{path} gives numbers that are not finite")
    return policy, tokenizer


def load_network(
    path: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: torch.dtype = torch.float32,
    load_in_4bit: bool = False,
    precision: Precision = "auto",
    may_grow: bool = True,
) -> PreTrainedModel:
    """Loads a causal language model from a folder or hub id, dropout off, its adapter merged.

    Args:
        precision: of products with weights in 4 bits.
        may_grow: whether tokens that the tokenizer has and the model has not get new weights, to be trained. Untrained
            they would take their share of every distribution.

    Raises:
        ValueError: if the architecture is no causal language model, the file lacks weights of it, or it may not grow
            and the chat template needs it.
        ImportError: if 4 bits are asked for and bitsandbytes is missing.
    """
    from transformers import AutoModelForCausalLM

    attention.register()
    base = adapter_base(path)
    config = model_config(path)
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise ValueError(f"{path}: a model of type {config.model_type} is no causal language model")
    four = four_bits(precision) if load_in_4bit else None
    with reading(base or path):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            base or path,
            config=config,
            dtype=dtype,
            quantization_config=four,
            ignore_mismatched_sizes=True,  # refused below by name
            output_loading_info=True,
            trust_remote_code=False,
        )
    network, report = loaded
    check_shapes(base or path, report["mismatched_keys"])
    if missing := sorted(set(report["missing_keys"])):
        raise ValueError(f"{base or path}: no causal language model, its file has no {', '.join(missing[:4])}")
    num_embeddings = network.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportIndexIssue]
    if len(tokenizer) > num_embeddings:
        unknown = tokenizer.convert_ids_to_tokens(list(range(num_embeddings, len(tokenizer))))
        logger.warning("%s has no weights for %d tokens of its tokenizer: %s", path, len(unknown), unknown[:4])
        if may_grow or base:
            network.resize_token_embeddings(len(tokenizer))
        elif (turn_end_id(tokenizer) or 0) >= num_embeddings:
            raise ValueError(f"{path}: the model has no weights for the token that ends a turn, {unknown}")
        if not may_grow:
            tokenizer.num_known = num_embeddings  # type: ignore[attr-defined]
    if base:
        network = merged(network, path)
    switch_off_dropout(network)
    return network


def check_shapes(path: str | Path, mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    """Raises ValueError if weights of a file have other shapes than its configuration says."""
    for name, held, wanted in mismatched:
        shapes = f"{tuple(held)}, its config.json wants {tuple(wanted)}"
        raise ValueError(f"{path}: no whole model, {name} is {shapes}")


def check_policy_folder(path: str | Path) -> str:
    """The path, once it is known to hold a model; a hub id as it is.

    Raises:
        FileNotFoundError, ValueError: see `load_policy`.
    """
    folder = Path(path)
    if not folder.is_dir():
        if folder.exists() or not HUB_ID.fullmatch(str(path)):
            raise FileNotFoundError(f"{path}: there is no such folder")
        return str(path)
    if not (folder / "config.json").exists() and not (folder / ADAPTER_FILE).exists():
        raise ValueError(f"{path}: no model, it holds neither config.json nor {ADAPTER_FILE}")
    return str(path)


def model_config(path: str | Path) -> PretrainedConfig:
    """The configuration of a saved model; of an adapter that of what it was trained on.

    Raises:
        ValueError: if it cannot be read.
    """
    from transformers import AutoConfig

    path = adapter_base(path) or path
    with reading(path):
        return AutoConfig.from_pretrained(path, trust_remote_code=False)


# A table of positions has rows that no token gets: those up to the padding index (RoBERTa: 514 rows, 512 tokens), or an
# offset (OPT). Models with relative positions alone (T5, XLNet, DeBERTa-v3) and with ALiBi have no such limit.
# Names of configurations' own limits, in tokens.
LIMITS = ("max_position_embeddings", "max_seq_len", "n_positions", "n_ctx")
TABLE = re.compile(r"(wpe|embed_positions?|positions?_embed(ding)?s?|pos_embed(ding)?s?|embeddings_position)$")


def num_positions(config: PretrainedConfig) -> int | None:
    """Tokens that a model of a configuration takes; None where it sets no limit."""
    text_config = config.get_text_config()
    tables = _tables(text_config)
    stated = next((value for name in LIMITS if _is_count(value := getattr(text_config, name, None))), None)
    is_relative = getattr(text_config, "relative_attention", False) or getattr(text_config, "alibi", False)
    limits = [*tables, *([] if stated is None or (is_relative and not tables) else [stated])]
    return min(limits, default=None)


def saved_positions(path: str | Path) -> int | None:
    """Tokens that a saved model takes.

    Raises:
        OSError, ValueError: if its configuration cannot be read.
    """
    return num_positions(model_config(path))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0  # XLNet says -1


def _tables(config: PretrainedConfig) -> list[int]:
    """Tokens that each table of learned positions has rows for; the model is laid out without memory for it."""
    if getattr(config, "rope_parameters", None):
        return []
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            network = AutoModel.from_config(config)
    except (ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError):
        return []  # what cannot be laid out so is loaded, and refused if it must be, later
    return [
        module.num_embeddings - max(_first_row(module), int(getattr(module, "offset", 0)))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Embedding) and TABLE.search(name)
    ]


def _first_row(table: torch.nn.Embedding) -> int:
    return 0 if table.padding_idx is None else table.padding_idx + 1


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


def merge_adapters(
    adapted: PeftModel, adapter_dir: Path, *, base: PreTrainedModel | None = None
) -> PreTrainedModel | None:
    """Writes the adapters by themselves, then adds them to the weights of the network they were put into.

    Args:
        base: that network as it was in full width, to which they are added instead, with all else that was trained.

    Returns:
        `base` with its new weights.
    """
    adapted.save_pretrained(str(adapter_dir))
    if base is None:
        adapted.merge_and_unload()  # pyright: ignore[reportCallIssue]
        return None
    trained = {
        name: parameter
        for name, parameter in adapted.get_base_model().named_parameters()
        if parameter.requires_grad and "lora_" not in name
    }
    base = merged(base, adapter_dir)
    base.load_state_dict(trained, strict=False)
    return base


def complete_adapters(
    classifier: PreTrainedModel,
    adapter_dir: Path,
    whole: Mapping[str, torch.Tensor] | None = None,
    *,
    task: str = "SEQ_CLS",
) -> None:
    """Adds to written adapters what plain PEFT needs to score as the classifier does: all that stands after its trunk.

    Those modules, the head among them, go into the adapters' file as they are now, and their names into its
    `modules_to_save`.

    Args:
        whole: the classifier's weights by name, where its own are sharded.
        task: peft's name of what the classifier does.
    """
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import load_file, save_file

    trunk = classifier.base_model
    after = {name: module for name, module in classifier.named_children() if module is not trunk}
    weights = load_file(adapter_dir / SAFETENSORS_WEIGHTS_NAME)
    for name, module in after.items():
        for key, tensor in module.state_dict().items():
            tensor = tensor if whole is None else whole[f"{name}.{key}"]
            weights[f"base_model.model.{name}.{key}"] = tensor.detach().cpu().contiguous()
    save_file(weights, adapter_dir / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    names = sorted(name for name, module in after.items() if module.state_dict())
    file = adapter_dir / ADAPTER_FILE
    values = json.loads(file.read_text(encoding="utf-8")) | {"task_type": task, "modules_to_save": names}
    file.write_text(json.dumps(values, indent=2, sort_keys=True), encoding="utf-8")
