"""Tables of the desk and the workbench: who read what, questions, images, more than two responses, tags, saved views.

They stand on `annotate_app.store.schema.tables` and follow its conventions. A change needs a new Alembic revision.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from annotate_app.store.schema.tables import UnixTime, key_column, metadata

# That a person has acknowledged the guidelines of a version of the rubric, on whatever computer.
guideline_reading = Table(
    "guideline_reading",
    metadata,
    Column("project_id", ForeignKey("project.id"), primary_key=True),
    Column("user_id", ForeignKey("user_account.id"), primary_key=True, index=True),
    Column("version", Integer, primary_key=True),
    Column("read_at", UnixTime, nullable=False),
)

# What an annotator asks the lead about a comparison; the answer is for all who meet it.
question = Table(
    "question",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), nullable=False, index=True),
    Column("user_id", ForeignKey("user_account.id"), nullable=False),
    Column("event_id", String(64), nullable=False, unique=True),  # made by the browser: a resend counts once
    Column("text", Text, nullable=False),
    Column("created_at", UnixTime, nullable=False),
    Column("answer", Text, nullable=False, server_default=""),
    Column("answered_by", ForeignKey("user_account.id")),
    Column("answered_at", UnixTime),  # null while it waits
    Index("ix_question_waiting", "project_id", "answered_at", "id"),
)

# The third and later responses of a comparison that ranks more than two; the first two are the comparison's own.
further_response = Table(
    "further_response",
    metadata,
    Column("comparison_id", ForeignKey("comparison.id"), primary_key=True),
    Column("position", SmallInteger, primary_key=True),  # from 2
    Column("response_id", ForeignKey("response.id"), nullable=False, index=True),
)

# The steps of an answer that is judged step by step, and what a model gives them; the answer is both of its responses.
answer_steps = Table(
    "answer_steps",
    metadata,
    Column("comparison_id", ForeignKey("comparison.id"), primary_key=True),
    Column("steps", JSON, nullable=False),  # their texts, in order
    Column("scores", JSON(none_as_null=True)),  # by step the probability that it is right, or null
)

comparison_tag = Table(
    "comparison_tag",
    metadata,
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Index("ix_comparison_tag_project", "project_id", "tag", "comparison_id"),
)

# A lead's choice of comparisons, kept under a name for the whole project.
saved_view = Table(
    "saved_view",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("name", String(120), nullable=False),
    Column("filter", JSON, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
    UniqueConstraint("project_id", "name"),
)

# Images that prompts and responses show, by the hash of their bytes; served from this host only.
image = Table(
    "image",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("content_hash", String(64), nullable=False),  # SHA-256 of the bytes
    Column("name", String(200), nullable=False),  # of the file it came as
    Column("media_type", String(32), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", UnixTime, nullable=False),
    UniqueConstraint("project_id", "content_hash"),
)
