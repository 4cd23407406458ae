"""Export: training rows, judgments or the whole project, as a file to download."""

from __future__ import annotations

import tempfile
import time
import zipfile
from pathlib import Path

import streamlit as st

from annotate_app.exchange.files_out import Exported, export_rows
from annotate_app.exchange.options import FORMS, ExportOptions
from annotate_app.exchange.project_out import export_project
from annotate_app.installation import data_folder
from annotate_app.jobs.jobs import start
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.store.projects.projects import Project
from rewardkit.data.export_formats import LAYOUTS, parse_splits

EVERYTHING = "everything"
FORM_NAMES = {
    "preference": "Preference pairs: prompt, chosen, rejected",
    "unpaired": "Unpaired examples with a label (KTO)",
    "sft": "Demonstrations: chosen answers (SFT)",
    "ranking": "Rankings: one of each comparison",
    "rankings": "Rankings: each as it was given",
    "judgments": "Judgments as they were given",
    EVERYTHING: "Everything: the project, to import elsewhere",
}
LAYOUT_NAMES = {
    "conversational": "Conversational: lists of turns",
    "plain": "Plain: texts",
    "implicit": "Implicit prompt: whole conversations",
}
FORMATS = ("jsonl", "parquet", "csv", "json")
CSV_NOTE = (
    "A text that a spreadsheet would run as a formula (it begins with =, +, - or @) stands behind an apostrophe; "
    "importing the file here takes it away."
)
AS_JOB = 20_000  # comparisons; larger projects are exported by a job


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Export")
        project, actor = current_project(), current_actor()
        actor.require("lead", "exporting")
        form = st.selectbox("What", [*FORMS, EVERYTHING], format_func=FORM_NAMES.__getitem__, key="export-form")
        names = st.toggle("Real names of annotators", key="export-names", help="Otherwise pseudonyms stand for them.")
        options = None if form == EVERYTHING else draw_options(project, form, names)
        num_comparisons = current_store().comparisons.count(actor, project.id)
        arguments = (project, options, names, num_comparisons > AS_JOB)
        st.button(
            "Prepare", type="primary", key="export-run", icon=":material/package_2:", on_click=run, args=arguments
        )
        draw_ready(project)
        draw_finished(project)


def draw_options(project: Project, form: str, names: bool) -> ExportOptions | None:
    """The options of training rows and judgments; None while they do not go together."""
    with st.container(border=True):
        left, middle, right = st.columns(3)
        format = left.selectbox("Format", FORMATS, key="export-format", format_func=str.upper)
        if format == "csv":
            left.caption(CSV_NOTE)
        license = right.text_input("Licence", key="export-license", placeholder="cc-by-4.0")
        if form == "judgments":
            return ExportOptions(form="judgments", format=format, names=names, license=license)
        ranked = form in ("ranking", "rankings")
        layouts = [layout for layout in LAYOUTS if form == "preference" or layout != "implicit"]
        layouts = ["conversational"] if ranked else layouts
        layout = middle.selectbox("Layout", layouts, format_func=LAYOUT_NAMES.__getitem__, key=f"export-layout-{form}")
        min_votes = left.number_input("Votes at least", 0, 100, 1, key="export-votes")
        min_agreement = middle.slider("Agreement at least", 0.0, 1.0, 0.0, 0.05, key="export-agreement")
        split = right.text_input("Splits by prompt", key="export-split", placeholder="train=0.9,test=0.1")
        adjudicated = left.toggle("Only adjudicated", key="export-adjudicated")
        ties = (
            middle.toggle("Keep ties", key="export-ties", help="With p_chosen at one half.")
            if form == "preference"
            else False
        )
        sources = right.toggle("Name the models", key="export-sources") if ranked or form == "preference" else False
        judges = draw_judges(project)
    try:
        return ExportOptions(
            form=form,  # type: ignore[arg-type]
            format=format,
            layout=layout,  # type: ignore[arg-type]
            min_votes=int(min_votes),
            min_agreement=min_agreement,
            adjudicated_only=adjudicated,
            ties="keep" if ties else "drop",
            splits=parse_splits(split) if split.strip() else {},
            sources=sources,
            judges=judges,
            names=names,
            license=license,
        )
    except ValueError as error:
        st.error("Splits:", icon=":material/error:")
        st.text(str(error))
        return None


