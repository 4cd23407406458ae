"""Which dollars are formulas and which are money, and what becomes of a formula."""

from __future__ import annotations

import pytest

from annotate_app.labeling.formulas import to_mathml
from annotate_app.labeling.rendering import render


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "It costs $5-$10 or $50/yr",
        "$5 and that is 10$",
        "from $5 to US$ 20",
        "US$5 and US$6",
        "pay $100 now$ please",
        "\\$5 and \\$x$",
        "`$x$` and `\\(x\\)`",
        "a $ b $ c",
        "$",
        "$$",
        "$$$",
        "price: 5$",
        "$1,000 to $2,000",
    ],
)
def test_money_and_code_stay_text(text: str) -> None:
    assert "<math" not in render(text).html


@pytest.mark.parametrize(
    "text",
    [
        "$x$",
        "$x^2 + 1$",
        "$2$",
        "$5 = x$ and",
        "so $n$th",
        "\\(a+b\\)",
        "($x$)",
        "$\\alpha$, then",
        "$a_1 \\ldots a_n$",
    ],
)
def test_formulas_in_a_line(text: str) -> None:
    assert '<math display="inline">' in render(text).html


@pytest.mark.parametrize(
    "text", ["$$x^2$$", "$$\na = b\n- c\n$$", "\\[\n\\frac{1}{2}\n\\]", "see\n$$x$$\nthere", "1. item\n\n   $$x$$"]
)
def test_formulas_on_their_own(text: str) -> None:
    assert '<math display="block">' in render(text).html


def test_a_fraction_as_mathml() -> None:
    assert render("$\\frac{a}{2}$").html == (
        '<p><math display="inline"><mrow><mfrac><mrow><mi>a</mi></mrow><mrow><mn>2</mn></mrow></mfrac></mrow></math>'
        "</p>\n"
    )


def test_less_than_is_escaped_and_what_follows_is_kept() -> None:
    assert "<mtext>&lt;script&gt;</mtext>" in render("$\\text{<script>}$ rest").html
    assert "rest" in render("$\\text{<script>}$ rest").html


@pytest.mark.parametrize("latex", ["\\begin{matrix}", "{" * 3000, "x" * 5000, "\\left("])
def test_latex_that_cannot_be_read_is_shown_as_code(latex: str) -> None:
    assert to_mathml(latex, display=False) == f'<code class="formula">{latex}</code>'
