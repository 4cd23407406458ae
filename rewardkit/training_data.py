"""What a reward model is trained on: preferences read or exported, held-out prompts, and a record of both in the run.

data/preferences.jsonl    the snapshot of a project of the app, where one is trained on
data.json                 sources with their SHA-256, counts, and the hash of all rows
bad_rows.jsonl            rows left out, with place and reason
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rewardkit.config import RewardConfig
from rewardkit.data import Preference
from rewardkit.preference_rows import turns
from rewardkit.preferences import BadRow, Preferences, count_reasons, read_parts
from rewardkit.runs import write_text
from rewardkit.sources import Part, choose_split, open_source, training_splits
from rewardkit.splitting import find_leakage, num_prompts, split_by_prompt
from rewardkit.writing import open_rows

logger = logging.getLogger(__name__)
LEAST_ROWS = 2  # of each side


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The data of one training.

    Attributes:
        data_hash: SHA-256 over the content of training and held-out rows in their order, in hexadecimal digits; the
            format of the files does not count.
        bad_rows: those left out.
        description: for people, what was read, split and left out.
    """

    train: list[Preference]
    held_out: list[Preference]
    data_hash: str
    bad_rows: list[BadRow]
    description: str


@dataclass(frozen=True, kw_only=True)
class _Read:
    source: str
    parts: tuple[Part, ...]
    preferences: Preferences


def load_training_data(config: RewardConfig, run_dir: Path) -> Loaded:
    """Reads or exports the preferences that a configuration names, and writes down in the run what they were.

    Held out are the rows of `eval_data`, else those of the source's evaluation split (of a folder with train and test,
    say), else `eval_share` of the prompts. A project is exported once; a resumed run reads its snapshot again. Of
    several processes one has to do this before the others.

    Raises:
        ValueError: naming file and line of a bad row; if prompts stand on both sides, rows are too few, the project
            cannot be exported, or the data of a run that goes on has changed.
        FileNotFoundError: if there is no such source.
        ImportError: if a package is missing that the source takes, with the line that installs it.
    """
    source = str(_export_snapshot(config, run_dir)) if config.project else config.data
    splits = open_source(source)
    training, evaluation = training_splits(splits, source)
    read = [_read(source, splits[training], config)]
    if config.eval_data:
        others = open_source(config.eval_data)
        read.append(_read(config.eval_data, others[choose_split(others, config.eval_data)], config))
    elif evaluation:
        read.append(_read(f"{source}:{evaluation}", splits[evaluation], config))
    bad_rows = [bad for each in read for bad in each.preferences.bad_rows]
    _write_bad_rows(run_dir, bad_rows)
    if len(read) == 2:
        train, held_out = (each.preferences.rows for each in read)
    else:
        train, held_out = split_by_prompt(read[0].preferences.rows, eval_share=config.eval_share, seed=config.seed)
    shared = find_leakage(train, held_out)
    if shared and not config.allow_leakage:
        raise ValueError(_leakage(shared))
    for name, rows in (("to train on", train), ("held out", held_out)):
        if len(rows) < LEAST_ROWS:
            raise ValueError(_too_few(name, len(rows), read, config))
    data_hash = hash_rows(train, held_out)
    description = _describe(read, train, held_out, bad_rows, shared)
    _record(run_dir, read, train, held_out, data_hash, len(shared))
    if bad_rows:
        why, listed = count_reasons(bad_rows), run_dir / "bad_rows.jsonl"
        logger.warning("%d bad rows left out (%s), see %s", len(bad_rows), why, listed)
    return Loaded(train=train, held_out=held_out, data_hash=data_hash, bad_rows=bad_rows, description=description)


