"""`audit` says what people, a reward model and a policy pay for, trait by trait."""

from __future__ import annotations

import json
from pathlib import Path

from rewardkit.audit.audit_config import AuditConfig
from rewardkit.run.directory import Run
from rewardkit.run.model_folder import model_folder
from rewardkit.run.progress import Progress


def audit(config: AuditConfig) -> int:
    """Runs `rewardkit audit`; returns the exit code."""
    from rewardkit.audit.findings import screen_lines
    from rewardkit.audit.run import PAIRS_FILE, read_inputs, write_audit
    from rewardkit.audit.run import audit as audit_all
    from rewardkit.reward.load import load_reward_fn, read_criterion_weights

    if config.model:
        model_folder(config.model)  # before anything is read or scored
    weights = read_criterion_weights(config.criterion_weights, config.model) if config.model else {}
    inputs = read_inputs(config)
    run = Run(config.out, config)  # now that the input is good
    with run.ending():
        reward_fn = load_reward_fn(config.model, criterion_weights=weights) if config.model else None
        findings, rows = audit_all(config, inputs, reward_fn, told=Progress("answers scored").count)
        write_audit(findings, rows, Path(run.dir))
    run.status("done", results={"worries": float(len(findings.worries or ())), "num_to_label": float(len(rows))})
    if config.json:
        print(json.dumps(findings.values(), ensure_ascii=False, indent=1))
        return 0
    print("\n".join(screen_lines(findings)))
    if rows:
        print(f"{run.dir / PAIRS_FILE}: {len(rows)} pairs to label")
    print(run.dir / "report.html")
    return 0
