"""A whole project as a folder or a zip: out of one installation, into another.

Its parts: `project.json` (design, rubric versions), then comparisons, judgments, adjudications and members as JSONL.
Read back, it gives the same comparisons, the same counting judgments and so the same figures. Members are not read
back: accounts belong to an installation, and annotators of imported judgments get one that never signs in.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.design import Design
from annotate_app.exported_rows import judgment_rows
from annotate_app.exporting import Exported, new_folder
from annotate_app.importing import Tell, read_comparisons, unspool
from annotate_app.importing_judgments import BallotOptions, stage_judgments
from annotate_app.pseudonyms import Pseudonyms
from annotate_app.store.comparisons import Gold
from annotate_app.store.judgments import Decision
from annotate_app.store.projects import Project
from annotate_app.store.store import Store
from rewardkit.files import read_rows
from rewardkit.judgment_rows import read_criteria
from rewardkit.preference_rows import turns
from rewardkit.writing import write_rows

VERSION = 1
PARTS = ("project.json", "comparisons.jsonl", "judgments.jsonl", "adjudications.jsonl", "members.jsonl")
CHUNK = 2000
Row = dict[str, Any]


def export_project(
    store: Store,
    actor: Actor,
    project_id: int,
    out: str | Path,
    *,
    names: bool = False,
    overwrite: bool = False,
    tell: Tell | None = None,
) -> Exported:
    """Writes everything to a folder, or to a zip where the name ends in `.zip`.

    Args:
        names: real names of annotators, adjudicators and members instead of pseudonyms.
        overwrite: replace what is there.

    Raises:
        ValueError: if `out` is there already.
        AccessError: for anybody below lead.
    """
    actor.require("lead", "exporting")
    project, out = store.projects.get(actor, project_id), Path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is there already; --overwrite replaces it")
    if out.suffix != ".zip":
        with new_folder(out) as folder:
            counts = _write_parts(store, actor, project, folder, names, tell)
        return Exported(path=out, files=tuple(out / name for name in PARTS), num_rows=counts, left_out={})
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
            counts = _write_parts(store, actor, project, Path(folder), names, tell)
            for name in PARTS:
                packed.write(Path(folder) / name, f"{out.stem}/{name}")
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(path=out, files=(out,), num_rows=counts, left_out={})


def _write_parts(
    store: Store, actor: Actor, project: Project, folder: Path, names: bool, tell: Tell | None
) -> dict[str, int]:
    votes = store.judgments.votes(actor, project.id)
    pseudonyms = Pseudonyms.of(store, project)

    def called(name: str) -> str:
        return name if names else pseudonyms.of_name(name)

    decisions = [
        {
            "comparison_id": key,
            "choice": decision.choice,
            "strength": decision.strength,
            "criteria": dict(decision.criteria),
            "rationale": decision.rationale,
            "user": called(decision.user),
            "created_at": decision.created_at,
        }
        for key, decision in store.judgments.adjudications(actor, project.id).items()
    ]
    members = [
        {
            "name": called(member.name),
            "role": member.role,
            "group": member.group,
            "state": member.state,
            "joined_at": member.joined_at,
        }
        for member in store.projects.members(actor, project.id)
    ]
    rows = {
        "comparisons": _comparison_rows(store, actor, project, tell),
        "judgments": judgment_rows(store, actor, project, votes, names=names),
        "adjudications": iter(decisions),
        "members": iter(members),
    }
    counts = {name: write_rows(folder / f"{name}.jsonl", each) for name, each in rows.items()}
    rubrics = [
        {"version": each.version, "text": each.text, "created_at": each.created_at}
        for each in store.projects.rubrics(actor, project.id)
    ]
    about = {
        "tiebreak_project": VERSION,
        "name": project.name,
        "description": project.description,
        "simulated": project.simulated,
        "created_at": project.created_at,
        "design": project.design.as_dict(),
        "rubrics": rubrics,
        "counts": counts,
    }
    text = json.dumps(about, ensure_ascii=False, indent=2)
    (folder / "project.json").write_text(f"{text}\n", encoding="utf-8")
    return counts


def _comparison_rows(store: Store, actor: Actor, project: Project, tell: Tell | None) -> Iterator[Row]:
    done = 0
    while listed := store.browsing.find(actor, project.id, offset=done, limit=CHUNK):
        for each in listed:
            comparison = each.comparison
            yield {
                "id": comparison.id,
                "prompt": turns(comparison.prompt),
                "response_a": comparison.completion_a,
                "response_b": comparison.completion_b,
                "source_a": comparison.source_a,
                "source_b": comparison.source_b,
                "overlap": each.overlap,
                "priority": each.priority,
                "gold": None if each.gold is None else asdict(each.gold),
                "meta": dict(comparison.meta),
            }
        done += len(listed)
        if tell is not None:
            tell(done)


def is_project(path: str | Path) -> bool:
    """Whether a file or folder is an export of a whole project."""
    path = Path(path)
    if path.is_dir():
        return (path / "project.json").is_file()
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as packed:
        return any(name.rpartition("/")[2] == "project.json" for name in packed.namelist())


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """What reading a project back did."""

    project: Project
    num_comparisons: int
    num_judgments: int
    num_adjudications: int
    num_golds: int


def import_project(
    store: Store, actor: Actor, path: str | Path, name: str | None = None, tell: Tell | None = None
) -> ImportedProject:
    """Makes a project from an export of one; everything is read and checked before anything is written.

    Args:
        path: the folder or zip.
        name: of the new project; None takes the exported one.

    Raises:
        ValueError: if it is no such export, a part of it is damaged, or the name is taken.
    """
    actor.require("lead", "importing a project")
    with ExitStack() as stack:
        folder = stack.enter_context(_opened(Path(path)))
        about = _read_about(folder, path)
        design = Design.from_dict(about["design"])
        lines = [row for _, row in read_rows(folder / "comparisons.jsonl")]
        extras = {str(row["id"]): (row.get("overlap"), row.get("priority") or 0.0, row.get("gold")) for row in lines}
        comparisons = read_comparisons(lines, f"{path}: comparisons.jsonl")
        decisions = {str(row["comparison_id"]): _decision(row) for _, row in read_rows(folder / "adjudications.jsonl")}
        golds = {key: Gold(**value[2]) for key, value in extras.items() if value[2]}
        written = {item.id: (item.source_a, item.source_b) for item in comparisons}
        judgments = stack.enter_context(tempfile.TemporaryFile())
        if (folder / "judgments.jsonl").stat().st_size:
            stage_judgments([folder / "judgments.jsonl"], BallotOptions(), written, judgments, tell)
        project = store.projects.create(
            actor,
            name or about["name"],
            rubric_text=about["rubrics"][0]["text"],
            design=design,
            description=about.get("description", ""),
            simulated=bool(about.get("simulated")),
        )
        for version in about["rubrics"][1:]:
            store.projects.save_rubric(actor, project.id, version["text"])
        num_comparisons = 0
        for overlap, group in groupby(comparisons, key=lambda each: extras[each.id][0]):
            num_comparisons += store.comparisons.add(actor, project.id, group, overlap=overlap).num_added
        if any(priority for _, priority, _ in extras.values()):
            store.comparisons.set_priorities(actor, project.id, {key: value[1] for key, value in extras.items()})
        for key, gold in golds.items():
            store.comparisons.set_gold(actor, project.id, key, gold)
        judged = store.judgments.import_many(actor, project.id, unspool(judgments)).num_added
        for key, decision in decisions.items():
            store.judgments.adjudicate(actor, project.id, key, decision)
    return ImportedProject(
        project=project,
        num_comparisons=num_comparisons,
        num_judgments=judged,
        num_adjudications=len(decisions),
        num_golds=len(golds),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if not is_project(path):
        raise ValueError(f"{path} is no export of a whole project: a folder or zip with {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(path) as packed:
        for member in packed.namelist():  # only the parts we know, by their last name: nothing lands elsewhere
            name = member.rpartition("/")[2]
            if name in PARTS:
                with packed.open(member) as source, (Path(scratch) / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
        yield Path(scratch)


def _read_about(folder: Path, path: str | Path) -> dict[str, Any]:
    missing = [name for name in PARTS[:4] if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing")
    try:
        about = json.loads((folder / "project.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: project.json: {error}") from error
    if not isinstance(about, dict) or about.get("tiebreak_project") != VERSION or not about.get("rubrics"):
        found = about.get("tiebreak_project") if isinstance(about, dict) else about
        raise ValueError(f"{path}: project.json is of version {found!r}, allowed is {VERSION}")
    return about


def _decision(row: Row) -> Decision:
    return Decision(
        choice=row["choice"],
        strength=row["strength"],
        criteria=read_criteria(row.get("criteria") or {}, "criteria"),
        rationale=row.get("rationale") or "",
    )
