// The desk: which pair is shown and what a key does to it. The next pair is built ahead and only revealed; a judgment
// leaves through the outbox; the server's word on what is leased is final.
import { startClock } from "./clock.js";
import { openDialogs } from "./dialogs.js";
import { buildForm } from "./form.js";
import { openFrame } from "./frame.js";
import { setProject } from "./images.js";
import { openKeep } from "./keep.js";
import { listen } from "./keys.js";
import { openOutbox } from "./outbox.js";
import { buildLayer } from "./panes.js";
import { buildCards, buildRankForm, describeRanking, openRankSheet } from "./ranking.js";
import { describeAnswer, rowsOf } from "./rows.js";
import { openSheet } from "./sheet.js";
import { buildSteps, buildStepsForm, describeSteps, openStepSheet } from "./steps.js";
import { openEditor } from "./edit.js";
import { openMarking } from "./spans.js";
import { foldSidebar, toggleSidebar } from "./sidebar.js";
import { stayInTouch } from "./touch.js";
import { say, wordsLanguage } from "./words.js";

const TOO_SOON_MS = 400; // an Enter this soon after a pair came, with nothing answered since, is a double press
const MOST_HELD = 20;
const JUDGMENTS = ["submit", "skip", "undo"];
const TOLD = ["question", "read"]; // words that wait for nothing
const RETURNING = ["undo", "reopen", "cancel"];
const RANKING = { sheet: "ranking", build: buildCards, form: buildRankForm, describe: describeRanking };
// By task what is not a pair: its sheet, and what draws it, its form, and an answer in words.
const KINDS = { rank: RANKING, best: RANKING, steps: { sheet: "steps", build: buildSteps, form: buildStepsForm, describe: describeSteps } };
const SETTLE_MS = 250; // Streamlit drops what is sent while a component mounts

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
  let since = 0;
  let mode = "rich";
  let unfolded = false;
  let awaited = ""; // the kind of an event that brings another pair; keys are held back, they mean that one
  let held = [];
  let greeted = false;

  const frame = openFrame(shadow, {
    guidelines: () => openGuidelines(false),
    history: () => act.history(),
    menu: () => act.menu(),
    refresh: () => outbox.add({ kind: "refresh" }),
    cancel: () => act.cancel(),
    forget: (event) => (keep.dropRefused(event), paintRefused()),
  });
  const dialogs = openDialogs(frame.root);
  const outbox = openOutbox({
    compose: (events) => ({ events, known: { pairs: [...pairs.keys()], rubric: rubric?.id ?? "", words: wordsLanguage() } }),
    changed: () => paintStatus(),
  });
  const onSheet = {
    hint: frame.hint,
    changed() {
      paintFlags();
      if (shown) keepAnswer(shown, { answer: sheet.answer, seconds: clock.seconds() });
    },
  };
  const sheets = { pair: openSheet(onSheet), ranking: openRankSheet(onSheet), steps: openStepSheet(onSheet) };
  let sheet = sheets.pair;
  const kind = () => KINDS[rubric.task] ?? null;

  const answering = { root: frame.root, layer: () => layers.get(shown), pair: () => pairs.get(shown), rubric: () => rubric, sheet, hint: frame.hint };
  const marking = openMarking({ ...answering, announce: frame.announce });
  const editor = openEditor(answering);

  // ---- what is shown ----
  const queue = () => {
    const judged = outbox.judged();
    return (data?.queue ?? []).filter((token) => !judged.has(token) && pairs.has(token));
  };
  const layerOf = (token) => {
    if (!layers.has(token)) {
      const layer = kind() ? kind().build(pairs.get(token), rubric, sheet) : buildLayer(pairs.get(token), { hasFlags: rubric.flags.length > 0, onFlag: (side) => act.flag(side) });
      layer.setMode(mode);
      layer.unfold(unfolded);
      frame.stage.append(layer.node);
      layers.set(token, layer);
    }
    return layers.get(token);
  };
  const show = (token) => {
    if (shown !== token) {
      layers.get(shown)?.node.classList.remove("shown");
      marking.leave();
      shown = token;
      frame.hint(""); // what was told ends with its pair
      if (token) reveal(token);
    }
    frame.empty(token ? null : emptyWords());
    frame.editing(Boolean(token) && token === data.edit);
    paintStatus();
  };
  const reveal = (token) => {
    const draft = keep.draft(token) ?? { answer: data.given[token] ?? {}, seconds: 0 };
    const layer = layerOf(token);
    layer.node.classList.add("shown");
    layer.top();
    paintQuestions(token);
    frame.toTop();
    sheet.fill(draft.answer, pairs.get(token));
    paintFlags();
    clock.start(draft.seconds);
    since = performance.now();
    frame.announce(say("desk.next_pair"));
    if (mode === "diff") tellUnrelated();
  };
  const tellUnrelated = () => !layerOf(shown).isMarked && frame.hint(say("desk.nothing_common"));
  // A pair that came back is shown afresh with the answer given before, even if it is the one on the screen.
  const showAgain = (token) => {
    layers.get(shown)?.node.classList.remove("shown");
    shown = null;
    if (data.given[token]) keepAnswer(token, kept(token) ?? { answer: data.given[token], seconds: 0 });
    show(token);
  };
  const keepAnswer = (token, draft) => {
    keep.keepDraft(token, draft);
    if (token === data.edit) keep.keepEdit({ judgment_id: data.edit_of, draft });
  };
  // The draft of an edit that a reload interrupted.
  const kept = (token) => {
    const edit = keep.edit();
    return token === data.edit && edit?.judgment_id === data.edit_of ? edit.draft : null;
  };
  const buildAhead = () => {
    for (const [token, layer] of layers) {
      if (pairs.has(token)) continue;
      layer.node.remove();
      layers.delete(token);
    }
    for (const token of queue()) layerOf(token);
  };
  const emptyWords = () => {
    if (awaited) return { title: say("desk.moment"), text: "" };
    if (outbox.judged().size) return { title: say("desk.saving"), text: say("desk.saving_help") };
    return frame.wordsFor(data.state);
  };
  const paintFlags = () => {
    if (kind()) return layers.get(shown)?.paint(sheet.answer, sheet.current);
    marking.paint();
    editor.paint();
    for (const side of ["left", "right"]) {
      const set = rubric.flags.filter((flag) => sheet.answer.flags[side]?.includes(flag.name));
      layers.get(shown)?.setFlags(side, set.map((flag) => flag.label));
    }
  };
  let painted = "";
  const paintQuestions = (token) => {
    const answered = data.questions[token] ?? [];
    const next = JSON.stringify([token, answered]);
    if (next !== painted) frame.questions(answered);
    painted = next;
  };
  const paintDay = () => {
    const day = data.day;
    if (!day || !(day.pairs || day.minutes)) return frame.day("", false);
    const parts = [say("day.pairs", { pairs: day.pairs })];
    if (day.median_s !== null) parts.push(say("day.median", { seconds: Math.round(day.median_s) }));
    if (day.checks) parts.push(say("day.gold", { right: day.right, all: day.checks }));
    parts.push(say("day.minutes", { minutes: day.minutes }));
    if (day.earned) parts.push(day.earned);
    if (day.break_after) parts.push(say("day.break", { minutes: day.break_after }));
    frame.day(parts.join(" · "), day.break_after > 0);
  };
  const paintStatus = () =>
    frame.status({ waiting: outbox.count(...JUDGMENTS, "question"), late: outbox.late, saved: data?.progress.done > 0 });
  const paintRefused = () => frame.refused(keep.refused(), (event) => event.text ?? (kind() ? kind().describe(event.answer) : describeAnswer(rows, event.answer)));
  const openGuidelines = (first) => {
    const { version } = rubric;
    dialogs.guidelines(rubric, { first, onStart: () => outbox.add({ kind: "read", version }) });
  };
  const setRubric = (next) => {
    rubric = next;
    rows = rowsOf(rubric);
    for (const layer of layers.values()) layer.node.remove();
    layers.clear();
    sheet = sheets[kind()?.sheet ?? "pair"];
    Object.assign(act, { take: undefined }, doorsOf(sheet));
    const build = kind() ? (...parts) => kind().form(rubric, parts[2], sheet) : buildForm;
    form = build(rubric, rows, {
      answer: (index, value) => shown && sheet.put(index, value),
      focus: sheet.focus,
      write: sheet.write,
      submit: () => act.submit(),
      skip: () => act.skip(),
      undo: () => act.undo(),
      ask: () => act.ask(),
      mode: (name) => act.mode(name),
      unfold: () => act.unfold(),
    });
    frame.setForm(form.node);
    sheet.setRubric(rubric, rows, form);
    if (!shown || !pairs.has(shown)) return;
    layerOf(shown).node.classList.add("shown");
    if (kind()) (sheet.fill(keep.draft(shown)?.answer ?? {}, pairs.get(shown)), paintFlags());
  };

  // ---- what keys and buttons do ----
  const leave = (kind, extra) => {
    if (shown === data.edit) keep.dropEdit();
    outbox.add({ kind, token: shown, answer: { ...sheet.finished(), ...extra }, seconds: clock.seconds() });
    show(queue()[0] ?? null);
  };
  const ask = (kind, extra = {}) => {
    awaited = kind;
    outbox.add({ kind, ...extra });
  };
  const doorsOf = ({ answer, touched, current, ...doors }) => doors; // what is read of a sheet is read of itself
  const act = {
    ...doorsOf(sheet),
    submit() {
      if (!shown || (!sheet.touched && performance.now() - since < TOO_SOON_MS)) return;
      const complaint = sheet.complaint();
      frame.hint(complaint);
      if (!complaint) leave("submit", {});
    },
    skip() {
      if (!shown) return;
      if (rubric.skip_reasons.length) dialogs.skip(rubric.skip_reasons, (reason) => leave("skip", { reason }));
      else leave("skip", { reason: "" });
    },
    ask() {
      if (!shown) return;
      const token = shown;
      dialogs.ask({
        text: keep.question(token),
        onWrite: (text) => keep.keepQuestion(token, text),
        onSend(text) {
          keep.keepQuestion(token, "");
          outbox.add({ kind: "question", token, text });
          frame.hint(say("question.sent"));
        },
      });
    },
    undo: () => awaited || ask("undo"),
    history: () => awaited || ask("history"),
    cancel() {
      if (!shown || shown !== data.edit) return;
      keep.dropDraft(shown);
      keep.dropEdit();
      ask("cancel");
    },
    flag(side = "left") {
      if (!rubric.flags.length) return frame.hint(say("desk.no_flags"));
      if (kind()) return layers.get(shown)?.focusFlags(sheet.current);
      dialogs.flags(rubric.flags, side, () => ({ left: [], right: [], ...sheet.answer.flags }), sheet.toggleFlag);
    },
    mode(name) {
      if (kind() && name === "diff") return frame.hint(say("ranking.no_differences"));
      mode = mode === name ? "rich" : name;
      for (const layer of layers.values()) (layer.setMode(mode), layer.unfold(unfolded));
      for (const other of ["diff", "raw"]) form.press(other, mode === other);
      marking.paint();
      frame.hint("");
      if (mode === "diff" && shown) tellUnrelated();
    },
    unfold() {
      unfolded = !unfolded;
      frame.unfold(unfolded);
      for (const layer of layers.values()) layer.unfold(unfolded);
      form.press("unfolded", unfolded);
    },
    marks: (event) => marking.key(event),
    edit: () => editor.open(),
    writing: (event) => editor.key(event),
    menu: toggleSidebar,
    scroll: (direction) => layers.get(shown)?.scroll(direction),
    guidelines: () => openGuidelines(false),
  };
  const keys = listen({
    root: frame.root,
    dialogs,
    act,
    hasPair: () => Boolean(shown),
    ready: () => Boolean(rubric),
    hold(event) {
      if (!awaited) return false;
      if (held.length < MOST_HELD) held.push({ key: event.key, shiftKey: event.shiftKey });
      return true;
    },
  });

  // ---- the server's word ----
  const settle = (acks) => {
    let isBack = false;
    for (const [event, ack] of outbox.settle(acks)) {
      if (event.kind === awaited) awaited = "";
      if (ack.status === "refused") refuse(event, ack.message);
      else if (TOLD.includes(event.kind)) continue;
      else if (event.token) (keep.dropDraft(event.token), keep.tellDone(event.token));
      else if (RETURNING.includes(event.kind)) isBack = true;
      else if (event.kind === "history" && data.history) {
        dialogs.history(data.history, (item) => ask("reopen", { judgment_id: item.id }));
      }
    }
    return isBack;
  };
  const refuse = (event, message) => {
    if (!event.token) return frame.hint(message);
    keep.keepRefused({ ...event, message });
    if (event.kind !== "question") keep.dropDraft(event.token);
    paintRefused();
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
    setProject(data.images ?? data.project); // a trial is of no project, but shows the images of one
    for (const [token, pair] of Object.entries(data.pairs)) pairs.set(token, pair);
    for (const token of [...pairs.keys()]) if (!data.queue.includes(token)) pairs.delete(token);
    if (data.rubric.title !== undefined && data.rubric.id !== rubric?.id) setRubric(data.rubric);
    // A component that Streamlit mounts anew is given the last data, which left out what the old one had.
    const lacking = data.rubric.id !== rubric?.id || data.queue.some((token) => !pairs.has(token));
    if (lacking && !outbox.count("refresh")) outbox.prepare({ kind: "refresh" });
    const edit = isFirst ? keep.edit() : null;
    if (edit && !data.edit) {
      awaited = "reopen";
      outbox.prepare({ kind: "reopen", judgment_id: edit.judgment_id });
    }
    setTimeout(outbox.flush, isFirst ? SETTLE_MS : 0);
    if (!rubric) return;
    const isBack = settle(data.acks);
    if (!data.edit && !outbox.count("reopen")) keep.dropEdit();
    buildAhead();
    const waiting = queue();
    if (isBack) showAgain(waiting[0] ?? null);
    else show(waiting.includes(shown) ? shown : (waiting[0] ?? null));
    if (shown) paintQuestions(shown);
    paintDay();
    frame.progress(data.progress, data.state);
    if (data.feedback || data.notice) frame.hint(data.feedback || data.notice);
    if (!greeted) {
      greeted = true;
      paintRefused();
    }
    const isRead = data.has_read || data.rubric_version !== rubric.version || outbox.has("read", "version", rubric.version);
    if (!isRead && !dialogs.isOpen) openGuidelines(true);
    if (!awaited) for (const key of held.splice(0)) keys.replay(key);
  };
  const touch = stayInTouch({
    clock,
    hasPair: () => Boolean(shown),
    isBusy: () => !data || outbox.count(...JUDGMENTS, "renew", "refresh") > 0,
    renew: () => outbox.add({ kind: "renew" }),
    elsewhere(event) {
      const token = keep?.readDone(event);
      if (token && data.queue.includes(token)) outbox.add({ kind: "refresh" });
    },
    leave: () => data && outbox.count(...JUDGMENTS) === 0 && data.queue.length > 0 && navigator.sendBeacon(`/work/leave?project=${data.project}`),
  });
  return {
    receive,
    close() {
      touch.stop();
      marking.close();
      keys.stop();
      outbox.close();
      clock.stop();
      frame.close();
      foldSidebar();
    },
  };
}
