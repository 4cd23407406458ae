// Ranking more than two responses, or choosing the best of them: cards of the responses, the order as a strip of places,
// and the answer behind both. Responses go by their place on the screen; the server knows which of the project's they are.
import { action, buildFoot } from "./form.js";
import { buildTalk, buildText, element, toLastTurn, unfoldParts } from "./panes.js";
import { say } from "./words.js";

const LETTERS = "ABCDEFGHI";
const DRAG_FROM_PX = 6; // a shorter way is a click

const emptyRanking = () => ({ overall: null, ranks: [], criteria: {}, flags: {}, rationale: "" });

/** The responses by place, best first, tied ones together, from a rank per response (null: not ranked). */
export function placesOf(ranks) {
  const ranked = [...new Set(ranks.filter((rank) => rank !== null))].sort((a, b) => a - b);
  return ranked.map((rank) => ranks.flatMap((other, index) => (other === rank ? [index] : [])));
}

/** A rank per response, 1 for the best and null for one that is not ranked, from the places. */
export function ranksOf(places, count) {
  const ranks = Array(count).fill(null);
  places.forEach((tied, place) => tied.forEach((index) => (ranks[index] = place + 1)));
  return ranks;
}

/** Where a response goes: `{gap: n}` before place n, `{tie: n}` into it, or neither, out of the order. */
export function moved(places, index, target) {
  const next = places.map((tied) => tied.filter((other) => other !== index));
  if (target.gap !== undefined) next.splice(target.gap, 0, [index]);
  else if (target.tie !== undefined) next[target.tie].push(index);
  return next.filter((tied) => tied.length);
}

// After a press of the mouse or a finger, Enter submits; a button reached by keyboard stays in focus and acts on it.
const letGo = (node) => node.addEventListener("click", (event) => event.detail && event.target.closest("button")?.blur());

const named = (indices) => indices.map((index) => LETTERS[index]).join(", ");

/** A ranking in a few words: `C > A = B, D not ranked`. */
export function describeRanking(answer) {
  if (answer.reason) return answer.reason;
  if (answer.overall === "both_bad") return say("ranking.all_bad");
  const order = placesOf(answer.ranks ?? []).map((tied) => tied.map((index) => LETTERS[index]).join(" = ")).join(" > ");
  const left = (answer.ranks ?? []).flatMap((rank, index) => (rank === null ? [index] : []));
  return [order, left.length ? `${named(left)} ${say("ranking.not_ranked")}` : "", answer.rationale ? `“${answer.rationale}”` : ""].filter(Boolean).join(", ");
}

