"""Which way criteria point, beside their JSON: filters of comparisons by criterion read it from an index."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000
READ = sa.text(
    "SELECT id, CAST(criteria AS TEXT) FROM judgment WHERE id > :after AND CAST(criteria AS TEXT) <> '{}' "
    "ORDER BY id LIMIT :rows"
)
WRITE = sa.text("UPDATE judgment SET directions = :directions WHERE id = :id")


def upgrade() -> None:
    op.execute("ALTER TABLE judgment ADD COLUMN directions TEXT DEFAULT '' NOT NULL")
    op.drop_index("ix_judgment_newest", table_name="judgment")
    fill()
    columns = ["project_id", "newest", "comparison_id", "kind", "choice", "user_id", "created_at", "seconds"]
    op.create_index("ix_judgment_newest", "judgment", [*columns, "directions"], unique=False)


def fill() -> None:
    connection, after = op.get_bind(), 0
    while rows := connection.execute(READ, {"after": after, "rows": ROWS_AT_ONCE}).all():
        connection.execute(WRITE, [{"id": row[0], "directions": directions(json.loads(row[1]))} for row in rows])
        after = rows[-1][0]


def directions(criteria: dict[str, int | list[int]]) -> str:
    """As `annotate_app.store.base.answers.directions` of this revision."""
    marks = []
    for name, value in criteria.items():
        degree = value[1] - value[0] if isinstance(value, list) else value
        marks.append(f";{json.dumps(name, ensure_ascii=False)}{'<=>'[(degree > 0) - (degree < 0) + 1]}")
    return "".join(marks)
