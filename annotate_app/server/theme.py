"""The look, as Streamlit options: ink on paper by day, paper on ink by night, one accent, no decoration.

The accent is a deep teal: unlike red and green it says nothing about which response is better.
"""

from __future__ import annotations

_LIGHT = {
    "primaryColor": "#0f6b66",
    "backgroundColor": "#fbfaf7",
    "secondaryBackgroundColor": "#f1efe9",
    "textColor": "#1f2421",
    "linkColor": "#0f6b66",
    "borderColor": "#dcd8ce",
    "codeBackgroundColor": "#f1efe9",
    "codeTextColor": "#1f2421",
    "sidebar.backgroundColor": "#f1efe9",
    "sidebar.secondaryBackgroundColor": "#e6e3da",
    "sidebar.borderColor": "#dcd8ce",
}
_DARK = {
    "primaryColor": "#5cc0b6",
    "backgroundColor": "#15191a",
    "secondaryBackgroundColor": "#1f2526",
    "textColor": "#e9e7e1",
    "linkColor": "#7fd1c8",
    "borderColor": "#343c3d",
    "codeBackgroundColor": "#1f2526",
    "codeTextColor": "#e9e7e1",
    "sidebar.backgroundColor": "#1a1f20",
    "sidebar.secondaryBackgroundColor": "#262d2e",
    "sidebar.borderColor": "#343c3d",
}
_SERIES = ["#0f6b66", "#c8702a", "#5a6acf", "#a23b72", "#6b8e23", "#8a6d3b", "#4b8bbe", "#7a7a7a"]
_SERIES_BY_NIGHT = ["#5cc0b6", "#e8975a", "#8f9bea", "#d678a9", "#a3c45a", "#c5a36a", "#7db8e0", "#a8a8a8"]

THEME: dict[str, object] = {
    "theme.paddingTop": "2.5rem",
    "theme.baseRadius": "0.4rem",
    "theme.buttonRadius": "0.4rem",
    "theme.baseFontSize": 15,
    "theme.headingFontWeights": [650, 600, 600, 600, 600, 600],
    "theme.headingFontSizes": ["1.75rem", "1.35rem", "1.15rem", "1rem", "0.95rem", "0.9rem"],
    "theme.showWidgetBorder": True,
    "theme.light.chartCategoricalColors": _SERIES,
    "theme.dark.chartCategoricalColors": _SERIES_BY_NIGHT,
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}
