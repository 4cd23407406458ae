"""A project made from an export of a whole one: read and checked first, then written in one transaction.

A failure, or the end of the process, at any point leaves the installation as it was. Members come back by the names of
the export: accounts of these names join, for others accounts are made that cannot sign in (`members.insert_former`).
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, TypeVar

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import BadRow, BadRowsError, Tell, unspool
from annotate_app.exchange.judge_votes import read_judge_row, read_vote_row
from annotate_app.exchange.judgments_in import BallotOptions, stage_judgments
from annotate_app.exchange.project_out import (
    ALL_PARTS,
    IMAGE_FILE,
    JUDGE_VOTES,
    JUDGES,
    PARTS,
    VERSION,
    Row,
    is_project,
)
from annotate_app.images.checking import CheckedImage, check_image
from annotate_app.protocol.collection_design import MOST_OVERLAP, Design
from annotate_app.protocol.rubric import parse_rubric
from annotate_app.store.backup import ZIP_ERRORS
from annotate_app.store.judgments import staged as staged_judgments
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.people.members import FormerMember
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.contents import StagedContents, stage_contents
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.columns import Reading
from rewardkit.data.comparison_rows import parse_row, read_answers
from rewardkit.data.conversations import RowError
from rewardkit.data.files import read_rows
from rewardkit.data.judgments import MOST_WHOLE, read_criteria
from rewardkit.data.records import MOST_RANKED, Comparison, Response, check_step_labels, pairs_of
from rewardkit.data.tables.lines import check_unpacked
from rewardkit.data.times import LAST_TIME

MOST_PRIORITY = 1e15
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """The result of importing a project; `num_accounts` counts the members' accounts that were created."""

    project: Project
    num_comparisons: int
    num_judgments: int
    num_adjudications: int
    num_golds: int
    num_members: int
    num_accounts: int
    num_judge_votes: int = 0
    num_images: int = 0


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
        parts = _read_parts(folder, path)
        images = _image_files(folder)
        for file in images:  # all of them, before anything is written
            _read_image(file, path)
        written = {item.id: tuple(one.source for one in item.responses) for item in parts.comparisons}
        judgments = stack.enter_context(tempfile.TemporaryFile())
        if (folder / "judgments.jsonl").stat().st_size:
            stage_judgments([folder / "judgments.jsonl"], BallotOptions(), written, judgments, tell)
        contents = stack.enter_context(stage_contents(parts.comparisons))
        staged = stack.enter_context(staged_judgments.stage_judgments(unspool(judgments)))
        stack.enter_context(store.together())
        done = _write_parts(store, actor, parts, contents, staged, name)
        if not images:
            return done
        checked = (_read_image(file, path) for file in images)
        return replace(done, num_images=store.images.add(actor, done.project.id, checked))


def _image_files(folder: Path) -> list[Path]:
    paths = sorted((folder / "images").glob("*")) if (folder / "images").is_dir() else []
    return [path for path in paths if IMAGE_FILE.fullmatch(f"images/{path.name}") and path.is_file()]


def _read_image(file: Path, path: str | Path) -> CheckedImage:
    """An image of an export; a ValueError if it is none, or not the one that its name says."""
    with _named(f"{path}: images/{file.name}"):
        image = check_image(file.read_bytes(), file.name)
        if image.file_name != file.name:
            raise ValueError(f"its bytes are those of {image.file_name}")
    return image


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """An export without its judgments; overlaps and priorities by comparison id, only those that are set."""

    about: Mapping[str, Any]
    design: Design
    comparisons: Sequence[Comparison]
    overlaps: Mapping[str, int]
    priorities: Mapping[str, float]
    golds: Mapping[str, Gold]
    tags: Mapping[str, Sequence[str]]
    excluded: Sequence[str]
    decisions: Mapping[str, Decision]
    members: Sequence[FormerMember]
    judges: Sequence[tuple[str, JudgeSpec, bool]]
    judge_votes: Mapping[str, Sequence[JudgeVote]]


