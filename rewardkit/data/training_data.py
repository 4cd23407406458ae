"""What a model is trained on: rows read or exported, held-out prompts, and a record of both in the run directory.

data/preferences.jsonl    the exported rows of a project, where one is trained on
data.json                 sources with their SHA-256, counts, and the hash of all rows
bad_rows.jsonl            rows left out, with place and reason

`read_trained_on` reads the rows of a model's run again, to check for leakage and to fit baselines.

Projects are kept by a program above this package, which is not named here. It offers its export as an entry point of
the group `tiebreak.projects`: a function of the project's name, the kind of rows, the file to write and the database
URL, that returns the words of a command which writes them (`ExportCommand`). The command runs as a process of its own,
so that its memory and its locks end with it. An entry point is found wherever the program is installed, also where its
scripts are not on PATH.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, Literal, Protocol

import yaml

from rewardkit.config import RewardConfig
from rewardkit.data.conversations import RowError
from rewardkit.data.export_formats import turns
from rewardkit.data.files import open_rows
from rewardkit.data.preferences import BadRow, Check, OnBadRow, ReadRows, count_reasons, read_parts
from rewardkit.data.records import Preference
from rewardkit.data.sources import Part, choose_split, open_source, training_splits
from rewardkit.data.splitting import Prompted, Row, find_leakage, num_prompts, split_by_prompt
from rewardkit.run.directory import write_text

logger = logging.getLogger(__name__)
LEAST_ROWS = 2  # of each side
PROJECTS = "tiebreak.projects"  # the group of entry points
ExportedRows = Literal["preference", "unpaired", "sft", "stepwise"]
ExportCommand = Callable[[str, ExportedRows, Path, str], list[str]]
"""From a project's name, the kind of rows, the file to write and the database URL (empty for the program's default):
the words of a command that writes all released rows of the project, ties and sources among them."""


class DataOptions(Protocol):
    """The part of a configuration that says which data there is, see `rewardkit.config.RewardConfig`."""

    @property
    def data(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def db(self) -> str: ...
    @property
    def eval_data(self) -> str: ...
    @property
    def eval_share(self) -> float: ...
    @property
    def on_bad_row(self) -> OnBadRow: ...
    @property
    def allow_leakage(self) -> bool: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class RowKind(Generic[Row]):
    """What the rows of a training are.

    Attributes:
        noun: one of them, for people.
        read: reads the parts of one split of a source, as `rewardkit.data.preferences.read_parts` does.
        content: what training sees of a row, as JSON takes it.
        weight: of a row in the loss.
        exported: the rows of a project's export that it reads.
    """

    noun: str
    read: Callable[[Sequence[Part], str, OnBadRow, Check[Row] | None], ReadRows[Row]]
    content: Callable[[Row], list[object]]
    weight: Callable[[Row], float]
    exported: ExportedRows


@dataclass(frozen=True, kw_only=True)
class LoadedRows(Generic[Row]):
    """The data of one training.

    Attributes:
        data_hash: SHA-256 over the content of training and held-out rows in their order, in hexadecimal digits; the
            format of the files does not count.
        bad_rows: those left out.
        description: for people, what was read, split and left out.
    """

    train: list[Row]
    held_out: list[Row]
    data_hash: str
    bad_rows: list[BadRow]
    description: str


Loaded = LoadedRows[Preference]


@dataclass(frozen=True, kw_only=True)
class _ReadSource(Generic[Row]):
    """One source as it was read; `content` holds its rows."""

    source: str
    parts: tuple[Part, ...]
    content: ReadRows[Row]


def load_training_data(
    config: DataOptions, run_dir: Path, check: Check[Preference] | None = None, *, criterion: str = ""
) -> Loaded:
    """Reads or exports preferences, see `load_rows`.

    Args:
        criterion: of the rubric, whose judgments stand for the overall ones; empty takes the overall ones.

    Raises:
        ValueError: as `load_rows`, and if no row of a source was judged by the criterion.
    """
    return load_rows(config, run_dir, _preferences_by(criterion) if criterion else PREFERENCES, check)


def _preferences_by(criterion: str) -> RowKind[Preference]:
    def read(
        parts: Sequence[Part], source: str, on_bad_row: OnBadRow, check: Check[Preference] | None
    ) -> ReadRows[Preference]:
        rows = read_parts(parts, source, on_bad_row, check)
        return replace(rows, rows=preferences_by(criterion, rows.rows, source))

    return replace(PREFERENCES, read=read)


def load_rows(
    config: DataOptions, run_dir: Path, kind: RowKind[Row], check: Check[Row] | None = None
) -> LoadedRows[Row]:
    """Reads or exports the rows that a configuration names, and writes down in the run what they were.

    Held out are the rows of `eval_data`, else those of the source's evaluation split (of a folder with train and test,
    say), else `eval_share` of the prompts. A project is exported once; a resumed run reads its snapshot again. Of
    several processes one has to do this before the others.

    Args:
        check: asked for every row; one that it refuses is bad.

    Raises:
        ValueError: naming file and line of a bad row; if prompts stand on both sides, rows are too few or weigh
            nothing, the project cannot be exported, or the data of a run that goes on has changed.
        FileNotFoundError: if there is no such source.
        ImportError: if a package is missing that the source takes, with the line that installs it.
    """
    source = str(_export_snapshot(config, run_dir, kind)) if config.project else config.data
    splits = open_source(source)
    training, evaluation = training_splits(splits, source)
    read = [_read(source, splits[training], config, kind, check)]
    if config.eval_data:
        others = open_source(config.eval_data)
        read.append(_read(config.eval_data, others[choose_split(others, config.eval_data)], config, kind, check))
    elif evaluation:
        read.append(_read(f"{source}:{evaluation}", splits[evaluation], config, kind, check))
    bad_rows = [bad for one in read for bad in one.content.bad_rows]
    _write_bad_rows(run_dir, bad_rows)
    if len(read) == 2:
        train, held_out = (one.content.rows for one in read)
    else:
        train, held_out = split_by_prompt(read[0].content.rows, eval_share=config.eval_share, seed=config.seed)
    shared = find_leakage(train, held_out)
    if shared and not config.allow_leakage:
        raise ValueError(_leakage(shared))
    for name, rows in (("to train on", train), ("held out", held_out)):
        if len(rows) < LEAST_ROWS:
            raise ValueError(_too_few(name, len(rows), read, config, kind))
        if not any(kind.weight(row) > 0 for row in rows):
            raise ValueError(f"all {_count(rows, kind.noun)} {name} weigh 0, at least one has to weigh more")
    data_hash = hash_rows(train, held_out, content=kind.content)
    description = _describe(read, train, held_out, bad_rows, shared, kind.noun)
    _record(run_dir, read, train, held_out, data_hash, len(shared))
    if bad_rows:
        why, listed = count_reasons(bad_rows), run_dir / "bad_rows.jsonl"
        logger.warning("%d bad rows left out (%s), see %s", len(bad_rows), why, listed)
    return LoadedRows(train=train, held_out=held_out, data_hash=data_hash, bad_rows=bad_rows, description=description)


def preference_content(row: Preference) -> list[object]:
    """What training sees of a preference."""
    judged = [row.p_chosen, row.weight, row.margin, dict(row.criteria), dict(row.votes)]
    annotator = [row.meta.get(name) for name in ("annotator", "reliability")]
    return [turns(row.prompt), row.chosen, row.rejected, *judged, *annotator]


PREFERENCES = RowKind(
    noun="pair",
    read=read_parts,
    content=preference_content,
    weight=lambda row: row.weight,
    exported="preference",
)


def preferences_by(criterion: str, rows: Sequence[Preference], source: str) -> list[Preference]:
    """The rows that were judged by a criterion, chosen and rejected as it has them.

    The sign of the mean degree decides, as for a model's head of a criterion; a degree of 0 is a tie. The margin is
    the degree's size. Votes and the words of judges are of the overall judgment and stay behind.

    Args:
        source: where the rows are from, for the error.

    Raises:
        ValueError: if no row was judged by it.
    """
    judged = [_by(row, row.criteria[criterion]) for row in rows if criterion in row.criteria]
    if judged:
        return judged
    names = sorted({name for row in rows for name in row.criteria})
    there = f"its criteria are {', '.join(names)}" if names else "it has no column criteria"
    raise ValueError(f"criterion {criterion!r}: no row of {source} was judged by it, {there}")


def _by(row: Preference, degree: float) -> Preference:
    judged = replace(row, p_chosen=1.0 if degree else 0.5, margin=abs(degree), criteria={}, votes={})
    if degree >= 0:
        return judged
    return replace(
        judged,
        chosen=row.rejected,
        rejected=row.chosen,
        source_chosen=row.source_rejected,
        source_rejected=row.source_chosen,
        turns_chosen=row.turns_rejected,
        turns_rejected=row.turns_chosen,
    )


def hash_rows(
    *groups: Iterable[Row],
    content: Callable[[Row], list[object]] = preference_content,  # type: ignore[assignment]
) -> str:
    """SHA-256 over what training sees of groups of rows, in their order, in hexadecimal digits."""
    digest = hashlib.sha256()
    for rows in groups:
        for row in rows:
            digest.update(json.dumps(content(row), sort_keys=True, separators=(",", ":")).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


def _export_snapshot(config: DataOptions, run_dir: Path, kind: RowKind[Row]) -> Path:
    """The project's released rows as a file of the run, exported unless they were before."""
    snapshot = run_dir / "data" / "preferences.jsonl"
    if snapshot.exists():
        return snapshot
    export_command = _export_command()
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    command = export_command(config.project, kind.exported, snapshot, config.db)
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
        raise ValueError(f"project {config.project!r} cannot be exported: {reason}")
    return snapshot


