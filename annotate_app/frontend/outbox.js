// Events on their way to the server: kept in the browser until acknowledged, sent one message at a time, sent again when
// no answer comes. The server counts an event once, however often it arrives.

const ANSWER_WITHIN_MS = 5000;
const OFFLINE_AFTER_MS = 2500;
const MOST_AT_ONCE = 20;
const DURABLE = ["submit", "skip", "undo", "read", "question"];

/** `compose(events)` makes the message; `changed()` is called when what is waiting or the connection changed. */
export function openOutbox({ compose, changed }) {
  let keep = null;
  let send = null;
  let waiting = [];
  let flying = null;
  let order = Date.now();
  let timer = 0;
  let watch = 0;
  let late = false;

  const idOf = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const flush = () => {
    if (flying || !waiting.length || !send) return;
    const batch = waiting.slice(0, MOST_AT_ONCE);
    flying = new Set(batch.map((event) => event.event_id));
    clearTimeout(timer);
    timer = setTimeout(retry, ANSWER_WITHIN_MS);
    clearTimeout(watch);
    watch = setTimeout(() => ((late = true), changed()), OFFLINE_AFTER_MS);
    send(compose(batch));
  };
  const prepare = (event) => {
    const full = { ...event, event_id: idOf(), order: (order += 1) };
    // Looking at things need not survive a reload; judgments and words must.
    if (DURABLE.includes(event.kind)) keep.keepEvent(full);
    waiting.push(full);
  };
  const retry = () => {
    flying = null;
    flush();
    changed();
  };
  const online = () => waiting.length && retry();
  window.addEventListener("online", online);
  return {
    /** Takes what an earlier page left behind; to be called once, when the scope is known. */
    open(opened) {
      keep = opened;
      waiting = [...keep.events(), ...waiting];
    },
    connect(sender) {
      send = sender;
    },
    add(event) {
      prepare(event);
      flush();
      changed();
    },
    /** As `add`, to be sent by the next `flush`. */
    prepare,
    flush,
    /** Takes acknowledgements; returns the events they settle, as [event, acknowledgement]. */
    settle(acks) {
      const settled = [];
      for (const ack of acks) {
        const event = waiting.find((item) => item.event_id === ack.event_id);
        if (!event) continue;
        if (ack.status === "failed") {
          // The server is there but could not do it: again, after a while.
          if (flying?.has(ack.event_id)) {
            clearTimeout(timer);
            timer = setTimeout(retry, ANSWER_WITHIN_MS);
          }
          continue;
        }
        flying?.delete(ack.event_id);
        waiting = waiting.filter((item) => item !== event);
        keep.dropEvent(event);
        settled.push([event, ack]);
      }
      if (flying?.size === 0) {
        flying = null;
        late = false;
        clearTimeout(timer);
        clearTimeout(watch);
      }
      return settled;
    },
    /** Tokens of pairs judged here whose judgment is still on its way. */
    judged: () => new Set(waiting.filter((event) => event.token && ["submit", "skip"].includes(event.kind)).map((event) => event.token)),
    /** Whether such an event is on its way with this value in a field. */
    has: (kind, field, value) => waiting.some((event) => event.kind === kind && event[field] === value),
    count: (...kinds) => waiting.filter((event) => kinds.includes(event.kind)).length,
    get late() {
      return late;
    },
    close() {
      clearTimeout(timer);
      clearTimeout(watch);
      window.removeEventListener("online", online);
    },
  };
}
