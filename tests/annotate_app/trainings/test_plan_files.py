"""Plans as files: what earlier versions wrote is read as what it meant, and what is no plan is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_plans import sampling_plan, training_plan

from annotate_app.trainings.plan_files import Plan, plan_values, read_plan, read_plan_values, write_plan

REWARD = """
project: 'Support: desk'
trains: reward
teaches: criterion
criterion: tone
min_votes: 2
min_agreement: 0.7
adjudicated_only: true
held_out: 0.15
model: small
mode: lora
ensemble: 3
members: lora
loss: sigmoid
beta: 0.0
rows_of: 0
advanced:
  seed: 7
  learning_rate: 0.0005
"""
ALL_CRITERIA = """
project: p
teaches: all
criterion: ''
model: tfidf
mode: head
ensemble: 1
members: heads
advanced: {}
"""
SFT = """
project: p
trains: sft
teaches: overall
criterion: ''
min_votes: 1
min_agreement: 0.0
adjudicated_only: false
held_out: 0.1
model: tiny
mode: full
ensemble: 1
members: heads
loss: sigmoid
beta: 0.0
rows_of: 4
advanced:
  max_steps: 5
"""
DPO = """
project: p
trains: dpo
teaches: overall
criterion: ''
min_votes: 1
min_agreement: 0.0
adjudicated_only: false
held_out: 0.1
model: /runs/1/model
mode: lora
ensemble: 1
members: heads
loss: ipo
beta: 0.3
rows_of: 0
advanced:
  sft_weight: 0.5
"""
GRPO = """
project: p
trains: grpo
model: /runs/1/model
prompts: prompts.jsonl
held_out: 0.2
reward:
- json
- 0.5*length:9
penalty: uwo
penalty_strength: 0.5
audit_reward: regex:e
max_new_tokens: 64
advanced:
  temperature: 0.9
  stop:
  - END
mode: lora
loss: dr_grpo
beta: 0.1
max_steps: 7
prompts_per_step: null
completions_per_prompt: 4
learning_rate: 2.0e-05
audit_samples: 20
on_alarm: stop
"""
PPO = """
project: p
trains: ppo
model: /runs/1/model
prompts: ''
held_out: 0.1
reward: json
penalty: mean
penalty_strength: 1.0
audit_reward: ''
max_new_tokens: 128
advanced: {}
mode: full
loss: null
beta: null
max_steps: 100
prompts_per_step: null
completions_per_prompt: null
learning_rate: 0.0
audit_samples: 20
on_alarm: continue
"""
ONLINE_DPO = PPO.replace("ppo", "online-dpo").replace("loss: null", "loss: ipo").replace("beta: null", "beta: 0.2")
BON = """
project: p
trains: bon
model: /runs/1/model
prompts: ''
held_out: 0.0
reward:
- length:9
penalty: mean
penalty_strength: 1.0
audit_reward: ifeval
max_new_tokens: 128
advanced:
  max_prompts: 40
n: 8
keep: above
threshold: 0.75
threshold_of: quantile
soft_labels: false
"""
POLICY = "/runs/1/model"
STARTS = {"max_new_tokens": 128, "max_steps": 100, "audit_samples": 20}


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        (
            REWARD,
            training_plan(
                project="Support: desk",
                criterion="tone",
                min_votes=2,
                min_agreement=0.7,
                adjudicated_only=True,
                held_out=0.15,
                model="small",
                mode="lora",
                ensemble=3,
                members="lora",
                seed=7,
                learning_rate=5e-4,
            ),
        ),
        (ALL_CRITERIA, training_plan(model="tfidf", mode="head", criteria=True)),
        (SFT, training_plan("sft", rows_of=4, max_steps=5)),
        (DPO, training_plan("dpo", model=POLICY, lora=True, loss="ipo", beta=0.3, sft_weight=0.5)),
        (DPO.replace("0.3", "0.0"), training_plan("dpo", model=POLICY, lora=True, loss="ipo", sft_weight=0.5)),
        (
            GRPO,
            sampling_plan(
                "grpo",
                model=POLICY,
                prompts="prompts.jsonl",
                held_out=0.2,
                reward=["json", "0.5*length:9"],
                penalty="uwo",
                penalty_strength=0.5,
                audit_reward=["regex:e"],
                max_new_tokens=64,
                temperature=0.9,
                stop=["END"],
                lora=True,
                loss="dr_grpo",
                beta=0.1,
                max_steps=7,
                completions_per_prompt=4,
                learning_rate=2e-5,
                audit_samples=20,
                on_alarm="stop",
            ),
        ),
        (PPO, sampling_plan("ppo", model=POLICY, **STARTS)),
        (ONLINE_DPO, sampling_plan("online-dpo", model=POLICY, loss="ipo", beta=0.2, **STARTS)),
        (
            BON,
            sampling_plan(
                "bon",
                model=POLICY,
                reward=["length:9"],
                audit_reward=["ifeval"],
                max_new_tokens=128,
                max_prompts=40,
                n=8,
                keep="above",
                threshold=0.75,
                threshold_of="quantile",
            ),
        ),
    ],
)
def test_plans_of_earlier_versions_are_read_as_what_they_meant(text: str, plan: Plan) -> None:
    assert read_plan(text) == plan
    assert read_plan(write_plan(plan)) == plan
    assert read_plan_values(text) == plan_values(plan)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- 1", "a training plan has the fields"),
        ("[", "a training plan is YAML"),
        ("project: p\ntrains: kto", "trains is 'kto', allowed are reward, sft"),
        ("config: {model: tiny}\ntrains: sft", "a training plan has the fields"),
        ("project: p\nprompts: x\nconfig: {model: tiny}\ntrains: sft", "a training plan has the fields"),
        ("project: p\nconfig: {model: tiny, out: /etc}\ntrains: sft", "out is set by the app"),
        ("project: p\nout: /etc", "out is set by the app"),
        ("project: p\ntrains: grpo\nmodel: /m\nreward: json\nadvanced: {replay: /r}", "replay is set by the app"),
        ("project: p\nbogus: 1", "bogus is no option"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_plan(text)


def test_a_plan_whose_reward_is_gone_can_still_be_looked_at(tmp_path: Path) -> None:
    text = GRPO.replace("- json", f"- {tmp_path}/gone")
    with pytest.raises(ValueError, match="neither a folder"):
        read_plan(text)
    values = read_plan_values(text)
    assert (values["trains"], values["config"]["reward"]) == ("grpo", [f"{tmp_path}/gone", "0.5*length:9"])
