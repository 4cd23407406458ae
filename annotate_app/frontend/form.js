// The answer form: rows of options as radio groups, the rationale, and the actions; the mouse does all that keys do.
import { element } from "./panes.js";
import { say } from "./words.js";

/** Builds the form of a rubric. `acts` holds what to call: answer, focus, write, submit, skip, undo, mode, unfold. */
export function buildForm(rubric, rows, acts) {
  const groups = rows.map((row, index) => buildGroup(row, index, acts));
  const questions = element("div", { class: "questions" }, ...nestRated(rows, groups));
  const rationale = element("textarea", {
    rows: "1",
    maxlength: "20000",
    "aria-label": say(rubric.rationale === "required" ? "form.rationale_required" : "form.rationale"),
    placeholder: `${say(rubric.rationale === "required" ? "form.why_required" : "form.why")} ${say("form.why_keys")}`,
    oninput: () => acts.write(rationale.value),
  });
  const toggles = {};
  const toggle = (name, key, text, call) => (toggles[name] = action(key, text, call, { "aria-pressed": "false" }));
  const bar = element(
    "div",
    { class: "actions" },
    action("Enter", say("form.submit"), acts.submit, { class: "primary" }),
    action("S", say("form.skip"), acts.skip),
    action("U", say("form.undo"), acts.undo),
    element("span", { class: "gap" }),
    toggle("diff", "D", say("form.differences"), () => acts.mode("diff")),
    toggle("raw", "M", say("form.as_written"), () => acts.mode("raw")),
    toggle("unfolded", "X", say("form.unfold"), acts.unfold),
  );
  const node = element("section", { class: "form", "aria-label": say("form.name") }, questions, ...(rubric.rationale === "off" ? [] : [rationale]), bar);
  return {
    node,
    rationale,
    /** Paints an answer; `focused` is the index of the row that number keys answer. */
    paint(answer, focused) {
      groups.forEach(({ node: group, buttons, note }, index) => {
        const row = rows[index];
        const given = row.read(answer);
        const chosen = row.options.findIndex((option) => option.value === given);
        group.classList.toggle("focused", index === focused && rows.length > 1);
        group.classList.toggle("answered", chosen >= 0);
        buttons.forEach((button, place) => {
          button.setAttribute("aria-checked", String(place === chosen));
          button.tabIndex = place === Math.max(chosen, 0) ? 0 : -1;
        });
        note.textContent = row.options[chosen]?.anchor ?? "";
      });
      if (rationale.value !== answer.rationale) rationale.value = answer.rationale;
    },
    focusRow: (index) => (groups[index].buttons.find((button) => button.tabIndex === 0) ?? groups[index].buttons[0]).focus({ preventScroll: true }),
    reveal: (index) => groups[index].node.scrollIntoView({ block: "nearest" }),
    press: (name, on) => toggles[name].setAttribute("aria-pressed", String(on)),
  };
}

function action(key, text, call, properties = {}) {
  return element("button", { type: "button", ...properties, "aria-keyshortcuts": key, onclick: () => call() }, text, " ", element("kbd", { "aria-hidden": "true" }, key));
}

function buildGroup(row, index, acts) {
  const label = element("span", { class: "question", id: `question-${index}` });
  if (row.side) label.append(element("b", {}, say(`form.${row.side}`)));
  else label.append(row.label, ...(row.required ? [] : [element("i", {}, ` ${say("form.optional")}`)]));
  if (!row.side && row.letter && row.id !== "overall") label.append(" ", element("kbd", { "aria-hidden": "true" }, row.letter.toUpperCase()));
  const buttons = row.options.map((option) => buildOption(row, option, () => acts.answer(index, option.value)));
  const note = element("span", { class: "anchor", "aria-live": "polite" });
  const options = element(
    "div",
    { class: "options", role: "radiogroup", ...(row.side ? { "aria-label": say(`form.rated_${row.side}`, { question: row.label }) } : { "aria-labelledby": `question-${index}` }) },
    ...divide(buttons, row.options),
  );
  options.addEventListener("focusin", () => acts.focus(index));
  const node = element("div", { class: `row${row.id === "overall" ? " overall" : ""}${row.side ? " rated" : ""}` }, label, options, note);
  return { node, buttons, note };
}

function buildOption(row, option, choose) {
  const text = option.text ? element("span", {}, option.text) : "";
  return element(
    "button",
    { type: "button", role: "radio", "aria-checked": "false", "aria-label": option.name, class: `option ${option.side}`, title: option.anchor || option.name, tabindex: "-1", onclick: choose },
    element("kbd", { "aria-hidden": "true" }, option.key),
    text,
  );
}

// The two halves of a scale stand under the response they speak for.
function divide(buttons, options) {
  const half = (side) => buttons.filter((_, index) => options[index].side === side);
  if (!half("left").length || !half("right").length) return buttons;
  const rest = buttons.filter((_, index) => !["left", "right"].includes(options[index].side));
  const named = (side, name) => element("div", { class: `half ${side}`, role: "none" }, element("span", { class: "sidename", "aria-hidden": "true" }, name), ...half(side));
  return [named("left", say("form.left_is")), element("div", { class: "half middle", role: "none" }, ...rest), named("right", say("form.right_is"))].filter((part) => part.childElementCount);
}

// A criterion rated per response: its question once, above its two rows.
function nestRated(rows, groups) {
  const nodes = [];
  rows.forEach((row, index) => {
    if (!row.side) nodes.push(groups[index].node);
    else if (row.side === "left") {
      const question = element("span", { class: "question" }, row.label, ...(row.required ? [] : [element("i", {}, ` ${say("form.optional")}`)]), " ", element("kbd", { "aria-hidden": "true" }, row.letter.toUpperCase()));
      nodes.push(element("div", { class: "rating" }, question, element("div", { class: "tworows" }, groups[index].node, groups[index + 1].node)));
    }
  });
  return nodes;
}
