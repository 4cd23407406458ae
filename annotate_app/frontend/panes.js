// One pair as a layer: the conversation and the two responses, built ahead while hidden, shown by one change of class.
import { directionAsWritten, setDirections } from "./direction.js";
import { dress } from "./images.js";
import { differences } from "./turns.js";
import { say } from "./words.js";

const SHOWN_AT_ONCE = 30_000; // characters of a text shown as written; the rest on request

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** The layer of a pair: `node`, `setMode(rich | raw | diff)`, `setFlags`, `top()` to scroll to the start. */
export function buildLayer(pair, { onFlag, hasFlags }) {
  const sides = {};
  const panes = ["left", "right"].map((side) => {
    const body = element("div", { class: "text", tabindex: "0", role: "region", "aria-label": say(`desk.text_${side}`) });
    const flags = element("span", { class: "flags" });
    const button = hasFlags && element("button", { type: "button", class: "quiet", title: say("desk.flag_key"), onclick: () => onFlag(side) }, say("desk.flag"));
    const title = element("h2", {}, say(`form.${side}`));
    const head = element("header", {}, title, flags, ...(button ? [button] : []));
    sides[side] = { body, flags };
    return element("article", { class: `pane ${side}`, "aria-label": say(`desk.${side}_response`) }, head, body);
  });
  const talk = buildTalk(pair.messages, [pair.left, pair.right]);
  const node = element("section", { class: "layer", "data-token": pair.token }, talk, element("div", { class: "panes" }, ...panes));
  let mode = "";
  let isMarked = false;
  return {
    node,
    sides,
    /** Whether differences are marked; not where the two have hardly anything in common. */
    get isMarked() {
      return isMarked;
    },
    setMode(next) {
      if (next === mode) return;
      mode = next;
      const parts = next === "diff" ? differences(pair.left, pair.right) : [null, null];
      isMarked = next === "diff" && parts !== null;
      sides.left.body.replaceChildren(buildText(pair.left, parts ? next : "rich", parts?.[0]));
      sides.right.body.replaceChildren(buildText(pair.right, parts ? next : "rich", parts?.[1]));
    },
    unfold: (on) => unfoldParts(node, on),
    setFlags(side, labels) {
      sides[side].flags.replaceChildren(...labels.map((label) => element("span", { class: "flag" }, label)));
    },
    top() {
      sides.left.body.scrollTop = sides.right.body.scrollTop = 0;
      toLastTurn(talk);
    },
    scroll(direction) {
      for (const { body } of Object.values(sides)) body.scrollBy({ top: direction * body.clientHeight * 0.85 });
    },
  };
}

/** The conversation before the responses; behind its last turn stands how the `responses` below go on from it. */
export function buildTalk(messages, responses) {
  const turns = messages.map((message, index) => buildTurn(message, index === messages.length - 1));
  const isDialogue = responses.some(({ dialogue }) => dialogue);
  if (turns.length && responses.length > 1 && (isDialogue || turns.length > 1)) {
    const how = isDialogue ? "goes_on" : messages.at(-1).role === "user" ? "answered" : "continued";
    turns.at(-1).querySelector(".role").append(element("em", {}, ` ${say(`media.${how}${responses.length > 2 ? "_many" : ""}`)}`));
  }
  return element("section", { class: "talk", tabindex: turns.length ? "0" : null, "aria-label": say("media.conversation"), hidden: !turns.length }, ...turns);
}

/** Scrolls a conversation to the start of its last turn. */
export function toLastTurn(talk) {
  talk.scrollTop = talk.childElementCount > 1 ? talk.lastElementChild.offsetTop - talk.offsetTop : 0;
}

/** Opens every folded part of a layer, or folds again what was folded. */
export function unfoldParts(node, on) {
  for (const fold of node.querySelectorAll("details")) {
    if (on && !fold.open) fold.dataset.folded = "";
    if (on || "folded" in fold.dataset) fold.open = on;
  }
}

function buildTurn(message, isLast) {
  const role = element("span", { class: "role" }, say(`media.${message.role}`));
  return element("div", { class: `turn ${message.role === "user" ? "user" : "other"}${isLast ? " last" : ""}` }, role, buildText(message, "rich", null));
}

/** A text as a node. `html` was sanitised on the server; everything else becomes text nodes. */
export function buildText(text, mode, parts) {
  if (mode === "diff" && parts) {
    return element("pre", { class: "raw parts", dir: directionAsWritten(text.raw) }, ...parts.map(([words, differs]) => (differs ? element("mark", {}, words) : words)));
  }
  if (mode === "rich" && (text.html || !text.raw)) {
    const node = element("div", { class: "rich" });
    node.innerHTML = text.html;
    setDirections(node);
    if (text.turns > 1) node.classList.add("turns");
    if (!text.raw.trim()) node.append(element("p", { class: "nothing", "data-extra": true }, say("media.empty")));
    return dress(node);
  }
  const node = element("pre", { class: "raw", dir: directionAsWritten(text.raw) }, text.raw.slice(0, SHOWN_AT_ONCE));
  if (text.raw.length <= SHOWN_AT_ONCE) return node;
  const counts = { characters: text.length.toLocaleString(), shown: text.raw.length.toLocaleString() };
  const more = element("button", { type: "button", class: "more" }, say(text.length > text.raw.length ? "media.rest_cut" : "media.rest", counts));
  more.addEventListener("click", () => more.replaceWith(text.raw.slice(SHOWN_AT_ONCE)));
  node.append(more);
  return node;
}
