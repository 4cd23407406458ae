"""A policy that answers line by line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from alignment.config.sampling import DrawConfig
from alignment.generation.completion_sampler import Sampler, load_samplers, template_check
from alignment.generation.lines import answer
from rewardkit.data.records import Message
from rewardkit.network.template_check import TemplateCheck
from rewardkit.run.line_server import serve

PROMPT = [{"role": "user", "content": "My kettle arrived broken."}]


@pytest.fixture(scope="module")
def policy(policy_folders: tuple[Path, Path]) -> tuple[Sampler, TemplateCheck]:
    (sampler,) = load_samplers([str(policy_folders[0])])
    return sampler, template_check([str(policy_folders[0])])


def test_the_answers_are_those_that_the_policy_draws(policy):
    sampler, _ = policy
    request = {"prompt": PROMPT, "n": 2, "temperature": 0.8, "max_new_tokens": 12, "seed": 3}
    (drawn,) = sampler.draw(
        [(Message(role="user", content=PROMPT[0]["content"]),)],
        DrawConfig(prompts="", temperature=0.8, max_new_tokens=12, seed=3),
        n=2,
    )
    answers = answer(request, *policy)["answers"]
    assert answers == [
        {
            "text": one.text,
            "finished": one.sampled.finished,
            "num_tokens": len(one.sampled.completion),
            "logp": pytest.approx(sum(one.sampled.logps)),
        }
        for one in drawn
    ]
    assert answers[0] != answers[1]
    assert answer(request, *policy)["answers"] == answers


def test_lines_are_answered_in_order_and_mistakes_end_nothing(policy):
    lines = [
        json.dumps({"id": 1, "prompt": PROMPT, "max_new_tokens": 4}),
        "no json",
        json.dumps({"id": 2}),
        json.dumps({"id": 3, "prompt": [{"role": "user", "content": "kettle " * 300}], "max_new_tokens": 4}),
        json.dumps({"id": 4, "prompt": PROMPT, "temperature": -1}),
        json.dumps({"id": 5, "prompt": PROMPT, "max_new_tokens": 4, "temperature": 0}),
    ]
    out = io.StringIO()
    serve(lines, out, lambda request: answer(request, *policy))
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("id") for line in said] == [1, None, 2, 3, 4, 5]
    assert ["error" in line for line in said] == [False, True, True, True, True, False]
    assert "a line takes id, prompt" in said[2]["error"]
    assert "256" in said[3]["error"]  # the positions that the model has
    assert "temperature is -1.0" in said[4]["error"]


@pytest.mark.slow
def test_as_a_process_it_says_that_it_is_ready_or_why_not(policy_folders, tmp_path):
    line = json.dumps({"id": 1, "prompt": PROMPT, "max_new_tokens": 4})
    for folder, code, first in ((policy_folders[0], 0, "ready"), (tmp_path, 2, "error")):
        words = [sys.executable, "-m", "alignment.generation.lines", str(folder)]
        done = subprocess.run(words, input=line, capture_output=True, text=True, check=False)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == code
        assert list(said[0]) == [first]
        assert len(said) == (2 if code == 0 else 1)
