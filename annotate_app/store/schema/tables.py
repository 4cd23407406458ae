"""The schema as SQLAlchemy Core tables. A change here needs a new Alembic revision under `migrations/versions`.

Times are unix seconds (float), 0 where unknown. JSON columns hold what no query filters on. Texts live in `prompt` and
`response`; what the queue scans (`comparison`, `slot`) stays narrow.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from rewardkit.data.times import stored_duration, stored_time

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
BigKey = BigInteger().with_variant(Integer, "sqlite")  # SQLite only counts up by itself for INTEGER keys
QUEUE_START = -1e300  # below every rank
# Conditions of partial indexes; a query repeats them word for word, without parameters, to use the index.
OPEN_WORK = "state = 0 AND kind = 'work'"
LEASED_WORK = "state = 1 AND kind = 'work'"
CHECK_KINDS = "kind IN ('gold', 'qualification')"
EXCLUDED = "excluded"


class UnixTime(TypeDecorator[float]):
    """Unix seconds; what is no time (a page could not draw it) is read as 0.0, unknown."""

    impl = Float
    cache_ok = True

    def process_result_value(self, value: object, dialect: object) -> float | None:
        return None if value is None else stored_time(value)


class Seconds(TypeDecorator[float]):
    """A duration; what is none is read as 0.0."""

    impl = Float
    cache_ok = True

    def process_result_value(self, value: object, dialect: object) -> float | None:
        return None if value is None else stored_duration(value)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def key_column() -> Column[int]:
    """The number that a row gets when it is inserted."""
    return Column("id", BigKey, primary_key=True, autoincrement=True)


user = Table(
    "user_account",
    metadata,
    key_column(),
    Column("name", String(120), nullable=False, unique=True),
    Column("password_hash", Text),  # null: signs in by OIDC or a proxy, or not at all (simulated, imported)
    Column("role", String(16), nullable=False),
    Column("origin", String(16), nullable=False),  # local, oidc, proxy, simulated, imported
    Column("active", Boolean, nullable=False, default=True),
    Column("created_at", UnixTime, nullable=False),
    Column("fields", JSON(none_as_null=True)),  # what is known of the person: {"country": "KE", ...}
    Column("language", String(16), nullable=False, server_default=""),  # of the pages; empty: as the browser asks
)

session = Table(
    "sign_in_session",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey("user_account.id"), nullable=False, index=True),
    Column("created_at", UnixTime, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked_at", UnixTime),
)

invite = Table(
    "invite",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("name", String(120)),  # the account it is for, null lets the invited choose
    Column("role", String(16), nullable=False),
    Column("project_id", ForeignKey("project.id")),
    Column("group_name", String(64), nullable=False, default=""),
    Column("created_by", ForeignKey("user_account.id")),
    Column("created_at", UnixTime, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", UnixTime),
)

sign_in_attempt = Table(
    "sign_in_attempt",
    metadata,
    key_column(),
    Column("account", String(120), nullable=False),
    Column("address", String(64), nullable=False),
    Column("at", UnixTime, nullable=False, index=True),
)

project = Table(
    "project",
    metadata,
    key_column(),
    Column("name", String(120), nullable=False, unique=True),
    Column("description", Text, nullable=False, default=""),
    Column("design", JSON, nullable=False),
    Column("simulated", Boolean, nullable=False, default=False),
    Column("archived", Boolean, nullable=False, default=False),
    Column("created_at", UnixTime, nullable=False),
)

membership = Table(
    "membership",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("user_id", ForeignKey("user_account.id"), primary_key=True, index=True),
    Column("group_name", String(64), nullable=False, default=""),
    Column("state", String(16), nullable=False, default="active"),  # qualifying, active, paused, failed
    Column("state_since", UnixTime, nullable=False, default=0.0),  # checks judged before it do not count any more
    Column("joined_at", UnixTime, nullable=False),
    Column("hourly_rate", Float),  # null: the design's
)

pseudonym_key = Table(
    "pseudonym_key",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("key", String(64), nullable=False),  # 32 bytes in hexadecimal, made with the project
)

rubric = Table(
    "rubric",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),  # YAML as written
    Column("created_by", ForeignKey("user_account.id")),
    Column("created_at", UnixTime, nullable=False),
    UniqueConstraint("project_id", "version"),
)

prompt = Table(
    "prompt",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("content_hash", String(16), nullable=False),
    Column("messages", JSON, nullable=False),  # [[role, content], ...]
    UniqueConstraint("project_id", "content_hash"),
)

response = Table(
    "response",
    metadata,
    key_column(),
    Column("prompt_id", ForeignKey("prompt.id"), nullable=False),
    Column("content_hash", String(16), nullable=False),  # of text and source
    Column("text", Text, nullable=False),
    Column("source", String(200), nullable=False, default=""),
    UniqueConstraint("prompt_id", "content_hash"),
    Index("ix_response_source", "source", "id"),
)

comparison = Table(
    "comparison",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("key", String(200), nullable=False),  # Comparison.id
    Column("prompt_id", ForeignKey("prompt.id"), nullable=False),
    Column("response_a", ForeignKey("response.id"), nullable=False),
    Column("response_b", ForeignKey("response.id"), nullable=False),
    Column("overlap", SmallInteger),  # null: the design's
    Column("priority", Float, nullable=False, default=0.0),  # higher goes first
    Column("gold", JSON(none_as_null=True)),  # {"choice", "explanation", "use": gold | qualification}
    Column("gold_use", String(16), nullable=False, default=""),  # the use in `gold`, so that checks are found fast
    Column("meta", JSON, nullable=False),
    Column("excluded", Boolean, nullable=False, server_default=false()),  # kept, but neither handed out nor counted
    Column("length", Integer, nullable=False, server_default="0"),  # characters of the two responses together
    Column("import_id", BigKey),  # while there is a `pending_import` of this id, the row is not shown
    UniqueConstraint("project_id", "key"),
    Index("ix_comparison_excluded", "project_id", "id", **_where(EXCLUDED)),
    Index("ix_comparison_gold", "project_id", "gold_use", "id", **_where("gold_use <> ''")),
)

# One row per wanted judgment: strict overlap is a property of the data. Slots of checks are made when handed out.
slot = Table(
    "slot",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), nullable=False),
    Column("kind", String(16), nullable=False, default="work"),  # votes.KINDS, or skipped: not to come again
    Column("group_name", String(64), nullable=False, default=""),  # only this group may take it
    Column("state", SmallInteger, nullable=False, default=0),  # 0 open, 1 leased, 2 judged
    Column("user_id", ForeignKey("user_account.id")),
    Column("shown_left", String(1), nullable=False, default=""),  # a or b, fixed when leased
    Column("token", String(40), unique=True),  # names the lease to the browser
    Column("leased_until", Float),
    Column("leased_at", Float),
    Column("rank", Float, nullable=False, default=0.0),  # order within the policy, lower first
    Column("returned", BigInteger),  # num_returns when this slot or one beside it was given back
    UniqueConstraint("comparison_id", "user_id", "kind"),
    Index("ix_slot_queue", "project_id", "group_name", "rank", "id", "comparison_id", **_where(OPEN_WORK)),
    Index("ix_slot_returned", "project_id", "returned", **_where(f"{OPEN_WORK} AND returned IS NOT NULL")),
    Index("ix_slot_expiry", "project_id", "leased_until", **_where(LEASED_WORK)),
    Index("ix_slot_user", "user_id", "project_id", "state"),
)

# How far each person has come in a project's queue: see `picking`.
place = Table(
    "place",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("user_id", ForeignKey("user_account.id"), primary_key=True),
    Column("group_name", String(64), nullable=False, default=""),  # of the person when the cursors were set
    Column("num_leased", Integer, nullable=False, default=0),  # pairs handed out so far
    Column("num_judged", Integer, nullable=False, default=0),  # judgments that stand, skips left out
    Column("cursor_rank", Float, nullable=False, default=QUEUE_START),
    Column("cursor_slot", BigInteger, nullable=False, default=0),
    Column("cursor_returned", BigInteger, nullable=False, default=0),
)

# Locked by every return, so that returns become visible in the order of their numbers.
returns = Table(
    "slot_return",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("num_returns", BigInteger, nullable=False),
)

judgment = Table(
    "judgment",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), nullable=False),
    Column("user_id", ForeignKey("user_account.id"), nullable=False),
    Column("slot_id", ForeignKey("slot.id"), index=True),
    Column("kind", String(16), nullable=False, default="work"),
    Column("event_id", String(64), nullable=False, unique=True),  # made by the browser: a resend counts once
    Column("choice", String(12), nullable=False),  # rewardkit.data.records.CHOICES, or withdrawn (a tombstone of undo)
    Column("strength", SmallInteger, nullable=False, default=0),
    Column("criteria", JSON, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("rationale", Text, nullable=False, default=""),
    Column("reason", String(200), nullable=False, default=""),
    Column("seconds", Seconds, nullable=False, default=0.0),
    Column("shown_left", String(1), nullable=False, default=""),
    Column("rubric_version", Integer, nullable=False, default=0),
    Column("newest", Boolean, nullable=False, default=True),  # false once a later row of the same slot exists
    Column("created_at", UnixTime, nullable=False),
    Column("ranking", JSON(none_as_null=True)),  # of more than two responses: {"ranks": [...], "shown": [...]}
    Column("spans", JSON(none_as_null=True)),  # marked words: [[side, start, end, flag], ...] in the text as written
    Column("edited", JSON(none_as_null=True)),  # a response as the person would have it: {side: text}
    Column("import_id", BigKey),  # as of a comparison
    Column("step_labels", JSON(none_as_null=True)),  # of an answer's steps: [1, 0.5, 0, null, ...]
    Column("directions", Text, nullable=False, server_default=""),  # of `criteria`, so that filters read no JSON
    # Holds all that filters and tallies of votes read, so that they need not touch the rows.
    Index(
        "ix_judgment_newest",
        *("project_id", "newest", "comparison_id", "kind", "choice", "user_id", "created_at", "seconds", "directions"),
    ),
    Index("ix_judgment_user", "user_id", "project_id", "id"),
    Index("ix_judgment_own", "comparison_id", "user_id"),
    Index("ix_judgment_check", "user_id", "project_id", "kind", "id", **_where(CHECK_KINDS)),
)

# Imports under way that are more than one transaction; see `pending`.
pending_import = Table(
    "pending_import",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=False),  # drawn at random, none comes twice
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("started_at", UnixTime, nullable=False),
    Column("heartbeat_at", Float, nullable=False),
)

adjudication = Table(
    "adjudication",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), nullable=False, index=True),
    Column("pair", String(8), nullable=False, server_default=""),  # which two of a ranking: `1-3`; which step: `s3`
    Column("user_id", ForeignKey("user_account.id")),
    Column("choice", String(12), nullable=False),  # a, b, tie, both_bad, or discard
    Column("strength", SmallInteger, nullable=False, default=0),
    Column("criteria", JSON, nullable=False),
    Column("rationale", Text, nullable=False, default=""),
    Column("created_at", UnixTime, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("created_at", UnixTime, nullable=False),
    Column("read_at", UnixTime),
)

audit = Table(
    "audit",
    metadata,
    key_column(),
    Column("at", UnixTime, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(64), nullable=False),
    Column("project_id", BigKey),
    Column("subject", String(200), nullable=False, default=""),
    Column("detail", JSON, nullable=False),
)

job = Table(
    "job",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id")),
    Column("kind", String(32), nullable=False),  # import, export, train, ...
    Column("title", String(200), nullable=False),
    Column("command", JSON, nullable=False),  # argv after `python -m`
    Column("run_dir", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),  # queued running done failed cancelled lost
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
    Column("started_at", UnixTime),
    Column("ended_at", UnixTime),
    Column("heartbeat_at", Float),
    Column("process", JSON(none_as_null=True)),  # {"pid", "started", "group"} of the wrapper and of the command
    Column("cancel", Boolean, nullable=False, default=False),
    Column("message", Text, nullable=False, default=""),
)
