"""One audit: its input read, its figures made, its files written.

audit.json    all figures
report.html   the same for people, in one file
pairs.jsonl   pairs to label (`rewardkit.audit.label_pairs`), where there are any
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewardkit.audit.answers import (
    Edited,
    PolicyAnswers,
    Prompt,
    ask_model,
    make_edits,
    people_effects,
    read_edits,
    read_policy,
)
from rewardkit.audit.audit_config import AuditConfig
from rewardkit.audit.audit_report import html_report
from rewardkit.audit.findings import AUDIT_FILE, NUM_EXAMPLES, Example, Findings, read_worried
from rewardkit.audit.label_pairs import pairs_to_label
from rewardkit.audit.shifts import policy_rewards, policy_shifts
from rewardkit.audit.worries import Worry, ask_again, find_worries
from rewardkit.config import parse_criterion_weights
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import count_reasons, read_preferences
from rewardkit.data.records import Preference
from rewardkit.data.training_data import read_trained_on
from rewardkit.reward.load import cut_warning
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward import RewardFn, is_overall_reward
from rewardkit.run.directory import write_text
from rewardkit.run.model_folder import model_folder
from rewardkit.scoring.candidates import read_candidates
from rewardkit.stats.calibration import Calibration
from rewardkit.stats.metrics import Interval
from rewardkit.traits.editors import Edit
from rewardkit.traits.traits import user_text

PAIRS_FILE = "pairs.jsonl"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an audit works on; whatever it was not given is empty or None."""

    votes: Sequence[Preference]
    edits: Sequence[Edit]
    policy: PolicyAnswers | None
    previous: Mapping[str, Interval] | None
    notes: list[str]


def read_inputs(config: AuditConfig) -> Inputs:
    """Reads everything that does not need the model.

    Raises:
        ValueError: if a row is bad, or there are no answers to edit.
        FileNotFoundError: if there is no such file.
    """
    notes: list[str] = []
    votes = _votes(config, notes)
    edits: list[Edit] = []
    if config.model:
        answers: list[tuple[Prompt, str]]
        if config.answers:
            rows = read_candidates([config.answers], on_bad_row=config.on_bad_row).prompts
            answers = [(row.prompt, one.text) for row in rows for one in row.candidates]
        else:
            answers = [(row.prompt, text) for row in votes for text in (row.chosen, row.rejected)]
        if not answers and not config.edits:
            raise ValueError("there are no answers to edit: name some with answers, or votes")
        edits = make_edits(answers, num=config.num_answers, seed=config.seed)
        edits += read_edits(config.edits) if config.edits else []
    return Inputs(
        votes=votes,
        edits=edits,
        policy=read_policy(config.policy) if config.policy else None,
        previous=read_worried(config.previous) if config.previous else None,
        notes=notes,
    )


def _votes(config: AuditConfig, notes: list[str]) -> list[Preference]:
    if config.votes:
        read = read_preferences(config.votes, on_bad_row=config.on_bad_row)
        if read.bad_rows:
            notes.append(f"{len(read.bad_rows):,} bad rows left out ({count_reasons(read.bad_rows)}).")
        return read.rows
    if not config.model:
        return []
    try:
        trained_on = read_trained_on(str(model_folder(config.model)))
    except (ValueError, FileNotFoundError, ImportError) as error:
        notes.append(f"No votes: what the model was trained on is not at hand: {error}.")
        return []
    if trained_on is None:
        notes.append("No votes: the model's folder records no training; name them with --votes.")
        return []
    return [*trained_on.train, *trained_on.held_out]


def audit(
    config: AuditConfig, inputs: Inputs, reward_fn: RewardFn | None, *, told: Callable[[int, int], None]
) -> tuple[Findings, list[dict[str, Any]]]:
    """All figures, and the rows of pairs to label.

    Args:
        reward_fn: None where no model is audited.
    """
    notes = list(inputs.notes)
    people = people_effects(inputs.votes) if inputs.votes else None
    edited: Edited | None = None
    worries: list[Worry] | None = None
    if reward_fn is not None:
        edited = ask_model(inputs.edits, reward_fn, _calibration(config), told=told)
        model = edited.effects()
        worries = find_worries(model, people, least=config.least, level=config.level)
        if cut := cut_warning(reward_fn):
            notes.append(f"{cut}.")
    else:
        model = None
    rewards = policy_rewards(inputs.policy, reward_fn, seed=config.seed) if inputs.policy and reward_fn else None
    rows = pairs_to_label(worries or (), edited, inputs.policy, rewards, num=config.num_pairs, seed=config.seed)
    findings = Findings(
        people=people,
        model=model,
        worries=worries,
        examples={worry.trait: _examples(edited, worry.trait) for worry in worries or () if edited},
        shifts=policy_shifts(inputs.policy, seed=config.seed) if inputs.policy else None,
        policy_names=inputs.policy.names if inputs.policy else ("before", "after"),
        reward_rise=rewards.rise if rewards else None,
        holes=ask_again(inputs.previous, model, worries or ()) if inputs.previous is not None and model else (),
        num_to_label=len(rows),
        about=_about(config, inputs),
        notes=notes,
    )
    return findings, rows


def write_audit(findings: Findings, rows: Sequence[dict[str, Any]], out_dir: Path) -> None:
    """Writes the files of the module."""
    write_text(out_dir / AUDIT_FILE, json.dumps(findings.values(), ensure_ascii=False, indent=1))
    write_text(out_dir / "report.html", html_report(findings))
    if rows:
        write_rows(out_dir / PAIRS_FILE, rows)


def _calibration(config: AuditConfig) -> Calibration:
    """The model's own, which holds for its overall head alone."""
    weights = parse_criterion_weights(config.criterion_weights)
    return read_card(model_folder(config.model)).calibration if is_overall_reward(weights) else {}


def _examples(edited: Edited, trait: str) -> list[Example]:
    """The edits of a trait that the model pays most for."""
    numbers = np.array([number for number, one in enumerate(edited.edits) if one.trait == trait], dtype=np.int64)
    best = numbers[np.argsort(-edited.log_odds[numbers], kind="stable")][:NUM_EXAMPLES]
    return [
        Example(
            prompt=user_text(edited.edits[number].prompt),
            without=edited.edits[number].without,
            having=edited.edits[number].having,
            log_odds=float(edited.log_odds[number]),
        )
        for number in best
    ]


def _about(config: AuditConfig, inputs: Inputs) -> dict[str, str]:
    return {
        "model": config.model or "none",
        "votes": f"{config.votes or 'what the model was trained on'}: {len(inputs.votes):,}"
        if inputs.votes
        else "none",
        "edits": f"{len(inputs.edits):,}, of which by templates from {config.answers or 'the answers of the votes'}"
        if inputs.edits
        else "none",
        "policy": " and ".join(config.policy) or "none",
        "earlier audit": config.previous or "none",
        "least difference": f"{config.least:g} log-odds",
        "level": f"{config.level:g}, Holm over the traits",
        "seed": str(config.seed),
    }
