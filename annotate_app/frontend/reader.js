// A comparison to look at, for those who may see both sides: the conversation and the two responses, nothing to press.
import { differingParts } from "./diff.js";
import { buildText, buildTurn, element } from "./panes.js";

const drawn = new WeakMap();

export default function reader({ data, parentElement }) {
  if (drawn.get(parentElement) === data.shown) return;
  drawn.set(parentElement, data.shown);
  const isDiff = data.mode === "diff" && data.responses.length === 2;
  const parts = isDiff ? differingParts(...data.responses.map(({ text }) => text.raw)) : [null, null];
  const panes = data.responses.map(({ title, source, text }, place) => {
    const name = source && element("span", { class: "small" }, source);
    const head = element("header", {}, element("h3", {}, title), ...(name ? [name] : []));
    const body = element("div", { class: "text", tabindex: "0", role: "region", "aria-label": `Text of ${title}` }, buildText(text, isDiff ? "diff" : "rich", parts[place]));
    return element("article", { class: "pane", "aria-label": title }, head, body);
  });
  const talk = data.messages.length
    ? [element("section", { class: "talk", tabindex: "0", "aria-label": "Conversation" }, ...data.messages.map(buildTurn))]
    : [];
  const root = element("div", { class: "labeler reader" }, ...talk, element("div", { class: "panes" }, ...panes));
  parentElement.querySelector(".reader")?.remove();
  parentElement.append(root);
  const last = talk[0]?.lastElementChild;
  if (last && data.messages.length > 1) talk[0].scrollTop = last.offsetTop - talk[0].offsetTop;
}