/** The answer sheet of a ranking, with the same doors as `openSheet` of a pair. */
export function openRankSheet({ changed, hint }) {
  let rubric = null;
  let form = null;
  let answer = emptyRanking();
  let count = 0;
  let current = null; // the response that arrows move
  let touched = false;
  let spoken = "";

  const paint = () => form?.paint(answer, current, count);
  const isRanked = (index) => (answer.ranks[index] ?? null) !== null;
  const put = (places, index, text) => {
    current = index;
    touched = true;
    answer = { ...answer, overall: null, ranks: ranksOf(places, count) };
    spoken = text ?? wordsOf(index);
    hint("");
    paint();
    changed();
    form.say(spoken);
  };
  const wordsOf = (index) => {
    const places = placesOf(answer.ranks);
    const place = places.findIndex((tied) => tied.includes(index));
    const name = LETTERS[index];
    if (place < 0) return say("ranking.is_out", { name });
    if (rubric.task === "best") return say("ranking.is_best", { name });
    const others = places[place].filter((other) => other !== index);
    const where = say("ranking.is_place", { name, number: place + 1, total: places.length });
    return others.length ? `${where}, ${say("ranking.is_tied", { name, others: named(others) })}` : where;
  };
  const places = () => placesOf(answer.ranks);
  const lastPlaced = () => {
    const last = places().at(-1) ?? [];
    return last.includes(current) ? current : (last.at(-1) ?? null);
  };
  const sheet = {
    paint,
    get answer() {
      return answer;
    },
    get touched() {
      return touched;
    },
    get current() {
      return current;
    },
    setRubric(nextRubric, _rows, nextForm) {
      [rubric, form] = [nextRubric, nextForm];
      paint();
    },
    /** Takes up a pair's answer so far; `pair` says how many responses there are. */
    fill(given, pair) {
      count = pair.responses.length;
      const ranks = Array.from({ length: count }, (_, index) => given.ranks?.[index] ?? null);
      [answer, current, touched] = [{ ...emptyRanking(), ...given, ranks }, null, false];
      paint();
    },
    finished: () => ({ ...answer, criteria: {}, rationale: rubric.rationale === "off" ? "" : answer.rationale }),
    write(text) {
      answer = { ...answer, rationale: text };
      touched = true;
      paint();
      changed();
    },
    toggleFlag(index, name) {
      const set = answer.flags[index] ?? [];
      answer = { ...answer, flags: { ...answer.flags, [index]: set.includes(name) ? set.filter((item) => item !== name) : [...set, name] } };
      touched = true;
      current = index;
      paint();
      changed();
    },
    complaint() {
      if (answer.overall !== "both_bad" && !answer.ranks.some((rank) => rank !== null)) return say(rubric.task === "best" ? "ranking.none_best" : "ranking.none");
      if (rubric.rationale === "required" && !answer.rationale.trim()) {
        form.rationale.focus();
        return say("form.asks_rationale");
      }
      return "";
    },
    /** Puts a response next in the order; one that is there already moves to the end. Of the best there is one. */
    next(index) {
      if (index >= count) return;
      if (rubric.task === "best") put([[index]], index);
      else put([...moved(places(), index, {}), [index]], index);
    },
    move: (index, target) => put(rubric.task === "best" ? [[index]] : moved(places(), index, target), index),
    /** Marks a response as the one that arrows move. */
    mark(index) {
      current = index;
      paint();
      changed();
    },
    /** Ties the marked or last response with the place before it, or takes it out of its tie. */
    tie() {
      const index = current !== null && isRanked(current) ? current : lastPlaced();
      if (rubric.task === "best" || index === null) return hint(say("ranking.no_tie"));
      const order = places();
      const place = order.findIndex((tied) => tied.includes(index));
      if (order[place].length > 1) put(moved(order, index, { gap: place + 1 }), index);
      else if (place > 0) put(moved(order, index, { tie: place - 1 }), index);
      else hint(say("ranking.no_tie"));
    },
    /** Takes back the response placed last. */
    clear() {
      if (answer.overall === "both_bad") return put([], null, "");
      const index = lastPlaced();
      if (index === null) return;
      put(moved(places(), index, {}), index);
      current = places().at(-1)?.at(-1) ?? null;
      paint();
      changed();
    },
    out: (index) => put(moved(places(), index, {}), index),
    bothBad() {
      if (!rubric.both_bad) return hint(say("ranking.no_all_bad"));
      [current, touched] = [null, true];
      answer = { ...answer, overall: answer.overall === "both_bad" ? null : "both_bad", ranks: ranksOf([], count) };
      hint("");
      paint();
      changed();
      form.say(answer.overall ? say("ranking.all_bad_set") : "");
    },
    /** Moves the marked response one place towards the best (-1) or away from it; out of a tie first. */
    shift(by) {
      const index = current !== null && isRanked(current) ? current : lastPlaced();
      if (index === null || rubric.task === "best") return;
      const order = places();
      const place = order.findIndex((tied) => tied.includes(index));
      if (order[place].length > 1) return put(moved(order, index, { gap: by < 0 ? place : place + 1 }), index);
      const to = place + by;
      if (to < 0 || to >= order.length) return;
      const rest = order.filter((_, other) => other !== place);
      rest.splice(to, 0, [index]);
      put(rest, index);
    },
    step: (by) => sheet.shift(by),
    digit(key) {
      if (key === "0") return sheet.bothBad(), true;
      const known = Number(key) <= count;
      if (known) sheet.next(Number(key) - 1);
      return known;
    },
    criterion: () => false,
    /** Keys that mean something else here than for a pair; true where it was one. */
    take(event, { onScrollable = false } = {}) {
      const key = event.key;
      if (key === "=") return sheet.tie(), true;
      const place = event.shiftKey && /^[a-i]$/i.test(key) ? LETTERS.indexOf(key.toUpperCase()) : -1;
      if (place >= 0 && place < count) return sheet.next(place), true;
      if (["ArrowLeft", "ArrowRight"].includes(key)) return sheet.shift(key === "ArrowLeft" ? -1 : 1), true;
      if (["ArrowUp", "ArrowDown"].includes(key) && !onScrollable) return sheet.shift(key === "ArrowUp" ? -1 : 1), true;
      return false;
    },
    rationale() {
      if (rubric.rationale === "off") hint(say("form.no_rationale"));
      else form.rationale.focus();
    },
  };
  return sheet;
}

