"""Tables, the database, rights, the audit log and the slots of wanted judgments."""
