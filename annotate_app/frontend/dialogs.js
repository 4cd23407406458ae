// What opens over the page: guidelines, reasons to skip, flags, own history. One at a time; Escape closes.
import { element } from "./panes.js";
import { say, wordsLanguage } from "./words.js";

const KEYS = [
  ["1 2 3 …", "digits"],
  ["Q W A …", "letters"],
  ["↑ ↓", "arrows"],
  ["T", "tie"],
  ["B", "both_bad"],
  ["Enter", "submit"],
  ["N", "rationale"],
  ["S", "skip"],
  ["C", "ask"],
  ["F", "flag"],
  ["W", "marks"],
  ["R", "rewrite"],
  ["U", "undo"],
  ["E", "history"],
  ["D", "differences"],
  ["M", "as_written"],
  ["X", "unfold"],
  ["Space, PgDn, PgUp", "scroll"],
  [".", "menu"],
  ["?", "guidelines"],
];

const NOT_RANKING = ["digits", "letters", "arrows", "tie", "differences"];
const RANKING_KEYS = [["1 2 3 …", "rank_next"], ["=", "rank_tie"], ["← →", "rank_move"], ["⌫", "rank_back"]];
const keysOf = (rubric) => (rubric.task === "compare" ? KEYS : [...RANKING_KEYS, ...KEYS.filter(([, what]) => !NOT_RANKING.includes(what))]);

export function openDialogs(root) {
  const dialog = element("dialog", { class: "dialog" });
  root.append(dialog);
  let onKey = null;
  let before = null;
  let isGate = false; // only its own button leads on
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // told late: the next one is open already
    onKey = null;
    before?.focus?.({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && !isGate && dialog.close());
  dialog.addEventListener("cancel", (event) => isGate && event.preventDefault());
  const open = (title, body, keys, { gate = false } = {}) => {
    isGate = gate;
    before = root.getRootNode().activeElement;
    const close = element("button", { type: "button", class: "quiet close", "aria-label": say("dialog.close"), onclick: () => dialog.close() }, `${say("dialog.close")} `, element("kbd", { "aria-hidden": "true" }, "Esc"));
    const heading = element("h2", { id: "dialog-title", tabindex: "-1" }, title);
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.replaceChildren(element("header", {}, heading, ...(gate ? [] : [close])), body);
    if (!dialog.open) dialog.showModal();
    heading.focus({ preventScroll: true });
    dialog.scrollTop = 0;
    onKey = keys;
  };
  root.addEventListener("enlarge", ({ detail }) => {
    open(detail.title, element("div", { class: "enlarged" }, detail.image), (event) => event.key === "Enter" && (dialog.close(), true));
  });
  const choices = (items, choose, describe) =>
    element(
      "ol",
      { class: "choices" },
      ...items.map((item, index) =>
        element("li", {}, element("button", { type: "button", onclick: () => choose(item) }, element("kbd", { "aria-hidden": "true" }, index < 9 ? String(index + 1) : ""), describe(item))),
      ),
    );
  const byDigit = (items, choose) => (event) => {
    const item = items[Number(event.key) - 1];
    if (!/^[1-9]$/.test(event.key) || !item) return false;
    choose(item);
    return true;
  };
  return {
    get isOpen() {
      return dialog.open;
    },
    close: () => dialog.close(),
    /** Gives a key to the open dialog; true where it took it. */
    key(event) {
      if (event.key === "Escape") {
        if (!isGate) dialog.close();
        return true;
      }
      return onKey?.(event) ?? false;
    },
    /** The guidelines; those that a person has not read yet are left by Start, which calls `onStart`. */
    guidelines(rubric, { first, onStart }) {
      const leave = () => {
        dialog.close();
        if (first) onStart();
      };
      const text = element("div", { class: "rich" });
      text.innerHTML = rubric.guidelines; // sanitised on the server
      const keys = element("dl", { class: "keys" }, ...keysOf(rubric).flatMap(([key, what]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, say(`key.${what}`))]));
      const start = element("button", { type: "button", class: "primary", onclick: leave }, `${say(first ? "dialog.start" : "dialog.back")} `, element("kbd", { "aria-hidden": "true" }, "Enter"));
      open(rubric.title, element("div", {}, text, element("h3", { class: "keys-heading" }, say("dialog.keys")), keys, element("footer", {}, start)), (event) => {
        if (!(event.key === "Enter" || (event.key === "?" && !first))) return false;
        leave();
        return true;
      }, { gate: first });
    },
    /** A question to the lead: what is written so far, and what to do with it. */
    ask({ text, onWrite, onSend }) {
      const send = () => {
        const asked = area.value.trim();
        if (!asked) return area.focus();
        dialog.close();
        onSend(asked);
      };
      const area = element("textarea", { rows: "5", maxlength: "2000", "aria-label": say("question.text"), oninput: () => onWrite(area.value) });
      area.value = text;
      const button = element("button", { type: "button", class: "primary", onclick: send }, `${say("question.send")} `, element("kbd", { "aria-hidden": "true" }, say("question.send_key")));
      open(say("question.title"), element("div", { class: "ask" }, element("p", { class: "small" }, say("question.help")), area, element("footer", {}, button)), (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return false;
        send();
        return true;
      });
      area.focus();
    },
    skip(reasons, onReason) {
      const choose = (reason) => {
        dialog.close();
        onReason(reason);
      };
      open(say("dialog.why_skip"), choices(reasons, choose, (reason) => ` ${reason}`), byDigit(reasons, choose));
    },
    flags(flags, side, read, toggle) {
      const draw = (current) => {
        const set = read();
        const column = (place) =>
          element(
            "div",
            { class: `column${place === current ? " current" : ""}`, role: "group", "aria-label": say(`dialog.flags_${place}`) },
            element("h3", {}, say(`form.${place}`)),
            ...flags.map((flag, index) =>
              element(
                "button",
                { type: "button", "aria-pressed": String(set[place].includes(flag.name)), title: flag.help, onclick: () => (toggle(place, flag.name), draw(place)) },
                element("kbd", { "aria-hidden": "true" }, place === current && index < 9 ? String(index + 1) : ""),
                ` ${flag.label}`,
              ),
            ),
          );
        const hint = element("p", { class: "small" }, say("dialog.flag_help"));
        open(say("dialog.flag"), element("div", {}, element("div", { class: "columns" }, column("left"), column("right")), hint), (event) => {
          const flag = /^[1-9]$/.test(event.key) ? flags[Number(event.key) - 1] : null;
          if (flag) (toggle(current, flag.name), draw(current));
          else if (["ArrowLeft", "ArrowRight"].includes(event.key)) draw(event.key === "ArrowLeft" ? "left" : "right");
          else if (event.key === "Enter" || event.key.toLowerCase() === "f") dialog.close();
          else return false;
          return true;
        });
      };
      draw(side);
    },
    history(items, onItem) {
      if (!items.length) return open(say("desk.history"), element("p", {}, say("dialog.history_none")), () => false);
      const choose = (item) => {
        dialog.close();
        onItem(item);
      };
      const describe = (item) =>
        element("span", {}, element("b", {}, item.choice), element("span", { class: "small" }, ` ${item.at ? new Date(item.at * 1000).toLocaleString(wordsLanguage()) : say("dialog.time_unknown")}`), element("br"), item.prompt || say("dialog.no_prompt"));
      open(say("dialog.history"), element("div", {}, element("p", { class: "small" }, say("dialog.history_help")), choices(items, choose, describe)), byDigit(items, choose));
    },
  };
}
