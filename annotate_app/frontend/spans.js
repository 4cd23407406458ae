// Marking words of a response with a flag: by mouse or finger (select, then a small menu) and by keyboard (W, arrows, a
// digit). Marks are kept as ranges of the text as written, and painted in whatever view is on the screen.
import { codePoints, stepsOf, toShown, toWritten, unitsAt, withoutBlanks } from "./places.js";
import { element } from "./panes.js";
import { say } from "./words.js";

const SIDES = ["left", "right"];
const MOST_COLOURS = 6;
const LEFT_OUT = "[data-extra], [data-say], .image, .more, .nothing";
const SELECTED_MS = 120;
const LONGEST_QUOTE = 60;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufefc]/;

/** `layer()`, `pair()`, `rubric()` give what is shown now; marks go to `sheet.mark`. */
export function openMarking({ root, layer, pair, rubric, sheet, hint, announce }) {
  const menu = element("div", { class: "spanmenu", role: "toolbar", "aria-label": say("marks.menu"), hidden: true });
  menu.addEventListener("pointerdown", (event) => event.preventDefault()); // the selection stays
  root.append(menu);
  const signs = new WeakMap(); // text -> its code points
  let cursor = null; // {side, anchor, at}: indices of steps; while words are marked by keyboard
  let chosen = null; // {side, range}: what the menu would mark
  let place = () => {}; // puts the menu beside the words that the keyboard is at
  let timer = 0;

  const flags = () => (rubric()?.flags ?? []).filter((flag) => flag.spans);
  const spansOf = (side) => sheet.answer.spans?.[side] ?? [];
  const signsOf = (side) => {
    const text = pair()[side];
    if (!signs.has(text)) signs.set(text, [...text.raw]);
    return signs.get(text);
  };

  // ---- a text on the screen ----
  const viewOf = (side) => {
    const body = layer()?.sides[side].body;
    const text = pair()?.[side];
    if (!body || !text) return null;
    const walker = document.createTreeWalker(body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) =>
      node.nodeType === Node.TEXT_NODE ? NodeFilter.FILTER_ACCEPT : node.matches(LEFT_OUT) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_SKIP,
    );
    const nodes = [];
    let length = 0;
    while (walker.nextNode()) {
      const size = codePoints(walker.currentNode.data);
      nodes.push({ node: walker.currentNode, start: length, end: length + size });
      length += size;
    }
    const isRich = body.querySelector(".rich") !== null;
    const places = text.places;
    const whole = places?.unrendered ?? [[0, length, 0, length, 0]];
    const segments = isRich ? (places?.segments && places.length === length ? places.segments : null) : whole;
    return { side, body, nodes, length, segments };
  };
  const placeOf = (view, [start, end]) => {
    const boundary = (at, isEnd) => {
      const found = view.nodes.find((item) => (isEnd ? at > item.start && at <= item.end : at >= item.start && at < item.end));
      return found ? [found.node, unitsAt(found.node.data, at - found.start)] : null;
    };
    const [first, last] = [boundary(start, false), boundary(end, true)];
    if (!first || !last) return null;
    const range = document.createRange();
    range.setStart(...first);
    range.setEnd(...last);
    return range;
  };
  const rangesOf = (view, [start, end]) => toShown(view.segments ?? [], start, end).map((part) => placeOf(view, part)).filter(Boolean);
  const wordsOf = (side, [start, end]) => {
    const words = signsOf(side).slice(start, end).join("").replace(/\s+/g, " ");
    return words.length > LONGEST_QUOTE ? `${words.slice(0, LONGEST_QUOTE - 1)}…` : words;
  };

  // ---- painting ----
  const paint = () => {
    if (!flags().length || !layer()) return clear();
    const painted = new Map();
    for (const side of SIDES) {
      const view = viewOf(side);
      for (const [start, end, name] of spansOf(side)) {
        const number = (flags().findIndex((flag) => flag.name === name) % MOST_COLOURS) + 1;
        painted.set(number, [...(painted.get(number) ?? []), ...rangesOf(view, [start, end])]);
      }
      paintChips(side);
    }
    for (let number = 1; number <= MOST_COLOURS; number += 1) highlight(`tb-mark-${number}`, painted.get(number) ?? []);
    paintCursor();
  };
  const highlight = (name, ranges) => {
    if (!globalThis.CSS?.highlights) return; // the list below the text still says what is marked
    if (ranges.length) CSS.highlights.set(name, new Highlight(...ranges));
    else CSS.highlights.delete(name);
  };
  const clear = () => {
    for (let number = 1; number <= MOST_COLOURS; number += 1) highlight(`tb-mark-${number}`, []);
    highlight("tb-mark-cursor", []);
    hide();
  };
  const paintChips = (side) => {
    const pane = layer().sides[side].body.parentElement;
    let list = pane.querySelector(".marks");
    if (!list) {
      list = element("ul", { class: "marks", "aria-label": say(`marks.list_${side}`) });
      pane.append(list);
    }
    const all = flags();
    list.replaceChildren(
      ...spansOf(side).map((span) => {
        const index = all.findIndex((flag) => flag.name === span[2]);
        const label = all[index]?.label ?? span[2];
        const words = wordsOf(side, span);
        const go = element("button", { type: "button", class: "quiet", title: say("marks.show"), onclick: () => reveal(side, span) }, element("b", {}, label), " ", element("q", { dir: "auto" }, words));
        const drop = element("button", { type: "button", class: "quiet drop", "aria-label": say("marks.remove", { label, words }), onclick: () => remove(side, [span]) }, "×");
        return element("li", { class: `mark tone${(index % MOST_COLOURS) + 1}` }, go, drop);
      }),
    );
    list.hidden = !list.childElementCount;
  };
  const reveal = (side, span) => {
    const [range] = rangesOf(viewOf(side), span);
    range?.startContainer.parentElement.scrollIntoView({ block: "nearest" });
  };

  // ---- setting and removing ----
  const set = (flag) => {
    if (!chosen || !flag) return;
    const { side, range } = chosen;
    const others = spansOf(side).filter((span) => span[2] !== flag.name || span[0] >= range[1] || span[1] <= range[0]);
    const same = spansOf(side).filter((span) => !others.includes(span));
    const merged = [Math.min(range[0], ...same.map((span) => span[0])), Math.max(range[1], ...same.map((span) => span[1])), flag.name];
    sheet.mark(side, [...others, merged].sort((one, other) => one[0] - other[0] || one[1] - other[1]));
    announce(say("marks.set", { label: flag.label, words: wordsOf(side, merged) }));
    if (!cursor) (getSelectionIn()?.empty?.(), hide());
  };
  const remove = (side, gone) => {
    sheet.mark(side, spansOf(side).filter((span) => !gone.includes(span)));
    announce(say("marks.removed"));
  };

  // ---- the menu ----
  const show = (box) => {
    menu.replaceChildren(
      ...flags().map((flag, index) =>
        element("button", { type: "button", class: `tone${(index % MOST_COLOURS) + 1}`, title: flag.help, onclick: () => set(flag) }, element("kbd", { "aria-hidden": "true" }, index < 9 ? String(index + 1) : ""), ` ${flag.label}`),
      ),
      ...(cursor ? [element("span", { class: "small" }, say("marks.help"))] : []),
    );
    menu.hidden = false;
    const size = menu.getBoundingClientRect();
    const below = box.bottom + 6 + size.height < window.innerHeight;
    menu.style.left = `${Math.max(6, Math.min(box.left, window.innerWidth - size.width - 6))}px`;
    menu.style.top = `${below ? box.bottom + 6 : Math.max(6, box.top - size.height - 6)}px`;
  };
  const hide = () => {
    menu.hidden = true;
    if (!cursor) chosen = null;
  };

  // ---- by mouse and finger ----
  const getSelectionIn = () => root.getRootNode().getSelection?.() ?? document.getSelection();
  const selected = () => {
    const scope = root.getRootNode();
    const own = getSelectionIn();
    const [composed] = (scope instanceof ShadowRoot && document.getSelection()?.getComposedRanges?.({ shadowRoots: [scope] })) || [];
    for (const found of [own?.rangeCount ? own.getRangeAt(0) : null, composed]) {
      if (!found || found.collapsed || !root.contains(found.startContainer)) continue;
      const range = document.createRange();
      range.setStart(found.startContainer, found.startOffset);
      range.setEnd(found.endContainer, found.endOffset);
      return range;
    }
    return null;
  };
  const look = () => {
    if (cursor || !flags().length) return;
    const range = layer() && selected();
    const side = range && SIDES.find((name) => range.intersectsNode(layer().sides[name].body) && layer().sides[name].body.contains(range.startContainer));
    if (!side) return hide();
    const view = viewOf(side);
    if (!view.segments) return hint(say("marks.only_raw"));
    const shown = shownRange(view, range);
    const words = shown && withoutBlanks([...view.nodes.map((item) => item.node.data).join("")], shown);
    const written = words && toWritten(view.segments, ...words);
    if (!written) return hide();
    chosen = { side, range: written };
    show(range.getBoundingClientRect());
  };
  // The code points of a range: what of each text node lies in it.
  const shownRange = (view, range) => {
    let [start, end] = [null, null];
    for (const { node, start: first, end: last } of view.nodes) {
      if (!range.intersectsNode(node)) continue;
      const from = node === range.startContainer ? first + codePoints(node.data.slice(0, range.startOffset)) : first;
      const to = node === range.endContainer ? first + codePoints(node.data.slice(0, range.endOffset)) : last;
      if (from >= to) continue;
      start ??= from;
      end = to;
    }
    return start === null ? null : [start, end];
  };
  const onSelection = () => {
    clearTimeout(timer);
    timer = setTimeout(look, SELECTED_MS);
  };
  document.addEventListener("selectionchange", onSelection);
  root.addEventListener("pointerup", onSelection);
  root.addEventListener("scroll", () => menu.hidden || (cursor ? place() : onSelection()), true); // the menu stays beside its words

  // ---- by keyboard ----
  // Steps on the screen; those that fall into one unit are one step.
  const stepsIn = (view) => {
    const text = view.nodes.map((item) => item.node.data).join("");
    const steps = [];
    for (const [start, end] of stepsOf(text, document.documentElement.lang || undefined)) {
      const written = toWritten(view.segments, start, end);
      const before = steps.at(-1);
      if (!written) continue;
      if (before && written[0] < before.written[1]) (before.end = end), (before.written[1] = Math.max(before.written[1], written[1]));
      else steps.push({ start, end, written });
    }
    return steps;
  };
  const enter = (side) => {
    const view = viewOf(side);
    if (!view.segments) return hint(say("marks.only_raw"));
    cursor = { side, anchor: 0, at: 0 };
    paintCursor();
    announce(say(`marks.entered_${side}`));
  };
  const leave = () => {
    cursor = null;
    highlight("tb-mark-cursor", []);
    hide();
  };
  const paintCursor = () => {
    if (!cursor) return;
    const view = viewOf(cursor.side);
    const steps = view?.segments ? stepsIn(view) : [];
    if (!steps.length) return leave();
    cursor.at = Math.min(cursor.at, steps.length - 1);
    cursor.anchor = Math.min(cursor.anchor, steps.length - 1);
    const [first, last] = [steps[Math.min(cursor.at, cursor.anchor)], steps[Math.max(cursor.at, cursor.anchor)]];
    const range = placeOf(view, [first.start, last.end]);
    chosen = { side: cursor.side, range: [first.written[0], last.written[1]] };
    highlight("tb-mark-cursor", [range]);
    const here = placeOf(view, [steps[cursor.at].start, steps[cursor.at].end]);
    here.startContainer.parentElement.scrollIntoView({ block: "nearest" });
    place = () => show(here.getBoundingClientRect());
    place();
  };
  const move = (by, extend) => {
    const view = viewOf(cursor.side);
    const steps = stepsIn(view);
    const isLine = by === "up" || by === "down";
    let to = isLine ? stepOnLine(view, steps, by === "down" ? 1 : -1) : cursor.at + by;
    to = Math.min(Math.max(to, 0), steps.length - 1);
    cursor = { ...cursor, at: to, anchor: extend ? cursor.anchor : to };
    paintCursor();
    announce(wordsOf(cursor.side, chosen.range));
  };
  const stepOnLine = (view, steps, direction) => {
    const boxOf = (step) => placeOf(view, [step.start, step.end]).getBoundingClientRect();
    const here = boxOf(steps[cursor.at]);
    const middle = (here.left + here.right) / 2;
    let [best, line, distance] = [cursor.at, null, Infinity];
    for (let at = cursor.at + direction; at >= 0 && at < steps.length; at += direction) {
      const box = boxOf(steps[at]);
      if (direction > 0 ? box.top < here.bottom - 2 : box.bottom > here.top + 2) continue;
      line ??= box;
      if (Math.abs(box.top - line.top) > line.height) break;
      const away = Math.abs((box.left + box.right) / 2 - middle);
      if (away < distance) [best, distance] = [at, away];
    }
    return best;
  };
  const key = (event) => {
    if (!flags().length) return false;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (name === "w") {
      if (cursor?.side === "right") leave();
      else enter(cursor ? "right" : "left");
      return true;
    }
    if (chosen && /^[1-9]$/.test(name) && flags()[Number(name) - 1]) return set(flags()[Number(name) - 1]), true;
    if (chosen && !cursor && name === "Escape") return getSelectionIn()?.empty?.(), hide(), true;
    if (!cursor) return false;
    const isForward = !RIGHT_TO_LEFT.test(wordsOf(cursor.side, chosen.range)) === (name === "ArrowRight");
    switch (name) {
      case "ArrowLeft":
      case "ArrowRight":
        return move(isForward ? 1 : -1, event.shiftKey), true;
      case "ArrowUp":
      case "ArrowDown":
        return move(name === "ArrowUp" ? "up" : "down", event.shiftKey), true;
      case "Home":
      case "End":
        return move(name === "Home" ? -Infinity : Infinity, event.shiftKey), true;
      case "Backspace":
      case "Delete": {
        const gone = spansOf(cursor.side).filter((span) => span[0] < chosen.range[1] && span[1] > chosen.range[0]);
        if (gone.length) remove(cursor.side, gone);
        return true;
      }
      case "Escape":
        return leave(), true;
      default:
        return false;
    }
  };
  return {
    paint,
    key,
    leave,
    close() {
      clearTimeout(timer);
      cursor = null;
      clear();
      document.removeEventListener("selectionchange", onSelection);
    },
  };
}
