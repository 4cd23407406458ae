"""Folders that people bring: what is not a whole model is refused in one line that names it, in every command."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_architectures import make_folder, make_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.__main__ import main as alignment_main
from rewardkit.__main__ import main
from rewardkit.data.records import Message
from rewardkit.network.chat_template import render
from rewardkit.network.classifier import packed_features, padded_features
from rewardkit.network.layout import attended_plainly
from rewardkit.network.models import load_policy
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import load_tokenizer, policy_prompts
from rewardkit.reward.reward_model import RewardModel

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("Llama 2", tmp_path_factory.mktemp("policies"), classifier=False)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("Llama 2", tmp_path_factory.mktemp("classifiers"), classifier=True)


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def rewrite(folder: Path, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor] | None]) -> None:
    changed = [change(name, tensor) for name, tensor in load_file(folder / WEIGHTS).items()]
    save_file(dict(pair for pair in changed if pair), folder / WEIGHTS, {"format": "pt"})


def tear(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:2000])


def pickle_more(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"a": Path("b")}, folder / "pytorch_model.bin")


def want_code(folder: Path) -> None:
    edit(folder / "config.json", model_type="theirs", auto_map={"AutoConfig": "theirs.Config"})
    (folder / "theirs.py").write_text("raise SystemExit('code of a model was run')")


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn weights": (tear, "SafetensorError"),
    "a pointer of git lfs": (lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs"), "Safetensor"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no file named model.safetensors"),
    "a pickle of more than tensors": (pickle_more, "its weights hold more than tensors"),
    "a configuration that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "must be a mapping"),
    "a number that is a word": (
        lambda folder: edit(folder / "config.json", num_attention_heads="four"),
        "expected int",
    ),
    "a pad token out of range": (lambda folder: edit(folder / "config.json", pad_token_id=9999), "Padding_idx"),
    "other widths": (lambda folder: edit(folder / "config.json", hidden_size=64), "its config.json wants ("),
    "code of its own": (want_code, "it wants code of its own to be run, which is never done here"),
    "a layer less": (
        lambda folder: rewrite(folder, lambda name, tensor: None if "layers.1.mlp.up" in name else (name, tensor)),
        "its file has no model.layers.1.mlp.up_proj.weight",
    ),
    "other names": (
        lambda folder: rewrite(folder, lambda name, tensor: (f"module.{name}", tensor)),
        "model.layers.0.input_layernorm.weight",
    ),
    "weights that are no numbers": (
        lambda folder: rewrite(folder, lambda name, tensor: (name, tensor * math.nan)),
        "not finite",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_a_folder_that_is_no_whole_model_is_refused_by_name(
    what: str, policies: Path, classifiers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that a file lacks were random before, and the numbers of others each time."""
    spoil, reason = ODD[what]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "who", "completion": "the lamp"}) + "\n")
    for kind, folder in (("policy", policies), ("reward", classifiers)):
        model = shutil.copytree(folder, tmp_path / kind)
        spoil(model)
        if kind == "policy":
            words = f"sample --model {model} --prompts {rows} --out {tmp_path / 'out.jsonl'} --max-new-tokens 2"
            assert alignment_main(words.split()) == 2
        else:
            assert main(f"score --model {model} --input {rows} --output {tmp_path / 'out.jsonl'}".split()) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert str(model) in line
        assert reason in line
        assert not (tmp_path / "out.jsonl").exists()


def test_a_classifier_is_no_policy(classifiers: Path) -> None:
    with pytest.raises(ValueError, match=r"no causal language model, its file has no lm_head\.weight"):
        load_policy(classifiers)


