// The questions of a rubric as rows of options, and an answer as the browser says it:
// {overall: score | "tie" | "both_bad" | null, criteria: {name: score | [left, right]}, flags: {left, right}, rationale}.
// A score is negative where the left response is better.

import { say } from "./words.js";

const CRITERION_LETTERS = "qwazcvghjklpyir";
const SIDES = ["left", "right"];

export const emptyAnswer = () => ({ overall: null, criteria: {}, flags: { left: [], right: [] }, rationale: "" });

/** One row per question to be answered with one key; a criterion rated per response has two. */
export function rowsOf(rubric) {
  const rows = [
    {
      id: "overall",
      letter: "o",
      label: rubric.question,
      required: true,
      options: scaleOptions(rubric.scale, rubric.both_bad),
      read: (answer) => answer.overall,
      write: (answer, value) => ({ ...answer, overall: value }),
    },
  ];
  rubric.criteria.forEach((criterion, index) => {
    const shared = { letter: CRITERION_LETTERS[index] ?? "", required: criterion.required, name: criterion.name };
    if (criterion.kind === "rate") SIDES.forEach((side, place) => rows.push({ ...shared, ...ratedRow(criterion, side, place) }));
    else rows.push({ ...shared, ...comparedRow(criterion) });
  });
  return rows;
}

function comparedRow(criterion) {
  return {
    id: criterion.name,
    label: criterion.question,
    options: scaleOptions(criterion.scale, false).map((option) => (option.value === "tie" ? { ...option, value: 0, isTie: true } : option)),
    read: (answer) => answer.criteria[criterion.name] ?? null,
    write: (answer, value) => ({ ...answer, criteria: { ...answer.criteria, [criterion.name]: value } }),
  };
}

function ratedRow(criterion, side, place) {
  const options = [];
  for (let value = criterion.low; value <= criterion.high; value += 1) {
    const anchor = criterion.anchors[value] ?? "";
    const key = value === 10 && criterion.low > 0 ? "0" : value < 10 ? String(value) : "";
    options.push({ value, key, text: key ? "" : String(value), side, anchor, name: anchor ? `${value}, ${anchor}` : String(value) });
  }
  return {
    id: `${criterion.name}:${side}`,
    label: criterion.question,
    side,
    options,
    read: (answer) => answer.criteria[criterion.name]?.[place] ?? null,
    write: (answer, value) => {
      const pair = [...(answer.criteria[criterion.name] ?? [null, null])];
      pair[place] = value;
      return { ...answer, criteria: { ...answer.criteria, [criterion.name]: pair } };
    },
  };
}

function scaleOptions(scale, bothBad) {
  const degrees = Math.floor(scale.steps / 2);
  const options = [];
  for (let degree = degrees; degree >= 1; degree -= 1) options.push(degreeOption("left", -degree, scale.wordings[degree - 1]));
  const tie = { value: "tie", text: say("form.tie"), side: "middle", name: say("form.tie_name") };
  if (scale.steps % 2) options.push(tie);
  for (let degree = 1; degree <= degrees; degree += 1) options.push(degreeOption("right", degree, scale.wordings[degree - 1]));
  options.forEach((option, index) => (option.key = String(index + 1)));
  if (scale.steps % 2 === 0 && scale.tie) options.push({ ...tie, key: "T" });
  if (bothBad) options.push({ value: "both_bad", text: say("form.both_bad"), side: "both", key: "B", name: say("form.both_bad_name") });
  return options;
}

const degreeOption = (side, value, wording) => ({
  value,
  text: wording,
  side,
  name: say(`form.${side}_option`, { wording }),
});

/** The rows that still need an answer before submitting. */
export function missingRows(rows, answer) {
  return rows.filter((row) => row.read(answer) === null && (row.required || halfRated(row, answer)));
}

// An optional rating may be left out, but not for one of the two responses only.
const halfRated = (row, answer) => Array.isArray(answer.criteria[row.name]) && answer.criteria[row.name].some((value) => value !== null);

/** The answer without what was taken back again, and without what this rubric does not ask. */
export function finished(answer, rubric) {
  const asked = new Set(rubric.criteria.map((criterion) => criterion.name));
  const isGiven = (value) => (Array.isArray(value) ? value.every((item) => item !== null) : value !== null);
  const criteria = Object.entries(answer.criteria).filter(([name, value]) => asked.has(name) && isGiven(value));
  return { ...answer, criteria: Object.fromEntries(criteria), rationale: rubric.rationale === "off" ? "" : answer.rationale };
}

/** An answer in a few words, for a judgment that could not be kept. */
export function describeAnswer(rows, answer) {
  const said = rows.flatMap((row) => {
    const option = row.options.find((item) => item.value === row.read(answer));
    return option ? [`${row.id === "overall" ? "" : `${row.id}: `}${option.name}`] : [];
  });
  if (answer.reason) said.unshift(say("form.skipped_because", { reason: answer.reason }));
  if (answer.rationale) said.push(`“${answer.rationale}”`);
  return said.join(" · ");
}
