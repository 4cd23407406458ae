"""What a judge may be: no secret in it, and nothing that means nothing."""

from __future__ import annotations

from typing import Any

import pytest

from alignment.judges.spec import JudgeSpec

ENDPOINT: dict[str, Any] = {"kind": "endpoint", "target": "https://host:8000/v1", "model": "m"}


def test_a_spec_comes_back_from_its_dict() -> None:
    spec = JudgeSpec(**ENDPOINT, key_variable="JUDGE_KEY", temperature=0.7, samples=3, prompt_price=1.5)
    assert JudgeSpec.from_dict(spec.as_dict()) == spec
    assert spec.about == "m at host:8000"


@pytest.mark.parametrize("key", ["sk-abc123", "sk_live_9f8e7d", "a b", "TIEBREAK_DB", "Bearer X"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="a key itself is never stored") as error:
        JudgeSpec(**ENDPOINT, key_variable=key)
    assert key not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://secret@host/v1", "http://host/v1?key=secret", "http://host/v1#secret"]
)
def test_an_address_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="target holds a name, a password or a query") as error:
        JudgeSpec(**{**ENDPOINT, "target": url})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"target": "file:///etc/passwd"}, "allowed is http"),
        ({"target": "host:8000"}, "allowed is http"),
        ({"target": "http://"}, "allowed is http"),
        ({"target": "http://host:99999"}, "no address"),
        ({"target": "http://host/v1/chat/completions"}, "without /chat/completions"),
        ({"model": " "}, "model is missing"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2}, "answers the same each time"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"concurrency": 1000}, "concurrency is 1000"),
        ({"prompt_price": True}, "prompt_price is True"),
        ({"kind": "oracle"}, "kind is 'oracle'"),
        ({"kind": "function", "target": "os"}, "allowed is module:function"),
        ({"kind": "local", "target": ""}, "the folder of a model"),
        ({"kind": "imported"}, "votes made elsewhere have none"),
    ],
)
def test_what_is_no_judge_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        JudgeSpec(**{**ENDPOINT, **values})


def test_a_stored_dict_from_another_hand_is_read_with_care() -> None:
    with pytest.raises(ValueError, match="a judge has the field 'key'"):
        JudgeSpec.from_dict({**ENDPOINT, "key": "sk"})
    with pytest.raises(ValueError, match="target is 5, allowed is text"):
        JudgeSpec.from_dict({**ENDPOINT, "target": 5})
    with pytest.raises(ValueError, match="both_orders is 'no', allowed is true or false"):
        JudgeSpec.from_dict({**ENDPOINT, "both_orders": "no"})
    with pytest.raises(ValueError, match="kind is missing"):
        JudgeSpec.from_dict({})


def test_who_may_add_it_and_what_it_does() -> None:
    assert JudgeSpec(**ENDPOINT).needs_admin
    assert JudgeSpec(kind="function", target="judges.py:judge").needs_admin
    assert not JudgeSpec(kind="local", target="folder").needs_admin
    assert not JudgeSpec(kind="reward", target="folder").sees_order
    assert JudgeSpec(kind="local", target="folder", temperature=1.0, reasoning=True, samples=2).draws
