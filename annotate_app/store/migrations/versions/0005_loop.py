"""Judges that are no people, turns of the loop, blind rounds, and what people call a run."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_judges()
    create_turns()
    create_rounds()


def create_judges() -> None:
    op.create_table(
        "judge",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_judge_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_judge_project_id_name")),
    )
    op.create_table(
        "judge_vote",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("judge_id", BIG_KEY, nullable=False),
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("rubric_version", sa.Integer(), nullable=False),
        sa.Column("shown_first", sa.String(length=1), nullable=False),
        sa.Column("sample", sa.SmallInteger(), nullable=False),
        sa.Column("choice", sa.String(length=12), nullable=False),
        sa.Column("p_a", sa.Float(), nullable=True),
        sa.Column("strength", sa.SmallInteger(), nullable=False),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=False),
        sa.Column("examples", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_judge_vote_comparison_id")),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], name=op.f("fk_judge_vote_judge_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_judge_vote_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_vote")),
        sa.UniqueConstraint(
            "judge_id",
            "comparison_id",
            "rubric_version",
            "examples",
            "shown_first",
            "sample",
            name=op.f("uq_judge_vote"),
        ),
    )
    op.create_index("ix_judge_vote_project", "judge_vote", ["project_id", "judge_id", "comparison_id"], unique=False)


def create_turns() -> None:
    op.create_table(
        "turn",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", BIG_KEY, nullable=True),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["turn.id"], name=op.f("fk_turn_parent_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_turn_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_turn_project_id_number")),
    )
    op.create_table(
        "turn_stage",
        sa.Column("turn_id", BIG_KEY, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("job_id", BIG_KEY, nullable=True),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_turn_stage_turn_id")),
        sa.PrimaryKeyConstraint("turn_id", "stage", name=op.f("pk_turn_stage")),
    )
    op.create_table(
        "turn_pair",
        sa.Column("turn_id", BIG_KEY, nullable=False),
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_turn_pair_comparison_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_turn_pair_turn_id")),
        sa.PrimaryKeyConstraint("turn_id", "comparison_id", name=op.f("pk_turn_pair")),
    )
    op.create_index(op.f("ix_turn_pair_comparison_id"), "turn_pair", ["comparison_id"], unique=False)


def create_rounds() -> None:
    op.create_table(
        "blind_round",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("one", sa.String(length=200), nullable=False),
        sa.Column("other", sa.String(length=200), nullable=False),
        sa.Column("turn_id", BIG_KEY, nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_blind_round_project_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_blind_round_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blind_round")),
    )
    op.create_index(op.f("ix_blind_round_project_id"), "blind_round", ["project_id"], unique=False)
    op.create_table(
        "blind_pair",
        sa.Column("round_id", BIG_KEY, nullable=False),
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_blind_pair_comparison_id")),
        sa.ForeignKeyConstraint(["round_id"], ["blind_round.id"], name=op.f("fk_blind_pair_round_id")),
        sa.PrimaryKeyConstraint("round_id", "comparison_id", name=op.f("pk_blind_pair")),
    )
    op.create_index(op.f("ix_blind_pair_comparison_id"), "blind_pair", ["comparison_id"], unique=False)
    op.create_table(
        "run_note",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("run_dir", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_run_note_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_note")),
        sa.UniqueConstraint("run_dir", name=op.f("uq_run_note_run_dir")),
    )
