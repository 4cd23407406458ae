"""Features of a frozen trunk, computed once and saved.

The pass over the trunk is the whole cost of a head-only training, so features are saved by conversation: a refit after
more judgments computes the features of new conversations alone. `features-TRUNK.npz` holds `keys`, (M, 16) bytes of
SHA-256 over a conversation's tokens, and `values`, (M, h) float32; TRUNK is a hash of weights, configuration and
precision.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rewardkit.network.classifier import RewardScorer
from rewardkit.network.models import head_of
from rewardkit.network.packed_rows import Branched, token_budget_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)
Precision = Callable[[], AbstractContextManager[object]]
Progress = Callable[[int, int], None]


def trunk_features(
    scorer: RewardScorer,
    rows: Sequence[Branched],
    *,
    cache_dir: Path,
    token_budget: int,
    precision: Precision,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """What the score head reads, one per branch, branches in order of rows; from the cache where it is there.

    Args:
        scorer: its trunk is used, its heads are not.
        cache_dir: where the features are kept.
        token_budget: of a batch.
        precision: makes the context that the trunk runs in.
        progress: told how many rows are done, and of how many.

    Returns:
        (S, h) float32.
    """
    file = cache_dir / f"features-{trunk_hash(scorer, precision)}.npz"
    saved = _read(file)
    keys = [[_key(row.prompt + branch) for branch in row.branches] for row in rows]
    missing = [index for index, row_keys in enumerate(keys) if not all(key in saved for key in row_keys)]
    if len(missing) < len(rows):
        logger.info("features of %d of %d rows come from %s", len(rows) - len(missing), len(rows), file)
    progress(len(rows) - len(missing), len(rows))
    if missing:
        new_features = compute_features(
            scorer,
            [rows[index] for index in missing],
            token_budget=token_budget,
            precision=precision,
            progress=lambda done, total: progress(len(rows) - total + done, len(rows)),
        )
        saved |= dict(zip((key for index in missing for key in keys[index]), new_features, strict=True))
        _write(file, saved)
    return np.stack([saved[key] for row_keys in keys for key in row_keys])


@torch.inference_mode()
def compute_features(
    scorer: RewardScorer,
    rows: Sequence[Branched],
    *,
    token_budget: int,
    precision: Precision,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """(S, h) float32 features, in batches of similar length; see `trunk_features`."""
    scorer.eval()
    starts = np.cumsum([0, *(len(row.branches) for row in rows)])
    features = np.zeros((int(starts[-1]), scorer.heads.shape[1]), dtype=np.float32)
    done = 0
    for batch in token_budget_batches([row.num_tokens for row in rows], token_budget=token_budget):
        with precision():
            batch_features = scorer.features([rows[index] for index in batch]).float().cpu().numpy()
        features[np.concatenate([np.arange(starts[index], starts[index + 1]) for index in batch])] = batch_features
        done += len(batch)
        progress(done, len(rows))
    return features


def trunk_hash(scorer: RewardScorer, precision: Precision) -> str:
    """32 hex digits over everything but the tokens that decides features: class, configuration, weights, precision."""
    classifier = scorer.classifier
    device = scorer.heads.device.type
    with precision():
        autocast = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "none"
    digest = hashlib.sha256(f"{type(classifier).__name__} {autocast} {scorer.packed}".encode())
    digest.update(_configuration(classifier).encode())
    own_head = {id(parameter) for parameter in head_of(classifier).parameters()}
    for name, tensor in classifier.state_dict(keep_vars=True).items():
        if id(tensor) not in own_head:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _configuration(classifier: PreTrainedModel) -> str:
    values = classifier.config.to_diff_dict()
    return repr(sorted((name, repr(value)) for name, value in values.items() if name != "_name_or_path"))


def _key(sequence: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(sequence, dtype=np.int64).tobytes()).digest()[:16]


def _read(file: Path) -> dict[bytes, np.ndarray]:
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        keys, values = arrays["keys"], arrays["values"]
    return {key.tobytes(): value for key, value in zip(keys, values, strict=True)}


def _write(file: Path, saved: dict[bytes, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".writing.npz")
    keys = np.frombuffer(b"".join(saved), dtype=np.uint8).reshape(len(saved), -1)
    np.savez(temporary, keys=keys, values=np.stack(list(saved.values())))
    temporary.replace(file)
