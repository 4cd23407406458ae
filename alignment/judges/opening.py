"""The one way to a chat: an endpoint, or a model in this process, by what a judge's spec names."""

from __future__ import annotations

from alignment.judges.chat import Chat
from alignment.judges.spec import WRITES, JudgeSpec


def open_chat(spec: JudgeSpec) -> Chat:
    """Opens an endpoint, or loads a local model.

    Raises:
        ValueError: if this kind of judge does not answer in words, its key is not in the environment, or its folder
            holds no policy.
        ImportError: if a package is missing.
    """
    match spec.kind:
        case "endpoint":
            from alignment.judges.endpoint import EndpointChat

            return EndpointChat(spec)
        case "local":
            from alignment.judges.local import LocalChat

            return LocalChat(spec)
        case other:
            raise ValueError(f"a judge of the kind {other} does not answer in words, allowed are {', '.join(WRITES)}")