def test_a_reward_model_whose_layers_are_missing_is_not_trained_from_chance(
    policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(policies, tmp_path / "model")
    ODD["a layer less"][0](folder)
    rows = [{"prompt": f"who {number}", "chosen": "a lamp", "rejected": "noon"} for number in range(80)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = f"train --model {folder} --data {tmp_path / 'pairs.jsonl'} --out {tmp_path / 'run'}"
    assert main(words.split()) == 2
    assert "its file has no model.layers.1.mlp.up_proj.weight" in capsys.readouterr().err


@pytest.mark.parametrize("classifier", [False, True])
def test_a_token_without_weights_is_refused_where_a_text_has_it(
    classifier: bool, policies: Path, classifiers: Path, tmp_path: Path
) -> None:
    """Rewards of texts with such a token were others at each start; a policy ended in an IndexError."""
    folder = shutil.copytree(classifiers if classifier else policies, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    prompts = [[Message(role="user", content="who")], [Message(role="user", content="who <new>")]]
    if classifier:
        model = RewardModel.load(folder)
        plain = RewardModel.load(classifiers)
        assert model(prompts[:1], ["a"]).members == pytest.approx(plain(prompts[:1], ["a"]).members)
        with pytest.raises(ValueError, match="no weights for '<new>'"):
            model(prompts, ["a", "a"])
    else:
        _, tokenizer = load_policy(folder)
        assert policy_prompts(prompts[:1], tokenizer)
        with pytest.raises(ValueError, match="no weights for '<new>'"):
            policy_prompts(prompts, tokenizer)


@pytest.mark.parametrize(
    ("template", "lost"),
    [
        (
            "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
            "user and assistant",
        ),
        ("{{ messages[0].content }}", "assistant"),
        ("", "user and assistant"),
    ],
)
def test_a_template_that_leaves_out_what_was_said_is_refused(template: str, lost: str, tmp_path: Path) -> None:
    """All completions of a prompt would be worth the same."""
    tokenizer = make_tokenizer("llama")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    if not template:
        edit(tmp_path / "tokenizer_config.json", chat_template="")
    with pytest.raises(ValueError, match=f"does not write the text of a turn of {lost}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
        ("{{ strftime_now('%Y', 3) }}", "argument"),
    ],
)
def test_whatever_a_template_ends_in_is_a_refusal(template: str, reason: str) -> None:
    tokenizer = make_tokenizer("llama")
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=f"refuses a conversation of user: .*{reason}"):
        render([Message(role="user", content="a")], tokenizer)


def adapter(base: Path, folder: Path, **options: object) -> None:
    from peft import LoraConfig, get_peft_model

    network = AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        lora = LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False, **options)  # type: ignore[arg-type]
        get_peft_model(network, lora).save_pretrained(str(folder))


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 3}, "use_rslora": True},
        {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]},
    ],
)
def test_adapters_of_every_kind_add_what_peft_adds(options: dict[str, object], policies: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    adapter(policies, tmp_path / "adapter", **options)
    policy, tokenizer = load_policy(tmp_path / "adapter")  # without a tokenizer of its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(policies), str(tmp_path / "adapter"))
    ids = tokenizer("who will call", return_tensors="pt").input_ids
    with torch.no_grad():
        ours, expected, base = (
            model(input_ids=ids).logits for model in (policy, theirs.eval(), load_policy(policies)[0])
        )
    assert ours == pytest.approx(expected, abs=1e-4)
    assert (ours - base).abs().max() > 0.01


def test_an_adapter_for_other_layers_is_refused(policies: Path, tmp_path: Path) -> None:
    """peft warns and adds nothing: the base would pass for the adapter."""
    adapter(policies, tmp_path / "adapter", target_modules=["q_proj"])
    file = tmp_path / "adapter" / "adapter_config.json"
    edit(file, target_modules=["o_proj"])
    with pytest.raises(ValueError, match=r"the adapter has no weights for .*o_proj\.lora_A"):
        load_policy(tmp_path / "adapter")
    edit(file, target_modules=["q_proj"], layers_to_transform=[0])
    with pytest.raises(ValueError, match=r"no place for the adapter's .*layers\.1\.self_attn\.q_proj\.lora_A"):
        load_policy(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"base_model_name_or_path": None}, "is None, allowed is a folder or a hub id"),
        ({"base_model_name_or_path": "/nowhere/base"}, "'/nowhere/base', and there is no such folder"),
        ({"peft_type": "ZZZ"}, "ZZZ"),
        ({"r": 7}, "size mismatch"),
        ({"target_modules": ["nothing"]}, "not found in the base model"),
    ],
)
def test_adapters_that_fit_nothing_are_refused(
    values: dict[str, object], reason: str, policies: Path, tmp_path: Path
) -> None:
    adapter(policies, tmp_path / "adapter", target_modules=["q_proj"])
    edit(tmp_path / "adapter" / "adapter_config.json", **values)
    with pytest.raises(ValueError, match=reason):
        load_policy(tmp_path / "adapter")


