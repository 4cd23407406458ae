"""The page that reports are written on: one HTML file that needs nothing else, light and dark, on screen and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1f2421; --quiet: #5b625d; --rule: #dcd8ce; --panel: #f1efe9;
  --s0: #6f7671; --s1: #0f6b66; --s2: #b85f1f; --s3: #4a59c0; }
@media (prefers-color-scheme: dark) { :root { --paper: #15191a; --ink: #e9e7e1; --quiet: #a3a9a5; --rule: #343c3d;
  --panel: #1f2526; --s0: #9aa19d; --s1: #5cc0b6; --s2: #e8975a; --s3: #8f9bea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .4rem; padding-top: 1.1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
.quiet, .about dt { color: var(--quiet); }
.says { margin: 1.2rem 0; padding-left: 1.1rem; } .says li { margin: .3rem 0; max-width: 46rem; }
.note { background: var(--panel); border-left: 3px solid var(--s2); padding: .6rem .9rem; margin: .6rem 0; }
.headline { font-size: 2.6rem; font-weight: 650; letter-spacing: -.02em; margin: 1.2rem 0 0; color: var(--s1); }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg[role] { display: block; max-width: 100%; min-width: 28rem; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; } svg .mark { fill: var(--quiet); font-size: 12px; }
svg .figure { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); } .line { fill: none; stroke-width: 2.2; }
.bar { stroke-width: 2.6; stroke-linecap: round; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); } .s3 { stroke: var(--s3); }
.dot.s0 { fill: var(--s0); } .dot.s1 { fill: var(--s1); } .dot.s2 { fill: var(--s2); } .dot.s3 { fill: var(--s3); }
.dot { stroke: var(--paper); stroke-width: 1; }
.keys { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .85rem; } .key svg { margin-right: .4rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; margin: .8rem 0; }
th, td { text-align: right; padding: .32rem .8rem; border-bottom: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; }
td { white-space: nowrap; } th { font-weight: 600; min-width: 5.5rem; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.about { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .92rem; }
.about dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The whole file; `parts` are HTML, the title is text."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "<main>\n" + "\n".join(parts) + "\n</main>"
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'


def definitions(items: Mapping[str, str]) -> str:
    """A list of names and what they are."""
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in items.items())
    return f'<dl class="about">{shown}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts that scrolls by itself where it is too wide."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
