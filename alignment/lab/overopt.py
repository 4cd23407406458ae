"""The over-optimisation experiment: gold reward known, proxies learned from few or careless votes, pushed ever further.

Gao et al. 2022 (arXiv 2210.10760), in a small world: gold and proxy reward of best-of-n (by the exact order-statistics
estimator) and of GRPO without a KL, against d = sqrt(KL), by one member of an ensemble, by the mean of all, and by
penalties for their disagreement: each arm changes one thing. The strength of a penalty is a share of its proxy's
signal, and GRPO does not train on a proxy that hardly follows gold among the replies to one message. Arms are compared
at the distance that all of them reached, paired by message (`alignment.lab.pushed_curves`);
`alignment.lab.overopt_report` shows them to people.

overopt.json    curves and fits
report.html     the same for people
seed-0/         the runs: world/, sft/, reward-200-0.5-full/, grpo-200-0.5-full-mean/, ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice, product
from pathlib import Path

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from alignment.config.lab import OveroptConfig
from alignment.lab.gold_evaluation import Replies, Worth, draw_replies, load_proxy, load_sampler
from alignment.lab.overopt_report import proxy_name, report_page
from alignment.lab.pushed_curves import (
    RL_RULES,
    RULES,
    Curve,
    Proxy,
    Push,
    Rule,
    curves_of,
    following,
    penalty_share,
    uwo_strength,
)
from alignment.lab.steps import COMPLETIONS, GROUP, Step, reward_step, run_step, sft_step
from alignment.online.audit import read_scores
from alignment.simulated_world import GOLD, MAX_NEW_TOKENS, WorldFiles, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.reward.reward import Reward, conservative
from rewardkit.run.directory import write_text

AUDIT_EVERY = 5
RATE = 1e-4  # at 3e-4 a policy that nothing holds was over 100 nats an answer away within 60 steps


def overopt(config: OveroptConfig, told: Callable[[str], None]) -> list[Curve]:
    """Runs all proxies on all seeds."""
    curves: list[Curve] = []
    for number, seed in enumerate(config.numbers, start=1):
        prefix = f"world {number} of {len(config.numbers)}: "
        curves += _seed(config, seed, lambda message, prefix=prefix: told(prefix + message))
    return curves


def _seed(config: OveroptConfig, seed: int, told: Callable[[str], None]) -> Iterator[Curve]:
    folder = Path(config.out) / f"seed-{seed}"
    world = {"seed": seed, "num_train": config.num_prompts, "num_numbers": config.num_numbers}
    files = write_world(folder / "world", **world)
    run_step(sft_step(seed, folder, files, copies=config.num_numbers > 0), told)
    prompts = read_prompts(files.held_out).rows
    told(f"{config.num_best_of} replies to each held-out message are drawn")
    replies = draw_replies(load_sampler(str(folder / "sft")), prompts, n=config.num_best_of, seed=seed)
    for noise in config.noise_shares:
        voted = write_world(folder / f"world-{noise:g}", **world, noise=noise) if noise else files
        for pairs, kind in product(config.pair_counts, config.member_kinds):
            reward = folder / f"reward-{pairs}-{noise:g}-{kind}"
            votes = _first_rows(voted, pairs)
            step = reward_step(seed, folder, votes, ensemble=config.ensemble, out=reward, members=kind)
            proxy = Proxy(seed=seed, pairs=pairs, noise=noise, members=kind)
            run_step(replace(step, name=f"{step.name}, {proxy_name(proxy)}"), told)
            yield from _pushed(config, folder, files, reward, proxy, replies, told)


def _pushed(
    config: OveroptConfig,
    folder: Path,
    files: WorldFiles,
    reward: Path,
    proxy: Proxy,
    replies: Replies,
    told: Callable[[str], None],
) -> Iterator[Curve]:
    """Pushes a trained proxy under every rule: by best-of-n, and by GRPO if it is admitted."""
    scored = replies.worth(None, load_proxy(str(reward)))
    assert scored.proxy is not None
    proxy = admitted(proxy, scored, config.admit, told)
    strength = uwo_strength(scored.proxy, config.uwo_share)
    chosen = [best_of_n_push(proxy, rule, scored, strength=strength) for rule in arms(RULES, config)]
    yield from curves_of(chosen)
    if config.rl and proxy.admitted:
        pushes = []
        for push in chosen:
            if push.rule in rl_rules(proxy, config):
                out = _trained(config, folder, files, reward, push.rule, strength, told)
                pushes.append(grpo_push(proxy, push.rule, out, follows=push.follows, penalty=push.penalty))
        yield from curves_of(pushes)


def admitted(proxy: Proxy, worth: Worth, least: float, told: Callable[[str], None]) -> Proxy:
    """The proxy with what its mean's correlation with gold within messages says of it; a proxy left out is told."""
    follows = following(worth.proxy_mean, worth.gold)
    if follows > least:
        return proxy
    told(
        f"{proxy_name(proxy)}: its mean follows gold by {follows:+.2f} within messages, no more than {least:g}: "
        "GRPO does not train on it, and it does not count over worlds"
    )
    return replace(proxy, admitted=False)


