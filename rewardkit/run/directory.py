"""The run directory: the single record of an execution, read alike by people, the command line and the app.

config.yaml      the resolved configuration
status.json      state, step, num_steps, started_at, updated_at, pid, message, results, bf16 (what `auto` chose)
metrics.jsonl    one flat JSON object a step, finite floats or null
checkpoints/     what --resume continues from
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Literal

import yaml

CARRIED = ("bf16",)  # what a resumed run keeps of its status
State = Literal["running", "done", "failed", "cancelled"]


class Run:
    """One run directory, opened for writing by the process that executes it.

    Raises:
        ValueError: if the directory already holds a run and `resume` is false, or holds none and it is true, or holds
            one of another configuration, fields aside whose metadata says that they `may_change`.
    """

    def __init__(self, out_dir: str | Path, config: object, *, resume: bool = False) -> None:
        self.dir = Path(out_dir)
        values, free = _plain(config), _free(config)
        config_file = self.dir / "config.yaml"
        if not resume and _never_began(self.dir):
            config_file.unlink()
        if config_file.exists() != resume:
            raise ValueError(
                f"--out {self.dir} holds no run to resume"
                if resume
                else f"--out {self.dir} already holds a run: continue it with --resume, or choose another directory"
            )
        if resume:
            before = _defaults(config) | yaml.safe_load(config_file.read_text())
            if differing := _differing(before, values, free):
                raise ValueError(f"--resume {self.dir}: {differing} differs from the run's config.yaml")
        (self.dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        if not resume:
            write_text(config_file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        carried = {name: value for name, value in read_status(self.dir).items() if resume and name in CARRIED}
        self._status = carried | {
            "state": "running", "step": 0, "num_steps": 0, "started_at": time.time(), "pid": os.getpid(), "message": ""
        }  # fmt: skip
        self.status()

    @property
    def bf16(self) -> bool | None:
        """Whether `precision: auto` meant bf16 when the run began; None where that was not tried."""
        return self._status.get("bf16")  # pyright: ignore[reportReturnType]

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one line to metrics.jsonl; values that are not finite become null."""
        row = {"step": step, "time/at": round(time.time(), 3)} | {
            name: _finite(value) for name, value in metrics.items()
        }
        with (self.dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def status(self, state: State | None = None, **values: object) -> None:
        """Updates status.json; `state` and any of step, num_steps, message, results."""
        self._status |= values | ({"state": state} if state else {}) | {"updated_at": time.time()}
        write_text(self.dir / "status.json", json.dumps(self._status, ensure_ascii=False, indent=1))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Notes how the block ends where it does not end well: cancelled by Ctrl-C, or failed and by what."""
        try:
            yield
        except KeyboardInterrupt:
            self.status("cancelled")
            raise
        except BaseException as error:
            self.status("failed", message=f"{type(error).__name__}: {error}")
            raise

    def truncate_metrics(self, step: int) -> None:
        """Drops the metrics after `step`, which a resumed run writes again."""
        file = self.dir / "metrics.jsonl"
        if file.exists():
            remaining = [line for line in file.read_text().splitlines() if json.loads(line)["step"] <= step]
            write_text(file, "".join(line + "\n" for line in remaining))


def read_metrics(run_dir: str | Path) -> Iterator[dict[str, float | None]]:
    """The lines of metrics.jsonl; a last line that is still being written is left out."""
    file = Path(run_dir) / "metrics.jsonl"
    if not file.exists():
        return
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def read_status(run_dir: str | Path) -> dict[str, object]:
    """status.json, with state `lost` where a running process no longer exists; empty where there is no run."""
    file = Path(run_dir) / "status.json"
    if not file.exists():
        return {}
    status = json.loads(file.read_text())
    if status["state"] == "running" and not _alive(status["pid"]):
        status["state"] = "lost"
    return status


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name and renames, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def _never_began(run_dir: Path) -> bool:
    """Whether a run failed there before it made anything (say, a misspelled file): that one may be replaced."""
    made = {path.name for path in run_dir.glob("*")} if run_dir.is_dir() else set()
    nothing = made == {"config.yaml", "status.json", "checkpoints"} and not any((run_dir / "checkpoints").iterdir())
    return nothing and read_status(run_dir).get("state") == "failed"


def _plain(config: object) -> dict[str, object]:
    if is_dataclass(config) and not isinstance(config, type):
        return json.loads(json.dumps(asdict(config)))
    raise TypeError(f"a config is a dataclass, got {type(config).__name__}")


def _free(config: object) -> set[str]:
    """Fields in which a configuration may differ from that of the run it continues."""
    assert is_dataclass(config)
    return {"out", "resume"} | {field.name for field in fields(config) if field.metadata.get("may_change")}


def _defaults(config: object) -> dict[str, object]:
    """What a run of a version that did not have a field yet did: its default."""
    assert is_dataclass(config)
    made = {one.name: one.default_factory() for one in fields(config) if one.default_factory is not MISSING}
    return made | {one.name: one.default for one in fields(config) if one.default is not MISSING}


def _differing(before: Mapping[str, object], now: Mapping[str, object], free: set[str]) -> str:
    """The first other field in which two configurations differ."""
    return next((name for name in now if name not in free and before.get(name) != now[name]), "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
