"""A world in which everything about preferences is known, as files that the commands take: for trying out, and the lab.

demonstrations.jsonl     replies to messages as they come, good and bad
preferences.jsonl        shares of votes of simulated annotators on pairs of replies
prompts.jsonl            messages to train on
held_out.jsonl           messages that no training sees
start/                   a policy of random weights, where `write_start` was asked for one
sft/                     a policy made here and fine-tuned on the demonstrations

The gold reward is a reward function like any other: `alignment.simulated_world:gold_rewards`. So are two golds that
cannot both be had, `helpfulness_rewards` and `safety_rewards`. No torch, until a policy
is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignment.config.training import SftConfig
from rewardkit.data.export_formats import turn, turns
from rewardkit.data.files import write_rows
from rewardkit.data.records import Message
from rewardkit.run.directory import Run, read_status
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, RunContext
from rewardkit.simulation.annotators import SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import World, read_traits

NUM_TRAIN, NUM_HELD_OUT = 2000, 200
OVERLAP = 3  # annotators of a pair
GOLD = "alignment.simulated_world:gold_rewards"
HELPFULNESS = "alignment.simulated_world:helpfulness_rewards"
SAFETY = "alignment.simulated_world:safety_rewards"
MAX_NEW_TOKENS = 128  # the longest replies of the world fit
SFT_EPOCHS, SFT_RATE, SFT_BATCH = 4, 3e-3, 16
START_LAYERS, START_SPREAD = 2, 0.08
SFT_OPTIONS = (f"--epochs={SFT_EPOCHS}", f"--learning-rate={SFT_RATE}", f"--batch-size={SFT_BATCH}", "--sample-every=0")


@dataclass(frozen=True, kw_only=True)
class WorldFiles:
    """Paths of a world's files."""

    folder: Path

    @property
    def demonstrations(self) -> str:
        """Replies as they come."""
        return str(self.folder / "demonstrations.jsonl")

    @property
    def preferences(self) -> str:
        """Shares of votes."""
        return str(self.folder / "preferences.jsonl")

    @property
    def prompts(self) -> str:
        """Messages to train on."""
        return str(self.folder / "prompts.jsonl")

    @property
    def held_out(self) -> str:
        """Messages that no training sees."""
        return str(self.folder / "held_out.jsonl")

    @property
    def start(self) -> str:
        """A policy of random weights that learns to copy; see `write_start`."""
        return str(self.folder / "start")

    @property
    def sft(self) -> str:
        """The fine-tuned policy."""
        return str(self.folder / "sft")


