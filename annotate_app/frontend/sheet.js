// The answer sheet of the pair on the screen: what is answered so far, and which row the number keys answer.
import { emptyAnswer, finished, missingRows } from "./rows.js";
import { say } from "./words.js";

const isTie = (option) => option.value === "tie" || option.isTie;

/** `changed()` is called after every change of the answer, `hint(text)` to tell the person something. */
export function openSheet({ changed, hint }) {
  let rubric = null;
  let rows = [];
  let form = null;
  let answer = emptyAnswer();
  let row = 0;
  let touched = false;

  const paint = () => form?.paint(answer, row);
  const change = (next) => {
    answer = next;
    touched = true;
    paint();
    changed();
  };
  const put = (index, value) => {
    const next = rows[index].write(answer, value);
    const isOpen = (item) => item.read(next) === null;
    const after = rows.findIndex((item, place) => place > index && isOpen(item));
    const any = rows.findIndex(isOpen);
    row = value === null ? index : after >= 0 ? after : any >= 0 ? any : index;
    hint("");
    change(next);
    if (row !== index) form.reveal(row);
  };
  const focus = (index) => {
    row = index;
    paint();
    form.reveal(row);
  };
  return {
    paint,
    put,
    get answer() {
      return answer;
    },
    get touched() {
      return touched;
    },
    setRubric(nextRubric, nextRows, nextForm) {
      [rubric, rows, form, row] = [nextRubric, nextRows, nextForm, 0];
      paint();
    },
    /** Takes up a pair's answer so far. */
    fill(given) {
      [answer, row, touched] = [{ ...emptyAnswer(), ...given }, 0, false];
      paint();
    },
    finished: () => finished(answer, rubric),
    write: (text) => change({ ...answer, rationale: text }),
    toggleFlag(side, name) {
      const set = answer.flags[side] ?? [];
      const next = set.includes(name) ? set.filter((item) => item !== name) : [...set, name];
      change({ ...answer, flags: { ...answer.flags, [side]: next } });
    },
    /** What keeps the answer from being submitted, having gone there; empty if nothing does. */
    complaint() {
      const missing = missingRows(rows, answer);
      if (missing.length) {
        focus(rows.indexOf(missing[0]));
        return rows.length > 1 ? say("form.still", { questions: [...new Set(missing.map((item) => item.label))].join(" · ") }) : say("form.choose_first");
      }
      if (rubric.rationale === "required" && !answer.rationale.trim()) {
        form.rationale.focus();
        return say("form.asks_rationale");
      }
      return "";
    },
    digit(key) {
      const option = rows[row]?.options.find((item) => item.key === key);
      if (option) put(row, option.value);
      return Boolean(option);
    },
    tie() {
      const place = rows[row].options.some(isTie) ? row : 0;
      const option = rows[place].options.find(isTie);
      if (option) put(place, option.value);
      else hint(say("form.no_tie"));
    },
    bothBad() {
      if (rubric.both_bad) put(0, "both_bad");
      else hint(say("form.no_both_bad"));
    },
    clear: () => put(row, null),
    focus(index) {
      row = index;
      paint();
    },
    step(by) {
      focus(Math.min(Math.max(row + by, 0), rows.length - 1));
      form.focusRow(row);
    },
    shift(by) {
      const { options } = rows[row];
      const at = options.findIndex((option) => option.value === rows[row].read(answer));
      const next = at < 0 ? (by > 0 ? 0 : options.length - 1) : Math.min(Math.max(at + by, 0), options.length - 1);
      change(rows[row].write(answer, options[next].value));
      form.focusRow(row);
    },
    /** Goes to a criterion by its letter, and through its rows when it is there already; false for no one's letter. */
    criterion(letter) {
      const places = rows.flatMap((item, index) => (item.letter === letter ? [index] : []));
      if (!places.length) return false;
      const open = places.find((index) => rows[index].read(answer) === null);
      focus(places.includes(row) ? places[(places.indexOf(row) + 1) % places.length] : (open ?? places[0]));
      return true;
    },
    rationale() {
      if (rubric.rationale === "off") hint(say("form.no_rationale"));
      else form.rationale.focus();
    },
  };
}
