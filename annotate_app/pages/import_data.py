"""Import: a file is looked at, its columns are matched, and all of its rows come in or none."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from annotate_app.exchange.comparisons_in import (
    BadRow,
    BadRowsError,
    Imported,
    ImportOptions,
    import_comparisons,
    preview,
)
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments, preview_ballots
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.steps_in import FIELDS as STEP_FIELDS
from annotate_app.images.checking import ALLOWED
from annotate_app.images.files import SUFFIXES as SUFFIXES_OF_IMAGES
from annotate_app.images.files import ImageFiles
from annotate_app.images.rows import count_names
from annotate_app.installation import data_folder
from annotate_app.jobs.jobs import start
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.views.comparison_view import draw_comparison
from annotate_app.pages.views.import_form import FORM_NAMES, read_responses
from annotate_app.store.projects.projects import Project
from rewardkit.data.choices import parse_choice_map, parse_scale
from rewardkit.data.columns import FIELDS, FORMS
from rewardkit.data.judgments import FIELDS as JUDGMENT_FIELDS
from rewardkit.data.records import Comparison, content_id
from rewardkit.data.tables.cells import places_within

SUFFIXES = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "gz", "zip"]
COMPARISONS, JUDGMENTS = "Comparisons", "Judgments made elsewhere"
AS_JOB = 20_000_000  # bytes; larger files are imported by a job
FOUND, NONE = "(found)", "(none)"
TOLD = "Told from the values"
SCALES = {
    "-3..3": "-3..3: below 0 prefers a, above 0 b",
    "3..-3": "3..-3: above 0 prefers a, below 0 b",
    "1..2": "1..2: 1 is a, 2 is b",
    "0..1": "0..1: 0 is a, 1 is b",
    "1..0": "1..0: 1 is a, 0 is b",
    "1..4": "1..4: 1 and 2 prefer a, 3 and 4 b",
    "1..5": "1..5: 1 and 2 prefer a, 3 is a tie",
    "1..7": "1..7: 1 to 3 prefer a, 4 is a tie",
}
BAD_SHOWN = 200
# What messages call by the options of the commands, and what stands for it on this page.
PAGE_WORDS = (
    (r"name (it|them) with --map \S+", "choose the column under “Match columns”"),
    (r"--map \S+", "“Match columns”"),
    (r"--annotators \S+", "“Columns of annotators”"),
    (r"--on-bad-row skip leaves such rows out", "“Leave bad rows out” imports the others"),
    (r"with --scale=(\S+) (\([^)]*\)), --scale=(\S+) or the like", r"under “Choices that are numbers”, as \1 \2"),
    (r"--choice-map (\d+=\w+(?: \d+=\w+)*)", r"“What choices mean”, as \1"),
    (r"with --choice-map", "under “What choices mean”"),
    (r"--scale[= ]?\S*", "“Choices that are numbers”"),
    (r"--choice-map", "“What choices mean”"),
    (r"--form \S+", "“A row is”"),
    (r"--format \S+", "the ending of the file's name"),
    (r"`judgments import`", f"“{JUDGMENTS}” above"),
)


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Import")
        project = current_project()
        current_actor().require("lead", "importing")
        what = st.segmented_control(
            "What", [COMPARISONS, JUDGMENTS], default=COMPARISONS, key="import-what", bind="query-params"
        )
        file = st.file_uploader(
            "JSONL, JSON, CSV or Parquet, gzipped or not; or the zip of a whole project",
            type=SUFFIXES,
            key=upload_key(project),
        )
        if file is None:
            st.caption(
                "Rows that are there already are not added again. A bad row stops the import before anything changes."
            )
        elif file.name.endswith(".zip"):
            draw_whole_project(file, project)
        else:
            draw_file(file, project, draw_judgments if what == JUDGMENTS else draw_comparisons)


def draw_file(file: UploadedFile, project: Project, draw: Callable[[UploadedFile, Project], None]) -> None:
    """A file of rows; one that is torn, or not of the kind that its name says, in a line."""
    try:
        draw(file, project)
    except ValueError as error:
        st.error("This file cannot be read:", icon=":material/block:")
        st.text(in_page_words(str(error)))


def in_page_words(text: str) -> str:
    """A message of the import with this page's fields in the place of the command's options."""
    for option, field in PAGE_WORDS:
        text = re.sub(option, field, text)
    return text


def upload_key(project: Project) -> str:
    """The key of the uploader: one for each project and kind of rows."""
    return f"import-file-{project.id}-{st.session_state['import-what']}"


def uploaded(project: Project) -> UploadedFile:
    """The file that is chosen now; asked by callbacks, whose arguments Streamlit keeps in memory for good."""
    return st.session_state[upload_key(project)]


def draw_whole_project(file: UploadedFile, project: Project) -> None:
    """The form that makes a new project from an export of one."""
    st.text("This makes a new project with everything that was exported, all of it or nothing.")
    st.caption(
        "Members come back by the names of the export: as the accounts of these names, "
        "or as new ones that cannot sign in."
    )
    name = st.text_input("Name of the new project", Path(file.name).stem, key=f"import-name-{file.file_id}")
    st.button(
        "Make the project", type="primary", key=f"import-whole-{file.file_id}", on_click=make, args=(project, name)
    )


def make(project: Project, name: str) -> None:
    """Reads the upload as a project and opens it."""
    file = uploaded(project)
    with tempfile.NamedTemporaryFile(suffix=".zip") as copy:
        copy.write(file.getbuffer())
        copy.flush()
        made = act("Project made.", import_project, current_store(), current_actor(), copy.name, name)
    if made is not None:
        st.session_state["project"] = made.project.name


def draw_comparisons(file: UploadedFile, project: Project) -> None:
    """Preview, column mapper and options of a file of comparisons, and the button that imports it."""
    key = f"import-{file.file_id}"
    with st.container(border=True):
        left, right = st.columns(2)
        form = left.selectbox("A row is", [None, *FORMS], format_func=FORM_NAMES.__getitem__, key=f"{key}-form")
        pairs = right.selectbox(
            "Pairs of N responses", ["all", "adjacent", "star:first", "random:1", "random:3"], key=f"{key}-pairs"
        )
        images = draw_images(left, key)
        keep = left.toggle(
            "Keep names of images that have no file",
            key=f"{key}-missing",
            help="Otherwise such a row is bad: its text shows an image that nobody can see.",
        )
        task = current_store().projects.rubric(current_actor(), project.id).rubric.task
        responses_as, split = read_responses(left, task, key)
        skip = left.toggle("Leave bad rows out", key=f"{key}-skip", help="Otherwise a bad row stops the import.")
        labels = right.toggle(
            "Also import the file's own choices",
            key=f"{key}-labels",
            help="What chosen and rejected, or ranks, say is stored as judgments of the annotator `dataset`.",
        )
        first = preview(file, limit=5)
        fields = STEP_FIELDS if responses_as == "steps" else FIELDS
        columns = draw_mapper([*first.columns, *places_within(first.rows)], fields, key)
    options = ImportOptions(
        form=form,  # type: ignore[arg-type]
        columns=columns,
        pairs=pairs,
        on_bad_row="skip" if skip else "error",
        labels=labels,
        images=tuple(images),
        missing_images="keep" if keep else "stop",
        responses_as=responses_as,
        split=split,
    )
    seen = preview(file, options)
    if seen.reading is None:
        st.error("These columns cannot be read yet:", icon=":material/error:")
        st.text(in_page_words(seen.problem))
    else:
        st.text(f"{FORM_NAMES[seen.reading.form]}: " + describe(seen.reading.columns))
    with st.expander("First rows as they are in the file", icon=":material/table:", expanded=seen.reading is None):
        draw_rows(seen.rows)
    draw_bad(seen.bad, f"{key}-preview")
    if seen.reading is not None:
        if seen.comparisons:
            with st.expander("As annotators will see it", icon=":material/visibility:", expanded=True):
                draw_first_ones(seen.comparisons, key)
        command = ["import", *_command_options(options)]
        draw_run(file, key, project, command, import_comparisons, options, "comparisons")


def draw_first_ones(comparisons: Sequence[Comparison], key: str) -> None:
    """One of the first comparisons, without what annotators never see; a step leads to the next."""
    number = 1
    if len(comparisons) > 1:
        number = st.pagination(len(comparisons), key=f"{key}-shown")
        st.caption(f"Comparison {number} of the first {len(comparisons)}. Sides are shuffled for each person.")
    draw_comparison(comparisons[number - 1], project_id=0, key=f"{key}-first-{number}")


def draw_images(place: DeltaGenerator, key: str) -> list[UploadedFile]:
    """The uploader of the images that rows name."""
    return place.file_uploader(
        "Images that rows name: a zip, or single files",
        type=["zip", *(suffix.removeprefix(".") for suffix in SUFFIXES_OF_IMAGES)],
        accept_multiple_files=True,
        key=f"{key}-images",
        help=f"{ALLOWED}. Metadata (EXIF, place) is taken out. Images within the file itself need none of this.",
    )


def draw_judgments(file: UploadedFile, project: Project) -> None:
    """Preview, column mapper and options of a file of judgments, and the button that imports it."""
    key = f"import-{file.file_id}"
    first = preview_ballots(file, limit=5)
    names = [*first.columns, *places_within(first.rows)]
    if not names:
        raise ValueError(f"{file.name}: the file holds no rows")
    with st.container(border=True):
        left, right = st.columns(2)
        annotators = left.multiselect(
            "Columns of annotators", names, key=f"{key}-annotators", help="Only where each annotator has a column."
        )
        scale = right.selectbox(
            "Choices that are numbers",
            [TOLD, *SCALES],
            format_func=lambda name: SCALES.get(str(name), str(name)),
            key=f"{key}-scale",
            accept_new_options=True,
            help="Numbers below 0 prefer a and those above 0 prefer b, unless another scale is chosen here or typed, "
            "as LOW..HIGH. Other numbers do not say what they mean.",
        )
        mapping = left.text_input(
            "What choices mean", key=f"{key}-choices", placeholder="0=tie 1=a 2=b", help="Only where it cannot be told."
        )
        skip = left.toggle("Leave bad rows out", key=f"{key}-skip", help="Otherwise a bad row stops the import.")
        columns = {name: column for name, column in draw_mapper(names, JUDGMENT_FIELDS, key).items() if column}
    try:
        choice_map = parse_choice_map(mapping.split())
        number_scale = None if scale == TOLD else parse_scale(str(scale))
    except ValueError as error:
        st.error("What choices mean:", icon=":material/error:")
        st.text(str(error))
        return
    options = BallotOptions(
        columns=columns,
        annotators=tuple(annotators),
        scale=number_scale,
        choice_map=choice_map,
        on_bad_row="skip" if skip else "error",
    )
    seen = preview_ballots(file, options)
    draw_rows(seen.rows)
    if seen.reading is None:
        st.error("These columns cannot be read yet:", icon=":material/error:")
        st.text(in_page_words(seen.problem))
        return
    layout = "A judgment a row" if seen.reading.layout == "long" else f"Annotators {', '.join(seen.reading.annotators)}"
    st.text(f"{layout}: {describe(seen.reading.columns)}")
    if seen.unclear:
        st.warning(
            "Choose what the numbers mean under “Choices that are numbers”. Without that the import is refused, unless "
            "later rows tell:",
            icon=":material/help:",
        )
    st.text(in_page_words(seen.unclear) or f"Choices in the first rows: {seen.choices}")
    command = ["judgments", "import", *_map_options(columns)]
    command += [f"--annotators={','.join(annotators)}"] if annotators else []
    command += [f"--scale={number_scale}"] if number_scale else []
    command += ["--choice-map", *mapping.split()] if choice_map else []
    command += ["--on-bad-row", options.on_bad_row]
    draw_run(file, key, project, command, import_judgments, options, "judgments")


def describe(columns: Mapping[str, str]) -> str:
    """Which column is read as what, in words."""
    return ", ".join(f"{name} from {column}" for name, column in columns.items())


def draw_mapper(names: Sequence[str], fields: Sequence[str], key: str) -> dict[str, str]:
    """A choice of column for every field; only what was chosen is returned, an empty name for none."""
    chosen = {}
    with st.expander("Match columns", icon=":material/join:"):
        places = st.columns(3)
        for number, name in enumerate(fields):
            column = places[number % 3].selectbox(
                name,
                [FOUND, NONE, *names],
                key=f"{key}-map-{name}",
                accept_new_options=True,
                help="A column, or a place in one, as `question.full_text` or `answers.0`",
            )
            if column != FOUND:
                chosen[name] = "" if column == NONE else str(column)
    return chosen


def draw_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table; what is no text as its JSON."""
    plain = [
        {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=short)
            for name, value in row.items()
        }
        for row in rows
    ]
    st.dataframe(plain, hide_index=True)


