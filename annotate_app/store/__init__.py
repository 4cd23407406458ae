"""The store: the only SQL of the house, on SQLite and PostgreSQL alike, speaking in `rewardkit.data.records` types."""
