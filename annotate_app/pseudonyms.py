"""Names that stand for annotators outside: the same at every export, different in every project."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from annotate_app.installation import cookie_secret
from annotate_app.store.projects import Project
from annotate_app.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Pseudonyms of one project: a keyed hash, so that nobody can try names without the installation's secret."""

    key: bytes

    @classmethod
    def of(cls, store: Store, project: Project) -> Pseudonyms:
        """Those of a project, made with the secret that the installation keeps beside its database."""
        secret = cookie_secret(store.database.url)
        return cls(key=hashlib.sha256(f"pseudonyms\n{project.id}\n{project.created_at}\n{secret}".encode()).digest())

    def of_name(self, name: str) -> str:
        """The pseudonym of an annotator, for example `annotator-3f09ac81d2`."""
        return f"annotator-{hmac.new(self.key, name.encode(), 'sha256').hexdigest()[:10]}"
