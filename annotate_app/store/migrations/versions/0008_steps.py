"""Answers in steps: the steps of each, and a judgment's label of each step."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "answer_steps",
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_answer_steps_comparison_id")),
        sa.PrimaryKeyConstraint("comparison_id", name=op.f("pk_answer_steps")),
    )
    op.add_column("judgment", sa.Column("step_labels", sa.JSON(), nullable=True))
