// A response written anew beside the vote: an editor over the page, and a line below the response that says so.
import { element } from "./panes.js";
import { say } from "./words.js";

const LONGEST = 200_000; // characters, as the server takes them
const SIDES = ["left", "right"];

/** `layer()`, `pair()`, `rubric()` give what is shown now; edits go to `sheet.rewrite`. */
export function openEditor({ root, layer, pair, rubric, sheet, hint }) {
  const dialog = element("dialog", { class: "dialog editor", "aria-labelledby": "editor-title" });
  root.append(dialog);
  let before = null;
  // The focus goes at once: the next key is for the pair, not for a text field that is gone.
  const shut = () => {
    dialog.close();
    root.getRootNode().activeElement?.blur();
    before?.focus?.({ preventScroll: true });
  };

  const isOn = () => rubric()?.edit === "optional";
  const isCut = (side) => pair()[side].length > [...pair()[side].raw].length;
  // The better response by the vote so far, else the left one.
  const preferred = () => (Number(sheet.answer.overall) > 0 ? "right" : "left");
  const open = (side = preferred()) => {
    if (!isOn()) return hint(say("edit.not_asked"));
    if (pair()[side].editable === false) return hint(say("edit.more_than_text"));
    if (isCut(side)) return hint(say("edit.too_long"));
    const original = pair()[side].raw;
    const area = element("textarea", { "aria-labelledby": "editor-title", maxlength: String(LONGEST), dir: "auto", spellcheck: "true" });
    area.value = sheet.answer.edited?.[side] ?? original;
    area.addEventListener("input", () => {
      const text = area.value;
      // A textarea knows only line feeds; a text with others is the same text while nobody changed it.
      const isSame = text === original.replace(/\r\n?/g, "\n") || !text.trim();
      sheet.rewrite(side, isSame ? null : text);
      state.textContent = text.trim() ? say(isSame ? "edit.unchanged" : "edit.changed") : say("edit.empty");
    });
    const state = element("span", { class: "small", role: "status" }, say(sheet.answer.edited?.[side] === undefined ? "edit.unchanged" : "edit.changed"));
    const reset = element("button", { type: "button", onclick: () => ((area.value = original), area.dispatchEvent(new Event("input")), area.focus()) }, say("edit.reset"));
    const other = SIDES.find((name) => name !== side);
    const turn = element("button", { type: "button", class: "quiet", onclick: () => open(other) }, say(`edit.to_${other}`));
    const done = element("button", { type: "button", class: "primary", onclick: () => shut() }, say("edit.done"), " ", element("kbd", { "aria-hidden": "true" }, "Ctrl Enter"));
    const heading = element("h2", { id: "editor-title" }, say(`edit.title_${side}`));
    dialog.replaceChildren(element("header", {}, heading, turn), area, element("footer", {}, done, reset, state));
    if (!dialog.open) {
      before = root.getRootNode().activeElement;
      dialog.showModal();
    }
    area.focus();
    area.setSelectionRange(0, 0);
    area.scrollTop = 0;
  };
  /** Takes a key while the editor is open; none of them judges the pair behind it. */
  const key = (event) => {
    if (!dialog.open) return false;
    if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) (event.preventDefault(), shut());
    return true;
  };

  const paint = () => {
    if (!layer()) return;
    for (const side of SIDES) {
      const pane = layer().sides[side].body.parentElement;
      const button = pane.querySelector(".rewrite");
      if (isOn() && !button) {
        const opener = element("button", { type: "button", class: "quiet rewrite", "aria-keyshortcuts": "R", title: say("edit.title_" + side), onclick: () => open(side) }, say("edit.open"));
        pane.querySelector("header").append(opener);
      } else if (!isOn()) button?.remove();
      pane.querySelector(".edited")?.remove();
      if (sheet.answer.edited?.[side] === undefined) continue;
      const drop = element("button", { type: "button", class: "quiet", onclick: () => sheet.rewrite(side, null) }, say("edit.drop"));
      const again = element("button", { type: "button", class: "quiet", onclick: () => open(side) }, say("edit.again"));
      pane.append(element("p", { class: "edited" }, say("edit.kept"), " ", again, drop));
    }
  };
  return { open, paint, key };
}
