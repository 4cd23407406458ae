"""Instructions that a program can check, by the ids of IFEval.

What counts as following each is IFEval's definition (Zhou et al. 2023, arXiv 2311.07911), on the text as it is
("strict"). Three rules are ours, because the originals ask a statistical model: sentences end at . ! or ? before a
blank or the end, words are runs without blanks when capitals are counted, and languages go by
`rewardkit.traits.languages`. Standard library alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardkit.traits.languages import is_in_language

Options = Mapping[str, Any]
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|[A-Z])\.\Z")
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f]+[\"')\]\u201d\u2019]*(?=\s|\Z)")
_FENCES = ("```json", "```Json", "```JSON", "```")


def followed(text: str, ids: Sequence[str], options: Sequence[Options | None]) -> list[bool]:
    """Whether each instruction is followed; an empty text follows none.

    Args:
        ids: of INSTRUCTIONS.
        options: of each, IFEval's kwargs; what is None in them counts as not there.

    Raises:
        ValueError: if there is none, an id is unknown, or an option is missing or not allowed.
    """
    if not ids or len(ids) != len(options):
        raise ValueError(f"{len(ids)} instruction ids with {len(options)} kwargs, allowed is one each, at least one")
    followed = []
    for name, kwargs in zip(ids, options, strict=True):
        if name not in INSTRUCTIONS:
            raise ValueError(f"instruction {name!r} is unknown, allowed are {', '.join(INSTRUCTIONS)}")
        stated = {key: value for key, value in (kwargs or {}).items() if value is not None}
        try:
            followed.append(INSTRUCTIONS[name](text, stated) and bool(text.strip()))
        except KeyError as error:
            raise ValueError(f"instruction {name} needs {error} in its kwargs") from error
    return followed


def _related(count: int, relation: str, limit: int) -> bool:
    match relation:
        case "at least":
            return count >= limit
        case "less than":
            return count < limit
        case _:
            raise ValueError(f"relation is {relation!r}, allowed are 'at least' and 'less than'")


def _has_all_keywords(text: str, options: Options) -> bool:
    return all(re.search(re.escape(keyword), text, re.IGNORECASE) for keyword in options["keywords"])


def _keyword_frequency(text: str, options: Options) -> bool:
    count = len(re.findall(re.escape(options["keyword"]), text, re.IGNORECASE))
    return _related(count, options["relation"], options["frequency"])


def _has_no_forbidden_word(text: str, options: Options) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in options["forbidden_words"])


def _letter_frequency(text: str, options: Options) -> bool:
    count = text.lower().count(options["letter"].lower())
    return _related(count, options["let_relation"], options["let_frequency"])


def _capital_words(text: str, options: Options) -> bool:
    count = sum(word.isupper() for word in text.split())
    return _related(count, options["capital_relation"], options["capital_frequency"])


def num_sentences(text: str) -> int:
    """Sentences of a text, a last one without its end among them."""
    count, start = 0, 0
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[start : end.end()]):
            count, start = count + 1, end.end()
    return count + bool(text[start:].strip())


def _sentences(text: str, options: Options) -> bool:
    return _related(num_sentences(text), options["relation"], options["num_sentences"])


def _words(text: str, options: Options) -> bool:
    return _related(len(re.findall(r"\w+", text)), options["relation"], options["num_words"])


def _paragraphs(text: str, options: Options) -> bool:
    """Paragraphs stand apart by ***; an empty one is allowed at either end alone."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = parts[1:-1]
    return all(map(str.strip, inner)) and sum(bool(part.strip()) for part in parts) == options["num_paragraphs"]


def _first_word(text: str, options: Options) -> bool:
    """Paragraphs stand apart by an empty line; the nth has the given first word, and there are as many as asked."""
    parts = text.split("\n\n")
    number = options["nth_paragraph"]
    if not number <= sum(bool(part.strip()) for part in parts) == options["num_paragraphs"]:
        return False
    words = parts[number - 1].split()
    return bool(words) and re.split(r"[.,?!'\"]", words[0].lstrip("'\""))[0].lower() == options["first_word"].lower()


def _postscript(text: str, options: Options) -> bool:
    marker = str(options["postscript_marker"])
    pattern = {"P.P.S": r"\s*p\.\s?p\.\s?s", "P.S.": r"\s*p\.\s?s\."}.get(marker, r"\s*" + re.escape(marker.lower()))
    return re.search(pattern, text.lower()) is not None


def _bullets(text: str, options: Options) -> bool:
    stars = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == options["num_bullets"]


def _highlights(text: str, options: Options) -> bool:
    single = [span for span in re.findall(r"\*[^\n*]*\*", text) if span.strip("*").strip()]
    double = [span for span in re.findall(r"\*\*[^\n*]*\*\*", text) if span[2:-2].strip()]
    return len(single) + len(double) >= options["num_highlights"]


def _sections(text: str, options: Options) -> bool:
    parts = re.split(rf"\s?{re.escape(options['section_spliter'])}\s?\d+\s?", text)
    return len(parts) - 1 >= options["num_sections"]


def _json(text: str, _options: Options) -> bool:
    bare = text.strip()
    for fence in _FENCES:
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, _options: Options) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, _options: Options) -> bool:
    """Two different answers with ****** between them; an empty part is allowed at either end alone."""
    parts = text.split("******")
    answers = [part.strip() for part in parts if part.strip()]
    return all(map(str.strip, parts[1:-1])) and len(answers) == 2 and answers[0] != answers[1]


def _repeats_prompt(text: str, options: Options) -> bool:
    return text.strip().lower().startswith(options["prompt_to_repeat"].strip().lower())


def _ends_with(text: str, options: Options) -> bool:
    return text.strip().strip('"').lower().endswith(options["end_phrase"].strip().lower())


def _is_quoted(text: str, _options: Options) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare.startswith('"') and bare.endswith('"')


def _is_english(text: str) -> bool:
    """By script alone: short answers in capitals hold too few words to go by."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(letter.isascii() for letter in letters) >= 0.9 * len(letters)


INSTRUCTIONS: Mapping[str, Callable[[str, Options], bool]] = {
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda text, _options: text.isupper() and _is_english(text),
    "change_case:english_lowercase": lambda text, _options: text.islower() and _is_english(text),
    "combination:repeat_prompt": _repeats_prompt,
    "combination:two_responses": _two_responses,
    "detectable_content:number_placeholders": (
        lambda text, options: len(re.findall(r"\[.*?\]", text)) >= options["num_placeholders"]
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": (
        lambda text, _options: any(f"My answer is {answer}." in text for answer in ("yes", "no", "maybe"))
    ),
    "detectable_format:json_format": _json,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "keywords:existence": _has_all_keywords,
    "keywords:forbidden_words": _has_no_forbidden_word,
    "keywords:frequency": _keyword_frequency,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": lambda text, options: is_in_language(text, options["language"]),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_words": _words,
    "punctuation:no_comma": lambda text, _options: "," not in text,
    "startend:end_checker": _ends_with,
    "startend:quotation": _is_quoted,
}