def _export_command() -> ExportCommand:
    """The function that the installed program offers.

    Raises:
        ImportError: with the line that installs it, if none is installed.
    """
    program = next(iter(entry_points(group=PROJECTS)), None)
    if program is None:
        raise ImportError('project needs the program that keeps projects: pip install "tiebreak[app]"')
    return program.load()


def _read(
    source: str, parts: Sequence[Part], config: DataOptions, kind: RowKind[Row], check: Check[Row] | None
) -> _ReadSource[Row]:
    return _ReadSource(source=source, parts=tuple(parts), content=kind.read(parts, source, config.on_bad_row, check))


def _write_bad_rows(run_dir: Path, bad_rows: Sequence[BadRow]) -> None:
    if bad_rows:
        with open_rows(run_dir / "bad_rows.jsonl") as write:
            for bad in bad_rows:
                write(asdict(bad))


def _leakage(shared: Sequence[str]) -> str:
    prompt = " ".join(shared[0].split())
    shown = prompt if len(prompt) <= 80 else f"{prompt[:77]}..."
    count = "1 prompt stands" if len(shared) == 1 else f"{len(shared)} prompts stand"
    return f"{count} in both training and evaluation data, for example {shown!r}; --allow-leakage accepts that"


def _too_few(name: str, number: int, read: Sequence[_ReadSource[Row]], config: DataOptions, kind: RowKind[Row]) -> str:
    total = f"{read[0].source} has {_count(read[0].content.rows, kind.noun)}"
    if len(read) == 1:
        total += f", of whose prompts eval_share {config.eval_share:g} is held out: change it, or give eval_data"
    return f"{number} {kind.noun}s {name}, at least {LEAST_ROWS} are needed; {total}"


