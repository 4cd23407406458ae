"""Padded, packed and shared-prefix rows give the log-probabilities, losses and gradients of the model's own logits."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, PromptTuningConfig, get_peft_model
from torch import Tensor
from toy_models import config_of, gpt2_config, llama_config
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from rewardkit.network.logps import CompletionLogps, can_pack_policy, completion_logps
from rewardkit.network.models import switch_off_dropout
from rewardkit.network.packed_rows import Branched

CONFIGS = {
    "llama": lambda: llama_config(vocab_size=300),
    "llama, tied": lambda: llama_config(vocab_size=300, tie_word_embeddings=True),
    "qwen2": lambda: config_of("qwen2", vocab_size=300),
    "qwen3": lambda: config_of("qwen3", vocab_size=300, head_dim=8),
    "gpt2": lambda: gpt2_config(vocab_size=300),
    "cohere": lambda: config_of("cohere", vocab_size=300, logit_scale=3.0),
    "granite": lambda: config_of("granite", vocab_size=300, logits_scaling=0.3),
}


def make_policy(config: PretrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in policy.parameters():
        parameter.data.mul_(3.0)  # distributions that are not flat
    switch_off_dropout(policy)
    return policy


def adapt(policy: PreTrainedModel, config: PeftConfig) -> PeftModel:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        torch.manual_seed(0)
        adapted = get_peft_model(policy, config)
    assert isinstance(adapted, PeftModel)
    return adapted


def random_rows(shapes: list[tuple[int, tuple[int, ...]]]) -> list[Branched]:
    generator = torch.Generator().manual_seed(0)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 300, (length,), generator=generator).tolist())

    return [Branched(prompt=ids(prompt), branches=tuple(map(ids, branches))) for prompt, branches in shapes]


PAIRS = random_rows([(7, (3, 5)), (1, (4, 2)), (11, (2, 6)), (3, (9, 1)), (20, (12, 7))])
NUM_TOKENS = sum(len(branch) for row in PAIRS for branch in row.branches)


def unshared(rows: list[Branched]) -> list[Branched]:
    """One row for every branch, in the same order."""
    return [Branched(prompt=row.prompt, branches=(branch,)) for row in rows for branch in row.branches]


def naive_logps(policy: PreTrainedModel | PeftModel, rows: list[Branched], temperature: float = 1.0) -> list[Tensor]:
    """One sequence after another through the model's own logits."""
    found = []
    for row in unshared(rows):
        sequence = torch.tensor([row.prompt + row.branches[0]])
        logits = policy(input_ids=sequence).logits[0, len(row.prompt) - 1 : -1].float()
        log_shares = (logits / temperature).log_softmax(-1)
        found.append(log_shares.gather(-1, sequence[0, len(row.prompt) :, None])[:, 0])
    return found


def pair_loss(sums: Tensor) -> Tensor:
    """Of chosen over rejected, as in DPO."""
    return -torch.nn.functional.logsigmoid(0.1 * (sums[0::2] - sums[1::2])).mean()


def gradients(policy: PreTrainedModel | PeftModel, loss: Tensor) -> dict[str, Tensor]:
    policy.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("name", CONFIGS)
def test_every_form_equals_the_models_own_logits(name: str) -> None:
    policy = make_policy(CONFIGS[name]())
    expected = naive_logps(policy, PAIRS)
    expected_sums = torch.stack([logps.sum() for logps in expected])
    expected_gradients = gradients(policy, pair_loss(expected_sums))
    assert can_pack_policy(policy)
    for rows, packed in ((PAIRS, True), (unshared(PAIRS), True), (PAIRS, False)):
        policy.set_attn_implementation("tiebreak_packed" if packed else "sdpa")
        found = completion_logps(policy, rows, packed=packed, chunk_size=70)
        torch.testing.assert_close(found.token_logps, torch.cat(expected), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.sums(), expected_sums, atol=1e-5, rtol=1e-5)
        loss = pair_loss(found.sums())
        torch.testing.assert_close(loss, pair_loss(expected_sums), atol=1e-5, rtol=1e-5)
        assert_same(gradients(policy, loss), expected_gradients)


