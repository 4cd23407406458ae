"""Times of judgments that were imported in milliseconds or finer become seconds; what is no time at all becomes 0.

Such times were taken as seconds, so that no page could draw their project.
"""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LAST_TIME = 4_102_444_800.0  # 1 January 2100
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def upgrade() -> None:
    connection = op.get_bind()
    bad = "created_at >= :last OR created_at < 0"
    scaled = " ".join(f"WHEN created_at >= {least} THEN created_at / {size}" for least, size in UNITS)
    rows = connection.execute(
        sa.text(f"UPDATE judgment SET created_at = CASE {scaled} ELSE 0 END WHERE {bad}"), {"last": LAST_TIME}
    ).rowcount
    if not rows:
        return
    connection.execute(sa.text(f"UPDATE judgment SET created_at = 0 WHERE {bad}"), {"last": LAST_TIME})
    statement = (
        "INSERT INTO audit (at, actor, action, project_id, subject, detail) "
        "VALUES (:at, 'upgrade', 'times repaired', NULL, '', :detail)"
    )
    connection.execute(sa.text(statement), {"at": time.time(), "detail": json.dumps({"num_judgments": rows})})
