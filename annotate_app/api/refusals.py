"""What the API answers where it does not do what was asked: one form, the right status, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from starlette.responses import JSONResponse

from annotate_app.access import MissingError, TakenError
from annotate_app.store.base.database import failure

# The house's messages: "NAME is (has, names) VALUE, allowed is WHAT".
_SPOKEN = re.compile(
    r"(?P<field>[\w.-]+(?: [\w.-]+)?) (?:is|has|names) (?P<value>.+?), allowed(?: \S+)*? (?:is|are) (?P<allowed>.+)",
    re.DOTALL,
)
LONGEST_VALUE = 200


@dataclass(kw_only=True, eq=False)
class Refusal(Exception):
    """An answer that says no.

    Attributes:
        status: of HTTP.
        message: one line.
        field: which field of the request; None where it is none.
        value: what stood there.
        allowed: what may stand there.
        rows: rows of a body that cannot be used, each with its line.
        headers: for example `retry-after`.
    """

    status: int
    message: str
    field: str | None = None
    value: Any = None
    allowed: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = default(default_factory=dict)

    def response(self) -> JSONResponse:
        """The answer."""
        error = {
            "message": self.message,
            "field": self.field,
            "value": shown(self.value),
            "allowed": self.allowed,
            "rows": list(self.rows),
        }
        headers = {"cache-control": "no-store", **self.headers}
        return JSONResponse({"error": error}, self.status, headers=headers)


FAULT = Refusal(status=500, message="a fault of the server; its log tells more")


def shown(value: Any) -> Any:
    """A value of a request as an answer quotes it: plain ones as they are, others as a short text."""
    if value is None or isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else repr(value)
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def refusal_of(error: Exception) -> Refusal | None:
    """The answer to an error that the store or a reader raised; None for one that is a fault of ours."""
    if isinstance(error, Refusal):
        return error
    message = str(error)
    spoken = _SPOKEN.fullmatch(message)
    match error:
        case PermissionError():
            return Refusal(status=403, message=message)
        case MissingError():
            return Refusal(status=404, message=message)
        case TakenError():
            return Refusal(status=409, message=message)
        case ValueError():
            if spoken is None:
                return Refusal(status=422, message=message)
            return Refusal(
                status=422, message=message, field=spoken["field"], value=spoken["value"], allowed=spoken["allowed"]
            )
    if reason := failure(error):
        return Refusal(status=503, message=f"the database is away: {reason}", headers={"retry-after": "5"})
    return None
