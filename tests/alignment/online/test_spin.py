"""Self-play of online DPO: its pairs, its steps by the paper's formula, and whole runs without a reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import collected, metrics_of, weights_of
from toy_models import NARROW, llama_config
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from alignment.__main__ import main
from alignment.config.online import OnlineDpoConfig
from alignment.online import loop as online_loop
from alignment.online.drawn_pairs import against_own, with_demonstrations
from alignment.online.online_dpo import OnlineDpo
from alignment.online.update import PolicyUpdate
from alignment.policy.data import read_demonstrated_prompts
from alignment.policy.policy import make_network
from alignment.policy.policy_forward import Forward
from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.records import Message
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import policy_prompts, token_ids, train_tokenizer

TEXTS = ["My kettle arrived broken. What now?", "We are sorry. A new kettle leaves today, keep the old one."]
ANSWERS = ("We are sorry.", "A new kettle leaves today.", "Keep the old one.")
WEIGHTS = (1.0, 0.5, 2.0)
LIMIT = 12


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, vocab_size=300)


def update_of(tokenizer: PreTrainedTokenizerBase) -> PolicyUpdate:
    shape = NARROW | {"vocab_size": len(tokenizer)}
    network = make_network(llama_config(**shape, tie_word_embeddings=True, initializer_range=0.3), seed=0)
    return PolicyUpdate(
        Forward(network=network, packed=can_pack_policy(network), token_budget=4096, precision="fp32"),
        torch.optim.SGD(network.parameters(), lr=0.05),
        temperature=1.0,
        token_budget=4096,
        max_grad_norm=1e9,
    )


def ids_of(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens of an answer and its end."""
    return (*token_ids([text], tokenizer)[0], int(tokenizer.eos_token_id))  # pyright: ignore[reportArgumentType]


def rollouts_of(update: PolicyUpdate, tokenizer: PreTrainedTokenizerBase) -> Rollouts:
    """Two samples of each of three prompts; the second of the last prompt is its demonstration."""
    prompts = tuple((Message(role="user", content=f"My kettle {number}?"),) for number in range(3))
    ids = policy_prompts(prompts, tokenizer)
    same = ids_of(ANSWERS[2], tokenizer)
    branches = (((40, 41, 42), (50,)), ((60, 61), (7, 8, 9, 10)), ((70, 71), same))
    rows = tuple(Branched(prompt=one, branches=own) for one, own in zip(ids, branches, strict=True))
    with torch.no_grad():
        logps = completion_logps(update.forward.network, rows, packed=update.forward.packed).token_logps
    return Rollouts(
        numbers=(0, 1, 2),
        prompts=prompts,
        columns=tuple({"demonstration": text, "weight": w} for text, w in zip(ANSWERS, WEIGHTS, strict=True)),
        rows=rows,
        texts=tuple(f"own {number}" for number in range(6)),
        finished=torch.tensor([True, False] * 3),
        logps=logps,
    )


def config_of(**more: Any) -> OnlineDpoConfig:
    options = {"model": "m", "data": "d", "out": "o", "pairs": "spin", "prompts_per_step": 3, "passes": 2}
    return OnlineDpoConfig(**options | {"completions_per_prompt": 2, "max_new_tokens": LIMIT} | more)  # pyright: ignore


def test_demonstrations_stand_before_the_samples_of_their_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    rollouts = rollouts_of(update_of(tokenizer), tokenizer)
    paired = with_demonstrations(rollouts, tokenizer, max_new_tokens=LIMIT)
    short = with_demonstrations(rollouts, tokenizer, max_new_tokens=2)
    assert paired.texts == (ANSWERS[0], "own 0", "own 1", ANSWERS[1], "own 2", "own 3", ANSWERS[2], "own 4", "own 5")
    for text, row, cut, own in zip(ANSWERS, paired.rows, short.rows, rollouts.rows, strict=True):
        ids = ids_of(text, tokenizer)
        assert row == Branched(prompt=own.prompt, branches=(ids, *own.branches))
        assert cut.branches[0] == ids[:2]
    assert paired.finished.tolist() == [True, True, False] * 3
    assert short.finished.tolist() == [False, True, False] * 3
    is_demonstration = torch.isin(paired.branch, torch.tensor([0, 3, 6]))
    assert torch.equal(paired.logps.isnan(), is_demonstration)
    assert torch.equal(paired.logps[~is_demonstration], rollouts.logps)


