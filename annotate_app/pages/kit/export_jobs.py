"""The command of a job that exports, and where its files are found: for the page Export, and for views that go out."""

from __future__ import annotations

import time
from pathlib import Path

from annotate_app.exchange.options import ExportOptions
from annotate_app.installation import data_folder
from annotate_app.pages.kit.context import current_store
from annotate_app.store.projects.projects import Project

EVERYTHING = "everything"
FORM_NAMES = {
    "preference": "Preference pairs: prompt, chosen, rejected",
    "unpaired": "Unpaired examples with a label (KTO)",
    "sft": "Demonstrations: chosen answers (SFT)",
    "judgments": "Judgments as they were given",
    EVERYTHING: "Everything: the project, to import elsewhere",
}


def job_command(project: Project, options: ExportOptions | None) -> list[str]:
    """The command of a job that leaves an export where this page finds it."""
    folder = exports_folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{file_stem(project, options)}-{time.strftime('%Y%m%d-%H%M%S')}"
    command = ["annotate_app", "export", project.number]
    if options is None:
        return [*command, "--out", f"{out}.zip", "--form", EVERYTHING]
    return [*command, "--out", f"{out}.{options.format}.gz" if not options.splits else str(out), *_words(options)]


def exports_folder(project: Project) -> Path:
    """Where jobs leave the exports of a project."""
    return data_folder(current_store().database.url) / "exports" / str(project.id)


def file_stem(project: Project, options: ExportOptions | None) -> str:
    """A name for the download that every file system takes."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in project.name).strip("-") or "project"
    return f"{plain}-{options.form if options else EVERYTHING}"


def _words(options: ExportOptions) -> list[str]:
    words = ["--form", options.form, "--format", options.format or "jsonl", "--layout", options.layout]
    words += [
        "--min-votes",
        str(options.min_votes),
        "--min-agreement",
        str(options.min_agreement),
        "--ties",
        options.ties,
    ]
    words += [f"--license={options.license}"] if options.license else []
    words += (
        ["--split", ",".join(f"{name}={share}" for name, share in options.splits.items())] if options.splits else []
    )
    words += [f"--judges={','.join(options.judges)}"] if options.judges else []
    words += ["--adjudicated-only"] if options.adjudicated_only else []
    return [*words, *(["--sources"] if options.sources else [])]