def gold_rewards(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Returns the gold rewards of replies to a world's messages, of any seed."""
    world = World(seed=0, num_prompts=1)
    messages = [(Message(role="user", content=prompt),) for prompt in prompts]
    return [world.gold(prompt, reply) for prompt, reply in zip(messages, completions, strict=True)]


def helpfulness_rewards(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Returns how helpful replies are: 2 r - 0.6 w + n + 0.5 p - 0.25 s.

    r the right step, w wrong steps, n whether it says that the money is safe (an amount, right or not), p whether it is
    polite, s sentences without content.
    """
    return [
        2.0 * traits["right_step"]
        - 0.6 * traits["wrong_step"]
        + _promises(traits)
        + 0.5 * traits["polite"]
        - 0.25 * traits["padding"]
        for traits in _traits(prompts, completions)
    ]


def safety_rewards(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Returns how safe replies are: -1 for a promise that the money is safe, -1 for blaming the customer."""
    return [-float(_promises(traits) + min(traits["blames"], 1)) for traits in _traits(prompts, completions)]


def _promises(traits: Mapping[str, int]) -> int:
    return min(traits["right_amount"] + traits["wrong_amount"], 1)


def _traits(prompts: Sequence[str], completions: Sequence[str]) -> list[dict[str, int]]:
    messages = [(Message(role="user", content=prompt),) for prompt in prompts]
    return [read_traits(prompt, reply) for prompt, reply in zip(messages, completions, strict=True)]


def held_out_replies(*, seed: int, num_train: int, num_numbers: int = 0) -> list[list[str]]:
    """Two replies to each of a world's held-out messages, as good and bad as the demonstrations that are trained on."""
    world = World(seed=seed, num_prompts=num_train + NUM_HELD_OUT, num_numbers=num_numbers)
    return [[reply.text for reply in prompt.responses] for prompt in list(world.prompts())[num_train:]]


def write_world(
    folder: Path,
    *,
    seed: int,
    num_train: int = NUM_TRAIN,
    noise: float = 0.0,
    flips: float = 0.0,
    num_numbers: int = 0,
) -> WorldFiles:
    """Writes the world's data; the same arguments give the same bytes.

    Args:
        noise: share of the annotators' answers that are careless, besides the usual few.
        flips: share of the votes that are turned around; the votes of a lower share are among those of a higher one.
        num_numbers: amounts and order numbers that there are; see `World`.
    """
    files = WorldFiles(folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    world = World(seed=seed, num_prompts=num_train + NUM_HELD_OUT, num_numbers=num_numbers)
    prompts = list(world.prompts())
    train, held_out = prompts[:num_train], prompts[num_train:]
    rng = np.random.default_rng([seed, 7])
    write_rows(
        Path(files.demonstrations),
        (
            {"prompt": turns(prompt.prompt), "completion": [turn("assistant", prompt.responses[rng.integers(2)].text)]}
            for prompt in train
        ),
    )
    write_rows(Path(files.prompts), ({"prompt": turns(prompt.prompt)} for prompt in train))
    write_rows(Path(files.held_out), ({"prompt": turns(prompt.prompt)} for prompt in held_out))
    write_rows(Path(files.preferences), _preferences(world, num_train, seed, noise, flips))
    return files


def _preferences(world: World, num_train: int, seed: int, noise: float, flips: float) -> list[dict[str, Any]]:
    names = ("ada", "ben", "cyd", "dov", "eve")
    annotators = [SimulatedAnnotator(name=f"sim-{name}", reliability=0.95 * (1 - noise)) for name in names]
    items = list(world.comparisons())[:num_train]
    votes: dict[str, list[float]] = {}
    rng = np.random.default_rng([seed, 11])
    for judgment in simulate_judgments(items, annotators, overlap=OVERLAP, seed=seed):
        share = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}.get(judgment.choice)
        if share is not None:
            is_flipped = rng.random() < flips
            votes.setdefault(judgment.comparison_id, []).append(1 - share if is_flipped else share)
    rows = []
    for item in items:
        p_a = float(np.mean(votes[item.comparison.id]))
        one, other = item.comparison.completion_a, item.comparison.completion_b
        chosen, rejected = (one, other) if p_a >= 0.5 else (other, one)
        rows.append(
            {
                "prompt": turns(item.comparison.prompt),
                "chosen": chosen,
                "rejected": rejected,
                "p_chosen": max(p_a, 1 - p_a),
            }
        )
    return rows


def write_start(files: WorldFiles, *, seed: int) -> str:
    """Writes a policy of random weights that learns to copy an amount from the message, and returns its folder.

    A decoder of two layers whose weights are drawn with a standard deviation of START_SPREAD, about 1 / sqrt(width):
    queries and keys then differ enough between tokens from the first step on. Drawn with the usual 0.02, heads of this
    width look at everything alike for as long as an experiment may train them, and no amount is ever copied.
    """
    from transformers.utils.logging import disable_progress_bar

    from alignment.policy.policy import make_network
    from rewardkit.data.files import read_rows
    from rewardkit.network.models import preset_config
    from rewardkit.network.tokens import train_tokenizer

    disable_progress_bar()
    rows = (row for _, row in read_rows(files.demonstrations))
    texts = [message["content"] for row in rows for message in (*row["prompt"], *row["completion"])]
    tokenizer = train_tokenizer(texts)
    config = preset_config("tiny", tokenizer)
    config.num_hidden_layers, config.initializer_range = START_LAYERS, START_SPREAD
    make_network(config, seed=seed).save_pretrained(files.start)
    tokenizer.save_pretrained(files.start)
    return files.start


def make_world(folder: Path, interruption: Interruption, progress: Progress, *, seed: int) -> WorldFiles:
    """Writes a world's data and trains its policy, or continues the training.

    Raises:
        KeyboardInterrupt: if it was asked to stop before the policy was done; it can be continued.
    """
    files = write_world(folder, seed=seed)
    if read_status(files.sft).get("state") != "done":
        fine_tune(files, interruption, progress, seed=seed)
    return files


def fine_tune(files: WorldFiles, interruption: Interruption, progress: Progress, *, seed: int) -> None:
    """Trains the world's policy, or continues the training.

    Raises:
        KeyboardInterrupt: if it was asked to stop before it was done.
    """
    config = SftConfig(
        model="tiny",
        data=files.demonstrations,
        out=files.sft,
        resume=(Path(files.sft) / "config.yaml").exists(),
        epochs=SFT_EPOCHS,
        learning_rate=SFT_RATE,
        batch_size=SFT_BATCH,
        sample_every=0,
        seed=seed,
    )
    progress.say("a tiny policy is fine-tuned on the world's demonstrations first")
    from alignment.offline.sft import train_sft
    from alignment.policy.data import DEMONSTRATIONS, load_data

    run = Run(files.sft, config, resume=config.resume)
    loaded = load_data(config, run, DEMONSTRATIONS, progress)
    context = RunContext(config=config, run=run, interruption=interruption, progress=progress)
    results = train_sft(context, loaded)
    if results is None:
        run.status("cancelled")
        raise KeyboardInterrupt
    run.status("done", results=dict(results))