def test_pairs_are_all_samples_against_their_demonstration(tokenizer: PreTrainedTokenizerBase) -> None:
    """Tokens have log-probabilities of -0.5 in demonstrations and -1 in samples: -0.5 n + m is the margin."""
    rollouts = rollouts_of(update_of(tokenizer), tokenizer)
    paired = with_demonstrations(rollouts, tokenizer, max_new_tokens=LIMIT)
    pairs = against_own(paired, torch.where(torch.isin(paired.branch, torch.tensor([0, 3, 6])), -0.5, -1.0))
    assert pairs.groups.tolist() == [0, 0, 1, 1, 2]  # the last sample is the demonstration
    assert pairs.chosen.tolist() == [0, 0, 3, 3, 6]
    assert pairs.rejected.tolist() == [1, 2, 4, 5, 7]
    first, second, third = (len(row.branches[0]) for row in paired.rows)
    assert len({first, second, third}) > 1
    halves = np.array([first, first, second, second, third]) / 2
    assert pairs.margin.tolist() == (np.array([3, 1, 2, 4, 2]) - halves).tolist()
    assert pairs.weight.tolist() == [1.0, 1.0, 0.5, 0.5, 2.0]
    assert pairs.branches([4, 1]) == [6, 7, 0, 2]


def test_an_iteration_is_held_to_the_policy_that_drew(tokenizer: PreTrainedTokenizerBase) -> None:
    """Two optimizer steps of sum_q w_q log(1 + exp(-beta ((a - a_t) - (b - b_t)))) / sum_q w_q, by a naive twin.

    a and b are log-likelihoods of demonstration and sample, a_t and b_t those of the policy before the first of them.
    """
    update, naive = update_of(tokenizer), update_of(tokenizer)
    rollouts = rollouts_of(update, tokenizer)

    def draw(_count: int, _number: int) -> Collected:
        return collected(rollouts, np.zeros(6))

    algorithm = OnlineDpo(config_of(beta=0.3), update, None, tokenizer=tokenizer)
    metrics = algorithm.step(draw, with_entropy=False, with_kl=False).metrics
    network: Any = naive.forward.network
    network.set_attn_implementation("sdpa")

    def likelihood(row: Branched, branch: int) -> torch.Tensor:
        ids = torch.tensor([row.prompt + row.branches[branch]])
        logps = network(input_ids=ids).logits[0, :-1].log_softmax(-1)
        return logps[len(row.prompt) - 1 :].gather(1, ids[0, len(row.prompt) :, None]).sum()

    rows = with_demonstrations(rollouts, tokenizer, max_new_tokens=LIMIT).rows
    weights = torch.tensor([1.0, 1.0, 0.5, 0.5, 2.0])
    numbers = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]

    def gaps() -> torch.Tensor:
        return torch.stack([likelihood(rows[row], 0) - likelihood(rows[row], own) for row, own in numbers])

    held = gaps().detach()
    losses = []
    for _ in range(2):
        loss = (weights * torch.log1p(torch.exp(-0.3 * (gaps() - held)))).sum() / weights.sum()
        naive.optimizer.zero_grad()
        loss.backward()
        naive.optimizer.step()
        losses.append(float(loss.detach()))
    torch.testing.assert_close(weights_of(update), weights_of(naive), atol=2e-6, rtol=1e-4)
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-6)
    assert losses[1] < losses[0] == pytest.approx(np.log(2), abs=1e-6)
    assert metrics["pairs/margin"] == pytest.approx(float(held.mean()), abs=1e-4)
    assert metrics["sampling/logp_difference"] == pytest.approx(0.0, abs=1e-5)


