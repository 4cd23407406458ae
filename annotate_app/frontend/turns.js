// Where two responses of several parts differ: turn by turn, part by part, an argument of a call at a time.
// A text names its parts in `blocks`, [kind, length] in order: role, label, text, json, gap; see labeling/turns.py.
import { differingParts } from "./diff.js";

const MOST_CELLS = 1_000_000; // of the table that aligns lines; longer ones are compared word by word

/** Two lists of [text, differs], one per response, whose texts joined give their raw forms back; null as of `differingParts`. */
export function differences(left, right) {
  if (!left.blocks && !right.blocks) return differingParts(left.raw, right.raw);
  const [a, b] = [readTurns(left), readTurns(right)];
  const marked = [[], []];
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) compareTurns(a[at] ?? [], b[at] ?? [], marked);
  return marked;
}

/** Turns as lists of parts {kind, before, text}: what stands before the text is a role, a label or a gap. */
function readTurns({ raw, blocks }) {
  if (!blocks) return [[{ key: "text", before: "", text: raw }]];
  const turns = [];
  let at = 0;
  let before = "";
  let label = "";
  for (const [kind, length] of blocks) {
    const words = raw.slice(at, at + length);
    at += length;
    if (kind === "role") turns.push([]);
    if (kind === "label") label = words;
    if (kind === "text" || kind === "json") {
      turns.at(-1).push({ key: `${kind} ${label.trim()}`, kind, before, label, text: words });
      before = label = "";
    } else if (kind !== "label") before += words;
  }
  if (before && turns.length) turns.at(-1).push({ key: "end", before, label: "", text: "" });
  return turns;
}

/** Parts of a name are compared in their order; one without a counterpart differs as a whole. */
function compareTurns(left, right, [markedLeft, markedRight]) {
  const numbered = (parts) => {
    const counts = new Map();
    return new Map(
      parts.map((part) => {
        counts.set(part.key, (counts.get(part.key) ?? 0) + 1);
        return [`${part.key} ${counts.get(part.key)}`, part];
      }),
    );
  };
  const [a, b] = [numbered(left), numbered(right)];
  const found = new Map();
  for (const [key, part] of a) {
    const other = b.get(key);
    if (!other) continue;
    const parts = part.kind === "json" ? differingLines(part.text, other.text) : differingParts(part.text, other.text);
    if (parts) found.set(part, parts[0]).set(other, parts[1]);
  }
  for (const [parts, marked] of [[left, markedLeft], [right, markedRight]]) {
    for (const part of parts) {
      marked.push([part.before, false]);
      const words = found.get(part);
      if (words) marked.push([part.label, false], ...words);
      else marked.push([part.label + part.text, true]);
    }
  }
}

/** JSON line by line: one argument a line, so that what changed is marked and nothing beside it. */
function differingLines(left, right) {
  const a = left.split(/(?<=\n)/);
  const b = right.split(/(?<=\n)/);
  if (a.length * b.length > MOST_CELLS) return differingParts(left, right);
  const bare = (line) => line.replace(/,?\n?$/, ""); // the last argument has no comma
  const longest = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = bare(a[i]) === bare(b[j]) ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const marked = [[], []];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && bare(a[i]) === bare(b[j])) {
      marked[0].push([a[i++], false]);
      marked[1].push([b[j++], false]);
    } else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) marked[0].push(...line(a[i++]));
    else marked[1].push(...line(b[j++]));
  }
  return marked;
}

/** A line that differs; its indentation and its end do not. */
function line(words) {
  const [, indent, middle, end] = words.match(/^(\s*)(.*?)(,?\n?)$/s);
  return [[indent, false], [middle, true], [end, false]].filter(([part]) => part);
}