def test_branches_lengths_and_means() -> None:
    policy = make_policy(CONFIGS["llama"]())
    assert can_pack_policy(policy)
    found = completion_logps(policy, PAIRS, packed=True)
    expected = naive_logps(policy.set_attn_implementation("sdpa") or policy, PAIRS)
    assert found.lengths.tolist() == [3, 5, 4, 2, 2, 6, 9, 1, 12, 7]
    assert found.branch.tolist() == [number for number, logps in enumerate(expected) for _ in logps]
    torch.testing.assert_close(found.means(), torch.stack([logps.mean() for logps in expected]), atol=1e-5, rtol=1e-5)
    assert found.entropy is None


def test_temperature_divides_the_logits() -> None:
    policy = make_policy(CONFIGS["llama"]())
    expected = torch.cat(naive_logps(policy, PAIRS, temperature=0.6))
    assert can_pack_policy(policy)
    found = completion_logps(policy, PAIRS, packed=True, temperature=0.6)
    torch.testing.assert_close(found.token_logps, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="temperature is 0"):
        completion_logps(policy, PAIRS, packed=True, temperature=0.0)


@pytest.mark.parametrize("packed", [True, False])
def test_only_kept_tokens_are_computed(packed: bool) -> None:
    policy = make_policy(CONFIGS["qwen2"]())
    assert can_pack_policy(policy)
    policy.set_attn_implementation("tiebreak_packed" if packed else "sdpa")
    full = completion_logps(policy, PAIRS, packed=packed, with_entropy=True)
    keep = torch.arange(NUM_TOKENS) % 3 != 0
    keep[:3] = False  # nothing of the first branch
    found = completion_logps(policy, PAIRS, packed=packed, keep=keep, with_entropy=True)
    torch.testing.assert_close(found.token_logps, full.token_logps[keep])
    assert full.entropy is not None
    torch.testing.assert_close(found.entropy, full.entropy[keep])
    assert found.branch.tolist() == full.branch[keep].tolist()
    assert found.lengths.tolist() == [int(keep[full.branch == branch].sum()) for branch in range(10)]
    for of_branch in (found.sums(), found.means()):
        assert of_branch.tolist()[0] == 0.0
    with pytest.raises(ValueError, match=r"keep has shape \(5,\), the batch has 51 completion tokens"):
        completion_logps(policy, PAIRS, packed=packed, keep=keep[:5])


