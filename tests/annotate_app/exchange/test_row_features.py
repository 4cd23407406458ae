"""One schema for all splits of an export."""

import pytest

from annotate_app.exchange.rows.row_features import RowFeatures

TURN = {"role": "user", "content": "Q"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "k", "function": {"name": "f", "arguments": "{}"}}]}


def listed(*rows, format="jsonl"):
    features = RowFeatures(format)
    for row in rows:
        features.take(row)
    return features.listed()


def test_a_column_that_is_empty_at_first_has_the_type_that_it_has_later():
    rows = [{"p": 1, "criteria": {"good": None}}, {"p": 0.5, "criteria": {"good": 2.0, "kind": None}}]
    criteria = [{"name": "good", "dtype": "float64"}, {"name": "kind", "dtype": "float64"}]
    assert listed(*rows) == [{"name": "p", "dtype": "float64"}, {"name": "criteria", "struct": criteria}]
    assert (
        listed(*rows, format="csv")[1] == listed(*rows, format="parquet")[1] == {"name": "criteria", "dtype": "string"}
    )


def test_turns_with_and_without_calls_are_of_one_type():
    turn = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    function = {"name": "function", "struct": [{"name": n, "dtype": "string"} for n in ("name", "arguments")]}
    calls = {"name": "tool_calls", "list": [{"name": "id", "dtype": "string"}, function]}
    assert listed({"prompt": [TURN]}, {"prompt": [TURN, CALL]}) == [{"name": "prompt", "list": [*turn, calls]}]
    assert listed({"prompt": [TURN]}, format="csv") == [{"name": "prompt", "dtype": "string"}]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None], {"dtype": "string"}),
        ([True, None], {"dtype": "bool"}),
        ([[], [1]], {"list": "int64"}),
        ([[]], {"list": "string"}),
        ([[[1], []]], {"list": {"list": "int64"}}),
    ],
)
def test_types_are_told_from_all_rows(values, kind):
    assert listed(*({"x": value} for value in values)) == [{"name": "x", **kind}]


@pytest.mark.parametrize("values", [[1, "a"], [[1], 1], [[{"a": 1}, {"a": "x"}]], [True, 1], [object()]])
def test_where_values_have_no_type_in_common_none_is_named(values):
    assert listed(*({"x": value} for value in values)) == []
