"""Export: training rows, judgments or the whole project, as a file to download."""

from __future__ import annotations

import io
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import streamlit as st

from annotate_app.exchange.export_jobs import (
    AS_JOB,
    EVERYTHING,
    FORM_NAMES,
    exported_files,
    exports_folder,
    start_export,
    zip_export,
)
from annotate_app.exchange.files_out import Exported
from annotate_app.exchange.rows.options import FORMS, ExportOptions
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.store.projects.projects import Project
from rewardkit.data.export_formats import LAYOUTS, parse_splits

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
VOTES_NOTE = (
    "Skips, votes that all are bad and checks give no row; equal ranks are a tie. A training of these rows learns how "
    "reliable each annotator is: `rewardkit train --model tfidf --data FILE`."
)


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Export")
        project, actor = current_project(), current_actor()
        actor.require("lead", "exporting")
        form = st.selectbox(
            "What", [*FORMS, EVERYTHING], format_func=FORM_NAMES.__getitem__, key="export-form", bind="query-params"
        )
        names = st.toggle(
            "Real names of annotators",
            key="export-names",
            bind="query-params",
            help="Otherwise pseudonyms stand for them.",
        )
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
        format = left.selectbox("Format", FORMATS, key="export-format", bind="query-params", format_func=str.upper)
        if format == "csv":
            left.caption(CSV_NOTE)
        license = right.text_input("Licence", key="export-license", bind="query-params", placeholder="cc-by-4.0")
        if form == "judgments" or form == "spans":
            return ExportOptions(form=form, format=format, names=names, license=license)
        layouts = [layout for layout in LAYOUTS if form in ("preference", "edited_pairs") or layout != "implicit"]
        ranked = form in ("ranking", "rankings", "stepwise")
        layouts = ["conversational"] if ranked else layouts
        layout = middle.selectbox(
            "Layout", layouts, format_func=LAYOUT_NAMES.__getitem__, key=f"export-layout-{form}", bind="query-params"
        )
        if form == "edited_sft" or form == "edited_pairs":
            left.caption("One row per edit. None of them is a vote.")
            return ExportOptions(form=form, format=format, layout=layout, names=names, license=license)  # type: ignore[arg-type]
        single_votes = form == "rankings"
        min_votes, min_agreement, adjudicated, judges = 1, 0.0, False, ()
        if single_votes:
            middle.caption(VOTES_NOTE)
        else:
            min_votes = left.number_input("Votes at least", 0, 100, 1, key="export-votes", bind="query-params")
            min_agreement = middle.slider(
                "Agreement at least", 0.0, 1.0, 0.0, 0.05, key="export-agreement", bind="query-params"
            )
        split = right.text_input(
            "Splits by prompt", key="export-split", bind="query-params", placeholder="train=0.9,test=0.1"
        )
        if not single_votes:
            adjudicated = left.toggle("Only adjudicated", key="export-adjudicated", bind="query-params")
        ties = (
            middle.toggle("Keep ties", key="export-ties", bind="query-params", help="With p_chosen at one half.")
            if form == "preference"
            else False
        )
        sources = (
            right.toggle("Name the models", key="export-sources", bind="query-params")
            if form in ("preference", "ranking", "rankings", "stepwise")
            else False
        )
        if not single_votes:
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
            bind="query-params",
            help="Each by the reliability that it has shown where people judged too; rows name their votes apart.",
        )
    )


def run(project: Project, options: ExportOptions | None, names: bool, as_job: bool) -> None:
    """Prepares the download, or queues a job that does."""
    if options is None and st.session_state["export-form"] != EVERYTHING:
        return
    if as_job:
        act("Queued; see Jobs.", start_export, current_store(), current_actor(), project, options, names=names)
        return
    ready = act("Ready to download.", prepare, project, options, names)
    if ready is not None:
        st.session_state["export-ready"] = (project.id, *ready)


def prepare(project: Project, options: ExportOptions | None, names: bool) -> tuple[str, bytes, Exported]:
    """A zip of the export: its name, its bytes, and what is in it."""
    with tempfile.TemporaryDirectory() as scratch:
        path, exported = zip_export(current_store(), current_actor(), project, options, Path(scratch), names=names)
        return path.name, path.read_bytes(), exported


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
        for note in exported.notes:
            st.info(as_markdown(note), icon=":material/groups:")
        st.download_button(f"Download {len(data) / 1e6:,.1f} MB", data, name, "application/zip", key="export-download")


def draw_finished(project: Project) -> None:
    """Files that jobs have left, newest first; a folder of images as one."""
    folder = exports_folder(current_store(), project.id)
    files = exported_files(current_store(), current_actor(), project.id)
    downloads = dict.fromkeys(path.parent if path.parent.name == "images" else path for path in files)
    for path in list(downloads)[:20]:
        name = str(path.relative_to(folder))
        st.download_button(
            f"{as_markdown(name)} ({size_of(path) / 1e6:,.1f} MB)",
            path.read_bytes if path.is_file() else partial(zip_folder, path),
            path.name if path.is_file() else f"{path.name}.zip",
            key=f"export-file-{key_of(name)}",
        )


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files of a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


def zip_folder(folder: Path) -> bytes:
    """A folder of images as a zip."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(folder.iterdir()):
            packed.write(file, f"{folder.name}/{file.name}")
    return target.getvalue()
