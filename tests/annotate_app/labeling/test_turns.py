"""Turns arranged as people read them, in a form in which equal calls are equal texts."""

from __future__ import annotations

import json

from annotate_app.labeling.pair_payload import show_text
from annotate_app.labeling.rendering import render, render_completion, render_prompt, sanitise
from annotate_app.labeling.turns import arrange, written
from rewardkit.data.conversations import read_messages


def called(*calls: tuple[str, str, object], content: str = "") -> dict:
    functions = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}
        for key, name, arguments in calls
    ]
    return {"role": "assistant", "content": content, "tool_calls": functions}


def told(key: str, content: str, **more: object) -> dict:
    return {"role": "tool", "content": content, "tool_call_id": key, **more}


def test_results_stand_beneath_their_calls_whatever_their_order():
    turns = read_messages(
        [
            called(("k1", "first", {"b": 1, "a": [2]}), ("k2", "second", "{}"), content="I look."),
            told("k2", "two"),
            told("k1", "one"),
            told("k1", '{"error": "late"}'),
            told("k9", "strange"),
            {"role": "assistant", "content": "Done."},
        ],
        "response",
    )
    first, stray, last = arrange(turns)
    assert [(part.kind, part.text) for part in first.parts] == [
        ("text", "I look."),
        ("call", '{\n "a": [\n  2\n ],\n "b": 1\n}'),
        ("result", "one"),
        ("result", '{\n "error": "late"\n}'),
        ("call", "{}"),
        ("result", "two"),
    ]
    assert [part.is_error for part in first.parts] == [False, False, False, True, False, False]
    assert [part.label for part in stray.parts] == ["answer of k9"]
    assert last.parts[0].text == "Done."


def test_equal_calls_are_equal_texts_whatever_their_ids_and_the_order_of_their_arguments():
    one = [called(("k1", "f", '{"b": 1, "a": 2}')), told("k1", "x")]
    other = [called(("zz", "f", {"a": 2, "b": 1})), told("zz", "x")]
    texts = {written(read_messages(turns, "response")) for turns in (one, other)}
    assert texts == {'[calls f]\n{\n "a": 2,\n "b": 1\n}\n\n[result]\nx'}


def test_a_function_call_of_before_and_its_answer_go_together_by_name():
    turns = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ]
    (turn,) = arrange(read_messages(turns, "response"))
    assert [part.kind for part in turn.parts] == ["call", "result"]


def test_the_stretches_give_the_raw_text_back_as_the_browser_counts():
    turns = read_messages([called(("k", "f", {"a": "😀"})), told("k", "é😀"), {"role": "user", "content": "?"}], "r")
    shown = show_text(render_completion("", turns))
    units = shown["raw"].encode("utf-16-le")  # type: ignore[union-attr]
    assert sum(length for _, length in shown["blocks"]) * 2 == len(units)  # type: ignore[misc, union-attr]
    assert [kind for kind, _ in shown["blocks"]].count("role") == 2  # type: ignore[union-attr]
    assert (shown["turns"], shown["dialogue"]) == (2, True)
    assert "blocks" not in show_text(render("a text"))


def test_long_parts_and_thoughts_are_folded_and_short_ones_are_not():
    long = {name: "x" for name in "abcdefgh"}
    turns = read_messages([{**called(("1", "f", long), ("2", "g", {})), "reasoning_content": "Hm."}], "r")
    markup = render_completion("", turns).html
    assert markup.count("<details") == 3
    assert markup.count('open=""') == 1
    assert '<details class="call" open="">' in markup
    assert '<code class="preview" data-extra="">' in markup


def test_turns_of_hostile_texts_come_out_of_the_allow_list_as_they_went_in(hostile_texts: dict[str, str]):
    for text in hostile_texts.values():
        turns = read_messages(
            [
                {**called((text, text, json.dumps({text: text})), content=text), "thinking": text},
                told(text, text),
                {"role": "user", "content": text, "name": text},
            ],
            "response",
        )
        markup = render_completion("", turns).html
        assert markup
        assert sanitise(markup) == markup
        for _, turn in render_prompt(turns):
            assert "<script" not in turn.html
