"""Tables of the doors beside the pages: API tokens, webhooks, and links for people of a crowd platform.

They stand on `annotate_app.store.schema.tables` and follow its conventions. A change needs a new Alembic revision.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from annotate_app.store.schema.tables import UnixTime, key_column, metadata

api_token = Table(
    "api_token",
    metadata,
    key_column(),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("user_id", ForeignKey("user_account.id"), nullable=False, index=True),  # whose rights it lends
    Column("role", String(16), nullable=False),  # never more than the person has at the moment
    Column("project_id", ForeignKey("project.id")),  # null: all projects of the person
    Column("created_at", UnixTime, nullable=False),
    Column("expires_at", Float),
    Column("last_used_at", UnixTime),
    Column("revoked_at", UnixTime),
)

webhook = Table(
    "webhook",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", String(64), nullable=False),  # signs what is sent
    Column("events", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("private", Boolean, nullable=False),  # whether an admin lets it reach addresses of the own network
    Column("last_judgment", BigInteger, nullable=False),  # newest judgment that was told
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    key_column(),
    Column("webhook_id", ForeignKey("webhook.id"), nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("subject", String(200), nullable=False),  # what it is about: told once
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, sent, failed
    Column("tries", SmallInteger, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("created_at", UnixTime, nullable=False),
    Column("sent_at", UnixTime),
    Column("message", Text, nullable=False),
    UniqueConstraint("webhook_id", "event", "subject"),
    Index("ix_webhook_delivery_waiting", "state", "webhook_id", "id"),  # the next of every webhook
)

# A link under which people of a crowd platform come in by their id there.
crowd_link = Table(
    "crowd_link",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False, index=True),
    Column("token", String(40), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("id_parameter", String(64), nullable=False),  # of the address, e.g. PROLIFIC_PID
    Column("group_name", String(64), nullable=False),
    Column("target", Integer, nullable=False),  # judgments a person gives
    Column("quota", Integer, nullable=False),  # people let in, 0 for any number
    Column("completion_code", String(64), nullable=False),
    Column("screen_out_code", String(64), nullable=False),
    Column("over_quota_code", String(64), nullable=False),
    Column("return_url", Text, nullable=False),  # where a person goes back to, {code} in it is replaced
    Column("text", Text, nullable=False),  # shown above the start button
    Column("reward", Float, nullable=False),  # for who completes, in the design's currency
    Column("dropout_minutes", Integer, nullable=False),  # without a judgment, then a place is free again
    Column("active", Boolean, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
)

crowd_visit = Table(
    "crowd_visit",
    metadata,
    key_column(),
    Column("link_id", ForeignKey("crowd_link.id"), nullable=False),
    Column("user_id", ForeignKey("user_account.id"), index=True),  # null for who was not let in
    Column("platform_id", String(120), nullable=False),
    Column("parameters", JSON, nullable=False),  # others of the address: study, session
    Column("outcome", String(16), nullable=False),  # working, completed or over_quota; see `crowd_visits`
    Column("started_at", UnixTime, nullable=False),
    Column("seen_at", UnixTime, nullable=False),  # when the link was last opened
    Column("ended_at", UnixTime),
    UniqueConstraint("link_id", "platform_id"),
)
