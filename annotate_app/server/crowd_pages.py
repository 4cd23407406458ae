"""The pages that people of a crowd platform meet before and after their work, as HTML; whatever came in is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from annotate_app.server.plain_page import plain_page
from annotate_app.store.people.crowd import CrowdLink, Entry
from annotate_app.words import say

_STYLE = """
main{width:min(34rem,100%)}
p{white-space:pre-line;overflow-wrap:anywhere}
code{display:block;font:600 1.4rem/1.4 ui-monospace,monospace;padding:.6rem;border:1px dashed var(--line);
border-radius:.4rem;text-align:center;user-select:all;overflow-wrap:anywhere}
"""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A platform: the parameter of its id, an address as it wants it written, and where people go back to."""

    title: str
    id_parameter: str
    query: str
    return_url: str


PRESETS = {
    "prolific": Preset(
        title="Prolific",
        id_parameter="PROLIFIC_PID",
        query="PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
        return_url="https://app.prolific.com/submissions/complete?cc={code}",
    ),
    "mturk": Preset(
        title="Mechanical Turk",
        id_parameter="workerId",
        query="workerId=WORKER_ID&assignmentId=ASSIGNMENT_ID&hitId=HIT_ID",
        return_url="",
    ),
    "other": Preset(title="Another platform", id_parameter="participant", query="participant=ID", return_url=""),
}


def crowd_address(app: str, link: CrowdLink) -> str:
    """The address of a link with the platform's placeholders; `app` is the app's own, as a browser knows it."""
    parameter = link.plan.id_parameter
    query = next((preset.query for preset in PRESETS.values() if preset.id_parameter == parameter), f"{parameter}=ID")
    return f"{app.rstrip('/')}/crowd/{link.token}?{query}"


def start(link: CrowdLink, language: str, *, signed_in_as: str = "") -> str:
    """The page with the start button; its form goes to the address that the page came by."""
    text = f"<p>{escape(link.plan.text)}</p>" if link.plan.text.strip() else ""
    other = f"<p>{_say(language, 'signed_in', name=signed_in_as)}</p>" if signed_in_as else ""
    body = f"""<h1>{escape(link.plan.name)}</h1>{text}
<p>{_say(language, "asks", target=link.plan.target)}</p>
<p><small>{_say(language, "stored")}</small></p>{other}
<form method="post"><button autofocus>{_say(language, "start")}</button></form>"""
    return plain_page(language, link.plan.name, body, _STYLE)


def ending(entry: Entry, language: str) -> str:
    """What a person brings back to the platform, or that the link leads nowhere."""
    outcome = entry.outcome
    body = f"<h1>{_say(language, f'{outcome}.title')}</h1><p>{_say(language, f'{outcome}.text')}</p>"
    if entry.code:
        body += f'<p>{_say(language, "code")}</p><code id="code">{escape(entry.code)}</code>'
    if entry.return_url:
        body += f'<a class="button" href="{escape(entry.return_url)}" rel="noreferrer">{_say(language, "back")}</a>'
    return plain_page(language, say(language, f"crowd.{outcome}.title"), body, _STYLE)


def no_id(parameter: str, language: str) -> str:
    """For an address that lacks the person's id, or holds a placeholder that nobody filled in."""
    body = f"<h1>{_say(language, 'no_id.title')}</h1><p>{_say(language, 'no_id.text', parameter=parameter)}</p>"
    return plain_page(language, say(language, "crowd.no_id.title"), body, _STYLE)


def too_many(seconds: int, language: str) -> str:
    """For who has come too often."""
    body = f"<h1>{_say(language, 'wait.title')}</h1><p>{_say(language, 'wait.text', seconds=seconds)}</p>"
    return plain_page(language, say(language, "crowd.wait.title"), body, _STYLE)


def _say(language: str, key: str, **values: object) -> str:
    return escape(say(language, f"crowd.{key}", **values))
