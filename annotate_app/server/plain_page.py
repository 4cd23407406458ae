"""A page of HTML alone, for whoever is not inside: its frame, colours and type; what it says is written elsewhere."""

from __future__ import annotations

from html import escape

_STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1f2421;--soft:#5d645f;--line:#dcd8ce;--accent:#0f6b66;
--on:#fff;--bad:#a3262a}
@media(prefers-color-scheme:dark){:root{--paper:#15191a;--card:#1f2526;--ink:#e9e7e1;--soft:#a4aaa6;--line:#343c3d;
--accent:#5cc0b6;--on:#10201f;--bad:#f0908f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);padding:1rem;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:2rem}
h1{font-size:1.35rem;line-height:1.25;margin:0 0 .6rem;font-weight:650}
p{margin:0 0 1rem}
small{display:block;color:var(--soft)}
button,.button{display:block;width:100%;margin-top:1.2rem;font:inherit;font-weight:600;text-align:center;
text-decoration:none;border-radius:.4rem;padding:.6rem;cursor:pointer;background:var(--accent);color:var(--on);
border:1px solid var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
"""


def plain_page(language: str, title: str, body: str, style: str) -> str:
    """The whole page.

    Args:
        language: of its texts.
        title: as text.
        body: of `main`, as HTML.
        style: CSS of its own, after that of all such pages.
    """
    return (
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}{style}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