/** The layer of a comparison: the conversation and a card per response; doors as of `buildLayer`. */
export function buildCards(pair, rubric, sheet) {
  const cards = pair.responses.map((response, index) => buildCard(response, index, rubric, sheet));
  const talk = buildTalk(pair.messages, pair.responses);
  const grid = element("div", { class: "cards" }, ...cards.map((card) => card.node));
  const node = element("section", { class: "layer ranking", "data-token": pair.token }, talk, grid);
  let mode = "";
  letGo(grid);
  return {
    node,
    setMode(next) {
      if (next === mode) return;
      mode = next;
      cards.forEach((card, index) => card.body.replaceChildren(buildText(pair.responses[index], next === "diff" ? "rich" : next, null)));
    },
    unfold: (on) => unfoldParts(node, on),
    setFlags() {},
    focusFlags: (current) => cards[current ?? 0].node.querySelector(".flagging")?.focus(),
    /** Paints the answer onto the cards; the marked one is brought into view. */
    paint(answer, current) {
      const places = placesOf(answer.ranks);
      cards.forEach((card, index) => card.paint(places.findIndex((tied) => tied.includes(index)), answer.flags[index] ?? [], index === current));
      if (current !== null) grid.scrollLeft += nearest(grid, cards[current].node);
    },
    top() {
      for (const card of cards) card.body.scrollTop = 0;
      grid.scrollLeft = 0;
      toLastTurn(talk);
    },
    scroll(direction) {
      for (const { body } of cards) body.scrollBy({ top: direction * body.clientHeight * 0.85 });
    },
  };
}

// How far a row of cards scrolls sideways until a card is in view.
function nearest(grid, card) {
  const [frame, box] = [grid.getBoundingClientRect(), card.getBoundingClientRect()];
  return box.left < frame.left ? box.left - frame.left : Math.max(0, Math.min(box.right - frame.right, box.left - frame.left));
}

function buildCard(response, index, rubric, sheet) {
  const name = LETTERS[index];
  const isBest = rubric.task === "best";
  const body = element("div", { class: "text", tabindex: "0", role: "region", "aria-label": say("ranking.text_of", { name }) });
  const badge = element("span", { class: "badge" });
  const take = element(
    "button",
    { type: "button", class: "take", "aria-pressed": "false", "aria-label": say(isBest ? "ranking.take_best" : "ranking.take", { name }), "aria-keyshortcuts": String(index + 1), onclick: () => sheet.next(index) },
    element("kbd", { "aria-hidden": "true" }, String(index + 1)),
    badge,
  );
  const title = element("h2", {}, name);
  const grip = isBest ? [] : [element("span", { class: "grip", title: say("ranking.drag"), "aria-hidden": "true" }, "⠿")];
  const head = element("header", {}, ...grip, title, take);
  const flags = rubric.flags.map((flag) =>
    element("button", { type: "button", class: "quiet flagging", "aria-pressed": "false", title: flag.help, onclick: () => sheet.toggleFlag(index, flag.name) }, flag.label),
  );
  const foot = flags.length ? [element("footer", { role: "group", "aria-label": say("ranking.flags_of", { name }) }, ...flags)] : [];
  const node = element("article", { class: "pane card", "aria-label": say("ranking.response", { name }), "data-response": index }, head, body, ...foot);
  if (!isBest) for (const handle of [grip[0], title]) drag(handle, index, name, sheet);
  return {
    node,
    body,
    paint(place, set, isCurrent) {
      badge.textContent = place < 0 ? "" : isBest ? "✓" : say("ranking.place", { number: place + 1 });
      take.setAttribute("aria-pressed", String(place >= 0));
      node.classList.toggle("ranked", place >= 0);
      node.classList.toggle("current", isCurrent);
      flags.forEach((button, at) => button.setAttribute("aria-pressed", String(set.includes(rubric.flags[at].name))));
    },
  };
}