def _count(rows: Sequence[Prompted], noun: str) -> str:
    number, prompts = len(rows), num_prompts(rows)
    return f"{number:,} {noun}{'' if number == 1 else 's'} of {prompts:,} prompt{'' if prompts == 1 else 's'}"


def _describe(
    read: Sequence[_ReadSource[Row]],
    train: Sequence[Row],
    held_out: Sequence[Row],
    bad_rows: Sequence[BadRow],
    shared: Sequence[str],
    noun: str,
) -> str:
    held_from = f" from {read[1].source}" if len(read) == 2 else ""
    text = f"{_count(train, noun)} to train on from {read[0].source}, {_count(held_out, noun)} held out{held_from}"
    if bad_rows:
        text += f"; {len(bad_rows):,} bad rows left out ({count_reasons(bad_rows)})"
    if shared:
        text += f"; {len(shared):,} prompts stand on both sides, which was allowed"
    return text


def _record(
    run_dir: Path,
    read: Sequence[_ReadSource[Row]],
    train: Sequence[Row],
    held_out: Sequence[Row],
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
            "source": one.source,
            "form": one.content.form,
            "sha256": {part.name: part.sha256() for part in one.parts},
            "num_rows": len(one.content.rows),
            "num_bad_rows": len(one.content.bad_rows),
        }
        for one in read
    ]
    counts = {
        name: {"num_rows": len(rows), "num_prompts": num_prompts(rows)}
        for name, rows in (("train", train), ("held_out", held_out))
    }
    values = {"data_hash": data_hash, "sources": sources, **counts, "num_shared_prompts": num_shared}
    values["keeps_marks"] = True
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1))