def arms(rules: Sequence[Rule], config: OveroptConfig) -> list[Rule]:
    """The rules that differ: an ensemble of one has no mean, and nothing to disagree."""
    return list(rules) if config.ensemble > 1 else ["one"]


def rl_rules(proxy: Proxy, config: OveroptConfig) -> list[Rule]:
    """The rules that GRPO trains by: a head of several on one trunk has no folder of its own that a reward loads."""
    rules = arms(RL_RULES, config)
    return [rule for rule in rules if rule != "one"] if proxy.members == "heads" and len(rules) > 1 else rules


def _first_rows(files: WorldFiles, count: int) -> str:
    """Writes the first pairs of a world to a file of their own."""
    source = Path(files.preferences)
    target = source.with_name(f"preferences-{count}.jsonl")
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")
    return str(target)


def _trained(
    config: OveroptConfig,
    folder: Path,
    files: WorldFiles,
    reward: Path,
    rule: Rule,
    strength: float,
    told: Callable[[str], None],
) -> Path:
    """Trains a policy by GRPO without a KL on a proxy under a rule; returns its run."""
    seed = int(folder.name.removeprefix("seed-"))
    out = folder / f"grpo-{reward.name.removeprefix('reward-')}-{rule}"
    # The folder of one member is a reward model like any other.
    source = reward / "members" / "0" if rule == "one" and config.ensemble > 1 else reward
    words = [
        *("alignment", "grpo", f"--model={folder / 'sft'}", f"--prompts={files.prompts}"),
        *(f"--eval-prompts={files.held_out}", f"--reward={source}", f"--audit-reward={GOLD}"),
        *(f"--penalty={'mean' if rule == 'one' else rule}", f"--penalty-strength={strength}"),
        *(f"--audit-every={AUDIT_EVERY}", "--audit-prompts=200", "--beta=0", f"--learning-rate={RATE}"),
        *(f"--prompts-per-step={COMPLETIONS // GROUP}", f"--completions-per-prompt={GROUP}"),
        *(f"--max-steps={config.steps}", f"--max-new-tokens={MAX_NEW_TOKENS}", f"--seed={seed}"),
    ]
    run_step(Step(name=f"GRPO on it, {rule}", words=words, out=out), told)
    return out


def best_of_n_push(proxy: Proxy, rule: Rule, worth: Worth, *, strength: float) -> Push:
    """Gold and proxy of the best of 1 to n replies by the ensemble under a rule."""
    assert worth.proxy is not None
    members = Reward(members=worth.proxy.reshape(len(worth.proxy), -1))
    chosen_by = members.members[0] if rule == "one" else conservative(members, rule, strength=strength)
    chosen_by = chosen_by.reshape(worth.gold.shape)
    stands_for = worth.proxy[0] if rule == "one" else worth.proxy_mean
    gold, by_proxy = expected_best(chosen_by, worth.gold), expected_best(chosen_by, stands_for)
    distance = np.sqrt([kl_bound(k) for k in range(1, worth.gold.shape[1] + 1)])
    return Push(
        by="best_of_n",
        proxy=proxy,
        rule=rule,
        distance=distance,
        gold=gold - gold[:, :1],
        reward=by_proxy - by_proxy[:, :1],
        follows=following(chosen_by, worth.gold),
        penalty=0.0 if rule == "one" else penalty_share(worth.proxy, rule, strength=strength),
    )


def grpo_push(proxy: Proxy, rule: Rule, run_dir: Path, *, follows: float, penalty: float = 0.0) -> Push:
    """Gold and proxy of a run's audits above the first, which is of the policy that it began from.

    All audits draw with the same keys, so that the difference is paired by message and by luck. Those with a number
    that was not finite are left out.

    Args:
        follows, penalty: see `Push`.

    Raises:
        ValueError: if the run did not audit the policy that it began from, as runs of earlier versions did not.
    """
    names = ("kl", "reward", "raw")
    audits = [audit for audit in read_scores(run_dir) if not any(None in audit.get(name, [None]) for name in names)]
    if not audits or audits[0]["step"]:
        raise ValueError(f"{run_dir} keeps no scores of the policy it began from: remove it, and it is trained again")
    kl, gold, reward = (np.array([audit[name] for audit in audits]) for name in names)  # each (M, P)
    return Push(
        by="grpo",
        proxy=proxy,
        rule=rule,
        distance=np.sqrt(np.maximum(kl.mean(1), 0.0)),
        gold=(gold - gold[:1]).T,
        reward=(reward - reward[:1]).T,
        follows=follows,
        penalty=penalty,
    )


def write_overopt(curves: list[Curve], out_dir: Path) -> None:
    """Writes overopt.json and report.html."""
    write_text(out_dir / "overopt.json", json.dumps([finite(asdict(curve)) for curve in curves], indent=1))
    write_text(out_dir / "report.html", report_page(curves))
