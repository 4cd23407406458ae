"""The OpenAPI document against the running API: calls made up from it find no fault, no answer it does not describe."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from annotate_app.api.application import openapi_document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
FEW, MANY = 1, 40
NAMES = {"annotator": "anna", "lead": "lea", "admin": "ada"}
METHODS = ("get", "put", "post", "patch", "delete")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def call_everything(served, role: str, num_examples: int) -> int:
    """Calls every operation with made-up values, as somebody of a role; the number of calls."""
    headers = {"Authorization": f"Bearer {served.token(NAMES[role])}"}
    served.gate._calls = type(served.gate._calls)(1e9, 1e9)
    schema = schemathesis.openapi.from_dict(openapi_document())
    num_calls = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        counted = 0

        def call(case: schemathesis.Case) -> None:
            nonlocal counted
            counted += 1
            response = case.call(base_url=served.url, headers=headers, timeout=60)
            case.validate_response(response, checks=CHECKS)

        run(operation, call, num_examples)
        num_calls += counted
        assert counted, operation.label
    return num_calls


def run(operation: Any, call: Any, num_examples: int) -> None:
    @settings(
        max_examples=num_examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy())
    def calls(case: schemathesis.Case) -> None:
        call(case)

    calls()


def test_every_operation_is_described() -> None:
    for path, method, operation in operations():
        place = f"{method} {path}"
        assert operation["description"].endswith("."), place
        assert operation["tags"], place
        assert {"401", "403", "404", "422", "429"} <= set(operation["responses"]), place
        assert all(each.get("description") for each in operation.get("parameters", ())), place
        if path != "/api/v1/health":
            assert operation["security"] == [{"HTTPBearer": []}], place
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids)) == 37


def test_the_server_gives_the_document_and_no_page_from_elsewhere(served_sqlite) -> None:
    assert httpx.get(f"{served_sqlite.url}/api/v1/openapi.json").json() == openapi_document()
    for path in ("/docs", "/redoc", "/api/v1/docs"):
        assert httpx.get(served_sqlite.url + path).status_code in (401, 404)


def test_a_few_made_up_calls_of_every_operation(served_sqlite) -> None:
    assert call_everything(served_sqlite, "lead", FEW) >= 37
    assert served_sqlite.store.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("role", list(NAMES))
def test_many_made_up_calls_of_every_operation(served_sqlite, role: str) -> None:
    call_everything(served_sqlite, role, MANY)
    assert served_sqlite.store.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("role", list(NAMES))
def test_calls_that_follow_from_one_another(served_sqlite, role: str) -> None:
    """Walks of calls of which each takes what an earlier one gave, by schemathesis's own command."""
    served = served_sqlite
    served.gate._calls = type(served.gate._calls)(1e9, 1e9)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/api/v1/openapi.json"),
            *("--phases", "stateful", "--max-examples", "10", "--request-timeout", "60", "--mode", "positive"),
            *("--header", f"Authorization: Bearer {served.token(NAMES[role])}"),
            *("--checks", ",".join(check.__name__ for check in CHECKS)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert served.store.check() == []
