"""A policy that writes line by line: `python -m alignment.generation.lines POLICY`, until its input ends.

    in    {"id": 1, "prompt": [{"role": "user", "content": "..."}], "n": 2, "temperature": 1.0, "top_p": 1.0,
           "max_new_tokens": 256, "seed": 0}
    out   {"id": 1, "answers": [{"text": "...", "finished": true, "num_tokens": 12, "logp": -8.5}, ...]}
    out   {"id": 1, "error": "..."}

`logp` is the sum over the answer's tokens at the temperature (1 if that is 0), nats. The same request has the same
answers, and the answer n of another request with the same seed begins from the same chance, whatever the policy.
See `rewardkit.run.line_server` for how it begins and ends.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from alignment.config.sampling import DrawConfig
from rewardkit.data.conversations import read_messages
from rewardkit.run.line_server import Answer, serve_model

if TYPE_CHECKING:
    from alignment.generation.completion_sampler import Sampler
    from rewardkit.network.template_check import TemplateCheck


def answer(request: dict[str, Any], sampler: Sampler, check: TemplateCheck) -> dict[str, object]:
    """The answers that a request asks for.

    Raises:
        ValueError: if it cannot be read, an option is out of range, or the prompt is too long for the model.
    """
    try:
        prompt = read_messages(request["prompt"], "prompt")
        config = DrawConfig(
            prompts="",
            temperature=float(request.get("temperature", 1.0)),
            top_p=float(request.get("top_p", 1.0)),
            max_new_tokens=int(request.get("max_new_tokens", 256)),
            seed=int(request.get("seed", 0)),
        )
        n = int(request.get("n", 1))
    except (KeyError, TypeError) as error:
        raise ValueError(f"a line takes id, prompt and how to draw: {error!r}") from error
    check(prompt, ())
    (completions,) = sampler.draw([prompt], config, n=n)
    return {
        "answers": [{"text": one.text, **one.columns, "logp": float(sum(one.sampled.logps))} for one in completions]
    }


def main(policy: str) -> int:
    """Loads a policy and serves standard input; the exit code."""

    def load() -> Answer:
        from alignment.generation.completion_sampler import load_samplers, template_check

        (sampler,) = load_samplers([policy])
        check = template_check([policy])
        return lambda request: answer(request, sampler, check)

    return serve_model(load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
