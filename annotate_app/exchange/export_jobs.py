"""Exports as jobs, and what they leave: files under the folder of a project, until somebody takes them away."""

from __future__ import annotations

import secrets
import time
import zipfile
from pathlib import Path
from urllib.parse import urlencode

from annotate_app.access import Actor, MissingError
from annotate_app.exchange.files_out import Exported, export_rows
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.installation import data_folder
from annotate_app.jobs.jobs import start
from annotate_app.store.jobs import Job
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import to_address

EVERYTHING = "everything"
FORM_NAMES = {
    "preference": "Preference pairs: prompt, chosen, rejected",
    "unpaired": "Unpaired examples with a label (KTO)",
    "sft": "Demonstrations: chosen answers (SFT)",
    "ranking": "Rankings: one of each comparison, of all its votes",
    "rankings": "Votes: one row a vote, with who cast it (rankings too)",
    "stepwise": "Answers with a label of each step (TRL's stepwise form)",
    "judgments": "Judgments as they were given",
    "spans": "Marked words: who marked what, with its text",
    "edited_sft": "Responses written anew, as demonstrations (SFT)",
    "edited_pairs": "Responses written anew, each before its original",
    EVERYTHING: "Everything: the project, to import elsewhere",
}
AS_JOB = 20_000
"""Comparisons of a project beyond which an export is a job."""


def file_stem(project: Project, options: ExportOptions | None) -> str:
    """A name for an export that every file system takes; without options it is the whole project."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in project.name).strip("-") or "project"
    return f"{plain}-{options.form if options else EVERYTHING}"


def zip_export(
    store: Store, actor: Actor, project: Project, options: ExportOptions | None, folder: Path, *, names: bool
) -> tuple[Path, Exported]:
    """An export as one zip in a folder, and what is in it; without options it is the whole project."""
    path = folder / f"{file_stem(project, options)}.zip"
    if options is None:
        return path, export_project(store, actor, project.id, path, names=names)
    exported = export_rows(store, actor, project.id, folder / file_stem(project, options), options)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in exported.files:
            packed.write(file, f"{path.stem}/{file.relative_to(exported.path)}")
    return path, exported


def start_export(store: Store, actor: Actor, project: Project, options: ExportOptions | None, *, names: bool) -> Job:
    """Queues an export; its files are in the project's folder when the job is done. Lead or above."""
    actor.require("lead", "exporting", project.id)
    folder = exports_folder(store, project.id)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    out = folder / f"{file_stem(project, options)}-{stamp}"
    command = ["annotate_app", "export", project.number]
    if options is None:
        command += ["--out", f"{out}.zip", "--form", EVERYTHING]
    else:
        format = options.format or "jsonl"
        suffix = format if format == "parquet" else f"{format}.gz"  # Parquet is packed inside; nobody reads it packed
        command += ["--out", f"{out}.{suffix}" if not options.splits else str(out), *_words(options)]
    command += ["--names"] if names else []
    title = f"Export {FORM_NAMES[options.form if options else EVERYTHING]}"
    return start(store, actor, kind="export", title=title, command=command, project_id=project.id)


def exports_folder(store: Store, project_id: int) -> Path:
    """Where jobs leave the exports of a project."""
    return data_folder(store.database.url) / "exports" / str(project_id)


def exported_files(store: Store, actor: Actor, project_id: int) -> list[Path]:
    """The files that exports of a project have left, newest first. Lead or above."""
    store.projects.get(actor, project_id)
    actor.require("lead", "reading exports", project_id)
    return _files(exports_folder(store, project_id))


def exported_file(store: Store, actor: Actor, project_id: int, name: str) -> Path:
    """One of these files, by its path within the project's folder. Lead or above."""
    folder = exports_folder(store, project_id)
    for path in exported_files(store, actor, project_id):
        if str(path.relative_to(folder)) == name:
            return path
    raise MissingError(f"there is no export {name[:200]!r} in the project")


def files_of(store: Store, job: Job) -> list[Path]:
    """What one export has left, as paths within its project's folder."""
    if job.project_id is None or "--out" not in job.command:
        return []
    folder, out = exports_folder(store, job.project_id), Path(job.command[job.command.index("--out") + 1])
    stem = out.name.partition(".")[0]
    named = [path.relative_to(folder) for path in _files(folder)]
    return [path for path in named if path.parts[0].partition(".")[0] == stem]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(files, key=lambda path: -path.stat().st_mtime)


def _words(options: ExportOptions) -> list[str]:
    words = ["--form", options.form, "--format", options.format or "jsonl", "--layout", options.layout]
    words += ["--min-votes", str(options.min_votes), "--min-agreement", str(options.min_agreement)]
    words += ["--ties", options.ties, "--seed", str(options.seed)]
    words += [f"--license={options.license}"] if options.license else []
    if options.splits:
        words += ["--split", ",".join(f"{name}={share}" for name, share in options.splits.items())]
    words += [f"--judges={','.join(options.judges)}"] if options.judges else []
    words += ["--adjudicated-only"] if options.adjudicated_only else []
    words += [f"--view={urlencode(to_address(options.view), doseq=True)}"] if options.view else []
    return [*words, *(["--sources"] if options.sources else [])]