def keeps_marks(run_dir: Path) -> bool:
    """Whether a run shortens long conversations as `rewardkit.network.shortening` does.

    One that began before that was so keeps their last tokens to its end, and so does what it trained.
    """
    path = run_dir / "data.json"
    return not path.exists() or bool(json.loads(path.read_text(encoding="utf-8")).get("keeps_marks", False))


@dataclass(frozen=True, kw_only=True)
class TrainedOn(Generic[Row]):
    """Training and held-out rows of a run.

    Attributes:
        place: the run directory.
    """

    place: Path
    train: list[Row]
    held_out: list[Row]


def find_run(model: str) -> Path | None:
    """The run directory that a model lies in: its folder or the one above; None for a model from elsewhere."""
    folder = Path(model)
    candidates = (folder, folder.parent) if folder.is_dir() else ()
    return next(
        (path for path in candidates if (path / "config.yaml").exists() and (path / "data.json").exists()), None
    )


def read_trained_on(model: str) -> TrainedOn[Preference] | None:
    """The preferences of the model's run, see `read_rows_trained_on`."""
    return read_rows_trained_on(model, PREFERENCES)


def read_rows_trained_on(model: str, kind: RowKind[Row]) -> TrainedOn[Row] | None:
    """The rows of the model's run, read again from their sources and split as then; None for a model without a run.

    Raises:
        ValueError: if the data has changed since.
        FileNotFoundError: if a source is no longer there.
    """
    run_dir = find_run(model)
    if run_dir is None:
        return None
    values = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    options = {name: values[name] for name in vars(DataOptions) if name in values}  # whatever was trained on them
    config = RewardConfig(model=model, out=str(run_dir), **options)
    loaded = load_rows(config, run_dir, kind, _refused_before(run_dir))
    return TrainedOn(place=run_dir, train=loaded.train, held_out=loaded.held_out)


def _refused_before(run_dir: Path) -> Check[Prompted] | None:
    """Refuses the rows that the chat template of the run's model refused: only the run knows them without it."""
    listed = run_dir / "bad_rows.jsonl"
    if not listed.exists():
        return None
    bad_rows = [BadRow(**json.loads(line)) for line in listed.read_text(encoding="utf-8").splitlines()]
    problems = {bad.place: bad.problem for bad in bad_rows if bad.reason == "template"}

    def check(_row: Prompted, place: str) -> None:
        if place in problems:
            error = RowError("template", "prompt", "", "")
            error.args = (problems[place],)  # as it was written then
            raise error

    return check
