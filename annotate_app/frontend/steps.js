// Judging an answer step by step: the steps as a list with a label each, and the answer behind them. A label is 1 where
// the step is right, 0.5 where it is neither, 0 where it is wrong, null while it is not judged.
import { action, buildFoot } from "./form.js";
import { buildTalk, buildText, element, toLastTurn, unfoldParts } from "./panes.js";
import { say } from "./words.js";

const LABELS = [
  { key: "1", label: 1, name: "right" },
  { key: "2", label: 0.5, name: "neutral" },
  { key: "3", label: 0, name: "wrong" },
];

const emptySteps = () => ({ labels: [], criteria: {}, flags: {}, rationale: "" });
const nameOf = (label) => LABELS.find((one) => one.label === label)?.name ?? "open";
// After a press of the mouse or a finger, Enter submits; a button reached by keyboard stays in focus and acts on it.
const letGo = (node) => node.addEventListener("click", (event) => event.detail && event.target.closest("button")?.blur());

/** What a model's probabilities say of the steps, as a person would: null where it gives none. */
export const labelsOf = (scores) => scores.map((score) => (score === null ? null : score > 0.5 ? 1 : score < 0.5 ? 0 : 0.5));

/** The labels once a step is said to be the first wrong one: those before it are not wrong, the rest follows. */
export const firstWrong = (labels, index) => labels.map((label, at) => (at < index ? label || 1 : 0));

/** The place of the step that still needs a label before it can be submitted, or null: behind a wrong one none does. */
export function openStep(labels) {
  const wrong = labels.indexOf(0);
  const open = labels.indexOf(null);
  return open >= 0 && (wrong < 0 || open < wrong) ? open : null;
}

/** Labels in a few words. */
export function describeSteps(answer) {
  if (answer.reason) return answer.reason;
  const labels = answer.labels ?? [];
  const wrong = labels.indexOf(0);
  const said = wrong >= 0 ? say("steps.wrong_at", { number: wrong + 1, total: labels.length }) : say("steps.num_right", { number: labels.filter((label) => label === 1).length, total: labels.length });
  return answer.rationale ? `${said}, “${answer.rationale}”` : said;
}

/** The answer sheet of an answer in steps, with the same doors as `openSheet` of a pair. */
export function openStepSheet({ changed, hint }) {
  let rubric = null;
  let form = null;
  let answer = emptySteps();
  let current = 0;
  let touched = false;
  let isSuggested = false;

  const paint = () => form?.paint(answer, current, isSuggested);
  const put = (labels, next, text) => {
    answer = { ...answer, labels };
    [current, touched] = [Math.min(Math.max(next, 0), labels.length - 1), true];
    hint("");
    paint();
    changed();
    form.say(text);
  };
  const move = (by) => {
    current = Math.min(Math.max(current + by, 0), answer.labels.length - 1);
    paint();
    changed();
    form.say(say("steps.at", { number: current + 1, label: say(`steps.${nameOf(answer.labels[current])}`) }));
  };
  const nothing = () => {};
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
    /** Takes up a judgment so far; without one a model's scores are filled in, where there are any. */
    fill(given, pair) {
      const count = pair.steps.length;
      isSuggested = !given.labels && pair.scores.length === count;
      const start = given.labels ?? (isSuggested ? labelsOf(pair.scores) : []);
      const labels = Array.from({ length: count }, (_, index) => start[index] ?? null);
      answer = { ...emptySteps(), ...given, labels };
      [current, touched] = [isSuggested ? 0 : Math.max(labels.indexOf(null), 0), false];
      paint();
    },
    finished: () => ({ ...answer, rationale: rubric.rationale === "off" ? "" : answer.rationale }),
    write(text) {
      answer = { ...answer, rationale: text };
      touched = true;
      paint();
      changed();
    },
    complaint() {
      const open = openStep(answer.labels);
      if (open !== null) {
        current = open;
        paint();
        changed();
        return say("steps.open_step", { number: open + 1 });
      }
      if (rubric.rationale === "required" && !answer.rationale.trim()) {
        form.rationale.focus();
        return say("form.asks_rationale");
      }
      return "";
    },
    /** Labels a step and goes on to the next. */
    label: (index, label) => put(answer.labels.map((other, at) => (at === index ? label : other)), index + 1, say("steps.at", { number: index + 1, label: say(`steps.${nameOf(label)}`) })),
    firstWrong: () => put(firstWrong(answer.labels, current), current, say("steps.wrong_at", { number: current + 1, total: answer.labels.length })),
    restRight: () => put(answer.labels.map((label) => label ?? 1), answer.labels.length - 1, say("steps.rest_right")),
    mark(index) {
      current = index;
      paint();
      changed();
    },
    /** Takes the label of the marked step back; of one without a label, that of the step before. */
    clear() {
      const at = answer.labels[current] === null ? Math.max(current - 1, 0) : current;
      put(answer.labels.map((label, index) => (index === at ? null : label)), at, say("steps.at", { number: at + 1, label: say("steps.open") }));
    },
    step: move,
    shift: nothing,
    tie: nothing,
    bothBad: nothing,
    focus: nothing,
    toggleFlag: nothing,
    criterion: () => false,
    digit(key) {
      const known = LABELS.find((one) => one.key === key);
      if (known) sheet.label(current, known.label);
      return Boolean(known);
    },
    /** Keys that mean something else here than for a pair; true where it was one. */
    take(event, { onScrollable = false } = {}) {
      const key = event.key.toLowerCase();
      if (key === "f") return sheet.firstWrong(), true;
      if (key === "a") return sheet.restRight(), true;
      if (["arrowup", "arrowdown"].includes(key) && !onScrollable) return move(key === "arrowup" ? -1 : 1), true;
      return false;
    },
    rationale() {
      if (rubric.rationale === "off") hint(say("form.no_rationale"));
      else form.rationale.focus();
    },
  };
  return sheet;
}

