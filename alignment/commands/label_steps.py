"""`label-steps` labels the steps of answers by how often what follows them ends right."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from alignment.commands.sample import say_bad_rows
from alignment.config.sampling import LabelStepsConfig
from rewardkit.run.progress import Progress


def label_steps(config: LabelStepsConfig) -> int:
    """Runs `alignment label-steps`; returns the exit code."""
    from alignment.best_of_n.run import read_different_rows
    from alignment.generation.completion_sampler import load_samplers, template_check
    from alignment.step_labels.run import label_prompts
    from rewardkit.data.files import check_output
    from rewardkit.network.models import check_policy_folder

    if config.resume and Path(config.out).exists():
        print(f"{config.out}: complete already")
        return 0
    check_output("--out", config.out, resume=config.resume)
    check_policy_folder(config.model)
    prompt_set = read_different_rows(config, template_check([config.model]), apart_by="completions")
    say_bad_rows("alignment label-steps", prompt_set.bad)
    (sampler,) = load_samplers([config.model])
    done = label_prompts(config, prompt_set.rows, sampler, told=Progress("prompts labelled").count)
    if config.json:
        summary = {"out": config.out, **asdict(done), "num_bad_rows": len(prompt_set.bad)}
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return 0
    blank = f"; {done.num_blank:,} answers without a step left out" if done.num_blank else ""
    print(
        f"{config.out}: {done.num_steps:,} steps of {done.num_rows:,} answers to {done.num_prompts:,} prompts, "
        f"{done.share_right:.1%} of answers right, mean label {done.mean_label:.3f}; "
        f"{done.num_drawn:,} completions drawn, {done.num_reused:,} rollouts used again{blank}"
    )
    return 0