def _read_parts(folder: Path, path: str | Path) -> _Parts:
    about = _read_about(folder, path)
    rows = [row for _, row in read_rows(folder / "comparisons.jsonl")]
    comparisons = _read_comparisons(rows, f"{path}: comparisons.jsonl")
    with _named(f"{path}: project.json"):
        design = Design.from_dict(about["design"])
        design.check_size()
        for number, version in enumerate(about["rubrics"], start=1):
            parse_rubric(version["text"], f"rubric version {number}")
    overlaps: dict[str, int] = {}
    priorities: dict[str, float] = {}
    golds: dict[str, Gold] = {}
    tags: dict[str, list[str]] = {}
    excluded: list[str] = []
    for number, row in enumerate(rows, start=1):
        with _named(f"{path}: comparisons.jsonl:{number}"):
            if row.get("overlap") is not None:
                overlaps[str(row["id"])] = _number(row, "overlap", int, 1, MOST_OVERLAP)
            if row.get("priority") is not None:
                priorities[str(row["id"])] = _number(row, "priority", float, -MOST_PRIORITY, MOST_PRIORITY)
            if row.get("gold") is not None:
                golds[str(row["id"])] = _read_gold(row["gold"])
            if row.get("tags") is not None:
                tags[str(row["id"])] = _read_tags(row["tags"])
            if row.get("excluded"):
                excluded.append(str(row["id"]))
    ids = {comparison.id for comparison in comparisons}
    items = {pair.id for comparison in comparisons for pair in pairs_of(comparison)}
    decisions: dict[str, Decision] = {}
    for number, row in read_rows(folder / "adjudications.jsonl"):
        with _named(f"{path}: adjudications.jsonl:{number}"):
            if str(row["comparison_id"]) not in items:
                raise ValueError(f"comparison_id is {row['comparison_id']!r}, which is in comparisons.jsonl of no row")
            decisions[str(row["comparison_id"])] = _decision(row)
    judges, judge_votes = _read_judges(folder, path, ids)
    return _Parts(
        about=about,
        design=design,
        comparisons=comparisons,
        overlaps=overlaps,
        priorities={key: priority for key, priority in priorities.items() if priority},
        golds=golds,
        tags=tags,
        excluded=excluded,
        decisions=decisions,
        members=_read_members(folder, path),
        judges=judges,
        judge_votes=judge_votes,
    )


def _read_comparisons(rows: Sequence[Mapping[str, Any]], name: str) -> list[Comparison]:
    """Comparisons as a whole project's export holds them: an answer that is a text stands there as it is.

    Raises:
        BadRowsError: if one cannot be read.
    """
    names = ("id", "prompt", "response_a", "response_b", "source_a", "source_b", "meta")
    reading = Reading(form="pairs", columns={name: name for name in names}, empty="keep")
    comparisons, bad = [], []
    for number, row in enumerate(rows, start=1):
        try:
            answers = {name: _as_turn(row.get(name)) for name in ("response_a", "response_b")}
            if "steps" in row:  # its answer stands on both sides, which no pair may
                answers["response_b"] = _as_turn("")
            [pair] = parse_row({name: row.get(name) for name in names} | answers, reading).comparisons
            pair = replace(pair, further=_read_further(row.get("further"))) if "further" in row else pair
            comparisons.append(_with_steps(pair, row) if "steps" in row else pair)
        except RowError as error:
            bad.append(BadRow.of(f"{name}:{number}", error))
    if bad:
        raise BadRowsError(bad)
    return comparisons


def _read_further(value: object) -> tuple[Response, ...]:
    """The third and later responses, as a whole project's export holds them."""
    allowed = "allowed is a list of objects with response and source"
    if not isinstance(value, list) or len(value) > MOST_RANKED - 2:
        raise RowError("wrong_type", "further", value, f"{allowed}, {MOST_RANKED - 2} at most")
    further = []
    for number, item in enumerate(value):
        if not isinstance(item, Mapping) or not isinstance(item.get("source"), str):
            raise RowError("wrong_type", f"further[{number}]", item, allowed)
        [answer] = read_answers([_as_turn(item.get("response"))], f"further[{number}]", None)
        further.append(Response(text=answer.text, source=item["source"], turns=answer.turns))
    return tuple(further)


