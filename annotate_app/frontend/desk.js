// The desk: which pair is shown, what is answered, what happens on a key. The next pair is built ahead and only revealed;
// a judgment leaves through the outbox; the server's word on what is leased is final.
import { startClock } from "./clock.js";
import { openDialogs } from "./dialogs.js";
import { openFrame } from "./frame.js";
import { openKeep } from "./keep.js";
import { listen } from "./keys.js";
import { openOutbox } from "./outbox.js";
import { buildForm } from "./form.js";
import { buildLayer } from "./panes.js";
import { describeAnswer, emptyAnswer, finished, missingRows, rowsOf } from "./rows.js";

const RENEW_EVERY_MS = 60_000;
const LOOK_EVERY_MS = 30_000;
const TOO_SOON_MS = 400; // a second Enter in this time, with nothing answered since, is a double press
const MOST_BUFFERED = 20;

export function openDesk(shadow) {
  const clock = startClock();
  const pairs = new Map(); // token -> pair
  const layers = new Map(); // token -> layer
  let keep = null;
  let data = null;
  let rubric = null;
  let rows = [];
  let form = null;
  let shown = null; // token
  let answer = emptyAnswer();
  let row = 0;
  let touched = false; // answered something since this pair came
  let since = 0;
  let mode = "rich";
  let unfolded = false;
  let waitingFor = ""; // undo, reopen or cancel on its way: keys are held back, they mean the pair that will come
  let held = [];
  let renewed = performance.now();

  const frame = openFrame(shadow, {
    guidelines: () => openGuidelines(false),
    history: () => act.history(),
    refresh: () => act.refresh(),
    cancel: () => act.cancel(),
    forget: (event) => (keep.dropRefused(event), paintRefused()),
  });
  const dialogs = openDialogs(frame.root);
  const outbox = openOutbox({
    compose: (events) => ({ events, known: { pairs: [...pairs.keys()], rubric: rubric?.id ?? "" } }),
    changed: () => paintStatus(),
  });

  // ---- what is shown ----
  const queue = () => {
    const judged = outbox.judged();
    return (data?.queue ?? []).filter((token) => !judged.has(token) && pairs.has(token));
  };
  const layerOf = (token) => {
    if (!layers.has(token)) {
      const layer = buildLayer(pairs.get(token), { hasFlags: rubric.flags.length > 0, onFlag: (side) => act.flag(side) });
      layer.setMode(mode);
      frame.stage.append(layer.node);
      layers.set(token, layer);
    }
    return layers.get(token);
  };
  const show = (token) => {
    if (shown && shown !== token) layers.get(shown)?.node.classList.remove("shown");
    const changed = shown !== token;
    shown = token;
    if (token && changed) {
      const draft = keep.draft(token) ?? { answer: {}, seconds: 0 };
      answer = { ...emptyAnswer(), ...draft.answer };
      row = 0;
      touched = false;
      since = performance.now();
      clock.start(draft.seconds);
      const layer = layerOf(token);
      layer.node.classList.add("shown");
      layer.top();
      frame.announce("Next pair");
    }
    if (form) paint();
    frame.empty(token ? null : emptyState());
    frame.editing(Boolean(token) && token === data.edit);
    paintStatus();
  };
  const showNext = () => show(queue()[0] ?? null);
  const buildAhead = () => {
    for (const [token, layer] of layers) {
      if (pairs.has(token)) continue;
      layer.node.remove();
      layers.delete(token);
    }
    for (const token of queue()) layerOf(token);
  };
  const emptyState = () => {
    if (waitingFor) return { title: "One moment …", text: "" };
    if (outbox.judged().size) return { title: "Saving …", text: "The next pair comes as soon as the server has answered." };
    return frame.wordsFor(data?.state);
  };

  // ---- painting ----
  const paint = () => {
    form.paint(answer, row);
    const layer = layers.get(shown);
    for (const side of ["left", "right"]) {
      layer?.setFlags(side, rubric.flags.filter((flag) => answer.flags[side]?.includes(flag.name)).map((flag) => flag.label));
    }
  };
  const paintStatus = () => frame.status({ waiting: outbox.count("submit", "skip", "undo"), late: outbox.late, saved: data?.progress.done > 0 });
  const paintRefused = () => frame.refused(keep.refused(), (event) => describeAnswer(rows, event.answer));
  const openGuidelines = (first) => {
    keep.seeGuidelines(rubric.id);
    dialogs.guidelines(rubric, { first });
  };
  const setRubric = (next) => {
    rubric = next;
    rows = rowsOf(rubric);
    for (const layer of layers.values()) layer.node.remove();
    layers.clear();
    form = buildForm(rubric, rows, {
      answer: (index, value) => act.answer(index, value),
      focus: (index) => ((row = index), form.paint(answer, row)),
      write: (text) => change({ ...answer, rationale: text }),
      submit: () => act.submit(),
      skip: () => act.skip(),
      undo: () => act.undo(),
      mode: (name) => act.mode(name),
      unfold: () => act.unfold(),
    });
    frame.setForm(form.node);
    if (shown) ((row = 0), layerOf(shown).node.classList.add("shown"), paint());
  };

  // ---- answering ----
  const change = (next) => {
    answer = next;
    touched = true;
    if (shown) keep.keepDraft(shown, { answer, seconds: clock.seconds() });
  };
  const leave = (kind, extra) => {
    outbox.add({ kind, token: shown, answer: { ...finished(answer), ...extra }, seconds: clock.seconds() });
    showNext();
  };
  const ask = (kind, extra = {}) => {
    waitingFor = kind;
    outbox.add({ kind, ...extra });
    paintStatus();
  };
  const act = {
    answer(index, value) {
      if (!shown) return;
      change(rows[index].write(answer, value));
      const open = rows.findIndex((item, place) => place > index && item.read(answer) === null);
      const any = rows.findIndex((item) => item.read(answer) === null);
      row = value === null ? index : open >= 0 ? open : any >= 0 ? any : index;
      frame.hint("");
      paint();
      if (row !== index) form.reveal(row);
    },
    digit(key) {
      const option = rows[row]?.options.find((item) => item.key === key);
      if (option) act.answer(row, option.value);
      return Boolean(option);
    },
    tie() {
      const place = rows[row].options.some((option) => ["tie", 0].includes(option.value)) && !rows[row].side ? row : 0;
      const option = rows[place].options.find((item) => ["tie", 0].includes(item.value));
      if (option) act.answer(place, option.value);
      else frame.hint("This scale has no tie.");
    },
    bothBad() {
      if (rubric.both_bad) act.answer(0, "both_bad");
      else frame.hint("This rubric does not offer “both bad”.");
    },
    clear: () => act.answer(row, null),
    step(by) {
      row = Math.min(Math.max(row + by, 0), rows.length - 1);
      paint();
      form.focusRow(row);
      form.reveal(row);
    },
    shift(by) {
      const { options } = rows[row];
      const at = options.findIndex((option) => option.value === rows[row].read(answer));
      const next = options[at < 0 ? (by > 0 ? 0 : options.length - 1) : Math.min(Math.max(at + by, 0), options.length - 1)];
      change(rows[row].write(answer, next.value));
      paint();
      form.focusRow(row);
    },
    criterion(letter) {
      const places = rows.map((item, index) => (item.letter === letter ? index : -1)).filter((index) => index >= 0);
      if (!places.length) return false;
      row = places.includes(row) ? places[(places.indexOf(row) + 1) % places.length] : (places.find((index) => rows[index].read(answer) === null) ?? places[0]);
      paint();
      form.reveal(row);
      return true;
    },
    submit() {
      if (!shown) return;
      if (!touched && performance.now() - since < TOO_SOON_MS) return;
      const missing = missingRows(rows, answer);
      if (missing.length) {
        row = rows.indexOf(missing[0]);
        paint();
        form.reveal(row);
        frame.hint(rows.length > 1 ? `Still to answer: ${[...new Set(missing.map((item) => item.label))].join(" · ")}` : "Choose an answer first.");
      } else if (rubric.rationale === "required" && !answer.rationale.trim()) {
        frame.hint("This project asks for a rationale.");
        form.rationale.focus();
      } else {
        frame.hint("");
        leave("submit", {});
      }
    },
    skip() {
      if (!shown) return;
      if (rubric.skip_reasons.length) dialogs.skip(rubric.skip_reasons, (reason) => leave("skip", { reason }));
      else leave("skip", { reason: "" });
    },
    undo: () => waitingFor || ask("undo"),
    history: () => ask("history"),
    refresh: () => outbox.add({ kind: "refresh" }),
    cancel() {
      if (!shown || shown !== data.edit) return;
      keep.dropDraft(shown);
      ask("cancel");
    },
    flag(side) {
      if (!shown) return;
      if (!rubric.flags.length) return void frame.hint("This project has no flags.");
      const toggle = (place, name) => {
        const set = answer.flags[place] ?? [];
        change({ ...answer, flags: { ...answer.flags, [place]: set.includes(name) ? set.filter((item) => item !== name) : [...set, name] } });
        paint();
      };
      dialogs.flags(rubric.flags, side ?? "left", () => ({ left: [], right: [], ...answer.flags }), toggle);
    },
    rationale() {
      if (rubric.rationale === "off") frame.hint("This project asks for no rationale.");
      else form.rationale.focus();
    },
    mode(name) {
      mode = mode === name ? "rich" : name;
      for (const layer of layers.values()) layer.setMode(mode);
      for (const other of ["diff", "raw"]) form.press(other, mode === other);
    },
    unfold() {
      unfolded = !unfolded;
      frame.unfold(unfolded);
      form.press("unfolded", unfolded);
    },
    scroll: (direction) => layers.get(shown)?.scroll(direction),
    guidelines: () => openGuidelines(false),
  };
  const unlisten = listen({
    root: frame.root,
    dialogs,
    act,
    ready: () => Boolean(rubric),
    hold(event) {
      if (!waitingFor) return false;
      if (held.length < MOST_BUFFERED) held.push({ key: event.key, shiftKey: event.shiftKey });
      return true;
    },
  });

  // ---- the server's word ----
  const settle = (acks) => {
    let first = false;
    for (const [event, ack] of outbox.settle(acks)) {
      if (event.kind === waitingFor) waitingFor = "";
      if (ack.status === "refused") refuse(event, ack.message);
      else if (["submit", "skip"].includes(event.kind)) (keep.dropDraft(event.token), keep.tellDone(event.token));
      else if (["undo", "reopen", "cancel"].includes(event.kind) && ack.status === "saved") {
        first = true;
      } else if (event.kind === "history" && data.history) dialogs.history(data.history, (item) => ask("reopen", { judgment_id: item.id }));
    }
    return first;
  };
  const refuse = (event, message) => {
    if (["submit", "skip"].includes(event.kind)) {
      keep.keepRefused({ ...event, message });
      keep.dropDraft(event.token);
      paintRefused();
    } else frame.hint(message);
  };
  const release = () => {
    const keys = held;
    held = [];
    for (const key of keys) unlisten.replay(key);
  };
  const receive = (next, sender) => {
    outbox.connect(sender);
    const isFirst = !keep;
    data = next;
    if (isFirst) {
      keep = openKeep(data.scope);
      outbox.open(keep);
    }
    clock.setIdle(data.idle_s);
    for (const [token, pair] of Object.entries(data.pairs)) pairs.set(token, pair);
    for (const token of [...pairs.keys()]) if (!data.queue.includes(token)) pairs.delete(token);
    if (data.rubric.title !== undefined && data.rubric.id !== rubric?.id) setRubric(data.rubric);
    const first = settle(data.acks);
    buildAhead();
    if (first) reshow(data.queue[0] ?? null);
    else if (shown && queue().includes(shown) && !waitingFor) show(shown);
    else showNext();
    frame.progress(data.progress, data.state);
    if (data.feedback || data.notice) frame.hint(data.feedback || data.notice);
    if (isFirst) {
      paintRefused();
      if (!keep.seenGuidelines(rubric.id)) openGuidelines(true);
    }
    // Never while mounting: Streamlit drops what is sent then.
    setTimeout(outbox.flush, isFirst ? 250 : 0);
    if (!waitingFor) release();
  };
  // A pair that came back is shown afresh with the answer given before, even if it is the one on the screen.
  const reshow = (token) => {
    layers.get(shown)?.node.classList.remove("shown");
    shown = null;
    if (data.given[token]) keep.keepDraft(token, { answer: data.given[token], seconds: 0 });
    show(token);
  };

  // ---- staying in touch ----
  const beat = setInterval(() => {
    const idle = !shown && document.visibilityState === "visible";
    const since = performance.now() - renewed;
    const worked = clock.lastSign > renewed;
    if (!data || outbox.count("submit", "skip", "undo", "renew", "refresh")) return;
    if ((shown && worked && since > RENEW_EVERY_MS) || (idle && since > LOOK_EVERY_MS)) {
      renewed = performance.now();
      outbox.add({ kind: "renew" });
    }
  }, 5000);
  const onStorage = (event) => {
    const token = keep?.readDone(event);
    if (token && data.queue.includes(token)) outbox.add({ kind: "refresh" });
  };
  window.addEventListener("storage", onStorage);
  return {
    receive,
    close() {
      clearInterval(beat);
      window.removeEventListener("storage", onStorage);
      unlisten.stop();
      outbox.close();
      clock.stop();
      frame.close();
    },
  };
}
