"""One world of the experiment: its SFT policy, and every arm's turns, each a part that is done once.

seed-0/world/                    messages and demonstrations; start/ and sft/, the policies
seed-0/turns/turn-1/             part.json: its figures, labels and held-out replies; policy/
seed-0/base.json                 what the SFT policy is worth

A turn: the present policy writes candidates for messages that nobody has seen; pairs are chosen and labelled; the
reward model is fitted to all labels so far; the policy learns by DPO from the best and the worst candidate of each
message by that reward, with itself before the turn as the reference. Gold is only looked at afterwards, on held-out
messages.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from alignment.config.lab import LoopLabConfig
from alignment.config.training import DpoConfig, SftConfig
from alignment.generation.completion_sampler import Sampler
from alignment.lab.gold_evaluation import Replies, Worth, draw_replies, load_sampler, worth_of_texts
from alignment.loop_lab.arms import (
    PEOPLE,
    TURNS,
    Arm,
    Candidates,
    Label,
    agreement,
    choose_pairs,
    judge_of,
    label_pairs,
    vote,
)
from alignment.loop_lab.text_reward import JointFeatures, TextReward, fit_reward
from alignment.loop_lab.turn_figures import Base, TurnRow, row_from
from alignment.offline.dpo import train_dpo
from alignment.offline.sft import train_sft
from alignment.policy.data import DEMONSTRATIONS, load_data
from alignment.simulated_world import NUM_HELD_OUT, WorldFiles, write_start, write_world
from rewardkit.data.conversations import read_messages
from rewardkit.data.export_formats import turns as message_rows
from rewardkit.data.files import write_rows
from rewardkit.data.records import Message
from rewardkit.data.training_data import PREFERENCES
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.run.directory import Run, read_status, write_text
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, RunContext
from rewardkit.simulation.support_desk_world import World, WorldPrompt, read_traits
from rewardkit.stats.metrics import average_interval
from rewardkit.stats.uncertainty import mutual_information, sigmoid

NUM_NUMBERS = 8  # amounts, and order numbers
NUM_DEMONSTRATIONS = 4000
SFT_STEPS, SFT_RATE, SFT_SHARE, BATCH = 600, 3e-3, 0.02, 16
NUM_FITTED = 1000  # demonstrations that directions of texts are fitted on
NUM_JUDGED = 120  # of the world's held-out messages, on which policies are judged
NUM_WATCHED = 4  # pairs of a turn that DPO does not train on
NUM_SAMPLES = 2  # replies of a policy to a held-out message
BLIND = 17  # what a generator is for


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a turn leaves behind.

    Attributes:
        row: its figures.
        labels: bought in it.
        policy: folder of the policy that came of it.
        held_out: that policy's replies to the held-out messages.
    """

    row: TurnRow
    labels: Sequence[Label]
    policy: Path
    held_out: Sequence[Sequence[str]]