def _with_steps(answer: Comparison, row: Mapping[str, Any]) -> Comparison:
    """An answer with its steps and what a model gives them, as a whole project's export holds them."""
    steps, scores = row["steps"], row.get("step_scores") or ()
    if not isinstance(steps, list) or not all(isinstance(step, str) and step.strip() for step in steps):
        raise RowError("wrong_type", "steps", steps, "allowed is a list of texts")
    try:
        if scores:
            check_step_labels(scores, len(steps))
    except (TypeError, ValueError) as error:
        raise RowError("wrong_type", "step_scores", scores, str(error)) from error
    both = {"completion_b": answer.completion_a, "turns_b": answer.turns_a, "source_b": answer.source_a}
    return replace(answer, **both, steps=tuple(steps), step_scores=tuple(scores))


def _as_turn(answer: object) -> object:
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Says where in the export something stands that cannot be read."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{where}: {error.args[0]} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _number(row: Row, name: str, kind: type[Number], least: float, most: float) -> Number:
    value = row[name]
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not fits or not least <= value <= most:
        word = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {str(value)[:40]!r}, allowed is {word} from {least:g} to {most:g}")
    return kind(value)


def _read_gold(value: object) -> Gold:
    names = [item.name for item in fields(Gold)]
    if not isinstance(value, dict) or not value.keys() <= set(names):
        raise ValueError(f"gold is {str(value)[:60]!r}, allowed is a mapping with {', '.join(names)}")
    gold = Gold(**value)
    if not isinstance(gold.explanation, str):
        raise ValueError(f"gold.explanation is {str(gold.explanation)[:40]!r}, allowed is text")
    return gold