/** The layer of an answer: the conversation and its steps; doors as of `buildLayer`. */
export function buildSteps(pair, _rubric, sheet) {
  const steps = pair.steps.map((step, index) => buildStep(step, pair.scores[index] ?? null, index, sheet));
  const talk = buildTalk(pair.messages, []);
  const list = element("ol", { class: "steps", "aria-label": say("steps.list") }, ...steps.map((step) => step.node));
  const node = element("section", { class: "layer stepped", "data-token": pair.token }, talk, list);
  let mode = "";
  letGo(list);
  return {
    node,
    setMode(next) {
      if (next === mode) return;
      mode = next;
      steps.forEach((step, index) => step.body.replaceChildren(buildText(pair.steps[index], next === "diff" ? "rich" : next, null)));
    },
    unfold: (on) => unfoldParts(node, on),
    setFlags() {},
    focusFlags() {},
    paint(answer, current) {
      steps.forEach((step, index) => step.paint(answer.labels[index] ?? null, index === current));
      steps[current]?.node.scrollIntoView({ block: "nearest" });
    },
    top() {
      list.scrollTop = 0;
      toLastTurn(talk);
    },
    scroll(direction) {
      list.scrollBy({ top: direction * list.clientHeight * 0.85 });
    },
  };
}

function buildStep(step, score, index, sheet) {
  const number = index + 1;
  const body = element("div", { class: "body" });
  const buttons = LABELS.map(({ label, name, key }) =>
    element("button", { type: "button", class: `label ${name}`, "aria-pressed": "false", "aria-label": say(`steps.${name}_of`, { number }), title: key, onclick: () => sheet.label(index, label) }, say(`steps.${name}`)),
  );
  const guess = score === null ? [] : [element("span", { class: "small guess" }, say("steps.model", { percent: Math.round(100 * score) }))];
  const place = element("button", { type: "button", class: "quiet number", "aria-label": say("steps.go_to", { number }), onclick: () => sheet.mark(index) }, `${number}.`);
  const labels = element("div", { class: "labels", role: "group", "aria-label": say("steps.label_of", { number }) }, ...guess, ...buttons);
  const node = element("li", { class: "step", "data-step": number }, place, body, labels);
  return {
    node,
    body,
    paint(label, isCurrent) {
      node.dataset.label = nameOf(label);
      node.classList.toggle("current", isCurrent);
      node.setAttribute("aria-current", isCurrent ? "step" : "false");
      buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(LABELS[at].label === label)));
    },
  };
}

/** The form of an answer in steps: what keys say of the marked step, the rationale, the actions. */
export function buildStepsForm(rubric, acts, sheet) {
  const note = element("p", { class: "note small" });
  const live = element("p", { class: "spoken", role: "status", "aria-live": "polite" });
  const ways = LABELS.map(({ key, label, name }) => action(key, say(`steps.${name}`), () => sheet.label(sheet.current, label)));
  const moves = [
    ...ways,
    action("F", say("steps.first_wrong"), () => sheet.firstWrong()),
    action("A", say("steps.all_rest_right"), () => sheet.restRight(), { class: "quiet" }),
    action("⌫", say("steps.take_back"), () => sheet.clear(), { class: "quiet" }),
  ];
  const question = element("div", { class: "ranks" }, element("span", { class: "question" }, rubric.question), element("div", { class: "moves" }, note, ...moves));
  const foot = buildFoot(rubric, acts, ["raw", "unfolded"]);
  const node = element("section", { class: "form", "aria-label": say("form.name") }, question, foot.node, live);
  letGo(question);
  return {
    node,
    rationale: foot.rationale,
    paint(answer, current, isSuggested) {
      const open = openStep(answer.labels);
      note.textContent = isSuggested ? say("steps.suggested") : open === null && answer.labels.length ? describeSteps({ labels: answer.labels }) : say("steps.help", { number: current + 1 });
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
