"""Does choosing what to label pay? Replays labelled data and draws accuracy over labels for each rule and for random.

    python tests/benchmarks/active_learning.py --data FILE [FILE ...] --out DIR     preference files, all rows pooled
    python tests/benchmarks/active_learning.py --world --out DIR                    the world with a known gold reward

Each seed splits the prompts into a pool and a test side, labels `--start` random pairs, then `--step` at a time those
that a rule puts first, and fits a head with a Laplace posterior after each. All rules share a seed's split and first
labels. Written are curves.json, curves.svg and table.md; a rule is compared with random by seeds, as pairs.

`--features words` are TF-IDF of the answers, their members drawn; `joint` those of `rewardkit rank --features joint`,
fitted to all texts (no label), mutual information exact, with the headroom that the first labels show (`--trunk` adds
the states of a network, as `--model` of that command does); `traits` the world's own, with which the model can express
the reward exactly, which no model of real texts can: it shows what a rule is worth where nothing but labels is missing.
In the world, pool labels come from one simulated annotator (reliability 0.95, ties and all) and test accuracy is
against the gold reward; elsewhere both come from the files. Rows of `text` and `label` (1, 0) are made into pairs
without a prompt, one of each label: which of two film reviews is the kind one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import t

from rewardkit.config import Rule
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Comparison
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.heads.posterior import laplace_members, laplace_posterior
from rewardkit.reward.load import load_states
from rewardkit.reward.reward import Reward
from rewardkit.reward.tfidf import TfidfFeatures
from rewardkit.scoring.acquisition import RULES, PromptSpace, measure, measure_normal, order, prioritise
from rewardkit.scoring.joint_features import JointFeatures
from rewardkit.scoring.joint_head import Headroom, find_headroom, head_margins
from rewardkit.scoring.ranking import prompt_features
from rewardkit.simulation.annotators import SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import WEIGHTS, World
from rewardkit.stats.metrics import negative_log_likelihood

NUM_MEMBERS = 16
PRECISIONS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
TEST_SHARE = 0.35
COLOURS = {
    "random": "#6b7280",
    "probability": "#dc2626",
    "mutual_information": "#2563eb",
    "std": "#7c3aed",
    "margin": "#d97706",
    "bal_pm": "#059669",
    "epig": "#db2777",
    "log_det": "#0891b2",
}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Labelled comparisons.

    Attributes:
        p_a: (N,) the label to learn from.
        better_a: (N,) what counts as right, NaN where neither is better.
        traits: (N, h) differences of the completions' traits or joint features, to learn from in place of their words.
    """

    comparisons: Sequence[Comparison]
    p_a: np.ndarray
    better_a: np.ndarray
    traits: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a split in feature space."""

    differences: csr_array | np.ndarray
    p_a: np.ndarray
    better_a: np.ndarray
    prompt: np.ndarray


def read_files(files: Sequence[str], first_rows: int = 0) -> Labelled:
    """All pairs of preference files, or of files of labelled texts."""
    texts: tuple[list[str], list[str]] = ([], [])
    for _, row in (row for file in files for row in read_rows(file)):
        if {"text", "label"} <= set(row):
            texts[row["label"]].append(row["text"])
    if texts[0]:
        comparisons = [
            Comparison(id=str(number), prompt=(), completion_a=kind, completion_b=unkind)
            for number, (unkind, kind) in enumerate(zip(*texts, strict=False))
        ][: first_rows or None]
        return Labelled(comparisons=comparisons, p_a=np.ones(len(comparisons)), better_a=np.ones(len(comparisons)))
    rows = [row for file in files for row in read_preferences(file, on_bad_row="skip").rows]
    rows = rows[: first_rows or None]
    comparisons = [
        Comparison(id=str(number), prompt=row.prompt, completion_a=row.chosen, completion_b=row.rejected)
        for number, row in enumerate(rows)
    ]
    p_a = np.array([row.p_chosen for row in rows])
    return Labelled(comparisons=comparisons, p_a=p_a, better_a=np.where(p_a > 0.5, 1.0, np.nan))


def make_world(num_prompts: int, *, traits: bool = False, seed: int = 5) -> Labelled:
    """Pairs of four replies to each message, judged once each."""
    world = World(seed=seed, num_prompts=num_prompts, num_responses=4)
    items = list(world.comparisons())
    pairs = (pair for prompt in world.prompts() for pair in combinations(prompt.responses, 2))
    differences = [[float(a.traits[name] - b.traits[name]) for name in WEIGHTS] for a, b in pairs]
    share = {"a": 1.0, "tie": 0.5, "b": 0.0}
    votes = simulate_judgments(items, [SimulatedAnnotator(name="sim-one")], overlap=1, seed=seed)
    p_a = np.array([share[vote.choice] for vote in votes])
    better_a = np.array([{"a": 1.0, "tie": np.nan, "b": 0.0}[item.choice] for item in items])
    return Labelled(
        comparisons=[item.comparison for item in items],
        p_a=p_a,
        better_a=better_a,
        traits=np.array(differences) if traits else None,
    )


def with_joint_features(data: Labelled, trunk: str = "") -> Labelled:
    """The same, to learn from features of prompt and answer together, with states of the network in a folder."""
    prompts = [each.prompt for each in data.comparisons]
    texts = [*(each.completion_a for each in data.comparisons), *(each.completion_b for each in data.comparisons)]
    states = load_states(trunk) if trunk else None
    values = JointFeatures.fit(prompts * 2, texts, states=states)(prompts * 2, texts)
    return replace(data, traits=values[: len(prompts)] - values[len(prompts) :])


def split(data: Labelled, seed: int, *, with_places: bool = True) -> tuple[Side, Side, np.ndarray]:
    """Pool, test side, and the features of the pool's prompts; the vocabulary of words is the pool's.

    Pairs without a prompt are each a prompt of its own. Without places those features are zeros.
    """
    names = [normal_prompt(each.prompt) if each.prompt else each.id for each in data.comparisons]
    prompts, prompt = np.unique(names, return_inverse=True)
    is_test = (np.random.default_rng(seed).random(len(prompts)) < TEST_SHARE)[prompt]
    pool = np.flatnonzero(~is_test)
    differences = _word_differences(data, pool) if data.traits is None else data.traits

    def side_of(rows: np.ndarray) -> Side:
        numbers = np.unique(prompt[rows], return_inverse=True)[1]
        return Side(differences=differences[rows], p_a=data.p_a[rows], better_a=data.better_a[rows], prompt=numbers)

    names = list(prompts[np.unique(prompt[pool])])
    places = prompt_features(names, seed=0) if with_places else np.zeros((len(names), 1))
    return side_of(pool), side_of(np.flatnonzero(is_test)), places


def _word_differences(data: Labelled, pool: np.ndarray) -> csr_array:
    texts = [[each.completion_a for each in data.comparisons], [each.completion_b for each in data.comparisons]]
    features = TfidfFeatures.fit("words", [side[number] for side in texts for number in pool])
    return features.transform(texts[0]) - features.transform(texts[1])


def replay(
    pool: Side, test: Side, places: np.ndarray, rule: Rule, *, seed: int, start: int, step: int, until: int
) -> list[dict[str, float]]:
    """One curve: test accuracy and NLL by the number of labels."""
    rng = np.random.default_rng([seed, 1])
    labelled = list(rng.permutation(len(pool.p_a))[:start])
    points: list[dict[str, float]] = []
    precision, chosen_at = 1.0, 0
    while True:
        known = np.array(labelled)
        pairs = make_pairs(pool.differences[known], pool.p_a[known], prompt=pool.prompt[known])
        if len(labelled) >= 2 * chosen_at:  # as dear as many fits, and the answer moves slowly
            precision = choose_prior_precision(pairs, seed=seed, candidates=PRECISIONS).prior_precision
            chosen_at = len(labelled)
        fit = fit_head(pairs, prior_precision=precision)
        points.append({"labels": len(labelled), **score(fit.weights, test)})
        if len(labelled) + step > min(until, len(pool.p_a)):
            return points
        left = np.setdiff1d(np.arange(len(pool.p_a)), known)
        if isinstance(pool.differences, np.ndarray):
            found = measure_normal(head_margins(laplace_posterior(fit, pairs), pool.differences[left]))
        else:
            heads = laplace_members(fit, pairs, NUM_MEMBERS, np.random.default_rng([seed, len(labelled)]))
            margins = heads @ pool.differences[left].T
            found = measure(Reward(members=margins), Reward(members=np.zeros_like(margins)))
        space = PromptSpace(
            features=places,
            prompt_of=pool.prompt[left],
            num_labelled=np.bincount(pool.prompt[known], minlength=len(places)),
        )
        priorities = prioritise(found, rule, seed=seed * 1000 + len(labelled), prompts=space, top=step)
        labelled.extend(left[order(priorities)[:step]])


def first_headroom(pool: Side, *, seed: int, start: int) -> Headroom:
    """What the first labels of a replay say of more."""
    known = np.random.default_rng([seed, 1]).permutation(len(pool.p_a))[:start]
    pairs = make_pairs(pool.differences[known], pool.p_a[known], prompt=pool.prompt[known])
    precision = choose_prior_precision(pairs, seed=seed, candidates=PRECISIONS).prior_precision
    return find_headroom(pairs, prior_precision=precision, num_unlabelled=len(pool.p_a) - start, seed=seed)


def score(weights: np.ndarray, test: Side) -> dict[str, float]:
    """Accuracy where one is better, and NLL of the labels, on the test side."""
    margins = test.differences @ weights
    decided = np.isfinite(test.better_a)
    right = (margins[decided] > 0) == (test.better_a[decided] > 0.5)
    return {"accuracy": float(right.mean()), "nll": negative_log_likelihood(margins, test.p_a)}


def compare(curves: dict[str, np.ndarray], nlls: dict[str, np.ndarray], labels: np.ndarray) -> list[dict[str, object]]:
    """Each rule against random: means over the curve after the shared start, and their differences by seeds.

    Args:
        curves, nlls: by rule, (seeds, rounds) accuracies and NLLs.
    """
    random = curves["random"]
    goal = random.mean(0)[-1]
    rows = []
    for rule, values in curves.items():
        gains = values[:, 1:].mean(1) - random[:, 1:].mean(1)
        nll_gains = nlls["random"][:, 1:].mean(1) - nlls[rule][:, 1:].mean(1)
        reached = np.flatnonzero(values.mean(0) >= goal)
        rows.append(
            {
                "rule": rule,
                "mean_accuracy": float(values[:, 1:].mean()),
                "last_accuracy": float(values[:, -1].mean()),
                "gain": float(gains.mean()),
                "gain_half_width": half_width(gains),
                "nll_gain": float(nll_gains.mean()),
                "nll_gain_half_width": half_width(nll_gains),
                "seeds_better": int((gains > 0).sum()),
                "labels_to_goal": int(labels[reached[0]]) if len(reached) else None,
            }
        )
    return rows


def half_width(values: np.ndarray) -> float:
    """Of the 95 % interval (Student's t) of the mean over seeds; nan for one seed."""
    if len(values) < 2:
        return float("nan")
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def table(rows: Sequence[dict], *, num_seeds: int, labels: np.ndarray) -> str:
    """A Markdown table of `compare`."""
    lines = [
        f"| rule | mean accuracy over the curve | against random, points (95 %) | seeds better, of {num_seeds} | "
        f"accuracy at {labels[-1]} labels | labels to random's accuracy at {labels[-1]} | NLL saved, nats (95 %) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        same = row["rule"] == "random"
        gain = "" if same else f"{100 * row['gain']:+.2f} ± {100 * row['gain_half_width']:.2f}"
        saved = "" if same else f"{row['nll_gain']:+.4f} ± {row['nll_gain_half_width']:.4f}"
        better = "" if same else str(row["seeds_better"])
        lines.append(
            f"| {row['rule']} | {row['mean_accuracy']:.4f} | {gain} | {better} | {row['last_accuracy']:.4f} | "
            f"{row['labels_to_goal'] or 'not reached'} | {saved} |"
        )
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, np.ndarray], labels: np.ndarray, title: str) -> str:
    """The mean curves as an SVG, with a band of one standard error around random."""
    width, height, left, right, top, bottom = 760, 440, 64, 190, 40, 52
    means = {rule: values.mean(0) for rule, values in curves.items()}
    error = curves["random"].std(0, ddof=1) / np.sqrt(len(curves["random"])) if len(curves["random"]) > 1 else 0.0
    low = np.floor(50 * min(mean.min() for mean in means.values())) / 50
    high = np.ceil(50 * max(mean.max() for mean in means.values())) / 50

    def at(x: float, y: float) -> str:
        across = left + (width - left - right) * (x - labels[0]) / (labels[-1] - labels[0])
        return f"{across:.1f},{height - bottom - (height - top - bottom) * (y - low) / (high - low):.1f}"

    band = [at(x, y) for x, y in zip(labels, means["random"] + error, strict=True)]
    band += [at(x, y) for x, y in zip(labels[::-1], (means["random"] - error)[::-1], strict=True)]
    parts = [f'<text x="{left}" y="24" font-size="15">{title}</text>']
    for value in np.arange(low, high + 1e-9, 0.02):
        x, y = at(labels[0], value).split(",")
        parts.append(f'<line x1="{x}" x2="{width - right}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{100 * value:.0f}%</text>')
    for value in labels[:: max(1, len(labels) // 6)]:
        x = at(value, low).split(",")[0]
        parts.append(f'<text x="{x}" y="{height - bottom + 20}" text-anchor="middle">{value}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">labels</text>')
    parts.append(f'<polygon points="{" ".join(band)}" fill="{COLOURS["random"]}" opacity="0.2"/>')
    for number, (rule, mean) in enumerate(means.items()):
        points = " ".join(at(x, y) for x, y in zip(labels, mean, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[rule]}" stroke-width="2"/>')
        y = top + 22 * number
        parts.append(f'<rect x="{width - right + 16}" y="{y}" width="18" height="3" fill="{COLOURS[rule]}"/>')
        parts.append(f'<text x="{width - right + 42}" y="{y + 6}">{rule.replace("_", " ")}</text>')
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="#111827"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>\n{body}\n</svg>\n'


def main() -> None:
    """Runs all rules over all seeds and writes what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="preference files")
    parser.add_argument("--world", action="store_true", help="the simulated world in place of files")
    parser.add_argument("--features", choices=("words", "joint", "traits"), default="words", help="to learn from")
    parser.add_argument("--trunk", default="", help="folder of a network whose states features joint take in")
    parser.add_argument("--first-rows", type=int, default=0, help="of the files' pairs; 0 takes all")
    parser.add_argument("--prompts", type=int, default=500, help="of the world")
    parser.add_argument("--rules", nargs="*", choices=RULES, default=list(RULES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=50)
    parser.add_argument("--step", type=int, default=50)
    parser.add_argument("--until", type=int, default=800)
    parser.add_argument("--out", required=True, help="folder to write into")
    options = parser.parse_args()
    if bool(options.data) == options.world or (options.features == "traits" and not options.world):
        parser.error("give either --data or --world; traits belong to --world")
    if options.trunk and options.features != "joint":
        parser.error("--trunk is of --features joint")
    began = time.monotonic()
    traits = options.features == "traits"
    data = make_world(options.prompts, traits=traits) if options.world else read_files(options.data, options.first_rows)
    if options.features == "joint":
        data = with_joint_features(data, options.trunk)
    rules: list[Rule] = ["random", *(rule for rule in options.rules if rule != "random")]
    points: dict[str, list[list[dict[str, float]]]] = {rule: [] for rule in rules}
    headrooms: list[dict] = []
    text = ""
    sizes = {"start": options.start, "step": options.step, "until": options.until}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        pool, test, places = split(data, seed, with_places="bal_pm" in rules)
        if options.features == "joint":
            headroom = first_headroom(pool, seed=seed, start=options.start)
            headrooms.append(asdict(headroom))
            print(headroom, flush=True)
        for rule in rules:
            points[rule].append(replay(pool, test, places, rule, seed=seed, **sizes))
        print(f"seed {seed}: pool {len(pool.p_a)}, test {len(test.p_a)}, {time.monotonic() - began:.0f} s", flush=True)
        text = write(options, points, headrooms, time.monotonic() - began)
    print(text)


def write(
    options: argparse.Namespace, points: dict[str, list[list[dict[str, float]]]], headrooms: list[dict], seconds: float
) -> str:
    """Writes what the seeds so far show, and returns the table."""
    labels = np.array([point["labels"] for point in points["random"][0]])
    curves, nlls = (
        {rule: np.array([[point[figure] for point in curve] for curve in points[rule]]) for rule in points}
        for figure in ("accuracy", "nll")
    )
    rows = compare(curves, nlls, labels)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    report = {"settings": vars(options), "seconds": seconds, "table": rows, "curves": points, "headroom": headrooms}
    (out / "curves.json").write_text(json.dumps(report, indent=1))
    num_seeds = len(points["random"])
    files = ", ".join(Path(file).name.split(".")[0] for file in options.data)
    title = f"Test accuracy by labels: {files or 'simulated world'}, {options.features}, {num_seeds} seeds"
    (out / "curves.svg").write_text(draw(curves, labels, title))
    (out / "table.md").write_text(text := table(rows, num_seeds=num_seeds, labels=labels))
    return text


if __name__ == "__main__":
    main()
