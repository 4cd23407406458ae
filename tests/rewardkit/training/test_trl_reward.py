"""Our loss and gradient beside those of TRL's RewardTrainer, on the same pairs and weights. Needs the [bench] extra."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the [bench] extra")
pytest.importorskip("datasets", reason="needs the [bench] extra")

import datasets
import torch
from toy_models import config_for
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig as TrlConfig
from trl import RewardTrainer

from rewardkit.config import RewardConfig
from rewardkit.data.records import Message, Preference
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.models import head_of
from rewardkit.network.tokens import train_tokenizer
from rewardkit.training.loop import sum_parts
from rewardkit.training.reward_objective import RewardObjective
from rewardkit.training.rows import training_rows

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]  # their warnings are not ours to mend

PAIRS = [
    ("How do I bake bread?", "Mix flour, water, salt and yeast, then let it rise.", "Buy some."),
    ("Why is the sky blue? Answer in one sentence, please.", "Air scatters short waves more.", "It likes to be blue."),
    ("Name a river.", "The Rhine.", "The Rhine, the Danube, the Elbe and a good many others I could name here."),
    ("Say yes.", "Yes.", "No."),
]


@pytest.mark.parametrize("options", [{}, {"margin": True}, {"centring": 0.01}], ids=["plain", "margin", "centring"])
@pytest.mark.parametrize("token_budget", [8192, 30])
def test_loss_and_gradient_equal_those_of_trl(options: dict, token_budget: int, tmp_path: Path) -> None:
    margins = [0.5, 0.0, 1.25, 0.25] if options.get("margin") else [0.0] * 4
    preferences = [
        Preference(prompt=(Message(role="user", content=prompt),), chosen=chosen, rejected=rejected, margin=margin)
        for (prompt, chosen, rejected), margin in zip(PAIRS, margins, strict=True)
    ]
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair], vocab_size=400)
    config = config_for(tokenizer, hidden_size=48, intermediate_size=96, num_hidden_layers=3)
    scorer = RewardScorer(make_classifier(config, seed=0))
    head_of(scorer.classifier).weight.data.copy_(scorer.heads.data)
    scorer.classifier.save_pretrained(tmp_path / "model")

    ours = RewardConfig(
        model="tiny",
        data="x",
        out="y",
        token_budget=token_budget,
        use_margin=bool(options.get("margin")),
        centring=options.get("centring", 0.0),
        precision="fp32",
    )
    rows = training_rows(preferences, tokenizer, max_length=512)
    loss = sum_parts(RewardObjective(scorer, rows, rows, ours), [0, 1, 2, 3], measures=False, learns=True)[0, 0]

    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", dtype=torch.float32)
    lines = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        | ({"margin": margin} if options.get("margin") else {})
        for (prompt, chosen, rejected), margin in zip(PAIRS, margins, strict=True)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    trainer = RewardTrainer(
        model=theirs,
        args=TrlConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=4,
            center_rewards_coefficient=options.get("centring"),
            train_sampling_strategy="sequential",
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=datasets.Dataset.from_json(str(tmp_path / "pairs.jsonl"), cache_dir=str(tmp_path / "cache")),
        processing_class=tokenizer,
    )
    trainer.model.train()
    their_loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    their_loss.backward()

    assert float(loss) == pytest.approx(their_loss.item(), abs=1e-5)
    ours_by_name = {name.removeprefix("classifier."): p.grad for name, p in scorer.named_parameters()}
    compared = 0
    for name, parameter in theirs.named_parameters():
        gradient = scorer.heads.grad if name == "score.weight" else ours_by_name[name]
        assert gradient is not None, name
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        compared += int(parameter.grad.abs().max() > 1e-4)
    assert compared > 20
