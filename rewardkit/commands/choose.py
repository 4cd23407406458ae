"""`choose` makes pairs to label of candidate answers: a rule's share, and a random share for honest measurement."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.commands.joint import fit_joint, read_labels
from rewardkit.config import ChooseConfig

if TYPE_CHECKING:
    from rewardkit.data.preferences import BadRow
    from rewardkit.data.records import Preference
    from rewardkit.scoring.candidates import EligiblePairs, ReadCandidates
    from rewardkit.scoring.choosing import Choice

SHOWN_BAD_ROWS = 20


def choose(config: ChooseConfig) -> int:
    """Runs `rewardkit choose`; returns the exit code."""
    from rewardkit.data.files import check_new_file, write_rows
    from rewardkit.data.preferences import read_preferences
    from rewardkit.reward.load import cut_warning, load_reward_fn, read_criterion_weights, template_check
    from rewardkit.scoring.candidates import eligible_pairs, read_candidates
    from rewardkit.scoring.choosing import choose_pairs

    out = Path(config.out)
    check_new_file("--out", out)
    folder = config.model_folder
    criterion_weights = read_criterion_weights(config.criterion_weights, folder) if folder else {}
    check = template_check(folder) if folder else None
    read = read_candidates(config.input, on_bad_row=config.on_bad_row, check=check)
    # People may have said of a pair that neither is better: such a row is no preference, and is left out.
    judged = read_preferences(config.judged, on_bad_row="skip", empty="keep") if config.judged else None
    judged_rows: list[Preference] = judged.rows if judged else []
    say_bad_rows([*read.bad_rows, *(judged.bad_rows if judged else ())])
    eligible = eligible_pairs(
        read.prompts,
        pairs=config.pairs,
        near_duplicate=config.near_duplicate,
        cut=config.cut,
        judged=[(row.prompt, row.chosen, row.rejected) for row in judged_rows],
        seed=config.seed,
    )
    reward_fn = headroom = None
    if config.features == "joint" and len(eligible.pairs):
        answers = zip(eligible.prompt_of, eligible.candidates, strict=True)
        pool = [(eligible.prompts[number], candidate.text) for number, candidate in answers]
        labels = read_labels(config.judged, on_bad_row="skip")
        reward_fn, headroom = fit_joint(labels, pool, len(eligible.pairs), config)
    elif config.model and len(eligible.pairs):
        reward_fn = load_reward_fn(config.model, criterion_weights=criterion_weights)  # heavy, so after the input
    choice = choose_pairs(
        eligible,
        config.rule,
        num_pairs=config.num_pairs,
        random_share=config.random_share,
        per_prompt=config.per_prompt,
        seed=config.seed,
        reward_fn=reward_fn,
        judged=judged_rows,
    )
    if reward_fn and not headroom and (warning := cut_warning(reward_fn)):
        print(f"rewardkit choose: {warning}", file=sys.stderr)
    write_rows(out, comparison_rows(choice))
    summary = summarise(config, read, eligible, choice) | ({"headroom": headroom.summary()} if headroom else {})
    if headroom and not config.json:
        print(headroom)
    print(json.dumps(summary, ensure_ascii=False, indent=2) if config.json else summary_text(summary))
    return 0


def say_bad_rows(bad_rows: Sequence[BadRow]) -> None:
    """One line on stderr for each row that is left out, up to a number."""
    for bad in bad_rows[:SHOWN_BAD_ROWS]:
        print(f"rewardkit choose: left out {bad.place}: {bad.problem}", file=sys.stderr)
    if len(bad_rows) > SHOWN_BAD_ROWS:
        print(f"rewardkit choose: left out {len(bad_rows) - SHOWN_BAD_ROWS} more", file=sys.stderr)


def comparison_rows(choice: Choice) -> Iterator[dict[str, Any]]:
    """Rows of pairs for `annotate-app import`; the id and which answer is `a` follow from the content alone."""
    from rewardkit.data.comparison_rows import plain
    from rewardkit.data.export_formats import turns
    from rewardkit.data.records import content_id, message_lists

    for pair in choice.pairs:
        a, b = sorted((pair.a, pair.b), key=lambda one: content_id(message_lists(pair.prompt), one.source, one.text))
        margin = pair.margin if pair.margin is None or a is pair.a else -pair.margin
        yield {
            "id": content_id(message_lists(pair.prompt), a.text, b.text, a.source, b.source),
            "prompt": turns(pair.prompt),
            "response_a": a.text,
            "response_b": b.text,
            "source_a": a.source,
            "source_b": b.source,
            "metadata": {
                "rule": pair.rule,
                "score": round(pair.score, 6),
                "policies": sorted({one.source for one in (a, b) if one.source}),
                **({} if margin is None else {"margin": round(margin, 6)}),
                **{f"response_{side}": plain(one.meta) for side, one in (("a", a), ("b", b)) if one.meta},
            },
        }


def summarise(config: ChooseConfig, read: ReadCandidates, eligible: EligiblePairs, choice: Choice) -> dict[str, Any]:
    """The counts of what was read, left out and chosen."""
    prompts = {pair.prompt for pair in choice.pairs}
    return {
        "out": config.out,
        "rule": config.rule,
        "num_prompts": len(read.prompts),
        "num_candidates": sum(len(row.candidates) for row in read.prompts),
        "num_eligible_pairs": len(eligible.pairs),
        "num_wanted": config.num_pairs,
        "num_pairs": len(choice.pairs),
        "num_random": choice.num_random,
        "num_by_rule": len(choice.pairs) - choice.num_random,
        "num_prompts_chosen": len(prompts),
        "policies": dict(Counter(" and ".join(sorted({pair.a.source, pair.b.source})) for pair in choice.pairs)),
        "left_out": {
            **eligible.left_out,
            "near_duplicate_pairs": eligible.num_near_duplicates,
            "same_pairs": eligible.num_same,
            "other_policies": eligible.num_other_policies,
        },
        "num_judged": choice.num_judged,
        "num_sure_errors": choice.num_sure_errors,
        "num_bad_rows": len(read.bad_rows),
    }


def summary_text(summary: dict[str, Any]) -> str:
    """The summary in words."""
    short = summary["num_wanted"] - summary["num_pairs"]
    words = {
        "near_duplicate_pairs": "pairs of nearly the same answer",
        "same_pairs": "pairs that say the same as another or a judged one",
        "other_policies": "pairs not of the wanted policies",
    }
    left_out = [
        f"{count:,} {words.get(reason, f'answers {reason}')}" for reason, count in summary["left_out"].items() if count
    ]
    by_rule = f"{summary['num_by_rule']:,} by {summary['rule']} and " if summary["rule"] != "random" else ""
    parts = [
        f"{summary['num_pairs']:,} pairs of {summary['num_prompts_chosen']:,} prompts, "
        f"{by_rule}{summary['num_random']:,} at random, "
        f"from {summary['num_eligible_pairs']:,} that may be labelled "
        f"({summary['num_candidates']:,} answers to {summary['num_prompts']:,} prompts)"
    ]
    if short:
        parts.append(f"{short:,} fewer than wanted: there are no more within per_prompt")
    if left_out:
        parts.append(f"left out: {', '.join(left_out)}")
    if summary["rule"] == "disagreement":
        parts.append(f"model surely wrong of {summary['num_sure_errors']:,} of {summary['num_judged']:,} judged pairs")
    return f"{summary['out']}: {'; '.join(parts)}"
