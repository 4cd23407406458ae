"""Run by Alembic: applies revisions on the connection that `migrate.upgrade` hands over, in its transaction."""

from alembic import context

from annotate_app.store.schema.whole_schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
