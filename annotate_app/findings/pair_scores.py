"""A reward model's scores of all pairs of its project, made once by a job and read by whoever compares.

scores/pairs.npz    in the run directory: one row a pair, grown when pairs have come since; whole or not at all

Every pair says whether its prompt was learned from, so that figures can rest on the others alone. Prompts of the
validation rows, which stopped and calibrated the training, do not count as held out; nor do those of a run that it
began from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.jobs.jobs import report_progress
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun, find_run
from rewardkit.data.conversations import RowError
from rewardkit.data.records import Comparison
from rewardkit.evaluation.scored_preferences import Completion, score_completions
from rewardkit.reward.learned_from import learned_prompts, prompt_hash
from rewardkit.reward.load import load_reward_fn, template_check
from rewardkit.reward.metadata import CARD_FILE, read_card
from rewardkit.reward.reward import RewardFn
from rewardkit.stats.calibration import apply

logger = logging.getLogger(__name__)
KIND = "score"
FILE = "scores/pairs.npz"
WINDOW = 256  # pairs scored together; a completion that is in several of them is scored once
SAVE_S = 20.0
Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PairScores:
    """N pairs of a project and what the K members of a reward model say of them.

    Attributes:
        keys: (N,) ids of the comparisons.
        prompt: (N,) 16 hexadecimal digits, the same for the same prompt; letters' case and white space do not count.
        learned: (N,) bool, whether training or validation rows have the prompt.
        margins: (K, N) reward of a minus that of b by each member.
        rewards: (2, N) of a and of b, mean over members.
        card: hash of the model's card.
        num_unreadable: pairs that the model cannot read.
    """

    keys: tuple[str, ...] = ()
    prompt: np.ndarray
    learned: np.ndarray
    margins: np.ndarray
    rewards: np.ndarray
    card: str
    num_unreadable: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, places: np.ndarray) -> PairScores:
        """Some of the pairs, by their numbers."""
        return replace(
            self,
            keys=tuple(self.keys[place] for place in places.tolist()),
            prompt=self.prompt[places],
            learned=self.learned[places],
            margins=self.margins[:, places],
            rewards=self.rewards[:, places],
        )


def member_probabilities(run: ModelRun, scores: PairScores) -> np.ndarray:
    """(K, N) calibrated probability that a is better, by each member; their mean is what the model says."""
    return apply(read_card(run.model).calibration, scores.margins)


def read_scores(run: ModelRun) -> PairScores | None:
    """The scores of a run; None where there are none, or they are of another model than lies there now."""
    path = run.folder / FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            scores = PairScores(
                keys=tuple(json.loads(arrays["keys"].tobytes())),
                prompt=arrays["prompt"],
                learned=arrays["learned"],
                margins=arrays["margins"].astype(np.float64),
                rewards=arrays["rewards"].astype(np.float64),
                card=str(arrays["card"]),
                num_unreadable=int(arrays["num_unreadable"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return scores if scores.card == _card_hash(run) else None


def start(store: Store, actor: Actor, project_id: int, runs: Sequence[ModelRun]) -> Job:
    """Queues the scoring of a project's pairs by reward models. Lead or above.

    Raises:
        ValueError: if a run has no reward model, or a scoring waits or runs in the project.
    """
    for run in runs:
        _check(run)
    project = store.projects.get(actor, project_id)
    numbers = [str(run.number) for run in runs]
    return jobs.start(
        store,
        actor,
        kind=KIND,
        title=f"Scores of the project's pairs by run {', '.join(numbers)}",
        command=["annotate_app", "runs", "score", project.number, *numbers],
        project_id=project.id,
        alone=True,
    )


def score_pairs(store: Store, actor: Actor, project_id: int, number: int, *, tell: Tell = lambda _d, _t: None) -> int:
    """Scores the pairs of the project that a run has not scored yet; how many. Lead or above.

    Pairs whose answers are more than texts, or that the model's template refuses, are left out and counted.

    Raises:
        ValueError: if the run has no reward model, or it cannot be loaded.
    """
    run = find_run(store, actor, project_id, number)
    _check(run)
    known = read_scores(run)
    there = set(known.keys) if known else set()
    new = [one for one in store.comparisons.pairs(actor, project_id) if one.id not in there]
    check = template_check(str(run.model)) if new else None
    readable = [one for one in new if _is_readable(one, check)]
    card, learned = _card_hash(run), learned_prompts(run.model)
    scores = replace(known or _nothing(card), num_unreadable=len(new) - len(readable))
    if not readable:
        write_scores(run, scores)
        return 0
    reward_fn, saved_at = load_reward_fn(str(run.model)), time.monotonic()
    for start_at in range(0, len(readable), WINDOW):
        window = readable[start_at : start_at + WINDOW]
        scores = _joined(scores, _score(window, reward_fn, learned, card))
        done = start_at + len(window)
        tell(done, len(readable))
        report_progress(done, len(readable), f"pairs by run {run.number}")
        if time.monotonic() - saved_at > SAVE_S or done == len(readable):
            write_scores(run, scores)
            saved_at = time.monotonic()
    return len(readable)


def write_scores(run: ModelRun, scores: PairScores) -> None:
    """Writes the file of a run, whole or not at all."""
    path = run.folder / FILE
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name("pairs.draft.npz")
    np.savez(
        draft,
        keys=np.frombuffer(json.dumps(scores.keys).encode(), dtype=np.uint8),
        prompt=scores.prompt,
        learned=scores.learned,
        margins=scores.margins.astype(np.float32),
        rewards=scores.rewards.astype(np.float32),
        card=np.array(scores.card),
        num_unreadable=np.array(scores.num_unreadable),
    )
    draft.replace(path)


def _check(run: ModelRun) -> None:
    if not run.is_scorer:
        raise ValueError(f"run {run.number} has no reward model: it is a {run.trains} run, {run.job.state}")


def _card_hash(run: ModelRun) -> str:
    try:
        return hashlib.sha256((run.model / CARD_FILE).read_bytes()).hexdigest()[:32]
    except OSError:
        return ""


def _is_readable(comparison: Comparison, check: Callable | None) -> bool:
    if comparison.turns_a or comparison.turns_b:
        return False
    try:
        if check is not None:
            check(comparison.prompt, (comparison.completion_a, comparison.completion_b))
    except RowError:
        return False
    return True


def _score(window: Sequence[Comparison], reward_fn: RewardFn, learned: set[str], card: str) -> PairScores:
    numbers: dict[Completion, int] = {}
    for one in window:
        for text in (one.completion_a, one.completion_b):
            numbers.setdefault((one.prompt, text), len(numbers))
    members = score_completions(list(numbers), reward_fn)
    a, b = (
        members[:, [numbers[one.prompt, getattr(one, side)] for one in window]]
        for side in ("completion_a", "completion_b")
    )
    prompts = [prompt_hash(one.prompt) for one in window]
    return PairScores(
        keys=tuple(one.id for one in window),
        prompt=np.array(prompts, dtype="U16"),
        learned=np.array([prompt in learned for prompt in prompts], dtype=bool),
        margins=a - b,
        rewards=np.stack([a.mean(0), b.mean(0)]),
        card=card,
    )


def _nothing(card: str) -> PairScores:
    return PairScores(
        prompt=np.empty(0, dtype="U16"),
        learned=np.empty(0, dtype=bool),
        margins=np.empty((0, 0)),
        rewards=np.empty((2, 0)),
        card=card,
    )


def _joined(one: PairScores, other: PairScores) -> PairScores:
    if not len(one):
        return replace(other, num_unreadable=one.num_unreadable)
    return replace(
        one,
        keys=(*one.keys, *other.keys),
        prompt=np.concatenate((one.prompt, other.prompt)),
        learned=np.concatenate((one.learned, other.learned)),
        margins=np.concatenate((one.margins, other.margins), axis=1),
        rewards=np.concatenate((one.rewards, other.rewards), axis=1),
    )
