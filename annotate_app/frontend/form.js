// The answer form: rows of options as radio groups, the rationale, and the actions; the mouse does all that keys do.
import { element } from "./panes.js";
import { say } from "./words.js";

/** Builds the form of a rubric. `acts` holds what to call: answer, focus, write, submit, skip, undo, ask, mode, unfold. */
export function buildForm(rubric, rows, acts) {
  const groups = rows.map((row, index) => buildGroup(row, index, acts));
  const nested = nestRated(rows, groups);
  const questions = element("div", { class: "questions", style: `--columns: ${columnsFor(nested.length - 1)}` }, ...nested);
  const foot = buildFoot(rubric, acts, ["diff", "raw", "unfolded"]);
  const node = element("section", { class: "form", "aria-label": say("form.name") }, questions, foot.node);
  return {
    node,
    rationale: foot.rationale,
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
      foot.paint(answer);
    },
    focusRow: (index) => (groups[index].buttons.find((button) => button.tabIndex === 0) ?? groups[index].buttons[0]).focus({ preventScroll: true }),
    reveal: (index) => groups[index].node.scrollIntoView({ block: "nearest" }),
    press: foot.press,
  };
}

const TOOLS = { diff: ["D", "form.differences"], raw: ["M", "form.as_written"], unfolded: ["X", "form.unfold"] };

/** The foot of a form: the rationale, the actions, and switches of the view, `tools` of TOOLS. */
export function buildFoot(rubric, acts, tools) {
  const touched = window.matchMedia("(pointer: coarse)").matches; // no keys to name
  const rationale = element("textarea", {
    rows: "1",
    maxlength: "20000",
    "aria-label": say(rubric.rationale === "required" ? "form.rationale_required" : "form.rationale"),
    placeholder: `${say(rubric.rationale === "required" ? "form.why_required" : "form.why")} ${touched ? "" : say("form.why_keys")}`.trim(),
    oninput: () => acts.write(rationale.value),
  });
  const actions = element(
    "div",
    { class: "actions" },
    action("Enter", say("form.submit"), acts.submit, { class: "primary" }),
    action("S", say("form.skip"), acts.skip),
    action("U", say("form.undo"), acts.undo),
    action("C", say("form.ask"), acts.ask),
  );
  const toggles = new Map(
    tools.map((name) => [name, action(TOOLS[name][0], say(TOOLS[name][1]), name === "unfolded" ? acts.unfold : () => acts.mode(name), { "aria-pressed": "false" })]),
  );
  const words = rubric.rationale === "off" ? element("span", { class: "gap" }) : rationale;
  return {
    node: element("div", { class: "foot" }, words, actions, element("div", { class: "tools" }, ...toggles.values())),
    rationale,
    paint(answer) {
      if (rationale.value !== answer.rationale) rationale.value = answer.rationale;
    },
    /** Paints whether a switch is on, where there is one. */
    press: (name, on) => toggles.get(name)?.setAttribute("aria-pressed", String(on)),
  };
}

// Up to four criteria stand in one row, more in rows of the same length.
const columnsFor = (criteria) => (criteria <= 4 ? Math.max(criteria, 1) : criteria <= 6 ? 3 : 4);

/** A button that a key presses too. */
export function action(key, text, call, properties = {}) {
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
    ...divide(buttons, row),
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
function divide(buttons, { id, options }) {
  const half = (side) => buttons.filter((_, index) => options[index].side === side);
  if (!half("left").length || !half("right").length) return buttons;
  const rest = buttons.filter((_, index) => !["left", "right"].includes(options[index].side));
  const named = (side, name) => element("div", { class: `half ${side}`, role: "none" }, element("span", { class: "sidename", "aria-hidden": "true" }, name), ...half(side));
  const names = id === "overall" ? { left: say("form.left_is"), right: say("form.right_is") } : { left: "←", right: "→" };
  return [named("left", names.left), element("div", { class: "half middle", role: "none" }, ...rest), named("right", names.right)].filter((part) => part.childElementCount);
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