def hash_rows(*groups: Iterable[Preference]) -> str:
    """SHA-256 over what training sees of groups of rows, in their order, in hexadecimal digits."""
    digest = hashlib.sha256()
    for rows in groups:
        for row in rows:
            digest.update(json.dumps(_content(row), sort_keys=True, separators=(",", ":")).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


def _content(row: Preference) -> list[object]:
    judged = [row.p_chosen, row.weight, row.margin, dict(row.criteria), dict(row.votes)]
    annotator = [row.meta.get(name) for name in ("annotator", "reliability")]
    return [turns(row.prompt), row.chosen, row.rejected, *judged, *annotator]


def _export_snapshot(config: RewardConfig, run_dir: Path) -> Path:
    """The project's released preferences as a file of the run, ties kept; the app runs as a process of its own."""
    snapshot = run_dir / "data" / "preferences.jsonl"
    if snapshot.exists():
        return snapshot
    if importlib.util.find_spec("annotate_app") is None:
        raise ImportError('project needs the package annotate_app: pip install "tiebreak[app]"')
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    words = [f"--out={snapshot}", "--ties=keep", "--sources", *([f"--db={config.db}"] if config.db else [])]
    command = [sys.executable, "-m", "annotate_app", "export", *words, "--", config.project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"project {config.project!r} cannot be exported: {said}")
    return snapshot


def _read(source: str, parts: Sequence[Part], config: RewardConfig) -> _Read:
    preferences = read_parts(parts, source, on_bad_row=config.on_bad_row)
    return _Read(source=source, parts=tuple(parts), preferences=preferences)


def _write_bad_rows(run_dir: Path, bad_rows: Sequence[BadRow]) -> None:
    if bad_rows:
        with open_rows(run_dir / "bad_rows.jsonl") as write:
            for bad in bad_rows:
                write(asdict(bad))


def _leakage(shared: Sequence[str]) -> str:
    said = " ".join(shared[0].split())
    shown = said if len(said) <= 80 else f"{said[:77]}..."
    count = "1 prompt stands" if len(shared) == 1 else f"{len(shared)} prompts stand"
    return f"{count} in both training and evaluation data, for example {shown!r}; --allow-leakage accepts that"


def _too_few(name: str, number: int, read: Sequence[_Read], config: RewardConfig) -> str:
    total = f"{read[0].source} has {_count(read[0].preferences.rows)}"
    if len(read) == 1:
        total += f", of whose prompts eval_share {config.eval_share:g} is held out: change it, or give eval_data"
    return f"{number} pairs {name}, at least {LEAST_ROWS} are needed; {total}"


def _count(rows: Sequence[Preference]) -> str:
    pairs, prompts = len(rows), num_prompts(rows)
    return f"{pairs:,} pair{'' if pairs == 1 else 's'} of {prompts:,} prompt{'' if prompts == 1 else 's'}"


def _describe(
    read: Sequence[_Read],
    train: Sequence[Preference],
    held_out: Sequence[Preference],
    bad_rows: Sequence[BadRow],
    shared: Sequence[str],
) -> str:
    held_from = f" from {read[1].source}" if len(read) == 2 else ""
    text = f"{_count(train)} to train on from {read[0].source}, {_count(held_out)} held out{held_from}"
    if bad_rows:
        text += f"; {len(bad_rows):,} bad rows left out ({count_reasons(bad_rows)})"
    if shared:
        text += f"; {len(shared):,} prompts stand on both sides, which was allowed"
    return text


def _record(
    run_dir: Path,
    read: Sequence[_Read],
    train: Sequence[Preference],
    held_out: Sequence[Preference],
    data_hash: str,
    num_shared: int,
) -> None:
    """Writes data.json, or compares with the one of the run that goes on."""
    path = run_dir / "data.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["data_hash"]
        if before != data_hash:
            raise ValueError(f"the data changed since the run {run_dir} began: {data_hash[:12]}, it was {before[:12]}")
        return
    sources = [
        {
            "source": each.source,
            "form": each.preferences.form,
            "sha256": {part.name: part.sha256() for part in each.parts},
            "num_rows": len(each.preferences.rows),
            "num_bad_rows": len(each.preferences.bad_rows),
        }
        for each in read
    ]
    counts = {
        name: {"num_rows": len(rows), "num_prompts": num_prompts(rows)}
        for name, rows in (("train", train), ("held_out", held_out))
    }
    values = {"data_hash": data_hash, "sources": sources, **counts, "num_shared_prompts": num_shared}
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1))
