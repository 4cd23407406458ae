"""Writing prompts, responses and comparisons in bulk; equal prompts and equal responses to them are stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from annotate_app.design import Design
from annotate_app.store.database import read_pairs
from annotate_app.store.rights import checked_content, checked_text
from annotate_app.store.slots import slot_rows, wanted_groups
from annotate_app.store.tables import comparison, prompt, response, slot
from rewardkit.data import Comparison, content_id


@dataclass(frozen=True, slots=True)
class _Hashed:
    """A comparison with the hashes of its prompt and of its two responses (text and source)."""

    item: Comparison
    prompt: str
    a: str
    b: str


def insert_comparisons(
    connection: Connection, project_id: int, design: Design, batch: Sequence[Comparison], overlap: int | None
) -> int:
    """Inserts what is not there yet, with work slots; returns the number of new comparisons.

    Raises:
        ValueError: if an id is there with other content, or a text cannot be stored.
    """
    hashed = [_hashed(item) for item in batch]
    prompt_ids = _prompt_ids(connection, project_id, hashed)
    response_ids = _response_ids(connection, prompt_ids, hashed)
    contents: dict[str, tuple[int, int, int]] = {}
    new: dict[str, Comparison] = {}
    for each in hashed:
        prompt_id = prompt_ids[each.prompt]
        content = (prompt_id, response_ids[prompt_id, each.a], response_ids[prompt_id, each.b])
        if contents.setdefault(each.item.id, content) != content:
            raise ValueError(_differs(each.item.id))
        new.setdefault(each.item.id, each.item)
    columns = comparison.c
    query = select(columns.key, columns.prompt_id, columns.response_a, columns.response_b)
    for key, *content in connection.execute(query.where(columns.project_id == project_id, columns.key.in_(contents))):
        if tuple(content) != contents[key]:
            raise ValueError(_differs(key))
        del new[key]
    if new:
        _insert_new(connection, project_id, design, new, contents, overlap)
    return len(new)


def _insert_new(
    connection: Connection,
    project_id: int,
    design: Design,
    new: Mapping[str, Comparison],
    contents: Mapping[str, tuple[int, int, int]],
    overlap: int | None,
) -> None:
    rows = []
    for key, item in new.items():
        prompt_id, a, b = contents[key]
        rows.append(
            {
                "project_id": project_id,
                "key": key,
                "prompt_id": prompt_id,
                "response_a": a,
                "response_b": b,
                "overlap": overlap,
                "priority": 0.0,
                "meta": dict(item.meta),
            }
        )
    connection.execute(insert(comparison), rows)
    query = select(comparison.c.id).where(comparison.c.project_id == project_id, comparison.c.key.in_(new))
    wanted = wanted_groups(design, overlap)
    slots = [
        row
        for comparison_id in connection.execute(query).scalars()
        for row in slot_rows(project_id, comparison_id, wanted, design, 0.0)
    ]
    connection.execute(insert(slot), slots)


def _prompt_ids(connection: Connection, project_id: int, hashed: Sequence[_Hashed]) -> dict[str, int]:
    """Ids of the prompts by hash; those that are new are inserted."""
    wanted = {each.prompt: each.item for each in hashed}
    columns = prompt.c
    query = select(columns.content_hash, columns.id).where(
        columns.project_id == project_id, columns.content_hash.in_(wanted)
    )
    found = read_pairs(connection, query)
    rows = [
        {
            "project_id": project_id,
            "content_hash": content_hash,
            "messages": [[message.role, message.content] for message in item.prompt],
        }
        for content_hash, item in wanted.items()
        if content_hash not in found
    ]
    if not rows:
        return found
    connection.execute(insert(prompt), rows)
    return read_pairs(connection, query)


def _response_ids(
    connection: Connection, prompt_ids: Mapping[str, int], hashed: Sequence[_Hashed]
) -> dict[tuple[int, str], int]:
    """Ids of the responses by prompt id and hash; those that are new are inserted."""
    wanted: dict[tuple[int, str], tuple[str, str]] = {}
    for each in hashed:
        prompt_id = prompt_ids[each.prompt]
        wanted[prompt_id, each.a] = (each.item.completion_a, each.item.source_a)
        wanted[prompt_id, each.b] = (each.item.completion_b, each.item.source_b)
    columns = response.c
    query = select(columns.prompt_id, columns.content_hash, columns.id).where(
        columns.prompt_id.in_(set(prompt_ids.values()))
    )
    found = {(row[0], row[1]): row[2] for row in connection.execute(query)}
    rows = [
        {"prompt_id": prompt_id, "content_hash": content_hash, "text": text, "source": source}
        for (prompt_id, content_hash), (text, source) in wanted.items()
        if (prompt_id, content_hash) not in found
    ]
    if not rows:
        return found
    connection.execute(insert(response), rows)
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def _hashed(item: Comparison) -> _Hashed:
    place = f"comparison {item.id[:200]!r}"
    checked_text(item.id, "comparison id", 200)
    for message in item.prompt:
        checked_content(message.content, f"{place}, prompt")
    for name in ("a", "b"):
        checked_content(getattr(item, f"completion_{name}"), f"{place}, completion {name}")
        checked_text(getattr(item, f"source_{name}"), f"{place}, source {name}", 200, empty=True)
    return _Hashed(
        item,
        content_id([[message.role, message.content] for message in item.prompt]),
        content_id(item.completion_a, item.source_a),
        content_id(item.completion_b, item.source_b),
    )


def _differs(key: str) -> str:
    return f"comparison {key!r} is there already with another prompt, completion or source"