def test_its_first_gradient_is_that_of_sft_in_expectation(tokenizer: PreTrainedTokenizerBase) -> None:
    """Samples of the policy itself have a mean score of 0: what is left is beta / 2 times the demonstrations' score.

    All 300 completions of one token, weighted by their probability, are the expectation exactly.
    """
    update = update_of(tokenizer)
    network: Any = update.forward.network
    network.set_attn_implementation("sdpa")
    (prompt,) = policy_prompts([(Message(role="user", content="My kettle?"),)], tokenizer)
    logps = network(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    demonstration, beta = 40, 0.3
    gap = logps[demonstration] - logps
    spin = -(logps.exp().detach() * torch.nn.functional.logsigmoid(beta * (gap - gap.detach()))).sum()
    parameters = list(network.parameters())
    of_spin = torch.autograd.grad(spin, parameters, retain_graph=True)
    of_sft = torch.autograd.grad(-logps[demonstration], parameters)
    for one, other in zip(of_spin, of_sft, strict=True):
        torch.testing.assert_close(one, beta / 2 * other, atol=1e-6, rtol=1e-4)
    assert max(float(one.abs().max()) for one in of_sft) > 0.01


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompts": "p"}, "pairs is spin: its prompts come with demonstrations, give data"),
        ({"data": ""}, "give model and data together"),
        ({"pairs": "best_worst", "reward": ["json"]}, "data holds demonstrations, for pairs spin: give prompts"),
        ({"passes": 1}, "the gradient that of sft with noise; give minibatches or passes"),
        ({"loss": "simpo"}, "loss simpo has no reference, which self-play is held to"),
        ({"reference_every": 2}, "reference_every is 2, pairs spin has no reward"),
        ({"soft_labels": True}, "soft_labels is True, pairs spin has no reward"),
    ],
)
def test_bad_configurations(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**more)


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_prompts_without_a_demonstration_are_refused_by_file_and_line(tmp_path: Path) -> None:
    good = {"prompt": "My kettle?", "completion": "Keep it."}
    missing = write(tmp_path / "missing.jsonl", [good, good, {"prompt": "And now?"}])
    with pytest.raises(ValueError, match=rf"{missing}:3: .*completion"):
        read_demonstrated_prompts(missing)
    bare = write(tmp_path / "bare.jsonl", [{"text": "Keep it."}])
    with pytest.raises(ValueError, match=rf"{bare}:1: .*a demonstration needs the prompt that it answers"):
        read_demonstrated_prompts(bare)
    alone = write(tmp_path / "alone.jsonl", [{"prompt": "And now?"}])
    with pytest.raises(ValueError, match="no demonstrations, the columns are prompt"):
        read_demonstrated_prompts(alone)
    whole = write(tmp_path / "whole.jsonl", [good | {"weight": 2, "shop": "b"}])
    (row,) = read_demonstrated_prompts(whole).rows
    assert row.prompt == (Message(role="user", content="My kettle?"),)
    assert row.columns == good | {"weight": 2, "shop": "b", "demonstration": "Keep it."}


def words(folder: Path, policy: Path, out: str, **more: Any) -> list[str]:
    numbers = {"max-steps": 3, "prompts-per-step": 6, "passes": 2, "minibatches": 2, "completions-per-prompt": 1}
    numbers |= {"max-new-tokens": 8, "audit-every": 1, "eval-share": 0.25, "learning-rate": 0.01, "precision": "fp32"}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (numbers | more).items()]
    paths = [f"--model={policy}", f"--data={folder}/demonstrations.jsonl", f"--out={folder}/{out}"]
    return ["online-dpo", "--pairs=spin", *paths, *flags]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"My kettle {number}?", "completion": "We are sorry."} for number in range(24)]
    write(tmp_path / "demonstrations.jsonl", rows)
    return tmp_path


@pytest.mark.slow
def test_a_run_without_a_reward_draws_near_to_its_demonstrations_and_goes_on_bit_for_bit(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = {"max-steps": 6, "sample-every": 6}
    assert main(words(folder, policy_folders[0], "whole", **sampled)) == 0
    rows = metrics_of(folder / "whole")
    margins = [row["pairs/margin"] or 0.0 for row in rows]
    assert margins[0] < -10  # a policy of random weights would not write the demonstrations
    assert margins[-1] > margins[0] / 2
    assert np.mean([row["rewards/accuracies"] or 0.0 for row in rows]) > 0.5
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert (rows[-1]["kl"] or 0.0) > 0.1
    assert not [name for name in rows[0] if name.startswith("reward/")]
    assert {"audit/kl", "audit/length"} <= rows[0].keys()
    assert "audit/raw" not in rows[0]
    samples = [json.loads(line) for line in (folder / "whole" / "samples.jsonl").read_text().splitlines()]
    assert samples
    assert "reward" not in samples[0]
    card = (folder / "whole" / "README.md").read_text()
    assert "self-play fine-tuning" in card
    assert "rewards: none" in card

    step = online_loop.OnlineLoop._step

    def killed(self: online_loop.OnlineLoop, number: int) -> tuple[dict[str, float], str]:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(online_loop.OnlineLoop, "_step", killed)
        assert main(words(folder, policy_folders[0], "stopped", **sampled)) == 1
    assert main([*words(folder, policy_folders[0], "stopped", **sampled), "--resume"]) == 0
    assert metrics_of(folder / "stopped") == rows
    whole, stopped = (AutoModelForCausalLM.from_pretrained(folder / name).state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
