"""Backups: one zip with every table as JSON lines, the same from SQLite and PostgreSQL, and the way back into either.

Written from one consistent state while others go on working; restored in one transaction, all or nothing.
"""

from __future__ import annotations

import base64
import io
import json
import os
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.types import TypeEngine

from annotate_app.store.base.database import Database, failure
from annotate_app.store.base.migrate import schema_revision, upgrade_within
from annotate_app.store.disarm import disarm
from annotate_app.store.schema import whole_schema

FORMAT = "tiebreak backup 1"
BATCH = 1000
BATCH_OF_BYTES = 8  # rows of a table that holds files, of megabytes each
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What reading a zip raises where it is damaged, encrypted, or packed in a way that is not known here."""


def write_backup(database: Database, path: Path) -> Path:
    """Writes all tables to a new file that only its owner can read: it holds accounts and hashes of passwords.

    Raises:
        ValueError: if the file is there already.
    """
    if path.exists():
        raise ValueError(f"{path} is there already; a backup is never overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            _write_archive(database, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        origin: BaseException = error
        while origin.__context__ is not None:  # a zip that cannot be written cannot be closed either
            origin = origin.__context__
        if isinstance(origin, OSError):
            raise OSError(origin.errno, origin.strerror, str(path)) from error
        raise
    return path


def _write_archive(database: Database, file: IO[bytes]) -> None:
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as archive,
        database.read() as connection,
    ):
        counts = {table.name: _write_table(archive, connection, table) for table in whole_schema.metadata.sorted_tables}
        manifest = {"format": FORMAT, "schema": schema_revision(connection), "created_at": time.time(), "rows": counts}
        archive.writestr("manifest.json", json.dumps(manifest, indent=2))


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
            _check_tables(manifest["rows"], stored, path)
            for table in stored.sorted_tables:
                if table.name in manifest["rows"]:
                    _read_table(archive, connection, table, manifest["rows"][table.name], path)
            if connection.dialect.name == "postgresql":
                _set_sequences(connection, stored)
            upgrade_within(connection)
            disarm(connection, database.url)
            return manifest["rows"]
    except ZIP_ERRORS as error:
        raise ValueError(f"{path} is not a backup, or damaged: {error}") from error


def _write_table(archive: zipfile.ZipFile, connection: Connection, table: Table) -> int:
    count = 0
    query = select(table).order_by(*table.primary_key.columns)
    with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as raw, io.TextIOWrapper(raw, "utf-8") as file:
        for row in connection.execute(query.execution_options(yield_per=_batch_of(table))).mappings():
            file.write(json.dumps(dict(row), ensure_ascii=False, separators=(",", ":"), default=_plain) + "\n")
            count += 1
    return count


def _plain(value: object) -> str:
    """Bytes as a text, `_read_row` is the way back."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} cannot be kept in a backup")


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict:
    try:
        manifest = json.loads(archive.read("manifest.json"))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a backup: it has no manifest") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        format = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ValueError(f"{path} is of format {str(format)[:40]!r}, this version reads {FORMAT!r}")
    rows = manifest.get("rows")
    if not isinstance(rows, dict) or not all(type(count) is int and count >= 0 for count in rows.values()):
        raise ValueError(f"{path}: rows of the manifest is {str(rows)[:40]!r}, allowed is a number of rows by table")
    if not isinstance(manifest.get("schema"), str):
        raise ValueError(f"{path}: schema of the manifest is {str(manifest.get('schema'))[:40]!r}, allowed is a text")
    return manifest


def _check_tables(rows: Mapping[str, int], stored: MetaData, path: Path) -> None:
    """Raises ValueError unless the manifest counts the rows of every table of its schema, and rows of no other."""
    names = {table.name for table in stored.sorted_tables} - {"alembic_version"}
    for table in sorted(names - rows.keys()):
        raise ValueError(f"{path} is damaged: its manifest does not have the table {table}")
    for table in sorted(name for name in rows.keys() - names if rows[name]):
        raise ValueError(f"{path}: the manifest has the table {table[:60]!r}, which its schema does not have")


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
    name, count = f"{table.name}.jsonl", 0
    if name not in archive.namelist():
        raise ValueError(f"{path} is damaged: {name} is missing")
    with archive.open(name) as raw:
        lines = enumerate(raw, start=1)
        read = (_read_row(line, table, f"{path}: {name}:{number}") for number, line in lines)
        for rows in _batches(read, _batch_of(table)):
            try:
                connection.execute(insert(table), rows)
            except (DBAPIError, StatementError, OverflowError) as error:
                reason = failure(error) or str(error).splitlines()[0]
                where = f"{count + 1}-{count + len(rows)}"
                raise ValueError(f"{path}: {name}:{where} cannot be stored: {reason}") from error
            count += len(rows)
    if count != expected:
        raise ValueError(f"{path}: table {table.name} has {count} rows, the manifest says {expected}")


def _read_row(line: bytes, table: Table, where: str) -> dict:
    """A row, checked to have the table's columns, each with a value of its type: SQLite itself takes any."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error
    names = set(table.columns.keys())
    if not isinstance(row, dict) or row.keys() != names:
        strange = sorted(names ^ row.keys()) if isinstance(row, dict) else ["no row at all"]
        raise ValueError(f"{where} does not have the columns of the table: {', '.join(strange)[:80]}")
    for column in table.columns:
        value = row[column.name]
        if not (column.nullable if value is None else _fits(value, column.type)):
            raise ValueError(f"{where}: {column.name} is {str(value)[:40]!r}, allowed is {column.type}")
        if isinstance(column.type, LargeBinary) and value is not None:
            try:
                row[column.name] = base64.b64decode(value, validate=True)
            except ValueError as error:
                raise ValueError(f"{where}: {column.name} is no Base64: {error}") from error
    return row


def _fits(value: object, of_type: TypeEngine) -> bool:
    match of_type:
        case JSON():
            return True
        case Boolean():
            return value in (0, 1)
        case Integer():
            return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case Float():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, str)


def _batches(rows: Iterator[dict], size: int) -> Iterator[list[dict]]:
    while batch := list(islice(rows, size)):
        yield batch


def _batch_of(table: Table) -> int:
    """Rows of a table that are in memory at once."""
    return BATCH_OF_BYTES if table.name == "image" else BATCH


def _set_sequences(connection: Connection, stored: MetaData) -> None:
    """Lets PostgreSQL count on from the restored ids."""
    for table in stored.sorted_tables:
        if "id" in table.columns:
            highest = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
            connection.execute(text(highest))