def draw_judges(project: Project) -> tuple[str, ...]:
    """The judges that are to count beside people; none is offered where the project's rule cannot weigh them."""
    if project.design.rule != "dawid_skene":
        return ()
    names = [judge.name for judge in current_store().judges.list(current_actor(), project.id)]
    if not names:
        return ()
    return tuple(
        st.multiselect(
            "Judges that count beside people",
            names,
            key="export-judges",
            help="Each by the reliability that it has shown where people judged too; rows name their votes apart.",
        )
    )


def run(project: Project, options: ExportOptions | None, names: bool, as_job: bool) -> None:
    """Prepares the download, or queues a job that does."""
    if options is None and st.session_state["export-form"] != EVERYTHING:
        return
    if as_job:
        start_job(project, options, names)
        return
    ready = act("Ready to download.", prepare, project, options, names)
    if ready is not None:
        st.session_state["export-ready"] = (project.id, *ready)


def prepare(project: Project, options: ExportOptions | None, names: bool) -> tuple[str, bytes, Exported]:
    """A zip of the export: its name, its bytes, and what is in it."""
    store, actor = current_store(), current_actor()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{file_stem(project, options)}.zip"
        if options is None:
            exported = export_project(store, actor, project.id, path, names=names)
        else:
            exported = export_rows(store, actor, project.id, Path(scratch) / file_stem(project, options), options)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
                for file in exported.files:
                    packed.write(file, f"{path.stem}/{file.name}")
        return path.name, path.read_bytes(), exported


def file_stem(project: Project, options: ExportOptions | None) -> str:
    """A name for the download that every file system takes."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in project.name).strip("-") or "project"
    return f"{plain}-{options.form if options else EVERYTHING}"


def draw_ready(project: Project) -> None:
    """Draws the download prepared last if it belongs to this project."""
    owner, name, data, exported = st.session_state.get("export-ready", (None, "", b"", None))
    if owner != project.id or exported is None:
        return
    with st.container(border=True, key="export-ready-box"):
        for split, count in exported.num_rows.items():
            st.text(f"{count:,} {split}")
        for why, count in sorted(exported.left_out.items(), key=lambda item: -item[1]):
            st.caption(f"left out {count:,}: {why}")
        st.download_button(f"Download {len(data) / 1e6:,.1f} MB", data, name, "application/zip", key="export-download")


def start_job(project: Project, options: ExportOptions | None, names: bool) -> None:
    """Queues the export; its files appear on this page when the job is done."""
    store, actor = current_store(), current_actor()
    folder = exports_folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{file_stem(project, options)}-{time.strftime('%Y%m%d-%H%M%S')}"
    command = ["annotate_app", "export", project.number]
    if options is None:
        command += ["--out", f"{out}.zip", "--form", EVERYTHING]
    else:
        command += ["--out", f"{out}.{options.format}.gz" if not options.splits else str(out), *_words(options)]
    command += ["--names"] if names else []
    title = f"Export {FORM_NAMES[options.form if options else EVERYTHING]}"
    act("Queued; see Jobs.", start, store, actor, kind="export", title=title, command=command, project_id=project.id)


def exports_folder(project: Project) -> Path:
    """Where jobs leave the exports of a project."""
    return data_folder(current_store().database.url) / "exports" / str(project.id)


def draw_finished(project: Project) -> None:
    """Files that jobs have left, newest first."""
    folder = exports_folder(project)
    files = (
        [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        if folder.is_dir()
        else []
    )
    for path in sorted(files, key=lambda path: -path.stat().st_mtime)[:20]:
        name = str(path.relative_to(folder))
        st.download_button(
            f"{as_markdown(name)} ({path.stat().st_size / 1e6:,.1f} MB)",
            path.read_bytes,
            path.name,
            key=f"export-file-{key_of(name)}",
        )


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