/** The form of a ranking: the order as a strip of places, what is not ranked beside it, the rationale, the actions. */
export function buildRankForm(rubric, acts, sheet) {
  const isBest = rubric.task === "best";
  const strip = element("ol", { class: "order", "aria-label": say("ranking.order") });
  const pool = element("div", { class: "pool", role: "group", "aria-label": say("ranking.pool"), "data-pool": "" });
  const note = element("p", { class: "note small" });
  const live = element("p", { class: "spoken", role: "status", "aria-live": "polite" });
  const allBad = rubric.both_bad ? [action("B", say("ranking.all_bad"), () => sheet.bothBad(), { "aria-pressed": "false" })] : [];
  const moves = isBest
    ? []
    : [
        action("←", say("ranking.earlier"), () => sheet.shift(-1), { class: "quiet" }),
        action("→", say("ranking.later"), () => sheet.shift(1), { class: "quiet" }),
        action("=", say("ranking.tie"), () => sheet.tie(), { class: "quiet" }),
        action("⌫", say("ranking.out"), () => sheet.clear(), { class: "quiet" }),
      ];
  const question = element("div", { class: "ranks" }, element("span", { class: "question" }, rubric.question), ...(isBest ? [] : [element("div", { class: "strip" }, strip, pool)]), element("div", { class: "moves" }, note, ...moves, ...allBad));
  const foot = buildFoot(rubric, acts, ["raw", "unfolded"]);
  const node = element("section", { class: "form", "aria-label": say("form.name") }, question, foot.node, live);

  letGo(question);
  const chip = (index, place) => {
    const name = LETTERS[index];
    const where = place < 0 ? say("ranking.not_ranked") : say("ranking.place", { number: place + 1 });
    const made = element(
      "button",
      { type: "button", class: "chip", "aria-label": say("ranking.chip", { name, place: where }), "data-response": index, onclick: () => (place < 0 ? sheet.next(index) : sheet.mark(index)) },
      name,
    );
    drag(made, index, name, sheet);
    return made;
  };
  const paintOrder = (answer, current) => {
    const held = node.getRootNode().activeElement?.closest?.(".chip:focus-visible")?.dataset.response;
    const places = placesOf(answer.ranks);
    const gap = (at) => element("li", { class: "slot", "data-gap": at, "aria-hidden": "true" });
    const items = places.flatMap((tied, place) => [
      gap(place),
      element("li", { class: "place", "data-tie": place }, element("span", { class: "small" }, say("ranking.place", { number: place + 1 })), ...tied.map((index) => chip(index, place))),
    ]);
    const nothing = places.length ? [] : [element("li", { class: "small empty" }, say("ranking.nothing"))];
    strip.replaceChildren(...items, ...nothing, gap(places.length));
    const left = answer.ranks.flatMap((rank, index) => (rank === null ? [index] : []));
    pool.replaceChildren(...(left.length ? [element("span", { class: "small" }, say("ranking.pool")), ...left.map((index) => chip(index, -1))] : []));
    for (const made of node.querySelectorAll(".chip")) {
      made.classList.toggle("current", Number(made.dataset.response) === current);
      if (made.dataset.response === held) made.focus({ preventScroll: true });
    }
  };
  return {
    node,
    rationale: foot.rationale,
    paint(answer, current, count) {
      if (answer.ranks.length !== count) return;
      if (!isBest) paintOrder(answer, current);
      note.textContent = noteOf(answer, isBest);
      for (const one of allBad) one.setAttribute("aria-pressed", String(answer.overall === "both_bad"));
      foot.paint(answer);
    },
    say(text) {
      live.textContent = text === live.textContent ? `${text} ` : text;
    },
    focusRow() {},
    reveal() {},
    press: foot.press,
  };
}

// What submitting now would mean.
function noteOf(answer, isBest) {
  if (answer.overall === "both_bad") return say("ranking.all_bad_set");
  const left = answer.ranks.flatMap((rank, index) => (rank === null ? [index] : []));
  if (left.length === answer.ranks.length) return say(isBest ? "ranking.help_best" : "ranking.help");
  if (isBest) return `${say("ranking.is_best", { name: LETTERS[answer.ranks.indexOf(1)] })}. ${say("ranking.best_rest")}`;
  return left.length ? say("ranking.partial", { names: named(left) }) : say("ranking.help");
}

// Drags a response to a place of the strip, into a tie, or out; by mouse, pen or finger.
function drag(handle, index, name, sheet) {
  handle.classList.add("draggable");
  handle.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    const root = handle.getRootNode();
    const board = root.querySelector(".labeler");
    let ghost = null;
    let target = null;
    const at = (event) => root.elementFromPoint(event.clientX, event.clientY)?.closest("[data-gap], [data-tie], [data-pool], .strip") ?? null;
    const move = (event) => {
      if (!ghost && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < DRAG_FROM_PX) return;
      event.preventDefault();
      if (!ghost) {
        ghost = element("div", { class: "ghost", "aria-hidden": "true" }, name);
        board.append(ghost);
        board.classList.add("dragging");
      }
      ghost.style.transform = `translate(${event.clientX}px, ${event.clientY}px)`;
      const under = at(event);
      if (under !== target) (target?.classList.remove("over"), under?.classList.add("over"));
      target = under;
    };
    const end = (event) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      window.removeEventListener("pointercancel", end);
      if (!ghost) return;
      ghost.remove();
      board.classList.remove("dragging");
      target?.classList.remove("over");
      // The click that follows a drag is none.
      const swallow = (click) => (click.stopPropagation(), click.preventDefault());
      window.addEventListener("click", swallow, true);
      setTimeout(() => window.removeEventListener("click", swallow, true), 0);
      if (event.type === "pointercancel" || !target) return;
      const { gap, tie, pool } = target.dataset;
      const last = placesOf(sheet.answer.ranks).length;
      if (gap !== undefined) sheet.move(index, { gap: Number(gap) });
      else if (tie !== undefined) sheet.move(index, { tie: Number(tie) });
      else if (pool !== undefined) sheet.out(index);
      else sheet.move(index, { gap: last });
    };
    window.addEventListener("pointermove", move, { passive: false });
    window.addEventListener("pointerup", end);
    window.addEventListener("pointercancel", end);
  });
}
