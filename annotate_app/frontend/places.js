// Where words stand: ranges of a text on the screen and of the text as written, in code points, by the server's segments
// [start on the screen, length, start as written, length, 1 for a unit]. A unit is taken whole; nothing ever slips.

/** The range as written of a range on the screen; null where it touches nothing that is aligned. */
export function toWritten(segments, start, end) {
  let range = null;
  for (const [at, size, origin, extent, unit] of segments) {
    if (at >= end || at + size <= start) continue;
    const first = unit ? origin : origin + Math.max(0, start - at);
    const last = unit ? origin + extent : origin + Math.min(size, end - at);
    range = range ? [Math.min(range[0], first), Math.max(range[1], last)] : [first, last];
  }
  return range;
}

/** The ranges on the screen of a range as written, in order. */
export function toShown(segments, start, end) {
  const ranges = [];
  for (const [at, size, origin, extent, unit] of segments) {
    if (origin >= end || origin + extent <= start) continue;
    ranges.push(unit ? [at, at + size] : [at + Math.max(0, start - origin), at + Math.min(size, end - origin)]);
  }
  return ranges;
}

/** The number of code points in a text. */
export function codePoints(text) {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i += 1) {
    if (isPair(text, i)) (count -= 1), (i += 1);
  }
  return count;
}

/** The index in UTF-16 units of a code point. */
export function unitsAt(text, point) {
  let at = 0;
  for (let left = point; left > 0 && at < text.length; left -= 1) at += isPair(text, at) ? 2 : 1;
  return at;
}

const isPair = (text, at) => text.charCodeAt(at) >> 10 === 54 && text.charCodeAt(at + 1) >> 10 === 55;

/** A range without the blanks at its ends; null where nothing else is in it. `signs` are the text's code points. */
export function withoutBlanks(signs, [start, end]) {
  while (start < end && !signs[start]?.trim()) start += 1;
  while (end > start && !signs[end - 1]?.trim()) end -= 1;
  return start < end ? [start, end] : null;
}

/** The steps of a text that the keyboard goes by, as ranges of code points: words, and signs between them. */
export function stepsOf(text, language) {
  const pieces = Intl.Segmenter ? [...new Intl.Segmenter(language, { granularity: "word" }).segment(text)].map((piece) => piece.segment) : text.match(/\s+|\S+/gu) ?? [];
  const steps = [];
  let at = 0;
  for (const piece of pieces) {
    const size = codePoints(piece);
    if (piece.trim()) steps.push([at, at + size]);
    at += size;
  }
  return steps;
}
