// What opens over the page: guidelines, reasons to skip, flags, own history. One at a time; Escape closes.
import { element } from "./panes.js";

const KEYS = [
  ["1 2 3 …", "answer the marked question"],
  ["Q W A …", "go to a criterion; O to the overall question"],
  ["↑ ↓", "previous, next question; ← → change the answer, Backspace takes it back"],
  ["T", "tie"],
  ["B", "both bad, where the rubric offers it"],
  ["Enter", "submit; Ctrl+Enter from inside the rationale"],
  ["N", "write a rationale; Escape leaves it"],
  ["S", "skip, with a reason"],
  ["F", "flag a response"],
  ["U", "undo the last judgment"],
  ["E", "own earlier judgments, to edit one"],
  ["D", "mark where the two responses differ"],
  ["M", "texts as written, without markdown"],
  ["X", "unfold long texts"],
  ["Space, PgDn, PgUp", "scroll both responses"],
  ["?", "these guidelines"],
];

export function openDialogs(root) {
  const dialog = element("dialog", { class: "dialog" });
  root.append(dialog);
  let onKey = null;
  let before = null;
  dialog.addEventListener("close", () => {
    onKey = null;
    before?.focus?.({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const open = (title, body, keys) => {
    before = root.getRootNode().activeElement;
    const close = element("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: () => dialog.close() }, "Close ", element("kbd", { "aria-hidden": "true" }, "Esc"));
    const heading = element("h2", { id: "dialog-title", tabindex: "-1" }, title);
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.replaceChildren(element("header", {}, heading, close), body);
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
        dialog.close();
        return true;
      }
      return onKey?.(event) ?? false;
    },
    guidelines(rubric, { first }) {
      const text = element("div", { class: "rich" });
      text.innerHTML = rubric.guidelines; // sanitised on the server
      const keys = element("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, what)]));
      const start = element("button", { type: "button", class: "primary", onclick: () => dialog.close() }, first ? "Start " : "Back to work ", element("kbd", { "aria-hidden": "true" }, "Enter"));
      open(rubric.title, element("div", {}, text, element("h3", {}, "Keys"), keys, element("footer", {}, start)), (event) => {
        if (!["Enter", "?"].includes(event.key)) return false;
        dialog.close();
        return true;
      });
    },
    skip(reasons, onReason) {
      const choose = (reason) => {
        dialog.close();
        onReason(reason);
      };
      open("Why skip this pair?", choices(reasons, choose, (reason) => ` ${reason}`), byDigit(reasons, choose));
    },
    flags(flags, side, read, toggle) {
      const draw = (current) => {
        const set = read();
        const column = (place) =>
          element(
            "div",
            { class: `column${place === current ? " current" : ""}`, role: "group", "aria-label": `Flags of the ${place} response` },
            element("h3", {}, place === "left" ? "Left" : "Right"),
            ...flags.map((flag, index) =>
              element(
                "button",
                { type: "button", "aria-pressed": String(set[place].includes(flag.name)), title: flag.help, onclick: () => (toggle(place, flag.name), draw(place)) },
                element("kbd", { "aria-hidden": "true" }, place === current && index < 9 ? String(index + 1) : ""),
                ` ${flag.label}`,
              ),
            ),
          );
        const hint = element("p", { class: "small" }, "← and → change the side, numbers set and clear, Enter is done.");
        open("Flag a response", element("div", {}, element("div", { class: "columns" }, column("left"), column("right")), hint), (event) => {
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
      if (!items.length) return open("Your judgments", element("p", {}, "You have not judged anything here yet."), () => false);
      const choose = (item) => {
        dialog.close();
        onItem(item);
      };
      const describe = (item) =>
        element("span", {}, element("b", {}, item.choice), element("span", { class: "small" }, ` ${item.at ? new Date(item.at * 1000).toLocaleString() : "time unknown"}`), element("br"), item.prompt || "(no prompt)");
      open("Your judgments, newest first", element("div", {}, element("p", { class: "small" }, "Choose one to change it; the earlier answer is kept beside the new one."), choices(items, choose, describe)), byDigit(items, choose));
    },
  };
}
