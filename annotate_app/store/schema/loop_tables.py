"""The tables of the loop: judges that are no people, turns, blind rounds, and what people call a run.

They stand on `annotate_app.store.schema.tables` and follow its conventions; who wants the whole schema takes `metadata`
from here. A change needs a new Alembic revision.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
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

from annotate_app.store.schema.tables import BigKey, UnixTime, key_column, metadata

# A judge that is no person. Its votes have a table of their own, so that no figure about people can count them.
judge = Table(
    "judge",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("name", String(120), nullable=False),
    Column("spec", JSON, nullable=False),  # what answers and how it is asked; a key by the name of its variable only
    Column("archived", Boolean, nullable=False, default=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
    UniqueConstraint("project_id", "name"),
)

judge_vote = Table(
    "judge_vote",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("judge_id", ForeignKey("judge.id"), nullable=False),
    Column("comparison_id", ForeignKey("comparison.id"), nullable=False),
    Column("rubric_version", Integer, nullable=False),
    Column("shown_first", String(1), nullable=False),  # a or b; empty where it saw no order
    Column("sample", SmallInteger, nullable=False, default=0),  # of several answers to the same question
    Column("choice", String(12), nullable=False),  # rewardkit.data.records.CHOICES, or refused, unreadable
    Column("p_a", Float),  # its probability that a is better, a tie as half; null where it names a choice only
    Column("strength", SmallInteger, nullable=False, default=0),
    Column("criteria", JSON, nullable=False),
    Column("raw", Text, nullable=False, default=""),  # what it answered, as it came
    Column("usage", JSON, nullable=False),  # {"prompt_tokens", "completion_tokens", "tries", "seconds", "cost"}
    Column("examples", String(16), nullable=False, default=""),  # hash of the few-shot examples that it was shown
    Column("created_at", UnixTime, nullable=False),
    UniqueConstraint(
        *("judge_id", "comparison_id", "rubric_version", "examples", "shown_first", "sample"), name="uq_judge_vote"
    ),
    Index("ix_judge_vote_project", "project_id", "judge_id", "comparison_id"),
)

# One time round the loop; its stages are in `turn_stage`, the pairs it chose in `turn_pair`.
turn = Table(
    "turn",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent_id", ForeignKey("turn.id")),
    Column("plan", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # open, done, stopped
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
    Column("ended_at", UnixTime),
    UniqueConstraint("project_id", "number"),
)

turn_stage = Table(
    "turn_stage",
    metadata,
    Column("turn_id", ForeignKey("turn.id"), primary_key=True),
    Column("stage", String(16), primary_key=True),  # write, choose, judge, learn, align, check
    Column("state", String(16), nullable=False),  # waiting, running, people, done, failed, skipped
    Column("job_id", BigKey),  # the newest that worked on it
    Column("adopted", Boolean, nullable=False, default=False),  # done by hand, and taken over
    Column("tries", Integer, nullable=False, default=0),
    Column("result", JSON, nullable=False),
    Column("started_at", UnixTime),
    Column("ended_at", UnixTime),
)

turn_pair = Table(
    "turn_pair",
    metadata,
    Column("turn_id", ForeignKey("turn.id"), primary_key=True),
    Column("comparison_id", ForeignKey("comparison.id"), primary_key=True, index=True),
    Column("rule", String(32), nullable=False),  # that chose it; random pairs measure honestly
)

# Two policies before people who do not know whose answer is whose.
blind_round = Table(
    "blind_round",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False, index=True),
    Column("one", String(200), nullable=False),  # sources of the answers
    Column("other", String(200), nullable=False),
    Column("turn_id", ForeignKey("turn.id")),
    Column("detail", JSON, nullable=False),  # how the answers were written, by which job, and a note
    Column("created_by", String(120), nullable=False),
    Column("created_at", UnixTime, nullable=False),
)

blind_pair = Table(
    "blind_pair",
    metadata,
    Column("round_id", ForeignKey("blind_round.id"), primary_key=True),
    Column("comparison_id", ForeignKey("comparison.id"), primary_key=True, index=True),
)

run_note = Table(
    "run_note",
    metadata,
    key_column(),
    Column("project_id", ForeignKey("project.id"), nullable=False),
    Column("run_dir", Text, nullable=False, unique=True),  # which is the run, whatever jobs worked on it
    Column("name", String(120), nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    Column("tags", JSON, nullable=False),
    Column("archived", Boolean, nullable=False, default=False),
)
