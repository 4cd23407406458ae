"""What a stage still waits for: judgments of people on its pairs."""

from __future__ import annotations

from dataclasses import dataclass

from annotate_app.access import Actor
from annotate_app.store.loop.turns import StageRecord, Turn
from annotate_app.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Judgments of people that a stage has, and still wants."""

    num_judged: int = 0
    num_wanted: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.num_judged + self.num_wanted

    @property
    def share(self) -> float:
        """How far it is, 0 to 1."""
        return self.num_judged / self.total if self.total else 0.0


def count_waiting(store: Store, actor: Actor, turn: Turn, record: StageRecord) -> Waiting:
    """Counts what people have judged of a stage's pairs: the turn's own of judge, those of its rounds of check."""
    if record.stage == "judge":
        pairs = store.turns.pairs(actor, turn.id)
        return Waiting(
            num_judged=sum(pair.num_judged for pair in pairs), num_wanted=sum(pair.num_wanted for pair in pairs)
        )
    counts = [store.rounds.progress(actor, number) for number in set(record.result.get("rounds", {}).values())]
    return Waiting(num_judged=sum(judged for judged, _ in counts), num_wanted=sum(wanted for _, wanted in counts))


def waiting_keys(store: Store, actor: Actor, turn: Turn, record: StageRecord) -> set[str]:
    """Ids of the comparisons that a stage puts before people."""
    if record.stage == "judge":
        return {pair.key for pair in store.turns.pairs(actor, turn.id)}
    rounds = set(record.result.get("rounds", {}).values())
    return {key for number in rounds for key in store.rounds.keys(actor, number)}
