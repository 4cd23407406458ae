// The direction of text, block by block: by the majority of its letters, because technical Arabic or Hebrew often begins
// with a Latin word. Code and formulas are left to right and are not counted.

const BLOCKS = "p, li, ul, ol, h1, h2, h3, h4, h5, h6, blockquote, table, th, td";
const LEFT_TO_RIGHT = "pre, code, math, .formula";
const RIGHT_LETTERS = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/gu;
const LETTERS = /\p{L}/gu;
const MOST = 4000; // letters looked at

/** "rtl" where more than half of the letters are written right to left, else "ltr"; "" without letters. */
export function directionOf(text) {
  const letters = text.slice(0, MOST).match(LETTERS) ?? [];
  const right = letters.join("").match(RIGHT_LETTERS) ?? [];
  return letters.length ? (2 * right.length > letters.length ? "rtl" : "ltr") : "";
}

/** Sets the direction of a rendered text and of each block in it. */
export function setDirections(node) {
  const whole = directionOf(words(node)) || "ltr";
  node.dir = whole;
  for (const code of node.querySelectorAll(LEFT_TO_RIGHT)) code.dir = "ltr";
  if (whole === "ltr" && !node.textContent.match(RIGHT_LETTERS)) return;
  for (const block of node.querySelectorAll(BLOCKS)) block.dir = directionOf(words(block)) || whole;
}

/** The direction for a text shown as written: "auto", line by line, where its lines differ. */
export function directionAsWritten(text) {
  const lines = new Set(text.split("\n").map(directionOf).filter(Boolean));
  return lines.size === 1 ? [...lines][0] : "auto";
}

function words(node) {
  if (!node.querySelector(LEFT_TO_RIGHT)) return node.textContent;
  const copy = node.cloneNode(true);
  for (const code of copy.querySelectorAll(LEFT_TO_RIGHT)) code.remove();
  return copy.textContent;
}