class SeedLab:
    """A world, what stands in its folder, and the turns of every arm in it."""

    def __init__(self, config: LoopLabConfig, seed: int, folder: Path, interruption: Interruption) -> None:
        self.config, self.seed, self.folder, self.interruption = config, seed, folder, interruption
        num_fresh = NUM_HELD_OUT + 2 * config.turns * config.prompts  # a few are the same as others
        self.world = World(seed=seed, num_prompts=NUM_DEMONSTRATIONS + num_fresh, num_numbers=NUM_NUMBERS)
        self.files = WorldFiles(folder=folder / "world")

    @cached_property
    def _fresh(self) -> list[WorldPrompt]:
        """Messages that are not among the demonstrations, each once; held-out ones, then those of the turns."""
        prompts = list(self.world.prompts())
        seen = {prompt.prompt for prompt in prompts[:NUM_DEMONSTRATIONS]}
        fresh = {prompt.prompt: prompt for prompt in prompts[NUM_DEMONSTRATIONS:] if prompt.prompt not in seen}
        return list(fresh.values())[: NUM_JUDGED + self.config.turns * self.config.prompts]

    @property
    def held_out(self) -> list[tuple[Message, ...]]:
        """Messages that nothing learns from."""
        return [prompt.prompt for prompt in self._fresh[:NUM_JUDGED]]

    def prompts(self, turn: int) -> list[tuple[Message, ...]]:
        """Messages of a turn, the first is 1."""
        first = NUM_JUDGED + (turn - 1) * self.config.prompts
        return [prompt.prompt for prompt in self._fresh[first : first + self.config.prompts]]

    def begin(self) -> Base:
        """Writes the world, trains the SFT policy and says what it is worth, unless that is done."""
        noted = self.folder / "base.json"
        if noted.exists():
            return Base(**json.loads(noted.read_text(encoding="utf-8")))
        start = time.perf_counter()
        files = write_world(self.files.folder, seed=self.seed, num_train=NUM_DEMONSTRATIONS, num_numbers=NUM_NUMBERS)
        if not Path(files.sft, "config.yaml").exists():
            write_start(files, seed=self.seed)
        self._train(
            SftConfig(
                model=files.start,
                data=files.demonstrations,
                out=files.sft,
                resume=Path(files.sft, "config.yaml").exists(),
                epochs=-(-SFT_STEPS * BATCH // NUM_DEMONSTRATIONS) + 1,
                max_steps=SFT_STEPS,
                eval_every=SFT_STEPS,
                eval_share=SFT_SHARE,
                learning_rate=SFT_RATE,
                batch_size=BATCH,
                entropy_every=0,
                sample_every=0,
                seed=self.seed,
            )
        )
        worth = self._reference_replies.worth(None, None)
        shown = worth_of_texts(self.held_out, self._demonstrations, None)
        base = Base(
            seed=self.seed,
            gold=float(worth.gold.mean()),
            demonstrations=float(shown.gold.mean()),
            words=float(worth.words.mean()),
            traits=self._traits(_texts(self._reference_replies)),
            demonstrated=self._traits(self._demonstrations),
            seconds=time.perf_counter() - start,
        )
        write_text(noted, json.dumps(asdict(base), indent=1))
        return base

    def is_done(self, arm: Arm, turn: int) -> bool:
        """Whether a turn of an arm needs nothing done."""
        return (self._folder(arm, turn) / "part.json").exists()

    def take_turn(self, arm: Arm, turn: int) -> TurnRow:
        """Takes a turn of an arm, or reads it if it is done; those before it have to be.

        Raises:
            KeyboardInterrupt: if it is stopped; it begins again then.
        """
        if self.is_done(arm, turn):
            return self._read(arm, turn).row
        folder = self._folder(arm, turn)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if arm is not TURNS and arm.begins_like_turns(turn):
            part = self._read(TURNS, turn)
            part = replace(part, row=replace(part.row, arm=arm.name))
        else:
            part = self._new_part(arm, turn, folder)
        self._write(arm, part)
        return part.row

    def _new_part(self, arm: Arm, turn: int, folder: Path) -> Part:
        start = time.perf_counter()
        earlier = [self._read(arm, number) for number in arm.turns(self.config) if number < turn]
        policy = earlier[-1].policy if earlier else Path(self.files.sft)
        written = turn if earlier else 1  # the turn whose messages they answer: whoever begins, begins alike
        candidates = self._candidates(policy, written)
        before = self._reward(arm, earlier)
        labels = self._buy(arm, candidates, before, count=arm.num_labels(self.config, turn), turn=written)
        known = [label for part in earlier for label in part.labels] + labels
        if arm.direct:
            after = None
            rows = _labelled_rows(known)
        else:
            after = before if not arm.refreshed or not labels else None
            after = after or fit_reward(self._features, known, seed=self.seed)
            rows = _best_and_worst(candidates, after)
        self._align(policy, folder, list(rows), num_steps=self.config.steps * (turn if arm.direct else 1))
        replies = draw_replies(load_sampler(str(folder / "policy")), self.held_out, n=NUM_SAMPLES, seed=self.seed)
        shown = earlier[-1].held_out if earlier else _texts(self._reference_replies)
        row = TurnRow(
            seed=self.seed,
            arm=arm.name,
            turn=turn,
            labels=len(known),
            money=len(known) * arm.price(self.config),
            num_steps=self.config.steps * turn,
            agreement=agreement(labels),
            accuracy_before=self.accuracy(before, shown),
            accuracy=self.accuracy(after, shown),
            **self._worth(replies),
            seconds=time.perf_counter() - start,
        )
        return Part(row=row, labels=labels, policy=folder / "policy", held_out=_texts(replies))

    def accuracy(self, reward: TextReward | None, replies: Sequence[Sequence[str]]) -> float:
        """The share of pairs of replies to a held-out message, of unequal gold, that a reward model ranks as gold does.

        Args:
            replies: (P, 2).

        Returns:
            nan without a reward model.
        """
        if reward is None:
            return float("nan")
        gold = worth_of_texts(self.held_out, replies, None).gold
        given = np.stack([reward(self.held_out, [group[side] for group in replies]) for side in (0, 1)], axis=1)
        decided = gold[:, 0] != gold[:, 1]
        right = (given[:, 0] > given[:, 1]) == (gold[:, 0] > gold[:, 1])
        return float(right[decided].mean()) if decided.any() else float("nan")

    @cached_property
    def _features(self) -> JointFeatures:
        """Fitted on the demonstrations, the same for all arms."""
        shown = list(self.world.prompts())[:NUM_FITTED]
        texts = [reply.text for prompt in shown for reply in prompt.responses]
        return JointFeatures([prompt.prompt[-1].content for prompt in shown], texts, seed=self.seed)

    @cached_property
    def _reference(self) -> Sampler:
        return load_sampler(self.files.sft)

    @cached_property
    def _reference_replies(self) -> Replies:
        return draw_replies(self._reference, self.held_out, n=NUM_SAMPLES, seed=self.seed)

    @cached_property
    def _base_worth(self) -> Worth:
        return self._reference_replies.worth(None, None)

    @property
    def _demonstrations(self) -> list[list[str]]:
        """Two replies as good and bad as the demonstrations to each held-out message."""
        return [[reply.text for reply in prompt.responses] for prompt in self._fresh[:NUM_JUDGED]]

    def _candidates(self, policy: Path, turn: int) -> Candidates:
        """The replies of a policy to a turn's messages; those of the SFT policy are the same for all arms."""
        noted = self.folder / "candidates.json"
        shared = policy == Path(self.files.sft) and turn == 1
        prompts = self.prompts(turn)
        if shared and noted.exists():
            return Candidates(prompts=prompts, replies=json.loads(noted.read_text(encoding="utf-8")))
        drawn = draw_replies(load_sampler(str(policy)), prompts, n=self.config.n, seed=self.seed * 100 + turn)
        replies = _texts(drawn)
        if shared:
            write_text(noted, json.dumps(replies))
        return Candidates(prompts=prompts, replies=replies)

    def _buy(
        self, arm: Arm, candidates: Candidates, before: TextReward | None, *, count: int, turn: int
    ) -> list[Label]:
        if not count:
            return []
        information = None
        if arm.uncertain and before:
            pairs = candidates.pairs()
            prompts = [candidates.prompts[number] for number, _, _ in pairs]
            sides = [[candidates.replies[pair[0]][pair[side]] for pair in pairs] for side in (1, 2)]
            information = mutual_information(sigmoid(before.margins(prompts, *sides, seed=self.seed * 100 + turn)))
        chosen = choose_pairs(candidates, count, information=information, seed=self.seed, turn=turn)
        voter = PEOPLE if arm.voter == "people" else judge_of(self.config)
        return label_pairs(candidates, chosen, voter, self.world, seed=self.seed, turn=turn)

    def _reward(self, arm: Arm, earlier: Sequence[Part]) -> TextReward | None:
        """The reward model that an arm has after some turns; None before the first."""
        used = earlier if arm.refreshed else earlier[:1]
        labels = [label for part in used for label in part.labels]
        return fit_reward(self._features, labels, seed=self.seed) if labels else None

    def _align(self, policy: Path, folder: Path, rows: Sequence[dict[str, Any]], *, num_steps: int) -> None:
        """Trains a policy on rows but a few, which its run is measured on."""
        write_rows(folder / "pairs.jsonl", rows[NUM_WATCHED:])
        write_rows(folder / "watched.jsonl", rows[:NUM_WATCHED])
        self._train(
            DpoConfig(
                model=str(policy),
                data=str(folder / "pairs.jsonl"),
                out=str(folder / "policy"),
                epochs=num_steps,  # more than enough, max_steps ends it
                max_steps=num_steps,
                eval_every=num_steps,
                eval_data=str(folder / "watched.jsonl"),
                allow_leakage=True,  # nothing is chosen by them
                beta=self.config.beta,
                learning_rate=self.config.learning_rate,
                batch_size=BATCH,
                entropy_every=0,
                sample_every=0,
                seed=self.seed,
            )
        )

    def _train(self, config: SftConfig | DpoConfig) -> None:
        """Trains in a run directory of its own.

        Raises:
            KeyboardInterrupt: if it was asked to stop before it was done.
        """
        if read_status(config.out).get("state") == "done":
            return
        Path(config.out).parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{config.out}.log").open("a", encoding="utf-8") as log:
            progress = Progress(stream=log)
            run = Run(config.out, config, resume=config.resume)
            context: RunContext[Any] = RunContext(
                config=config, run=run, interruption=self.interruption, progress=progress
            )
            if isinstance(config, SftConfig):
                results = train_sft(context, load_data(config, run, DEMONSTRATIONS, progress))
            else:
                results = train_dpo(context, load_data(config, run, PREFERENCES, progress))
            progress.close()
        if results is None:
            run.status("cancelled")
            raise KeyboardInterrupt
        run.status("done", results=dict(results))

    def _worth(self, replies: Replies) -> dict[str, Any]:
        """What replies to the held-out messages are worth, beside those of the SFT policy."""
        worth, base = replies.worth(self._reference, None), self._base_worth
        texts = _texts(replies)
        gain = average_interval(worth.gold.mean(1) - base.gold.mean(1))
        votes = [
            vote(prompt, mine[0], other[0], PEOPLE, self.world, np.random.default_rng([self.seed, BLIND, number]))[0]
            for number, (prompt, mine, other) in enumerate(
                zip(self.held_out, texts, _texts(self._reference_replies), strict=True)
            )
        ]
        return {
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "gold": float(worth.gold.mean()),
            "wins": float((np.sign(worth.gold - base.gold) / 2 + 0.5).mean()),
            "votes": float(np.mean(votes)),
            "kl": float(worth.kl.mean()),
            "words": float(worth.words.mean()),
            "traits": self._traits(texts),
        }

    def _traits(self, texts: Sequence[Sequence[str]]) -> dict[str, float]:
        """Mean count of each trait of replies to the held-out messages."""
        counts = [
            read_traits(prompt, text) for prompt, group in zip(self.held_out, texts, strict=True) for text in group
        ]
        return {name: float(np.mean([count[name] for count in counts])) for name in counts[0]}

    def _folder(self, arm: Arm, turn: int) -> Path:
        return self.folder / arm.name / f"turn-{turn}"

    def _write(self, arm: Arm, part: Part) -> None:
        """Writes a part, from when on it is done."""
        labels = [
            {"prompt": message_rows(label.prompt), "a": label.a, "b": label.b, "p_a": label.p_a, "gold": label.gold}
            for label in part.labels
        ]
        values = {
            "row": finite(asdict(part.row)),
            "labels": labels,
            "policy": str(part.policy.relative_to(self.folder)),
            "held_out": part.held_out,
        }
        write_text(self._folder(arm, part.row.turn) / "part.json", json.dumps(values, ensure_ascii=False))

    def _read(self, arm: Arm, turn: int) -> Part:
        values = json.loads((self._folder(arm, turn) / "part.json").read_text(encoding="utf-8"))
        labels = [Label(**(row | {"prompt": read_messages(row["prompt"], "prompt")})) for row in values["labels"]]
        return Part(
            row=row_from(values["row"]),
            labels=labels,
            policy=self.folder / values["policy"],
            held_out=values["held_out"],
        )


def _texts(replies: Replies) -> list[list[str]]:
    """(P, n) the texts of replies."""
    count = replies.shape[1]
    texts = [one.text for one in replies.drawn]
    return [texts[first : first + count] for first in range(0, len(texts), count)]


def _labelled_rows(labels: Sequence[Label]) -> Iterator[dict[str, Any]]:
    """The pairs that are not tied, as rows of DPO."""
    for label in labels:
        if label.p_a != 0.5:
            chosen, rejected = (label.a, label.b) if label.p_a > 0.5 else (label.b, label.a)
            yield {"prompt": message_rows(label.prompt), "chosen": chosen, "rejected": rejected}


def _best_and_worst(candidates: Candidates, reward: TextReward) -> Iterator[dict[str, Any]]:
    """The candidate of each message that is rewarded most, and the one that is rewarded least, as rows of DPO."""
    for prompt, texts in zip(candidates.prompts, candidates.replies, strict=True):
        written = [text for text in dict.fromkeys(texts) if text.strip()]
        if len(written) > 1:
            rewards = reward([prompt] * len(written), written)
            chosen, rejected = written[int(rewards.argmax())], written[int(rewards.argmin())]
            yield {"prompt": message_rows(prompt), "chosen": chosen, "rejected": rejected}