def _read_tags(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValueError(f"tags is {str(value)[:60]!r}, allowed is a list of words")
    return value


def _write_parts(
    store: Store, actor: Actor, parts: _Parts, contents: StagedContents, judgments: IO[bytes], name: str | None
) -> ImportedProject:
    project = store.projects.create(
        actor,
        name or parts.about["name"],
        rubric_text=parts.about["rubrics"][0]["text"],
        design=parts.design,
        description=str(parts.about.get("description") or ""),
        simulated=bool(parts.about.get("simulated")),
    )
    for version in parts.about["rubrics"][1:]:
        store.projects.save_rubric(actor, project.id, version["text"])
    added = store.comparisons.add_staged(actor, project.id, contents, overlaps=parts.overlaps)
    if parts.priorities:
        store.comparisons.set_priorities(actor, project.id, parts.priorities)
    for key, gold in parts.golds.items():
        store.comparisons.set_gold(actor, project.id, key, gold)
    # Before their judgments, which then fill the slots of their groups.
    pseudonyms = not parts.about.get("names", False)
    num_accounts = store.projects.import_members(actor, project.id, parts.members, pseudonyms=pseudonyms)
    num_judgments = store.judgments.import_staged(actor, project.id, judgments).num_added
    for key, decision in parts.decisions.items():
        store.judgments.adjudicate(actor, project.id, key, decision)
    if parts.tags or parts.excluded:
        store.bulk.import_marks(actor, project.id, parts.tags, parts.excluded)
    num_judge_votes = 0
    for judge_name, spec, archived in parts.judges:
        judge = store.judges.add(actor, project.id, judge_name, spec)
        num_judge_votes += store.judges.add_votes(judge.id, parts.judge_votes.get(judge_name, ()))
        if archived:
            store.judges.archive(actor, project.id, judge_name)
    return ImportedProject(
        project=project,
        num_comparisons=added.num_added,
        num_judgments=num_judgments,
        num_adjudications=len(parts.decisions),
        num_golds=len(parts.golds),
        num_members=len(parts.members),
        num_accounts=num_accounts,
        num_judge_votes=num_judge_votes,
    )


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if not is_project(path):
        raise ValueError(f"{path} is no export of a whole project: a folder or zip with {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(path) as packed:
        parts = [part for part in packed.infolist() if _part_name(part.filename)]
        check_unpacked(sum(part.file_size for part in parts), path.stat().st_size, str(path))
        (Path(scratch) / "images").mkdir()
        for member in packed.namelist():  # only the parts we know, by their last name: nothing lands elsewhere
            name = _part_name(member)
            if name:
                try:
                    with packed.open(member) as source, (Path(scratch) / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                except ZIP_ERRORS as error:
                    raise ValueError(f"{path}: {member} cannot be unpacked: {error}") from error
        yield Path(scratch)


def _part_name(member: str) -> str:
    """Where in an export a member of its zip belongs; empty for what is no part of one."""
    *folders, name = member.split("/")
    if folders and IMAGE_FILE.fullmatch(f"{folders[-1]}/{name}"):
        return f"images/{name}"
    return name if name in ALL_PARTS else ""


def _read_about(folder: Path, path: str | Path) -> dict[str, Any]:
    missing = [name for name in PARTS if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{path}: {missing[0]} is missing")
    try:
        about = json.loads((folder / "project.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: project.json: {error}") from error
    version = about.get("tiebreak_project") if isinstance(about, dict) else about
    if not isinstance(about, dict) or version != VERSION:
        raise ValueError(f"{path}: project.json is of version {repr(version)[:40]}, allowed is {VERSION}")
    with _named(f"{path}: project.json"):
        for name, kind, word in _ABOUT:
            if not isinstance(about[name], kind):
                raise ValueError(f"{name} is {str(about[name])[:40]!r}, allowed is {word}")
        texts = [isinstance(version, dict) and isinstance(version.get("text"), str) for version in about["rubrics"]]
        if not texts or not all(texts):
            raise ValueError(f"rubrics is {str(about['rubrics'])[:40]!r}, allowed is a list of versions with a text")
    return about


_ABOUT = (
    ("name", str, "text"),
    ("design", dict, "a mapping"),
    ("rubrics", list, "a list of versions with a text"),
)


def _read_members(folder: Path, path: str | Path) -> list[FormerMember]:
    members = []
    for number, row in read_rows(folder / "members.jsonl"):
        with _named(f"{path}: members.jsonl:{number}"):
            _number(row, "joined_at", float, 0, LAST_TIME)
            members.append(FormerMember(**{field.name: row[field.name] for field in fields(FormerMember)}))
    return members


def _read_judges(
    folder: Path, path: str | Path, ids: Set[str]
) -> tuple[list[tuple[str, JudgeSpec, bool]], dict[str, list[JudgeVote]]]:
    """Judges and their votes by their name; none in an export of before."""
    judges: list[tuple[str, JudgeSpec, bool]] = []
    votes: dict[str, list[JudgeVote]] = {}
    if not (folder / JUDGES).is_file() or not (folder / JUDGE_VOTES).is_file():
        return judges, votes
    for number, row in read_rows(folder / JUDGES):
        with _named(f"{path}: {JUDGES}:{number}"):
            judges.append(read_judge_row(row))
    names = {name for name, _, _ in judges}
    for number, row in read_rows(folder / JUDGE_VOTES):
        with _named(f"{path}: {JUDGE_VOTES}:{number}"):
            vote = read_vote_row(row)
            if vote.judge not in names or vote.comparison_id not in ids:
                raise ValueError(
                    f"a vote of {vote.judge!r:.60} on {vote.comparison_id!r:.60}, of which one is not there"
                )
            votes.setdefault(vote.judge, []).append(vote)
    return judges, votes


def _decision(row: Row) -> Decision:
    rationale = row.get("rationale") or ""
    if not isinstance(rationale, str):
        raise ValueError(f"rationale is {str(rationale)[:40]!r}, allowed is text")
    return Decision(
        choice=row["choice"],
        strength=_number(row, "strength", int, 0, MOST_WHOLE),
        criteria=read_criteria(row.get("criteria") or {}, "criteria"),
        rationale=rationale,
    )
