"""Whether a text is written in a given language, by rule: its script, and among languages of one script its words.

A rule, not a detector: enough to tell an answer in Finnish from one in English, too weak for short or mixed texts.
Standard library alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

# By language, its script as Unicode names begin, and frequent words that neighbours do not share.
_LANGUAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "ar": (("ARABIC",), "في من على إلى هذا هذه التي الذي أن لا ما هو كان"),
    "fa": (("ARABIC",), "در به از که این را است با برای می های آن شده است"),
    "ur": (("ARABIC",), "کے کی میں ہے اور سے کا کو ہیں نے پر یہ"),
    "bg": (("CYRILLIC",), "на за се от че са като ще да може или което това"),
    "ru": (("CYRILLIC",), "и в не на что он как это по но из у за то все для"),
    "uk": (("CYRILLIC",), "і в не на що та як це з до для є від або"),
    "hi": (("DEVANAGARI",), "है के में की और हैं का से को यह एक नहीं कि"),
    "mr": (("DEVANAGARI",), "आहे आणि आहेत या हे ते मध्ये नाही तर एक किंवा होते"),
    "ne": (("DEVANAGARI",), "छ र को मा छन् यो पनि हो गर्न लागि तर भएको"),
    "bn": (("BENGALI",), ""),
    "gu": (("GUJARATI",), ""),
    "kn": (("KANNADA",), ""),
    "ml": (("MALAYALAM",), ""),
    "pa": (("GURMUKHI",), ""),
    "ta": (("TAMIL",), ""),
    "te": (("TELUGU",), ""),
    "th": (("THAI",), ""),
    "el": (("GREEK",), ""),
    "he": (("HEBREW",), ""),
    "ko": (("HANGUL",), ""),
    "ja": (("HIRAGANA", "KATAKANA"), ""),
    "zh": (("CJK",), ""),
    "en": (("LATIN",), "the and of to in is that it for was with as you are be this have not on"),
    "de": (("LATIN",), "der die und das ist nicht ein eine zu den mit von für auf sich auch es ich"),
    "es": (("LATIN",), "el los las que y en una por con para es del se como más pero"),
    "fr": (("LATIN",), "le les des et est une dans que pour qui pas sur avec du il vous"),
    "it": (("LATIN",), "il di che è per una non con del della sono gli anche più nel"),
    "pt": (("LATIN",), "o os que não uma para com por em do da dos ao mais é você"),
    "nl": (("LATIN",), "de het een van en is dat niet op te zijn voor met ook"),
    "fi": (("LATIN",), "ja on ei se että oli hän mutta joka ovat kun kanssa tai myös"),
    "sw": (("LATIN",), "na ya wa kwa ni katika za la kuwa hii yake cha kama au"),
    "vi": (("LATIN",), "và của là có không được cho một những trong này các với"),
}  # fmt: skip
LANGUAGES = tuple(_LANGUAGES)
_BY_SCRIPTS: dict[tuple[str, ...], dict[str, frozenset[str]]] = {
    scripts: {code: frozenset(words.split()) for code, (of_code, words) in _LANGUAGES.items() if of_code == scripts}
    for scripts, _ in _LANGUAGES.values()
}
_WORD = re.compile(r"[^\W\d_]+")
MOST_OF = 0.5  # share of the letters that the script needs


def is_in_language(text: str, language: str) -> bool:
    """Whether at least half of the letters are of the language's script, and no other language's words are as frequent.

    Raises:
        ValueError: for a language that no rule knows.
    """
    code = language.partition("-")[0].lower()
    if code not in _LANGUAGES:
        raise ValueError(f"language is {language!r}, allowed are {', '.join(LANGUAGES)}")
    return code in _passed(text)


@lru_cache(maxsize=1024)
def language_of(text: str) -> str | None:
    """The code of the one language whose rule a text passes; None where none or several do."""
    codes = _passed(text)
    return codes[0] if len(codes) == 1 else None


def _passed(text: str) -> list[str]:
    """The languages whose rule a text passes."""
    letters = Counter(_script(letter) for letter in text if letter.isalpha())
    occurrences = Counter(_words(text))
    codes: list[str] = []
    for scripts, group in _BY_SCRIPTS.items():
        if not letters or sum(letters[script] for script in scripts) < MOST_OF * letters.total():
            continue
        counts = {code: sum(occurrences[word] for word in words) for code, words in group.items()}
        most = max(counts.values())
        best = [code for code, count in counts.items() if count == most]
        codes += [code for code in best if len(best) == 1 and (most > 0 or not group[code])]
    return codes


def _words(text: str) -> list[str]:
    """Lower-case words; in scripts that write vowels as marks, what stands between blanks."""
    marked = re.search(r"[\u0900-\u097f]", text)
    return [word.strip("।,.!?;:\"'()") for word in text.lower().split()] if marked else _WORD.findall(text.lower())


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