def short(value: object) -> str:
    """What JSON does not know; of bytes their number."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def draw_bad(bad: Sequence[BadRow], key: str) -> None:
    """Bad rows as a table, all of them as a file."""
    if not bad:
        return
    st.warning("1 bad row:" if len(bad) == 1 else f"{len(bad):,} bad rows, the first:", icon=":material/report:")
    st.text(in_page_words(f"{bad[0].place}: {bad[0].message}"))
    rows = [asdict(row) | {"message": in_page_words(row.message)} for row in bad[:BAD_SHOWN]]
    st.dataframe(rows, hide_index=True)
    lines = "\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in bad)
    st.download_button("Download the list", lines, "bad-rows.jsonl", key=f"{key}-bad", icon=":material/download:")


def draw_run(
    file: UploadedFile,
    key: str,
    project: Project,
    command: list[str],
    function: Callable[..., Imported],
    options: ImportOptions | BallotOptions,
    noun: str,
) -> None:
    """The button, and below it what the last press came to."""
    if file.size > AS_JOB:
        st.text(f"{file.size / 1e6:,.0f} MB: this will run as a job; the page need not stay open.")
        st.button("Import as a job", type="primary", key=f"{key}-job", on_click=start_job, args=(project, command))
        return
    if st.button(f"Import {noun}", type="primary", key=f"{key}-run", icon=":material/upload:"):
        with st.spinner("Reading and checking every row"):
            st.session_state[f"{key}-done"] = run(function, file, project, options)
    done = st.session_state.get(f"{key}-done")
    if isinstance(done, Imported):
        labels = f" and {done.num_labels} of their own choices" if done.num_labels else ""
        labels += f", {done.num_images:,} image{'s' * (done.num_images > 1)}" if done.num_images else ""
        empty = f", {done.num_empty} with an empty answer" if done.num_empty else ""
        st.success(
            f"{done.num_added:,} {noun.removesuffix('s') if done.num_added == 1 else noun} added{labels}{empty}; "
            f"{done.num_existing:,} were there; {len(done.bad):,} of {done.num_rows:,} rows left out.",
            icon=":material/check:",
        )
        if done.missing_images:
            st.text(count_names(done.missing_images))
        for choices in done.choices.values():
            st.text(f"Choices were read as: {choices}")
        draw_bad(done.bad, f"{key}-left")
    elif done:
        st.error("Nothing was imported:", icon=":material/block:")
        st.text(in_page_words(str(done)))
        if isinstance(done, BadRowsError):
            draw_bad(done.bad, f"{key}-refused")


def run(
    function: Callable[..., Imported], file: UploadedFile, project: Project, options: ImportOptions | BallotOptions
) -> Imported | ValueError:
    """Imports the upload; what refused it is returned, to be shown beside the file."""
    try:
        return function(current_store(), current_actor(), project.id, [file], options)
    except ValueError as error:
        return error


def start_job(project: Project, command: list[str]) -> None:
    """Keeps the upload beside the database and queues its import."""
    store, actor, file = current_store(), current_actor(), uploaded(project)
    actor.require("lead", "importing")
    folder = data_folder(store.database.url) / "uploads"
    folder.mkdir(exist_ok=True)
    path = folder / f"{content_id(file.file_id, project.id)}-{Path(file.name).name}"
    path.write_bytes(file.getbuffer())
    images = st.session_state.get(f"import-{file.file_id}-images") or []
    if images and command[0] == "import":
        beside = path.with_name(f"{path.name}.images.zip")
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as packed, ImageFiles(images) as found:
            for name in found.names():
                packed.writestr(name, found.read(name) or b"")
        command = [*command, "--images", str(beside)]
    words, options = (command[:1], command[1:]) if command[0] == "import" else (command[:2], command[2:])
    whole = ["annotate_app", *words, project.number, str(path), *options]
    act(
        "Queued; see Jobs.",
        start,
        store,
        actor,
        kind="import",
        title=f"Import {file.name}",
        command=whole,
        project_id=project.id,
    )


def _map_options(columns: Mapping[str, str]) -> list[str]:
    return ["--map", *(f"{name}={column}" for name, column in columns.items())] if columns else []


def _command_options(options: ImportOptions) -> list[str]:
    words = ["--form", options.form or "auto", "--pairs", options.pairs, "--on-bad-row", options.on_bad_row]
    words += ["--missing-images", options.missing_images]
    words += ["--as", options.responses_as, f"--split={options.split}"] if options.responses_as else []
    return [*words, *(["--labels"] if options.labels else []), *_map_options(options.columns)]
