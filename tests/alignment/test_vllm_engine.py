"""What is asked of vLLM and made of its answers, with a stand-in: vLLM itself needs a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alignment.generate import Sampling
from alignment.vllm_engine import VllmEngine, named_weights

SMALL = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


class Recorder:
    """Answers every prompt with its first token and 9, and notes what it was told."""

    def __init__(self, **options) -> None:
        self.options, self.loaded, self.asked, self.num_resets = options, {}, [], 0
        model = SimpleNamespace(load_weights=lambda named: self.loaded.update(named))
        worker = SimpleNamespace(model_runner=SimpleNamespace(model=model))
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))

    def reset_prefix_cache(self) -> None:
        self.num_resets += 1

    def generate(self, prompts, *, sampling_params, use_tqdm):
        self.asked = list(zip(prompts, sampling_params, strict=True))
        return [
            SimpleNamespace(outputs=[self.output(asked["prompt_token_ids"][0], n) for n in range(options.n)])
            for asked, options in self.asked
        ]

    @staticmethod
    def output(first: int, number: int):
        # vLLM lists the drawn token, and the likeliest where that is another.
        logprobs = [
            {first: SimpleNamespace(logprob=-1.5), 3: SimpleNamespace(logprob=-0.1)},
            {9: SimpleNamespace(logprob=-0.5)},
        ]
        return SimpleNamespace(token_ids=[first, 9], logprobs=logprobs, finish_reason=("stop", "length")[number % 2])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Recorder, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    return VllmEngine("folder", max_length=64)


def make_policy():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL, **HEADS)).eval()


def test_what_is_asked_and_what_is_made_of_the_answer(engine: VllmEngine) -> None:
    policy = make_policy()
    sampling = Sampling(temperature=0.7, max_new_tokens=5, end_ids=(2,), stop=("x",), seed=4)
    (one, other), (third, _) = engine.generate(policy, [(5, 6), (7,)], sampling, num_samples=2, keys=[3, 8])
    assert (one.prompt, one.completion, one.logps, one.finished) == ((5, 6), (5, 9), (-1.5, -0.5), True)
    assert (other.finished, third.prompt, third.completion) == (False, (7,), (7, 9))
    options = [options for _, options in engine.llm.asked]
    assert [(o.n, o.temperature, o.max_tokens, o.stop_token_ids, o.stop) for o in options] == [
        (2, 0.7, 5, [2], ["x"])
    ] * 2
    assert options[0].seed != options[1].seed
    assert engine.llm.num_resets == 1
    engine.generate(policy, [(7,)], sampling, keys=[8])
    assert engine.llm.asked[0][1].seed == options[1].seed  # of the prompt's key, not of its place


def test_the_policys_weights_are_given_before_each_rollout(engine: VllmEngine) -> None:
    policy = make_policy()
    engine.generate(policy, [(5,)], Sampling())
    assert engine.llm.loaded.keys() == policy.state_dict().keys()
    with torch.no_grad():
        policy.lm_head.weight.zero_()
    engine.llm.loaded["lm_head.weight"] = None
    engine.generate(policy, [(5,)], Sampling())
    assert not engine.llm.loaded["lm_head.weight"].any()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT's own making
def test_adapters_are_folded_into_the_weights_they_belong_to() -> None:
    from peft import LoraConfig, get_peft_model

    names = make_policy().state_dict().keys()
    lora = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = get_peft_model(make_policy(), lora)
    found = dict(named_weights(adapted.get_base_model()))
    expected = adapted.merge_and_unload().state_dict()
    assert found.keys() == names
    for name in names:
        torch.testing.assert_close(found[name], expected[name])


def test_what_vllm_would_answer_otherwise_is_refused(engine: VllmEngine) -> None:
    with pytest.raises(ValueError, match=r"top_p is 0\.9, allowed with vLLM is 1"):
        engine.generate(make_policy(), [(5,)], Sampling(top_p=0.9))


def test_without_vllm_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match=r'pip install "tiebreak\[vllm\]"'):
        VllmEngine("folder", max_length=64)
