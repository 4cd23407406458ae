"""Where a policy comes from: reward model, pairs and votes that taught it, the policy that wrote them, to turn 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from annotate_app.access import Actor
from annotate_app.store.loop.turns import Turn
from annotate_app.store.store import Store
from annotate_app.trainings.runs import list_runs
from annotate_app.turns.chain import ancestors, first_policy, model_before, policy_before, policy_of
from annotate_app.turns.policies import PolicyRef, find_policy


@dataclass(frozen=True, kw_only=True)
class LineageStep:
    """One turn back: what the policy was made from.

    Attributes:
        policy: what the turn left; `from_policy` is what it wrote with and began from.
        align_run, learn_run: numbers of the trainings; None where they were done elsewhere or not at all.
        reward_model: folder of what the turn learned, or went on with; empty for none.
        pairs: by the rule that chose them, their number.
        people_votes, judge_votes: by name, the judgments on these pairs.
        rounds: by what the policy was held against, the number of the blind round.
    """

    turn: int
    policy: PolicyRef
    from_policy: PolicyRef
    align_run: int | None
    learn_run: int | None
    reward_model: str
    pairs: Mapping[str, int]
    people_votes: Mapping[str, int]
    judge_votes: Mapping[str, int]
    rounds: Mapping[str, int] = field(default_factory=dict)

    def sentence(self) -> str:
        """What it says, in words."""
        pairs = ", ".join(f"{count:,} {rule}" for rule, count in self.pairs.items()) or "no pairs"
        votes = f"{sum(self.people_votes.values()):,} judgments of {len(self.people_votes)} people"
        if self.judge_votes:
            votes += f" and {sum(self.judge_votes.values()):,} of judges ({', '.join(self.judge_votes)})"
        model = f"run-{self.learn_run}" if self.learn_run is not None else self.reward_model or "no reward model"
        how = f"run {self.align_run}" if self.align_run is not None else "by hand, or not at all"
        return (
            f"{self.policy.name} (turn {self.turn}, {how}) <- {model} <- {votes} <- {pairs} "
            f"written by {self.from_policy.name}"
        )


def read_lineage(
    store: Store, actor: Actor, project_id: int, *, policy: str = "", turn: int | None = None
) -> list[LineageStep]:
    """The way back from a policy to turn 0, the newest turn first. Lead or above.

    A run that no turn left is followed through what it was trained from, to a policy that one did.

    Args:
        policy: as `annotate_app.turns.policies.find_policy` reads it; empty takes that of the turn.
        turn: its number; None takes the newest.

    Raises:
        ValueError: if there are no turns, or none that the policy comes from.
    """
    turns = store.turns.list(actor, project_id)
    if not turns:
        raise ValueError("the project has no turns, so no policy comes from one")
    if policy:
        last = _turn_of(store, actor, project_id, turns, find_policy(store, actor, project_id, policy))
    else:
        last = turns[-1] if turn is None else store.turns.get(actor, project_id, turn)
    if last is None:  # turn 0's own policy comes from no turn
        return []
    votes = store.turn_votes
    counts = [count(actor, project_id) for count in (votes.num_by_rule, votes.people, votes.judges)]
    return [
        _step(turns, one, *(count.get(one.number, {}) for count in counts))
        for one in ancestors(turns, last)
        if first_policy(turns, one) is not None
    ]


def _step(
    turns: Sequence[Turn],
    turn: Turn,
    pairs: Mapping[str, int],
    people_votes: Mapping[str, int],
    judge_votes: Mapping[str, int],
) -> LineageStep:
    policy, before = policy_of(turns, turn), policy_before(turns, turn)
    assert policy is not None
    assert before is not None
    return LineageStep(
        turn=turn.number,
        policy=policy,
        from_policy=before,
        align_run=turn.stage("align").result.get("run"),
        learn_run=turn.stage("learn").result.get("run"),
        reward_model=str(turn.stage("learn").result.get("model") or model_before(turns, turn)),
        pairs=pairs,
        people_votes=people_votes,
        judge_votes=judge_votes,
        rounds=dict(turn.stage("check").result.get("rounds", {})),
    )


def _turn_of(store: Store, actor: Actor, project_id: int, turns: Sequence[Turn], policy: PolicyRef) -> Turn | None:
    """The turn that a policy comes from, itself or by what it was trained from; None for turn 0's."""
    began_from = {str(run.model): str(run.option("model") or "") for run in list_runs(store, actor, project_id)}
    model, seen = policy.model, set()
    while model and model not in seen:
        seen.add(model)
        for turn in reversed(turns):
            left = turn.stage("align").result.get("policy")
            if left and left["model"] == model:
                return turn
        if any((first := first_policy(turns, turn)) is not None and first.model == model for turn in turns):
            return None
        model = began_from.get(model, "")
    raise ValueError(f"{policy.name} comes from no turn of this project")
