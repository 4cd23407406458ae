"""Every project gets a key of its own for pseudonyms, instead of one derived from the secret that signs cookies."""

import hashlib

import sqlalchemy as sa
from alembic import op

from annotate_app.installation import cookie_secret

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    keys = op.create_table(
        "pseudonym_key",
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_pseudonym_key_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_pseudonym_key")),
    )
    assert keys is not None
    connection = op.get_bind()
    projects = connection.execute(sa.text("SELECT id, created_at FROM project")).all()
    if not projects:
        return
    # The keys that were derived so far: what was exported before stays comparable with what comes after.
    secret = cookie_secret(connection.engine.url.render_as_string(hide_password=False))
    for project_id, created_at in projects:
        key = hashlib.sha256(f"pseudonyms\n{project_id}\n{created_at}\n{secret}".encode()).hexdigest()
        connection.execute(sa.insert(keys).values(project_id=project_id, key=key))
