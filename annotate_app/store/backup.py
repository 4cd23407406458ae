"""Backups: one zip with every table as JSON lines, the same from SQLite and PostgreSQL, and the way back into either.

Written from one consistent state while others go on working; restored in one transaction, all or nothing.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import JSON, Connection, MetaData, Table, func, insert, select, text

from annotate_app.store.base import tables
from annotate_app.store.base.database import Database
from annotate_app.store.base.migrate import schema_revision, upgrade_within
from annotate_app.store.disarm import disarm

FORMAT = "tiebreak backup 1"
BATCH = 1000


def write_backup(database: Database, path: Path) -> Path:
    """Writes all tables to a new file that only its owner can read: it holds accounts and hashes of passwords.

    Raises:
        ValueError: if the file is there already.
    """
    if path.exists():
        raise ValueError(f"{path} is there already; a backup is never overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as archive,
            database.read() as connection,
        ):
            counts = {table.name: _write_table(archive, connection, table) for table in tables.metadata.sorted_tables}
            manifest = {
                "format": FORMAT,
                "schema": schema_revision(connection),
                "created_at": time.time(),
                "rows": counts,
            }
            archive.writestr("manifest.json", json.dumps(manifest, indent=2))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return path


def read_backup(database: Database, path: Path, *, force: bool = False) -> dict[str, int]:
    """Fills a database from a backup and brings it to this version's schema; returns the rows by table.

    What would act or let somebody in by itself is ended; see `disarm`.

    Args:
        force: replaces what the database holds; without it, only an empty one is filled.

    Raises:
        ValueError: if the file is no backup, is damaged, or is newer than this version; if the database is not empty.
    """
    try:
        with zipfile.ZipFile(path) as archive, database.write() as connection:
            manifest = _read_manifest(archive, path)
            _clear(connection, force=force)
            upgrade_within(connection, manifest["schema"])
            stored = MetaData()
            stored.reflect(connection)
            for table in stored.sorted_tables:
                if table.name in manifest["rows"]:
                    _read_table(archive, connection, table, manifest["rows"][table.name], path)
            if connection.dialect.name == "postgresql":
                _set_sequences(connection, stored)
            upgrade_within(connection)
            disarm(connection, database.url)
            return manifest["rows"]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a backup, or damaged: {error}") from error


def _write_table(archive: zipfile.ZipFile, connection: Connection, table: Table) -> int:
    count = 0
    query = select(table).order_by(*table.primary_key.columns)
    with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as raw, io.TextIOWrapper(raw, "utf-8") as file:
        for row in connection.execute(query.execution_options(yield_per=BATCH)).mappings():
            file.write(json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")) + "\n")
            count += 1
    return count


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict:
    try:
        manifest = json.loads(archive.read("manifest.json"))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a backup: it has no manifest") from error
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path} is of format {manifest.get('format')!r}, this version reads {FORMAT!r}")
    return manifest


def _clear(connection: Connection, *, force: bool) -> None:
    """Drops all tables of a database that is empty or may be replaced."""
    stored = MetaData()
    stored.reflect(connection)
    for table in stored.sorted_tables:
        if force or table.name == "alembic_version":
            continue
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise ValueError(f"the database is not empty (table {table.name}); --force replaces all it holds")
    stored.drop_all(connection)


def _read_table(archive: zipfile.ZipFile, connection: Connection, table: Table, expected: int, path: Path) -> None:
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type.none_as_null = True
    count = 0
    with archive.open(f"{table.name}.jsonl") as raw:
        for rows in _batches(json.loads(line) for line in io.TextIOWrapper(raw, "utf-8")):
            connection.execute(insert(table), rows)
            count += len(rows)
    if count != expected:
        raise ValueError(f"{path}: table {table.name} has {count} rows, the manifest says {expected}")


def _batches(rows: Iterator[dict]) -> Iterator[list[dict]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _set_sequences(connection: Connection, stored: MetaData) -> None:
    """Lets PostgreSQL count on from the restored ids."""
    for table in stored.sorted_tables:
        if "id" in table.columns:
            highest = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
            connection.execute(text(highest))