def test_entropy_is_that_of_the_models_own_distribution() -> None:
    policy = make_policy(CONFIGS["llama"]())
    row = PAIRS[0]
    logits = policy(input_ids=torch.tensor([row.prompt + row.branches[1]])).logits[0, len(row.prompt) - 1 : -1]
    expected = torch.distributions.Categorical(logits=logits / 1.3).entropy()
    assert can_pack_policy(policy)
    found = completion_logps(policy, PAIRS, packed=True, with_entropy=True, temperature=1.3)
    assert found.entropy is not None
    ours = found.entropy[found.branch == 1]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    weights = list(policy.parameters())
    slopes = [torch.autograd.grad(each.sum(), weights, allow_unused=True) for each in (ours, expected)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_groups_of_many_branches_equal_padded_ones() -> None:
    policy = make_policy(CONFIGS["llama"]())
    group = random_rows([(6, (3, 5, 1, 8)), (2, (4,))])
    expected = torch.cat(naive_logps(policy, group))
    assert can_pack_policy(policy)
    found = completion_logps(policy, group, packed=True)
    torch.testing.assert_close(found.token_logps, expected, atol=1e-5, rtol=1e-5)


def test_bf16_autocast_stays_close() -> None:
    policy = make_policy(CONFIGS["llama"]())
    assert can_pack_policy(policy)
    expected = completion_logps(policy, PAIRS, packed=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = completion_logps(policy, PAIRS, packed=True)
    assert found.token_logps.dtype == torch.float32
    torch.testing.assert_close(found.token_logps, expected.token_logps, atol=0.05, rtol=0.0)


@pytest.mark.parametrize("target_modules", ["all-linear", ["q_proj", "lm_head"]], ids=["trunk", "head"])
def test_lora_and_its_absence(target_modules: str | list[str]) -> None:
    policy = make_policy(CONFIGS["llama"]())
    bare = torch.cat(naive_logps(policy, PAIRS))
    adapted = adapt(policy, LoraConfig(r=4, lora_dropout=0.0, target_modules=target_modules))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    expected = naive_logps(adapted, PAIRS)
    expected_gradients = gradients(adapted, pair_loss(torch.stack([logps.sum() for logps in expected])))
    assert can_pack_policy(adapted)
    found = completion_logps(adapted, PAIRS, packed=True)
    torch.testing.assert_close(found.token_logps, torch.cat(expected), atol=1e-5, rtol=1e-5)
    assert_same(gradients(adapted, pair_loss(found.sums())), expected_gradients)
    with adapted.disable_adapter(), torch.no_grad():
        reference = completion_logps(adapted, PAIRS, packed=True)
    torch.testing.assert_close(reference.token_logps, bare, atol=1e-5, rtol=1e-5)
    assert (reference.token_logps - found.token_logps).abs().max() > 0.1


def test_prompt_tuning_is_refused() -> None:
    policy = make_policy(CONFIGS["llama"]())
    adapted = adapt(policy, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(ValueError, match="prompt-tuning"):
        completion_logps(adapted, PAIRS, packed=False)


def test_an_empty_prompt_is_refused() -> None:
    policy = make_policy(CONFIGS["llama"]())
    with pytest.raises(ValueError, match="without a prompt"):
        completion_logps(policy, [Branched(prompt=(), branches=((4, 5),))], packed=False)


@pytest.mark.parametrize(
    "config",
    [
        config_of("mistral", vocab_size=300, sliding_window=4),
        config_of("gemma2", vocab_size=300, head_dim=8, final_logit_softcapping=3.0, attn_logit_softcapping=None),
    ],
    ids=["mistral", "gemma2"],  # gemma2 also bounds its logits and has no fused attention
)
def test_sliding_windows_run_padded_with_one_warning(
    config: PretrainedConfig, caplog: pytest.LogCaptureFixture
) -> None:
    policy = make_policy(config)
    expected = torch.cat(naive_logps(policy, PAIRS))
    with caplog.at_level(logging.WARNING):
        assert not can_pack_policy(policy)
    assert [record.message for record in caplog.records] == [
        f"{type(policy).__name__} runs padded, which is slower: it has layers of type sliding_attention"
    ]
    found = completion_logps(policy, PAIRS, packed=False)
    torch.testing.assert_close(found.token_logps, expected, atol=1e-5, rtol=1e-5)


def test_a_model_with_unknown_logits_is_refused() -> None:
    policy = make_policy(CONFIGS["granite"]())
    plain = policy.forward

    def doubled(*args: object, **kwargs: object) -> object:
        output = plain(*args, **kwargs)  # pyright: ignore[reportArgumentType]
        output.logits = 2.0 * output.logits
        return output

    policy.forward = doubled  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="GraniteForCausalLM changes its logits in a way that is not known here"):
        can_pack_policy(policy)


def test_gradients_of_sums_reach_their_branch_only() -> None:
    logps = torch.tensor([-1.0, -2.0, -4.0], requires_grad=True)
    found = CompletionLogps(
        token_logps=logps,
        branch=torch.tensor([0, 1, 1]),
        lengths=torch.tensor([1, 2]),
        entropy=None,
        states=torch.zeros(3, 1),
    )
    # sums -1 and -6, means -1 and -3
    assert found.sums().tolist() == [-1.0, -6.0]
    assert found.means().tolist() == [-1.0, -3.0]
    found.means()[1].backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [0.0, 0.5, 0.5]
