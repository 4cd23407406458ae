"""Names that stand for annotators outside: the same at every export, different in every project."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from annotate_app.access import Actor
from annotate_app.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Pseudonyms of one project: a keyed hash, so that nobody can try names without the project's key."""

    key: bytes

    @classmethod
    def of(cls, store: Store, actor: Actor, project_id: int) -> Pseudonyms:
        """Those of a project, made with the key that the database keeps for it. Adjudicator or above."""
        return cls(key=store.projects.pseudonym_key(actor, project_id))

    def of_name(self, name: str) -> str:
        """The pseudonym of an annotator, for example `annotator-3f09ac81d2`."""
        return f"annotator-{hmac.new(self.key, name.encode(), 'sha256').hexdigest()[:10]}"
