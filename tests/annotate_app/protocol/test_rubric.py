"""The rubric's YAML: what is read, what is written, and that every mistake is named at its line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate_app.protocol.rubric import (
    RESERVED_NAMES,
    SCALE_STEPS,
    Criterion,
    Flag,
    Rubric,
    Scale,
    parse_rubric,
    rubric_text,
)
from rewardkit.data.tables.yaml_nodes import YamlError

FULL = """\
title: Support desk
protocol: support_desk
guidelines: |
  Read **both** replies.

  1. First the facts.
question: Which reply should be sent?
scale:
  steps: 8
  labels: [hardly, slightly, clearly, far]
  tie: false
both_bad: true
criteria:
  - name: correct
    question: Whose facts are right?
    kind: compare
    scale: {steps: 3, labels: [better]}
    required: false
  - name: tone
    question: How kind?
    kind: rate
    low: 0
    high: 4
    anchors: {0: rude, 4: kind}
flags:
  - unsafe
  - {name: made_up, label: Made up, help: Not said before}
rationale: off
skip_reasons: [no idea, other]
"""


def test_every_key_is_read() -> None:
    assert parse_rubric(FULL) == Rubric(
        title="Support desk",
        protocol="support_desk",
        guidelines="Read **both** replies.\n\n1. First the facts.\n",
        question="Which reply should be sent?",
        scale=Scale(steps=8, labels=("hardly", "slightly", "clearly", "far"), tie=False),
        both_bad=True,
        criteria=(
            Criterion(
                name="correct",
                question="Whose facts are right?",
                scale=Scale(steps=3, labels=("better",)),
                required=False,
            ),
            Criterion(name="tone", question="How kind?", kind="rate", low=0, high=4, anchors={0: "rude", 4: "kind"}),
        ),
        flags=(Flag(name="unsafe", label="unsafe"), Flag(name="made_up", label="Made up", help="Not said before")),
        rationale="off",
        skip_reasons=("no idea", "other"),
    )  # fmt: skip


def test_title_and_guidelines_are_enough() -> None:
    assert parse_rubric("title: T\nguidelines: G\n") == Rubric(title="T", guidelines="G")


def test_windows_line_ends_read_the_same() -> None:
    assert parse_rubric(FULL.replace("\n", "\r\n")) == parse_rubric(FULL)


def test_rationale_off_is_a_word_in_every_spelling_of_yaml() -> None:
    for written in ("off", '"off"', "'off'"):
        assert parse_rubric(f"title: T\nguidelines: G\nrationale: {written}\n").rationale == "off"


def test_plain_words_that_yaml_takes_for_booleans_are_texts() -> None:
    assert parse_rubric("title: No\nguidelines: yes\nskip_reasons: [no, on]\n").skip_reasons == ("no", "on")


def test_flags_of_words_and_edits_are_read_and_written() -> None:
    text = "title: T\nguidelines: G\nflags:\n- name: wrong\n  spans: true\n- rude\nedit: optional\n"
    rubric = parse_rubric(text)
    assert rubric == Rubric(
        title="T",
        guidelines="G",
        flags=(Flag(name="wrong", label="wrong", spans=True), Flag(name="rude", label="rude")),
        edit="optional",
    )
    assert [flag.name for flag in rubric.span_flags] == ["wrong"]
    assert parse_rubric(rubric_text(rubric)) == rubric


HEAD = "title: T\nguidelines: G\n"
CRITERION = HEAD + "criteria:\n  - name: tone\n    question: Q\n"
MISTAKES = {
    HEAD + "flags:\n- name: wrong\n  spans: words\n": "r.yaml:5: flags[1].spans is words, allowed are true, false",
    HEAD + "edit: always\n": "r.yaml:3: edit is always, allowed are off, optional",
    # the scale
    HEAD + "scale:\n  steps: 6\n": "r.yaml:4: scale.steps is 6, allowed are 2, 3, 4, 5, 7, 8",
    HEAD + "scale:\n  steps: seven\n": "r.yaml:4: scale.steps is seven, allowed are 2, 3, 4, 5, 7, 8",
    HEAD + "scale:\n  steps: [7]\n": "r.yaml:4: scale.steps is a list, allowed are 2, 3, 4, 5, 7, 8",
    HEAD + "scale:\n  steps: '7'\n": "r.yaml:4: scale.steps is 7, allowed is a whole number, 2 to 8",
    HEAD + "scale: 7\n": "r.yaml:3: scale is 7, allowed is a mapping of key: value",
    HEAD + "scale: {tie: true}\n": "r.yaml:3: steps is missing in scale",
    HEAD + "scale:\n  steps: 7\n  labels: [a, b]\n": (
        "r.yaml:5: scale.labels has 2, a scale of 7 steps takes 3, weakest first "
        "(one per degree, the same for both sides)"
    ),
    HEAD + "scale:\n  steps: 7\n  labels:\n    - a\n    - b\n    - a\n": (
        "r.yaml:8: scale.labels holds 'a' twice, first at line 6"
    ),
    HEAD + "scale:\n  steps: 7\n  labels: [a, 2, c]\n": (
        "r.yaml:5: scale.labels[2] is 2, allowed is a text (put a number in quotes to mean its characters)"
    ),
    HEAD + "scale:\n  steps: 7\n  tie: maybe\n": "r.yaml:5: scale.tie is maybe, allowed are true, false",
    HEAD + "scale:\n  steps: 5\n  tie: false\n": (
        "r.yaml:5: scale.tie is false, but 5 steps have a tie in their middle; take an even number"
    ),
    HEAD + "scale:\n  stepz: 5\n": "r.yaml:4: unknown key 'stepz' in scale, did you mean 'steps'?",
    # top level
    "title: T\n\nguidlines: G\n": "r.yaml:3: unknown key 'guidlines', did you mean 'guidelines'?",
    "title: T\n": "r.yaml:1: guidelines is missing",
    "guidelines: G\n": "r.yaml:1: title is missing",
    HEAD + "colour: red\n": (
        "r.yaml:3: unknown key 'colour', allowed are title, guidelines, question, scale, both_bad, criteria, flags, "
        "rationale, edit, skip_reasons, protocol, task"
    ),
    HEAD + "title: again\n": "r.yaml:3: duplicate key 'title', first at line 1",
    "title: 12\nguidelines: G\n": (
        "r.yaml:1: title is 12, allowed is a text (put a number in quotes to mean its characters)"
    ),
    "title: ''\nguidelines: G\n": "r.yaml:1: title is empty, allowed is a text with something in it",
    "title:\nguidelines: G\n": (
        "r.yaml:1: title is empty, allowed is a text (put a number in quotes to mean its characters)"
    ),
    "title: T\nguidelines: [G]\n": (
        "r.yaml:2: guidelines is a list, allowed is a text (put a number in quotes to mean its characters)"
    ),
    HEAD + "question: {a: b}\n": (
        "r.yaml:3: question is a mapping, allowed is a text (put a number in quotes to mean its characters)"
    ),
    HEAD + "both_bad: 1\n": "r.yaml:3: both_bad is 1, allowed are true, false",
    HEAD + "rationale: sometimes\n": "r.yaml:3: rationale is sometimes, allowed are off, optional, required",
    HEAD + "protocol: Mine!\n": (
        "r.yaml:3: protocol is Mine!, allowed is a lower-case letter, then up to 39 letters, digits or _"
    ),
    HEAD + "skip_reasons: []\n": "r.yaml:3: skip_reasons is an empty list, allowed is one reason or more",
    HEAD + "skip_reasons: other\n": "r.yaml:3: skip_reasons is other, allowed is a list",
    "- title\n": "r.yaml:1: the document is a list, allowed is a mapping of key: value",
    "[a]: b\n": "r.yaml:1: key is a list, allowed is a plain word",
    # criteria
    HEAD + "criteria: tone\n": "r.yaml:3: criteria is tone, allowed is a list",
    HEAD + "criteria:\n  - question: Q\n": "r.yaml:4: name is missing in criteria[1]",
    HEAD + "criteria:\n  - name: tone\n": "r.yaml:4: question is missing in criteria[1]",
    HEAD + "criteria:\n  - name: overall\n    question: Q\n": (
        "r.yaml:4: criteria[1].name is overall, which is reserved; take another name"
    ),
    HEAD + "criteria:\n  - name: The tone\n    question: Q\n": (
        "r.yaml:4: criteria[1].name is The tone, allowed is a lower-case letter, then up to 39 letters, digits or _"
    ),
    CRITERION + "  - name: tone\n    question: Q\n": "r.yaml:6: criteria has 'tone' twice, first at line 4",
    CRITERION + "    kind: rank\n": "r.yaml:6: criteria.tone.kind is rank, allowed are compare, rate",
    CRITERION + "    scale: {steps: 6}\n": "r.yaml:6: criteria.tone.scale.steps is 6, allowed are 2, 3, 4, 5, 7, 8",
    CRITERION + "    low: 1\n": "r.yaml:6: criteria.tone.low has no meaning with kind: compare, leave it out",
    CRITERION + "    kind: rate\n    scale: {steps: 3}\n": (
        "r.yaml:7: criteria.tone.scale has no meaning with kind: rate, leave it out"
    ),
    CRITERION + "    kind: rate\n    low: 4\n    high: 4\n": (
        "r.yaml:7: criteria.tone.low is 4 and high is 4, allowed is low under high"
    ),
    CRITERION + "    kind: rate\n    high: 11\n": "r.yaml:7: criteria.tone.high is 11, allowed is 0 to 10",
    CRITERION
    + "    kind: rate\n    low: 1.5\n": "r.yaml:7: criteria.tone.low is 1.5, allowed is a whole number, 0 to 10",
    CRITERION + "    kind: rate\n    anchors: {7: great}\n": (
        "r.yaml:7: a key of criteria.tone.anchors is 7, allowed is 1 to 5"
    ),
    CRITERION + "    kind: rate\n    anchors: [bad, good]\n": (
        "r.yaml:7: criteria.tone.anchors is a list, allowed is a mapping of key: value"
    ),
    CRITERION + "    kind: rate\n    anchors: {1: a, 1: b}\n": "r.yaml:7: duplicate key '1', first at line 7",
    CRITERION + "    required: 2\n": "r.yaml:6: criteria.tone.required is 2, allowed are true, false",
    CRITERION + "    requierd: true\n": "r.yaml:6: unknown key 'requierd' in criteria[1], did you mean 'required'?",
    # flags
    HEAD + "flags: {unsafe: yes}\n": "r.yaml:3: flags is a mapping, allowed is a list",
    HEAD + "flags:\n  - {label: Unsafe}\n": "r.yaml:4: name is missing in flags[1]",
    HEAD + "flags:\n  - unsafe\n  - {name: unsafe}\n": "r.yaml:5: flags has 'unsafe' twice, first at line 4",
    HEAD + "flags:\n  - Un safe\n": (
        "r.yaml:4: flags[1] is Un safe, allowed is a lower-case letter, then up to 39 letters, digits or _"
    ),
    HEAD + "flags:\n  - {name: unsafe, lable: x}\n": "r.yaml:4: unknown key 'lable' in flags[1], did you mean 'label'?",
    # no YAML
    "": "r.yaml:1: the text is empty",
    "# only a remark\n": "r.yaml:1: the text is empty",
    HEAD + "scale:\n\tsteps: 7\n": "r.yaml:4: a tab stands where YAML wants spaces",
    "title: T\nguidelines: Note: both\n": (
        "r.yaml:2: a colon stands where no key is due: put a text that holds one in quotes, or check the indentation"
    ),
    HEAD + "scale: {steps: 7\nflags: []\n": "r.yaml:4: not valid YAML: expected ',' or '}', but got ':'",
    "title: T\nguidelines\nquestion: Q\n": (
        "r.yaml:2: a key without its colon, or a text that has lost its indentation or quote"
    ),
    HEAD + "---\n" + HEAD: "r.yaml:3: not valid YAML: but found another document",
    HEAD + "question: *nothing\n": "r.yaml:3: not valid YAML: found undefined alias 'nothing'",
    HEAD + "question: a\x07b\n": "r.yaml:3: the character '\\x07' is not allowed in YAML",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=lambda value: value[-60:].strip())
def test_mistakes_are_named_at_their_line(text: str, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_rubric(text, "r.yaml")
    assert str(caught.value) == message
    assert caught.value.line == int(message.split(":")[1])


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        parse_rubric(HEAD + f"criteria:\n  - name: {name}\n    question: Q\n")


def test_hostile_yaml_makes_no_object_and_ends_soon() -> None:
    for text, problem in (
        (HEAD + "question: !!python/object/apply:os.system [ls]\n", "question is a list"),
        (HEAD + "question: !!python/name:os.system x\n", "question is x, allowed is a text"),
        ("[" * 100_000, "nested too deeply"),
        ("a: &a [*a]\n", "unknown key 'a'"),
        (HEAD + "scale: &s {steps: 7, labels: *s}\n", "scale.labels is a mapping"),
        ("title: T\nguidelines: '" + "x" * 200_000 + "'\n", "allowed are 200000"),
        (HEAD + "<<: {both_bad: true}\n", "unknown key '<<'"),
    ):
        with pytest.raises(YamlError, match=problem.replace("'", ".")):
            parse_rubric(text)


# Anything YAML can hold; a text with something in it.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\r\x85"), min_size=1, max_size=40
).filter(lambda text: text.strip() != "" and not any(0xFFFE <= ord(each) <= 0xFFFF for each in text))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in RESERVED_NAMES)


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    steps = draw(st.sampled_from(SCALE_STEPS))
    labels = draw(st.none() | st.lists(TEXTS, min_size=steps // 2, max_size=steps // 2, unique=True))
    return Scale(steps=steps, labels=tuple(labels or ()), tie=bool(steps % 2) or draw(st.booleans()))


@st.composite
def criteria(draw: st.DrawFn, name: str) -> Criterion:
    question, required = draw(TEXTS), draw(st.booleans())
    if draw(st.booleans()):
        return Criterion(name=name, question=question, scale=draw(scales()), required=required)
    low = draw(st.integers(0, 9))
    high = draw(st.integers(low + 1, 10))
    anchors = draw(st.dictionaries(st.integers(low, high), TEXTS, max_size=3))
    return Criterion(name=name, question=question, kind="rate", low=low, high=high, anchors=anchors, required=required)


@st.composite
def rubrics(draw: st.DrawFn) -> Rubric:
    return Rubric(
        title=draw(TEXTS),
        guidelines=draw(TEXTS),
        question=draw(TEXTS),
        scale=draw(scales()),
        both_bad=draw(st.booleans()),
        criteria=tuple(draw(criteria(name)) for name in draw(st.lists(NAMES, max_size=3, unique=True))),
        flags=tuple(
            Flag(name=name, label=draw(TEXTS), help=draw(st.just("") | TEXTS))
            for name in draw(st.lists(NAMES, max_size=3, unique=True))
        ),
        rationale=draw(st.sampled_from(("off", "optional", "required"))),
        skip_reasons=tuple(draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))),
        protocol=draw(st.just("") | NAMES),
    )


@settings(deadline=None)
@given(rubrics())
def test_what_is_written_reads_the_same(rubric: Rubric) -> None:
    assert parse_rubric(rubric_text(rubric)) == rubric


def mistake(text: str) -> YamlError | None:
    """The mistake of a text, None where it is a good rubric."""
    try:
        parse_rubric(text, "r.yaml")
    except YamlError as error:
        return error
    return None


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="{}[]:-,&*!|>'\"#%@ \n\tatile", max_size=40))
def test_no_mere_text_is_a_rubric_and_each_is_refused_at_a_line_of_it(text: str) -> None:
    error = mistake(text)
    assert error is not None
    assert 1 <= error.line <= len(text.splitlines()) + 1
    assert str(error).startswith(f"r.yaml:{error.line}: ")


@pytest.mark.parametrize(("line", "within"), [("zzz: 1", 2), ("- zzz: 1", 1), ("zzz", 3), ("]", 0)])
def test_a_line_put_into_a_good_rubric_is_blamed_there_or_where_its_block_ends(line: str, within: int) -> None:
    for position in range(FULL.count("\n") + 1):
        lines = FULL.splitlines()
        lines.insert(position, line)
        error = mistake("\n".join(lines))
        assert error is not None
        assert position + 1 <= error.line <= position + 1 + within, error


def test_wordings_fill_in_for_missing_labels() -> None:
    for steps in SCALE_STEPS:
        assert len(Scale(steps=steps).wordings) == steps // 2
    assert Scale(steps=5, labels=("a bit", "a lot")).wordings == ("a bit", "a lot")
