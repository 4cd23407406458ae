"""A policy as a reward model: beta times its log-ratio to the reference, by the tokens it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from toy_models import save_policy
from transformers import AutoModelForCausalLM

from rewardkit.__main__ import main
from rewardkit.config import EvaluateConfig
from rewardkit.data.records import Message
from rewardkit.network.chat_template import completion_text, prompt_text
from rewardkit.network.models import preset_config
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward.implicit import ImplicitReward

PROMPTS = [
    (Message(role="user", content=text),) for text in ("Where is my kettle?", "Where is my kettle?", "It broke.")
]
COMPLETIONS = ["On its way.", "I do not know, please wait for a week.", "A new one leaves today."]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy and its reference."""
    root = tmp_path_factory.mktemp("implicit")
    tokenizer = train_tokenizer([*COMPLETIONS, "Where is my kettle? It broke."], vocab_size=300)
    config = preset_config("tiny", tokenizer)
    config.initializer_range = 0.2
    for seed, name in enumerate(("policy", "reference")):
        save_policy(root / name, config, tokenizer, seed=seed)
    return root / "policy", root / "reference"


def naive(folder: Path, prompt: tuple[Message, ...], completion: str) -> float:
    """log pi(completion and end token | prompt), by plain transformers."""
    from rewardkit.network.tokens import load_tokenizer

    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    start = tokenizer(prompt_text(prompt, tokenizer), add_special_tokens=False)["input_ids"]
    rest = tokenizer(completion_text(prompt, completion, tokenizer), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logps = model(torch.tensor([start + rest])).logits[0, len(start) - 1 : -1].log_softmax(-1)
    return float(logps.gather(1, torch.tensor(rest)[:, None]).sum())


def test_the_reward_is_beta_times_the_log_ratio(folders: tuple[Path, Path]) -> None:
    policy, reference = folders
    reward = ImplicitReward.load(str(policy), reference=str(reference), beta=0.3)(PROMPTS, COMPLETIONS)
    expected = [
        0.3 * (naive(policy, prompt, text) - naive(reference, prompt, text))
        for prompt, text in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    assert reward.members.shape == (1, 3)
    assert reward.mean.tolist() == pytest.approx(expected, rel=1e-4)
    assert reward.std.tolist() == [0, 0, 0]


def test_batches_change_nothing(folders: tuple[Path, Path]) -> None:
    policy, reference = folders
    reward_fn = ImplicitReward.load(str(policy), reference=str(reference))
    whole = reward_fn(PROMPTS, COMPLETIONS)
    assert reward_fn(PROMPTS, COMPLETIONS, token_budget=1).mean.tolist() == pytest.approx(whole.mean.tolist(), abs=1e-4)


def test_the_reference_without_training_gives_no_reward(folders: tuple[Path, Path]) -> None:
    _, reference = folders
    reward = ImplicitReward.load(str(reference), reference=str(reference))(PROMPTS, COMPLETIONS)
    assert reward.mean.tolist() == [0, 0, 0]


def test_run_says_what_it_was_trained_from_and_with_which_beta(folders: tuple[Path, Path], tmp_path: Path) -> None:
    policy, reference = folders
    run = tmp_path / "run"
    run.mkdir()
    for file in policy.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    (run / "data.json").write_text("{}")
    (run / "config.yaml").write_text(yaml.safe_dump({"model": str(reference), "beta": 0.5, "max_length": 64}))
    loaded = ImplicitReward.load(str(run))
    assert (loaded.beta, loaded.max_length, loaded.about["reference"]) == (0.5, 64, str(reference))
    (run / "config.yaml").write_text(yaml.safe_dump({"model": "tiny", "beta": 0.5}))
    with pytest.raises(ValueError, match="began from 'tiny', which is no folder here: give --reference"):
        ImplicitReward.load(str(run))


def test_a_policy_from_elsewhere_needs_its_reference(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="name it with --reference"):
        ImplicitReward.load(str(folders[0]))


def test_other_tokens_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["other words altogether"], vocab_size=290)
    save_policy(tmp_path, preset_config("tiny", tokenizer), tokenizer, seed=0)
    with pytest.raises(ValueError, match="have different tokens"):
        ImplicitReward.load(str(folders[0]), reference=str(tmp_path))


def test_evaluate_takes_a_policy(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, reference = folders
    rows = [
        {"prompt": f"Question {number}?", "chosen": f"Yes {number}.", "rejected": f"No {number}, wait."}
        for number in range(6)
    ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", "--model", str(policy), "--implicit", "--reference", str(reference), "--data", str(data)]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["about"]["kind"] == "implicit reward of a policy"
    reward_fn = ImplicitReward.load(str(policy), reference=str(reference))
    prompts = [(Message(role="user", content=row["prompt"]),) for row in rows]
    chosen, rejected = (reward_fn(prompts, [row[name] for row in rows]).mean for name in ("chosen", "rejected"))
    assert found["evaluation"]["overall"]["accuracy"]["value"] == pytest.approx((chosen > rejected).mean())
    assert "implicit reward of a policy" in (tmp_path / "out" / "report.html").read_text()


def test_a_reference_without_implicit_is_refused() -> None:
    with pytest.raises(ValueError, match="give implicit too"):
        EvaluateConfig(model="m", out="o", data="d", reference="r")
