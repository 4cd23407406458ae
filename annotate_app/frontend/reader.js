// A comparison to look at, for those who may see both sides: the conversation and the two responses, nothing to press.
import { openDialogs } from "./dialogs.js";
import { setProject } from "./images.js";
import { buildTalk, buildText, element, toLastTurn } from "./panes.js";
import { differences } from "./turns.js";
import { addWords, say } from "./words.js";

const drawn = new WeakMap();

export default function reader({ data, parentElement }) {
  if (drawn.get(parentElement) === data.shown) return;
  drawn.set(parentElement, data.shown);
  setProject(data.project ?? 0);
  addWords(data.words);
  const isDiff = data.mode === "diff" && data.responses.length === 2;
  const parts = isDiff ? differences(...data.responses.map(({ text }) => text)) : null;
  const panes = data.responses.map(({ title, source, text }, place) => {
    const name = source && element("span", { class: "small" }, source);
    const head = element("header", {}, element("h2", {}, title), ...(name ? [name] : []));
    const body = element("div", { class: "text", tabindex: "0", role: "region", "aria-label": say("media.text_of", { title }) }, buildText(text, parts ? "diff" : "rich", parts?.[place]));
    return element("article", { class: "pane", "aria-label": title }, head, body);
  });
  const talk = buildTalk(data.messages, data.responses.map(({ text }) => text));
  const unrelated = isDiff && !parts ? [element("p", { class: "small", role: "status" }, say("desk.nothing_common"))] : [];
  const root = element("div", { class: "labeler reader" }, ...unrelated, talk, element("div", { class: "panes" }, ...panes));
  parentElement.querySelector(".reader")?.remove();
  parentElement.append(root);
  openDialogs(root);
  toLastTurn(talk);
}
