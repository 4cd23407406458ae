"""What a project has under an id: an import is told what is there already, and what is not the same."""

from __future__ import annotations

from annotate_app.access import Actor, MissingError
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, content_id, message_lists

LOOKED_UP = 100
"""Ids that are looked up one by one, before all of a project's are read."""


def content_of(comparison: Comparison) -> str:
    """Hashes what two comparisons with one id must share: prompt, completions and sources."""
    turns = [message_lists(part) for part in (comparison.prompt, comparison.turns_a, comparison.turns_b)]
    answers = (comparison.completion_a, comparison.completion_b, comparison.source_a, comparison.source_b)
    further = [[one.text, one.source, message_lists(one.turns)] for one in comparison.further]
    return content_id(turns, *answers, *further)


class KnownContents:
    """What the project has under an id, as `content_of` says it: few are looked up, for many all are read at once."""

    def __init__(self, store: Store, actor: Actor, project_id: int) -> None:
        self._store, self._actor, self._project_id = store, actor, project_id
        self._looked_up: dict[str, str | None] = {}
        self._all: dict[str, str] | None = None
        store.comparisons.count(actor, project_id)  # who may not look learns that before a row is read

    def get(self, key: str, otherwise: str) -> str:
        """The content under an id, `otherwise` where there is none."""
        if self._all is None and len(self._looked_up) >= LOOKED_UP:
            every = self._store.comparisons.iterate(self._actor, self._project_id, excluded=True)
            self._all = {comparison.id: content_of(comparison) for comparison in every}
        if self._all is not None:
            return self._all.get(key, otherwise)
        if key not in self._looked_up:
            try:
                found = self._store.comparisons.get(self._actor, self._project_id, key)
            except MissingError:
                self._looked_up[key] = None
            else:
                self._looked_up[key] = content_of(found)
        return self._looked_up[key] or otherwise
