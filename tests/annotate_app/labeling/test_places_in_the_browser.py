"""The browser's half of aligning words (`frontend/places.js`), run by Node over what the server sends."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import annotate_app
from annotate_app.labeling.places import find_places, text_of
from annotate_app.labeling.rendering import render

PLACES = Path(annotate_app.__file__).parent / "frontend" / "places.js"
HOSTILE = Path(__file__).parents[1] / "hostile.txt"
TEXTS = [
    "So un**believ**able 😀, it *is*: `so so` &amp; $x^2$.\n\n| a | b\\|c |\n|---|---|\n| one | **two** words |\n",
    "# Title *x* #\n\n> - quoted **word**\n>   goes on\n\n```py\ndef f(): return '😀'\n```\n\n"
    "قال **الرجل** نعم.\n\n1. [a *b*](http://c.d)",
    HOSTILE.read_text(encoding="utf-8", errors="replace")[:20_000],
]
SCRIPT = """
import { readFileSync } from "node:fs";
const { toWritten, toShown, codePoints, unitsAt, withoutBlanks, stepsOf } = await import(process.argv[2]);
const out = JSON.parse(readFileSync(0)).map(({ shown, segments, ranges }) => {
  const signs = [...shown];
  return {
    length: codePoints(shown),
    units: unitsAt(shown, 3),
    steps: stepsOf(shown.slice(0, 500), "en"),
    ranges: ranges.map(([start, end]) => {
      const words = withoutBlanks(signs, [start, end]);
      const written = words && toWritten(segments, ...words);
      if (!written) return [words, null, [], null];
      const back = toShown(segments, ...written);
      return [words, written, back, toWritten(segments, back[0][0], back.at(-1)[1])];
    }),
  };
});
console.log(JSON.stringify(out));
"""


def run_node(cases: list[dict]) -> list[dict]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NODE IS NOT INSTALLED: tests/system_packages.sh installs it")
    command = [node, "--input-type=module", "-e", SCRIPT, "x", PLACES.as_uri()]
    done = subprocess.run(command, input=json.dumps(cases).encode(), capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_ranges_on_the_screen_grow_to_what_is_written_and_back() -> None:
    rng = random.Random(0)
    cases = []
    for raw in TEXTS:
        rendered = render(raw)
        shown = text_of(rendered.html)
        starts = [rng.randrange(len(shown)) for _ in range(300)]
        ranges = [[start, min(len(shown), start + rng.choice([1, 2, 7, 40]))] for start in starts]
        cases.append({"shown": shown, "raw": raw, "segments": find_places(rendered, raw)["segments"], "ranges": ranges})
    for case, result in zip(cases, run_node(cases), strict=True):
        shown, raw = case["shown"], case["raw"]
        assert result["length"] == len(shown)
        assert result["units"] == len(shown[:3].encode("utf-16-le")) // 2
        assert [shown[start:end].strip() for start, end in result["steps"]] == [
            shown[start:end] for start, end in result["steps"]
        ]
        for (start, end), (words, written, back, again) in zip(case["ranges"], result["ranges"], strict=True):
            assert (written is None) == (not shown[start:end].strip())
            if written is None:
                continue
            assert shown[words[0] : words[1]] == shown[start:end].strip()
            assert 0 <= written[0] < written[1] <= len(raw)
            assert again == written  # what is painted gives the same mark again
            painted = {at for first, last in back for at in range(first, last)}
            assert {at for at in range(start, end) if not shown[at].isspace()} <= painted
