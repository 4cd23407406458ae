"""The desk and the doors: readings, questions, images, tags, views, API tokens, webhooks, crowd links."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("comparison", sa.Column("excluded", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("comparison", sa.Column("length", sa.Integer(), server_default="0", nullable=False))
    op.execute(
        "UPDATE comparison SET length = (SELECT SUM(LENGTH(response.text)) FROM response "
        "WHERE response.id IN (comparison.response_a, comparison.response_b)) "
        "* CASE WHEN response_a = response_b THEN 2 ELSE 1 END"
    )
    index_views()
    op.add_column("adjudication", sa.Column("pair", sa.String(length=8), server_default="", nullable=False))
    op.add_column("judgment", sa.Column("ranking", sa.JSON(), nullable=True))
    op.add_column("judgment", sa.Column("spans", sa.JSON(), nullable=True))
    op.add_column("judgment", sa.Column("edited", sa.JSON(), nullable=True))
    op.add_column("membership", sa.Column("hourly_rate", sa.Float(), nullable=True))
    op.add_column("user_account", sa.Column("fields", sa.JSON(), nullable=True))
    op.add_column("user_account", sa.Column("language", sa.String(length=16), server_default="", nullable=False))
    create_readings()
    create_questions()
    create_comparison_tables()
    create_images()
    create_tokens()
    create_webhooks()
    create_crowd()


def index_views() -> None:
    """Indexes by which the page of comparisons filters and sorts."""
    excluded = sa.text("excluded")
    op.create_index(
        "ix_comparison_excluded",
        "comparison",
        ["project_id", "id"],
        unique=False,
        sqlite_where=excluded,
        postgresql_where=excluded,
    )
    op.create_index("ix_response_source", "response", ["source", "id"], unique=False)
    op.drop_index("ix_judgment_newest", table_name="judgment")
    columns = ["project_id", "newest", "comparison_id", "kind", "choice", "user_id", "created_at", "seconds"]
    op.create_index("ix_judgment_newest", "judgment", columns, unique=False)


def create_readings() -> None:
    op.create_table(
        "guideline_reading",
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("user_id", BIG_KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_guideline_reading_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_guideline_reading_user_id")),
        sa.PrimaryKeyConstraint("project_id", "user_id", "version", name=op.f("pk_guideline_reading")),
    )
    op.create_index(op.f("ix_guideline_reading_user_id"), "guideline_reading", ["user_id"], unique=False)


def create_questions() -> None:
    op.create_table(
        "question",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("user_id", BIG_KEY, nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
        sa.Column("answered_by", BIG_KEY, nullable=True),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["answered_by"], ["user_account.id"], name=op.f("fk_question_answered_by")),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_question_comparison_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_question_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_question_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_question")),
        sa.UniqueConstraint("event_id", name=op.f("uq_question_event_id")),
    )
    op.create_index(op.f("ix_question_comparison_id"), "question", ["comparison_id"], unique=False)
    op.create_index("ix_question_waiting", "question", ["project_id", "answered_at", "id"], unique=False)


def create_comparison_tables() -> None:
    """What stands beside comparisons: further responses, tags, views of them."""
    op.create_table(
        "further_response",
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("response_id", BIG_KEY, nullable=False),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_further_response_comparison_id")),
        sa.ForeignKeyConstraint(["response_id"], ["response.id"], name=op.f("fk_further_response_response_id")),
        sa.PrimaryKeyConstraint("comparison_id", "position", name=op.f("pk_further_response")),
    )
    op.create_index(op.f("ix_further_response_response_id"), "further_response", ["response_id"], unique=False)
    op.create_table(
        "comparison_tag",
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("comparison_id", BIG_KEY, nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_comparison_tag_comparison_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_comparison_tag_project_id")),
        sa.PrimaryKeyConstraint("comparison_id", "tag", name=op.f("pk_comparison_tag")),
    )
    op.create_index("ix_comparison_tag_project", "comparison_tag", ["project_id", "tag", "comparison_id"], unique=False)
    op.create_table(
        "saved_view",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("filter", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_saved_view_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_saved_view_project_id_name")),
    )


def create_images() -> None:
    op.create_table(
        "image",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_image_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("project_id", "content_hash", name=op.f("uq_image_project_id_content_hash")),
    )


def create_tokens() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("user_id", BIG_KEY, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_api_token_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_api_token_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
    )
    op.create_index(op.f("ix_api_token_user_id"), "api_token", ["user_id"], unique=False)


def create_webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("last_judgment", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_webhook_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index(op.f("ix_webhook_project_id"), "webhook", ["project_id"], unique=False)
    op.create_table(
        "webhook_delivery",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("webhook_id", BIG_KEY, nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_delivery_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint(
            "webhook_id", "event", "subject", name=op.f("uq_webhook_delivery_webhook_id_event_subject")
        ),
    )
    op.create_index("ix_webhook_delivery_waiting", "webhook_delivery", ["state", "webhook_id", "id"], unique=False)
    op.create_index(op.f("ix_webhook_delivery_webhook_id"), "webhook_delivery", ["webhook_id"], unique=False)


def create_crowd() -> None:
    op.create_table(
        "crowd_link",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("project_id", BIG_KEY, nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("id_parameter", sa.String(length=64), nullable=False),
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("quota", sa.Integer(), nullable=False),
        sa.Column("completion_code", sa.String(length=64), nullable=False),
        sa.Column("screen_out_code", sa.String(length=64), nullable=False),
        sa.Column("over_quota_code", sa.String(length=64), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("dropout_minutes", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_crowd_link_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crowd_link")),
        sa.UniqueConstraint("token", name=op.f("uq_crowd_link_token")),
    )
    op.create_index(op.f("ix_crowd_link_project_id"), "crowd_link", ["project_id"], unique=False)
    op.create_table(
        "crowd_visit",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("link_id", BIG_KEY, nullable=False),
        sa.Column("user_id", BIG_KEY, nullable=True),
        sa.Column("platform_id", sa.String(length=120), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["link_id"], ["crowd_link.id"], name=op.f("fk_crowd_visit_link_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_crowd_visit_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crowd_visit")),
        sa.UniqueConstraint("link_id", "platform_id", name=op.f("uq_crowd_visit_link_id_platform_id")),
    )
    op.create_index(op.f("ix_crowd_visit_user_id"), "crowd_visit", ["user_id"], unique=False)
