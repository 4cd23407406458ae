"""A whole project as a folder or a zip, for another installation; `annotate_app.exchange.projects_in` reads it back.

Its parts: `project.json` (design, rubric versions), then comparisons, judgments, adjudications, members, judges and
their votes as JSONL; exports of before have no judges. Images that texts name lie in `images/` by their hashes.
Turns of the loop and blind rounds stay behind: they name runs of this machine. Their pairs and votes go out.
Read back, it gives the same comparisons, the same counting judgments and so the same figures, and the same members,
under the names of the export: pseudonyms unless it was asked for names.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import Tell
from annotate_app.exchange.files_out import Exported, new_folder
from annotate_app.exchange.judge_votes import judge_rows, vote_row
from annotate_app.exchange.rows.images_out import write_images
from annotate_app.exchange.rows.rows_out import Pseudonyms, judgment_rows
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.browsing import Listed
from rewardkit.data.export_formats import turns
from rewardkit.data.files import write_rows

VERSION = 1
PARTS = ("project.json", "comparisons.jsonl", "judgments.jsonl", "adjudications.jsonl", "members.jsonl")
JUDGES, JUDGE_VOTES = "judges.jsonl", "judge_votes.jsonl"
ALL_PARTS = (*PARTS, JUDGES, JUDGE_VOTES)
IMAGE_FILE = re.compile(r"images/[0-9a-f]{64}\.(?:png|jpg|gif|webp)")
CHUNK = 10_000  # comparisons read at once; every read passes over those before it again
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
    actor.require("lead", "exporting", project_id)
    project, out = store.projects.get(actor, project_id), Path(out)
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is there already; --overwrite replaces it")
    if out.suffix != ".zip":
        with new_folder(out) as folder:
            counts = _write_parts(store, actor, project, folder, names, tell)
            written = _parts_in(folder)
        files = tuple(out / name for name in written)
        return Exported(path=out, files=files, num_rows=counts, left_out=_left_out(store, actor, project.id))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
            counts = _write_parts(store, actor, project, Path(folder), names, tell)
            for name in _parts_in(Path(folder)):
                packed.write(Path(folder) / name, f"{out.stem}/{name}")
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(path=out, files=(out,), num_rows=counts, left_out=_left_out(store, actor, project.id))


def _parts_in(folder: Path) -> list[str]:
    images = sorted(f"images/{path.name}" for path in (folder / "images").glob("*"))
    return [*ALL_PARTS, *images]


def _left_out(store: Store, actor: Actor, project_id: int) -> dict[str, int]:
    """What is not carried: turns and rounds name runs, and files, of this machine; a backup holds them."""
    turns, rounds = len(store.turns.list(actor, project_id)), len(store.rounds.list(actor, project_id))
    counts = {"turns of the loop (a backup holds them)": turns, "blind rounds (a backup holds them)": rounds}
    return {why: count for why, count in counts.items() if count}


def _write_parts(
    store: Store, actor: Actor, project: Project, folder: Path, names: bool, tell: Tell | None
) -> dict[str, int]:
    votes = store.judgments.votes(actor, project.id, excluded=True)
    pseudonyms = Pseudonyms.of(store, actor, project.id)

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
        for key, decision in store.judgments.adjudications(actor, project.id, excluded=True).items()
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
        "judgments": judgment_rows(store, actor, project, votes, names=names, excluded=True),
        "adjudications": iter(decisions),
        "members": iter(members),
        "judges": iter(judge_rows(store, actor, project.id)),
        "judge_votes": (vote_row(vote) for vote in store.judges.iterate(actor, project.id)),
    }
    counts = {name: write_rows(folder / f"{name}.jsonl", part) for name, part in rows.items()}
    if num_images := write_images(store.images.iterate(actor, project.id), folder / "images"):
        counts["images"] = num_images
    rubrics = [
        {"version": rubric.version, "text": rubric.text, "created_at": rubric.created_at}
        for rubric in store.projects.rubrics(actor, project.id)
    ]
    about = {
        "tiebreak_project": VERSION,
        "name": project.name,
        "description": project.description,
        "simulated": project.simulated,
        "names": names,
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
        yield from map(comparison_row, listed)
        done += len(listed)
        if tell is not None:
            tell(done)


def comparison_row(listed: Listed) -> Row:
    """A comparison with what leads set on it; tags, exclusion and further responses only where there are any."""
    comparison = listed.comparison
    row: Row = {
        "id": comparison.id,
        "prompt": turns(comparison.prompt),
        "response_a": turns(comparison.turns_a) or comparison.completion_a,
        "response_b": turns(comparison.turns_b) or comparison.completion_b,
        "source_a": comparison.source_a,
        "source_b": comparison.source_b,
        "overlap": listed.overlap,
        "priority": listed.priority,
        "gold": None if listed.gold is None else asdict(listed.gold),
        "meta": dict(comparison.meta),
    }
    if listed.tags:
        row["tags"] = list(listed.tags)
    if listed.excluded:
        row["excluded"] = True
    if further := comparison.further:
        row["further"] = [{"response": turns(one.turns) or one.text, "source": one.source} for one in further]
    if comparison.steps:
        row["steps"] = list(comparison.steps)
        row |= {"step_scores": list(comparison.step_scores)} if comparison.step_scores else {}
    return row


def is_project(path: str | Path) -> bool:
    """Whether a file or folder is an export of a whole project."""
    path = Path(path)
    if path.is_dir():
        return (path / "project.json").is_file()
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as packed:
            return any(name.rpartition("/")[2] == "project.json" for name in packed.namelist())
    except zipfile.BadZipFile:  # the end of a file may look like a zip's
        return False
