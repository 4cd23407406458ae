"""Imports in many short transactions: what one has written is not shown while it has a row here."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pending_import",
        sa.Column("id", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_pending_import_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_import")),
    )
    # Plain statements: a batch would copy the whole table on SQLite, where a new column at the end costs nothing.
    kind = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    for table in ("comparison", "judgment"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN import_id {kind}")
