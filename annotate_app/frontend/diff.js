// The parts of two texts that differ, word by word: Myers' greedy shortest edit script (1986), bounded.

const WORDS = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
const MOST_EDITS = 1500;
const LONGEST = 60_000; // characters compared; what lies beyond is left unmarked
const LEAST_COMMON = 0.1; // of the words of both texts
const SHORTEST_COMMON = 3; // words; shorter islands between two changes are noise and count as changed

/**
 * Two lists of [text, differs], one per text, whose texts joined give the texts back; null where less than LEAST_COMMON
 * of their words are in common, so that everything would be marked.
 */
export function differingParts(left, right) {
  const a = left.slice(0, LONGEST).match(WORDS) ?? [];
  const b = right.slice(0, LONGEST).match(WORDS) ?? [];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const runs = commonRuns(a.slice(start, a.length - end), b.slice(start, b.length - end)).filter(
    ([i, , length]) => countWords(a, start + i, length) >= SHORTEST_COMMON,
  );
  const kept = [[0, 0, start], ...runs.map(([i, j, length]) => [start + i, start + j, length]), [a.length - end, b.length - end, end]];
  const common = kept.reduce((sum, [i, , length]) => sum + countWords(a, i, length), 0);
  if (2 * common < LEAST_COMMON * (countWords(a, 0, a.length) + countWords(b, 0, b.length))) return null;
  return [
    mark(a, kept.map(([i, , length]) => [i, length]), left.slice(LONGEST)),
    mark(b, kept.map(([, j, length]) => [j, length]), right.slice(LONGEST)),
  ];
}

function countWords(tokens, from, length) {
  let words = 0;
  for (let i = from; i < from + length; i += 1) if (/[\p{L}\p{N}]/u.test(tokens[i])) words += 1;
  return words;
}

function mark(tokens, common, rest) {
  const parts = [];
  let at = 0;
  for (const [from, length] of common) {
    if (from > at) parts.push([tokens.slice(at, from).join(""), true]);
    if (length) parts.push([tokens.slice(from, from + length).join(""), false]);
    at = from + length;
  }
  if (rest) parts.push([rest, false]);
  return parts;
}

/** Maximal runs [i, j, length] with a[i..] equal b[j..], in order; none where the texts need more than MOST_EDITS. */
function commonRuns(a, b) {
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const middle = most + 1;
  const furthest = new Int32Array(2 * most + 3);
  const trace = [];
  for (let d = 0; d <= most; d += 1) {
    trace.push(furthest.slice(middle - d - 1, middle + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest[middle + k - 1] < furthest[middle + k + 1]);
      let x = down ? furthest[middle + k + 1] : furthest[middle + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      furthest[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return walkBack(trace, d, a.length, b.length);
    }
  }
  return [];
}

function walkBack(trace, edits, x, y) {
  const runs = [];
  for (let d = edits; d >= 0; d -= 1) {
    const at = (k) => trace[d][k + d + 1];
    const k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const fromX = d === 0 ? 0 : down ? at(k + 1) : at(k - 1) + 1;
    if (x > fromX) runs.push([fromX, fromX - k, x - fromX]);
    x = d === 0 || down ? fromX : fromX - 1;
    y = x - (down ? k + 1 : k - 1);
  }
  return runs.reverse();
}
