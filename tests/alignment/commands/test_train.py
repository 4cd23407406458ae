"""`alignment sft|dpo|kto` as people type them: what a run leaves, bad input in one line, processes killed and two."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.__main__ import COMMAND_LINE, main
from rewardkit.run.command import field_meanings

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
CLOCKED = ("time/", "tokens_per")
FSDP2 = ("-m", "accelerate.commands.launch", f"--config_file={ROOT / 'alignment' / 'accelerate' / 'fsdp2.yaml'}")


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    """60 pairs in which a kind answer is chosen; prompts of very different length."""
    rng = random.Random(0)
    words = ["boat", "cake", "door", "garden", "letter", "window", "river", "engine", "paper", "winter"]
    file = tmp_path / "preferences.jsonl"
    with file.open("w") as lines:
        for number in range(60):
            prompt = f"Question {number}: " + " ".join(rng.choices(words, k=rng.randint(3, 40))) + "?"
            kind = f"Gladly, the {rng.choice(words)} comes first. Thank you."
            rude = f"No. {rng.choice(words)}, find out yourself."
            lines.write(json.dumps({"prompt": prompt, "chosen": kind, "rejected": rude}) + "\n")
    return file


def options(preferences: Path, run: Path, **more: object) -> list[str]:
    """9 steps, an evaluation every 3."""
    numbers = {"max-steps": 9, "batch-size": 8, "eval-every": 3, "learning-rate": 0.001, "sample-every": 3}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (numbers | more).items()]
    return ["--model=tiny", f"--data={preferences}", f"--out={run}", *flags]


def start(*words: str, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "alignment", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return out


def status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text()) if (run / "status.json").exists() else {"step": 0}


def metrics(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith(CLOCKED)} for row in rows]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_help_answers_within_a_second_without_torch() -> None:
    for command in ("sft", "dpo", "kto"):
        code = f"import sys; sys.argv = ['alignment', '{command}', '--help']\nfrom alignment.__main__ import main\n"
        code += "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules, 'transformers' in sys.modules)"
        code += "\nimport time; print(time.process_time())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.splitlines()[-2] == "False False"
        assert float(done.stdout.splitlines()[-1]) < 1.0
        assert "holds it close" in done.stdout or command == "sft"


@pytest.mark.parametrize("config", [command.config for command in COMMAND_LINE.commands])
def test_every_field_of_a_config_is_documented(config: type) -> None:
    assert field_meanings(config).keys() == {field.name for field in fields(config)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sft --out x", "give either data or project"),
        ("sft --data nowhere.jsonl --out {run}", "nowhere.jsonl: there is no such file"),
        ("sft --data {columns} --out {run}", "no demonstrations, the columns are question"),
        ("dpo --data {columns} --out {run}", "no form fits the columns question"),
        ("kto --data {columns} --out {run}", "no labelled completions, the columns are question"),
        ("dpo --model {empty} --data {pairs} --out {run}", "no model, it holds neither config.json nor"),
        ("dpo --data {few} --out {run}", "at least 2 are needed"),
        ("dpo --data x --out x --beta 0", "beta is 0.0, allowed is more than 0"),
        ("dpo --data x --out x --loss best", "best"),
        ("dpo --data x --out x --sft-weight -1", "sft_weight is -1.0"),
        ("dpo --data x --out x --loss ipo --label-smoothing 0.1", "loss ipo has no label_smoothing"),
        ("dpo --data x --out x --loss ipo --use-margin", "use_margin is for the losses sigmoid"),
        ("sft --data x --out x --load-in-4bit", "give lora too"),
        ("kto --data x --out x --batch-size 1", "batch_size is 1, allowed is 2"),
        ("sft --data {pairs} --out {run} --resume", "holds no run to resume"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: str, says: str, preferences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "columns.jsonl").write_text('{"question": "a"}\n')
    (tmp_path / "few.jsonl").write_text("".join(preferences.read_text().splitlines(keepends=True)[:2]))
    (tmp_path / "empty").mkdir()
    places = {"run": tmp_path / "run", "columns": tmp_path / "columns.jsonl", "few": tmp_path / "few.jsonl"}
    places |= {"empty": tmp_path / "empty", "pairs": preferences}
    command, *others = words.format(**places).split()
    model = [] if "--model" in others else ["--model", "tiny"]
    assert main([command, *model, *others]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err.splitlines()[-1]
    assert said.err.splitlines()[-1].startswith(f"alignment {command}:")


@pytest.mark.parametrize(
    ("asked", "flags", "says"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, (), "the launcher asks for DeepSpeed, which is not known here"),
        ({"ACCELERATE_USE_FSDP": "true"}, (), "fsdp_version of the launcher is 1, allowed is 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "WORLD_SIZE": "2"},
            ("--lora", "--load-in-4bit"),
            "load_in_4bit and FSDP do not go together",
        ),
    ],
)
def test_a_launcher_that_asks_for_what_is_not_known_is_refused(
    asked: dict[str, str],
    flags: tuple[str, ...],
    says: str,
    preferences: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert main(["sft", *options(preferences, tmp_path / "run"), *flags]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_sft_then_dpo_leave_models_that_plain_transformers_loads(
    preferences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "sft", tmp_path / "dpo"
    assert main(["sft", *options(preferences, first)]) == 0
    assert capsys.readouterr().out == f"{first}\n"
    words = [word for word in options(preferences, second, beta=0.3) if word != "--model=tiny"]
    assert main(["dpo", f"--model={first}", *words, "--lora", "--precision=fp32"]) == 0
    lines = metrics(second)
    assert lines[0]["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert lines[-1]["eval/loss"] < lines[2]["eval/loss"] < 0.6931472
    for run in (first, second):
        network = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(run)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_tensors="pt"
        )
        assert network.generate(**ids, max_new_tokens=3, do_sample=False).shape[1] > ids["input_ids"].shape[1]
        assert status(run)["state"] == "done"
        assert list((run / "checkpoints").iterdir()) == []
        card = (run / "README.md").read_text()
        data = json.loads((run / "data.json").read_text())
        header = yaml.safe_load(card.split("---")[1])
        assert header["library_name"] == "transformers"
        assert data["data_hash"] in card
        assert f"{status(run)['results']['eval/loss']:.6g}" in card
        samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
        assert {sample["step"] for sample in samples} == {9}
        assert all(sample["prompt"][0]["role"] == "user" for sample in samples)
    assert (second / "adapter" / "adapter_config.json").exists()
    assert len(list((second / "reference").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", ["sft", "dpo", "kto"])
def test_a_killed_run_resumes_and_ends_with_the_same_weights(command: str, preferences: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = {"checkpoint_every": 2}
    finish(start(command, *options(preferences, whole, **words)))
    process = start(command, *options(preferences, broken, **words))
    wait_for(lambda: status(broken)["step"] >= 5, process)
    process.kill()
    process.communicate()
    finish(start(command, *options(preferences, broken, **words), "--resume"))
    assert 0 < status(broken)["first_step"] < 9
    assert metrics(broken) == metrics(whole)
    assert (broken / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()
    for name in ("model.safetensors", "tokenizer.json"):
        assert digest(broken / name) == digest(whole / name), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_a_checkpoint_and_ends_cancelled(number: int, preferences: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = options(preferences, run, checkpoint_every=1000, max_steps=40)
    process = start("dpo", *words)
    wait_for(lambda: status(run)["step"] >= 3, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "alignment dpo: cancelled; continue with --resume" in said
    assert status(run)["state"] == "cancelled"
    step = status(run)["step"]
    assert 3 <= step < 40
    finish(start("dpo", *words, "--resume"))
    assert status(run)["first_step"] == step
    assert [row["step"] for row in metrics(run)] == list(range(1, 41))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", ["sft", "dpo", "kto"])
def test_two_processes_equal_one(command: str, preferences: Path, tmp_path: Path) -> None:
    # torchrun, because `accelerate launch --cpu` starts a second process only through MPI; the environment is the same
    pytest.importorskip("accelerate")
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(command, *options(preferences, one), "--precision=fp32"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    finish(start(command, *options(preferences, two), "--precision=fp32", launcher=launcher))
    assert (status(one)["num_processes"], status(two)["num_processes"]) == (1, 2)
    assert len(metrics(two)) == len(metrics(one)) == 9
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            assert together[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (name, alone["step"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "words",
    [
        ("sft",),
        ("sft", "--lora", "--keep=best"),
        ("dpo",),
        ("dpo", "--lora", "--reference=live"),
        ("kto", "--reference=live", "--gradient-checkpointing"),
    ],
    ids=" ".join,
)
def test_two_processes_with_weights_in_parts_equal_one(
    words: tuple[str, ...], preferences: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    one, two = tmp_path / "one", tmp_path / "two"
    numbers = {"precision": "fp32", "token_budget": 256, "learning_rate": 1e-4}
    finish(start(*words, *options(preferences, one, **numbers)))
    finish(start(*words, *options(preferences, two, **numbers), launcher=(*FSDP2, "--main_process_port=0", "-m")))
    assert status(two)["num_processes"] == 2
    assert len(metrics(two)) == len(metrics(one)) == 9
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together == pytest.approx(alone, rel=1e-6, abs=1e-5)
    assert (two / "samples.jsonl").read_text() == (one / "samples.jsonl").read_text()
    for name in ("model.safetensors", *(["adapter/adapter_model.safetensors"] if "--lora" in words else [])):
        expected = load_file(one / name)
        assert load_file(two / name).keys() == expected.keys()
        for weight, values in load_file(two / name).items():
            torch.testing.assert_close(values, expected[weight], rtol=1e-5, atol=1e-5, msg=weight)
    for file in (one / "reference").glob("*"):  # the hash is of whole weights
        assert (two / "reference" / file.name).exists()
    assert status(two)["results"] == pytest.approx(status(one)["results"], rel=1e-6, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("words", [("dpo",), ("dpo", "--lora", "--reference=live")], ids=" ".join)
def test_killed_processes_with_weights_in_parts_resume_bit_for_bit(
    words: tuple[str, ...], preferences: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launcher = (*FSDP2, "--main_process_port=0", "-m")
    finish(start(*words, *options(preferences, whole, checkpoint_every=2), launcher=launcher))
    process = start(*words, *options(preferences, broken, checkpoint_every=2), launcher=launcher)
    wait_for(lambda: status(broken)["step"] >= 5, process)
    os.kill(status(broken)["pid"], signal.SIGKILL)  # the first process; the launcher ends the other
    process.communicate(timeout=120)
    finish(start(*words, *options(preferences, broken, checkpoint_every=2), "--resume", launcher=launcher))
    assert 0 < status(broken)["first_step"] < 9
    assert metrics(broken) == metrics(whole)
    assert (broken / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()
    assert digest(broken / "model.safetensors") == digest(whole / "model.safetensors")