def test_an_adapter_on_an_adapter_is_refused(policies: Path, tmp_path: Path) -> None:
    adapter(policies, tmp_path / "one", target_modules=["q_proj"])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    edit(tmp_path / "two" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "one"))
    with pytest.raises(ValueError, match=r"an adapter on the adapter .*one, allowed is one on a whole model"):
        load_policy(tmp_path / "two")


def test_an_adapter_without_a_tokenizer_is_an_implicit_reward(
    policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter(policies, tmp_path / "adapter", target_modules=["q_proj"])
    rows = [{"prompt": f"who {number}", "chosen": "a lamp", "rejected": "noon"} for number in range(8)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = (
        f"evaluate --implicit --model {tmp_path / 'adapter'} --data {tmp_path / 'pairs.jsonl'} --out {tmp_path / 'run'}"
    )
    assert main(words.split()) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["T5", "BART"])
def test_texts_with_an_end_token_score_beside_others(name: str, tmp_path: Path) -> None:
    """Classifiers on encoder-decoders refuse a batch of texts with unlike many EOS tokens."""
    model = RewardModel.load(make_folder(name, tmp_path, classifier=True))
    prompts = [[Message(role="user", content="who")]] * 3
    completions = ["the lamp", "the </s> lamp", "noon"]
    alone = [model([prompt], [text]).members[0, 0] for prompt, text in zip(prompts, completions, strict=True)]
    assert model(prompts, completions).members[0] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("length", [-1, None, 1e30])
def test_a_tokenizer_that_states_no_length_sets_no_limit(
    length: float | None, classifiers: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(classifiers, tmp_path / "model")
    edit(folder / "tokenizer_config.json", model_max_length=length)
    assert RewardModel.load(folder).card.max_length == 256


@pytest.mark.parametrize("name", ["q_proj", "lm_head"])
def test_training_goes_on_from_an_adapter(name: str, policies: Path, tmp_path: Path) -> None:
    """peft freezes what an adapter stands on, and merged there was nothing left to train."""
    options = {"modules_to_save": ["lm_head"]} if name == "lm_head" else {}
    adapter(policies, tmp_path / "adapter", target_modules=["q_proj"], **options)
    policy, _ = load_policy(tmp_path / "adapter")
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert len(list(policy.parameters())) == len(list(load_policy(policies)[0].parameters()))


@pytest.mark.parametrize("pad_token_id", [-1, None, 9999])
def test_a_pad_token_that_is_none_fills_no_rows(pad_token_id: int | None, tmp_path: Path) -> None:
    """GPT-2 with one out of range ended in an IndexError where rows run padded."""
    folder = make_folder("GPT-2", tmp_path, classifier=True)
    edit(folder / "config.json", pad_token_id=pad_token_id)
    model = RewardModel.load(folder)
    rows = [Branched(prompt=(5, 6), branches=((7,), (8, 9)))]
    with attended_plainly(model.scorer.classifier):
        padded = padded_features(model.scorer.classifier, rows).detach()
    assert padded == pytest.approx(packed_features(model.scorer.classifier, rows).detach(), abs=1e-4)
