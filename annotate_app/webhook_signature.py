"""How what a webhook is sent is signed, and how a receiver tells that it comes from here."""

from __future__ import annotations

import hmac
import re
import time

HEADER = "X-Tiebreak-Signature"
"""`t=UNIX_TIME,v1=HEX`: HMAC-SHA256 under the webhook's secret over the time, a full stop and the body."""
DELIVERY_HEADER = "X-Tiebreak-Delivery"
"""The number of the delivery, the same at every try; `test-...` for a test."""
EVENT_HEADER = "X-Tiebreak-Event"
_FORM = re.compile(r"t=([0-9]{1,15}),v1=([0-9a-f]{64})")


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of the header for a body sent at a unix time."""
    return f"t={at},v1={_digest(secret, body, at)}"


def verify(secret: str, header: str, body: bytes, *, tolerance_s: float = 300.0) -> bool:
    """Whether a body is what was signed with the secret, at most `tolerance_s` from now."""
    parts = _FORM.fullmatch(header)
    if parts is None or abs(time.time() - int(parts[1])) > tolerance_s:
        return False
    return hmac.compare_digest(_digest(secret, body, int(parts[1])), parts[2])


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
