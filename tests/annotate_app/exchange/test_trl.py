"""What TRL makes of our files. Needs the [bench] extra; a tokenizer and models are built here, nothing is fetched."""

import pytest

pytest.importorskip("trl", reason="needs the [bench] extra")
pytest.importorskip("datasets", reason="needs the [bench] extra")

import datasets
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl.data_utils import extract_prompt, is_conversational, maybe_apply_chat_template, maybe_unpair_preference_dataset

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.hub import export_datasets
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments
from annotate_app.exchange.rows.options import ExportOptions
from rewardkit.data.choices import parse_choice_map
from rewardkit.data.records import Judgment

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]  # their warnings are not ours to mend
ADMIN = Actor.command_line()
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def tokenizer():
    """Every byte a token, so that no text is unknown."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", *sorted(letters)])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")
    made.chat_template = TEMPLATE
    return made


def config(tokenizer):
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
    )


@pytest.fixture
def causal_model(tokenizer, tmp_path):
    """The path of a model of random weights: trainers that need a reference load it from there a second time."""
    path = str(tmp_path / "model")
    LlamaForCausalLM(config(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def project(sqlite_store, make_project, shared_data):
    made = make_project(sqlite_store, "pandalm", num_comparisons=0)
    file = shared_data / "pandalm_dev.jsonl.gz"
    import_comparisons(sqlite_store, ADMIN, made.id, [file])
    numbered = BallotOptions(choice_map=parse_choice_map(["0=tie", "1=a", "2=b"]))
    import_judgments(sqlite_store, ADMIN, made.id, [file], numbered)
    return made


def load(store, project, out, **options):
    """The rows of an export as `datasets` loads them from the folder, card and all."""
    export_rows(store, ADMIN, project.id, out, ExportOptions(**options))
    return datasets.load_dataset(str(out), cache_dir=str(out.parent / "cache"))


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_datasets_loads_the_folder_with_its_splits(sqlite_store, project, tmp_path, format):
    splits = {"train": 0.9, "test": 0.1}
    loaded = load(sqlite_store, project, tmp_path / "out", format=format, splits=splits, layout="plain")
    assert sorted(loaded) == ["test", "train"]
    assert sum(len(part) for part in loaded.values()) == 480


def test_trl_recognises_every_layout(sqlite_store, project, tmp_path, tokenizer):
    rows = {
        layout: load(sqlite_store, project, tmp_path / layout, layout=layout)["train"]
        for layout in ("conversational", "plain", "implicit")
    }
    assert {name: is_conversational(part[0]) for name, part in rows.items()} == {
        "conversational": True,
        "plain": False,
        "implicit": True,
    }
    explicit = rows["conversational"]
    for index in range(0, 480, 40):
        whole = extract_prompt(rows["implicit"][index])
        assert {name: whole[name] for name in ("prompt", "chosen", "rejected")} == {
            name: explicit[index][name] for name in ("prompt", "chosen", "rejected")
        }
        templated = maybe_apply_chat_template(explicit[index], tokenizer)
        assert templated["prompt"] == f"<|user|>{rows['plain'][index]['prompt']}<eos><|assistant|>"
        assert templated["chosen"] == f"{rows['plain'][index]['chosen']}<eos>"


def test_our_unpaired_rows_are_those_that_trl_would_make(sqlite_store, project, tmp_path):
    pairs = load(sqlite_store, project, tmp_path / "pairs")["train"].select_columns(["prompt", "chosen", "rejected"])
    ours = load(sqlite_store, project, tmp_path / "unpaired", form="unpaired")["train"]
    theirs = maybe_unpair_preference_dataset(pairs)

    def plain(rows):
        return sorted((row["prompt"][0]["content"], row["completion"][0]["content"], row["label"]) for row in rows)

    assert plain(ours) == plain(theirs)


def arguments(kind, out, **more):
    return kind(
        output_dir=str(out),
        max_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **more,
    )


@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
def test_dpo_trains_a_step_on_our_rows_unchanged(sqlite_store, project, tmp_path, tokenizer, causal_model, layout):
    rows = load(sqlite_store, project, tmp_path / "out", layout=layout)["train"].select(range(8))
    trainer = DPOTrainer(
        model=causal_model,
        args=arguments(DPOConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-3)


@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
def test_reward_model_trains_a_step_on_our_rows_unchanged(sqlite_store, project, tmp_path, tokenizer, layout):
    rows = load(sqlite_store, project, tmp_path / "out", layout=layout)["train"].select(range(8))
    trainer = RewardTrainer(
        model=LlamaForSequenceClassification(config(tokenizer)),
        args=arguments(RewardConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert "margin" in trainer.train_dataset.column_names
    assert 0 < trainer.train().training_loss < 5


@pytest.mark.parametrize("layout", ["conversational", "plain"])
def test_kto_trains_a_step_on_our_rows_unchanged(sqlite_store, project, tmp_path, tokenizer, causal_model, layout):
    rows = load(sqlite_store, project, tmp_path / "out", form="unpaired", layout=layout)["train"].select(range(8))
    trainer = KTOTrainer(
        model=causal_model,
        args=arguments(KTOConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert 0 < trainer.train().training_loss < 5


@pytest.mark.parametrize("layout", ["conversational", "plain"])
def test_sft_trains_a_step_on_our_rows_unchanged(sqlite_store, project, tmp_path, tokenizer, causal_model, layout):
    rows = load(sqlite_store, project, tmp_path / "out", form="sft", layout=layout)["train"].select(range(8))
    trainer = SFTTrainer(
        model=causal_model,
        args=arguments(SFTConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert 0 < trainer.train().training_loss < 10


@pytest.fixture
def edited(sqlite_store, make_project):
    """A project of which every response was written anew by somebody."""
    made = make_project(sqlite_store, "edited", num_comparisons=8)
    edits = [
        Judgment(comparison_id=f"c{number}", annotator="anna", choice="tie", edited={"a": f"Anew, {number}."})
        for number in range(8)
    ]
    sqlite_store.judgments.import_many(ADMIN, made.id, edits)
    return made


def test_sft_trains_a_step_on_edited_responses(sqlite_store, edited, tmp_path, tokenizer, causal_model):
    rows = load(sqlite_store, edited, tmp_path / "out", form="edited_sft")["train"]
    assert sorted(row["completion"][0]["content"] for row in rows) == [f"Anew, {number}." for number in range(8)]
    trainer = SFTTrainer(
        model=causal_model,
        args=arguments(SFTConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert 0 < trainer.train().training_loss < 10


def test_dpo_trains_a_step_on_edited_responses_before_their_originals(
    sqlite_store, edited, tmp_path, tokenizer, causal_model
):
    rows = load(sqlite_store, edited, tmp_path / "out", form="edited_pairs")["train"]
    assert {row["source_chosen"] for row in rows} == {"edited by a person"}
    trainer = DPOTrainer(
        model=causal_model,
        args=arguments(DPOConfig, tmp_path / "run"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-3)


def test_datasets_folder_loads_from_disk(sqlite_store, project, tmp_path):
    options = ExportOptions(splits={"train": 0.9, "test": 0.1})
    done = export_datasets(sqlite_store, ADMIN, project.id, tmp_path / "out", options)
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert {name: len(part) for name, part in loaded.items()} == done.num_rows
    assert loaded["train"][0]["prompt"][0]["role"] == "user"
    assert (tmp_path / "out" / "README.md").is_file()
