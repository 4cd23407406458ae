"""The pages of the entrance, as HTML, in the language of the browser. Whatever somebody typed is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from annotate_app.server.plain_page import plain_page
from annotate_app.store.people.accounts import PASSWORD_LENGTHS
from annotate_app.words import say

_STYLE = """
main{width:min(24rem,100%)}
header{display:flex;gap:.6rem;align-items:center;color:var(--soft);margin-bottom:1.2rem}
svg{width:1.6rem;height:1.6rem;color:var(--accent)}
h1{margin:0 0 .4rem}
p{color:var(--soft)}
label{display:block;font-weight:600;margin:1rem 0 .25rem}
input{width:100%;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:.4rem;
padding:.55rem .7rem}
button{margin-top:1.4rem}
.button{background:transparent;color:var(--accent);margin-top:.8rem}
.bad{color:var(--bad);font-weight:600;margin:0 0 .4rem}
small{margin-top:.25rem}
"""
_MARK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" '
    'aria-hidden="true"><path d="M12 4v16M7 20h10M4 8l8-2 8 2M4 8l-2 6a3 3 0 0 0 5 0zM20 8l-2 6a3 3 0 0 0 5 0z" '
    'transform="translate(.4 0) scale(.93)"/></svg>'
)


def _page(language: str, title: str, body: str) -> str:
    head = f"<header>{_MARK}<span>Tiebreak</span></header>"
    return plain_page(language, f"{title} · Tiebreak", head + body, _STYLE)


def _problem(error: str) -> str:
    return f'<p class="bad" role="alert" id="problem">{escape(error)}</p>' if error else ""


def _said(language: str, key: str, **values: object) -> str:
    """A text of the entrance, as HTML."""
    return escape(say(language, f"entrance.{key}", **values))


def invite_address(app: str, token: str) -> str:
    """The whole address that an invite's token opens at; `app` is the address of the app, as a browser knows it."""
    return f"{app.rstrip('/')}/invite/{token}"


def sign_in(language: str, *, name: str = "", asked: str = "", error: str = "", providers: tuple[str, ...] = ()) -> str:
    """The sign-in form.

    Args:
        asked: the page of ours to go to afterwards; empty for the first one.
        providers: names of OIDC providers to offer.
    """
    focus_name, focus_password = ("", " autofocus") if name else (" autofocus", "")
    others = "".join(
        f'<a class="button" href="/sign-in/with/{quote(provider)}">'
        + _said(
            language,
            "sign_in_with",
            provider=say(language, "entrance.organisation") if provider == "default" else provider,
        )
        + "</a>"
        for provider in providers
    )
    target = f'<input type="hidden" name="asked" value="{escape(asked)}">' if asked else ""
    body = f"""<h1>{_said(language, "sign_in")}</h1>{_problem(error)}
<form method="post" action="/sign-in">{target}
<label for="name">{_said(language, "name")}</label>
<input id="name" name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none" required{focus_name}>
<label for="password">{_said(language, "password")}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{focus_password}>
<button>{_said(language, "sign_in")}</button></form>{others}"""
    return _page(language, say(language, "entrance.sign_in"), body)


def sign_out(language: str) -> str:
    """Asks whether to sign out."""
    body = f"""<h1>{_said(language, "sign_out_question")}</h1><p>{_said(language, "sign_out_keeps")}</p>
<form method="post" action="/sign-out"><button autofocus>{_said(language, "sign_out")}</button></form>
<a class="button" href="/">{_said(language, "stay")}</a>"""
    return _page(language, say(language, "entrance.sign_out"), body)


def invite(language: str, *, name: str | None, role: str, typed: str = "", error: str = "") -> str:
    """The form of an invitation: a password, and a name where the invitation has none."""
    as_what = say(language, f"entrance.role.{role}")
    if name:
        bold = f"<strong>{escape(name)}</strong>"
        who = f"<p>{_said(language, 'invited_as', name=chr(0), role=as_what).replace(chr(0), bold)}</p>"
        field = f'<input type="hidden" name="name" value="{escape(name)}" autocomplete="username">'
    else:
        who = f"<p>{_said(language, 'invited', role=as_what)}</p>"
        field = (
            f'<label for="name">{_said(language, "choose_name")}</label>'
            '<input id="name" name="name" maxlength="120" '
            f'value="{escape(typed)}" autocomplete="username" autocapitalize="none" required autofocus>'
        )
    focus = " autofocus" if name else ""
    least = PASSWORD_LENGTHS[0]
    body = f"""<h1>{_said(language, "welcome")}</h1>{who}{_problem(error)}<form method="post">{field}
<label for="password">{_said(language, "choose_password")}</label>
<input id="password" name="password" type="password" minlength="{least}" autocomplete="new-password"
required{focus} aria-describedby="rule"><small id="rule">{_said(language, "password_rule", least=least)}</small>
<label for="again">{_said(language, "again")}</label>
<input id="again" name="again" type="password" minlength="{least}" autocomplete="new-password" required>
<button>{_said(language, "create_account")}</button></form>"""
    return _page(language, say(language, "entrance.welcome"), body)


def invite_gone(language: str) -> str:
    """For an invitation that was used, is over, or never was."""
    body = f"""<h1>{_said(language, "gone")}</h1><p>{_said(language, "gone_why")}</p>
<a class="button" href="/sign-in">{_said(language, "sign_in")}</a>"""
    return _page(language, say(language, "entrance.gone"), body)
