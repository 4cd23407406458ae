"""The store: one facade over its parts, each with its own statements and checks of rights."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from annotate_app.store.base.audit import Audit
from annotate_app.store.base.connection_url import shown_url, without_secrets
from annotate_app.store.base.database import Database, database_url
from annotate_app.store.base.migrate import upgrade
from annotate_app.store.base.notices import Notices
from annotate_app.store.base.pending import take_back_stale
from annotate_app.store.judgments.judgments import Judgments
from annotate_app.store.people.people import People
from annotate_app.store.projects.browsing import Browsing
from annotate_app.store.projects.comparisons import Comparisons
from annotate_app.store.projects.projects import Projects

if TYPE_CHECKING:
    from annotate_app.store.jobs import Jobs, Refreshes
    from annotate_app.store.loop.judges import Judges
    from annotate_app.store.loop.rounds import Rounds
    from annotate_app.store.loop.run_notes import RunNotes
    from annotate_app.store.loop.turn_votes import TurnVotes
    from annotate_app.store.loop.turns import Turns
    from annotate_app.store.work.questions import Questions
    from annotate_app.store.work.readings import Readings
    from annotate_app.store.work.work import Work


class Store:
    """All that is kept: projects, comparisons, work in progress, judgments, people, jobs, notices and the audit log.

    Every function takes the `Actor` that asks and raises AccessError where the role or the membership is missing.
    Safe to share between threads.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.projects = Projects(database)
        self.comparisons = Comparisons(database)
        self.browsing = Browsing(database)
        self.judgments = Judgments(database)
        self.people = People(database)
        self.audit = Audit(database)
        self.notices = Notices(database)

    @classmethod
    def open(cls, url: str | None = None, *, migrate: bool = True) -> Store:
        """Opens a database and brings its schema up to date.

        Args:
            url: `sqlite:///path` (relative to the working directory) or `postgresql://...`; None takes
                TIEBREAK_DB, else the default file.
            migrate: False where another process of the same version has already done it.

        Raises:
            ValueError: if there is no such database, or it cannot be reached.
        """
        url = database_url(url)
        database = Database(url)
        try:
            if migrate:
                upgrade(database)
                take_back_stale(database)
        except (DBAPIError, sqlite3.DatabaseError) as error:
            database.close()
            address = database.engine.url
            reason = without_secrets(str(getattr(error, "orig", error)).splitlines()[0], address)
            raise ValueError(f"database {shown_url(address)} cannot be opened: {reason}") from error
        except ValueError as error:
            database.close()
            raise ValueError(f"{shown_url(database.engine.url)}: {error}") from error
        except BaseException:
            database.close()
            raise
        return cls(database)

    @cached_property
    def work(self) -> Work:
        """Handing out pairs and taking judgments in."""
        from annotate_app.store.work.work import Work

        return Work(self.database)

    @cached_property
    def questions(self) -> Questions:
        """Questions to the lead, and answers."""
        from annotate_app.store.work.questions import Questions

        return Questions(self.database)

    @cached_property
    def readings(self) -> Readings:
        """Who has read which version of the guidelines."""
        from annotate_app.store.work.readings import Readings

        return Readings(self.database)

    @cached_property
    def jobs(self) -> Jobs:
        """Commands that run as processes of their own."""
        from annotate_app.store.jobs import Jobs

        return Jobs(self.database)

    @cached_property
    def judges(self) -> Judges:
        """Judges that are no people, and their votes."""
        from annotate_app.store.loop.judges import Judges

        return Judges(self.database)

    @cached_property
    def refreshes(self) -> Refreshes:
        """Which projects want new priorities from a model."""
        from annotate_app.store.jobs import Refreshes

        return Refreshes(self.database)

    @cached_property
    def run_notes(self) -> RunNotes:
        """Names, notes and tags of runs."""
        from annotate_app.store.loop.run_notes import RunNotes

        return RunNotes(self.database)

    @cached_property
    def turns(self) -> Turns:
        """Times round the loop."""
        from annotate_app.store.loop.turns import Turns

        return Turns(self.database)

    @cached_property
    def turn_votes(self) -> TurnVotes:
        """Counts of votes by turn and by blind round."""
        from annotate_app.store.loop.turn_votes import TurnVotes

        return TurnVotes(self.database)

    @cached_property
    def rounds(self) -> Rounds:
        """Blind rounds of two sources."""
        from annotate_app.store.loop.rounds import Rounds

        return Rounds(self.database)

    def together(self) -> AbstractContextManager[None]:
        """Makes all that this thread does in a block one transaction, all or nothing; see `Database.together`."""
        return self.database.together()

    def backup(self, path: str | Path) -> Path:
        """Writes everything to one new file while others go on working; see `backup.write_backup`."""
        from annotate_app.store.backup import write_backup

        return write_backup(self.database, Path(path))

    @classmethod
    def restore(cls, path: str | Path, url: str | None = None, *, force: bool = False) -> Store:
        """A store with the content of a backup; see `backup.read_backup`."""
        from annotate_app.store.backup import read_backup

        store = cls.open(url)
        try:
            read_backup(store.database, Path(path), force=force)
        except BaseException:
            store.close()
            raise
        return store

    def check(self) -> list[str]:
        """Lists problems in the data, empty if it is sound; see `integrity.find_problems`."""
        from annotate_app.store.integrity import find_problems

        return find_problems(self.database)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
