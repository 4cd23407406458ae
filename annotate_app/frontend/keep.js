// What must outlive a reload, in localStorage under one person's and project's scope: drafts by pair, events on their way
// to the server, and judgments that the server refused. A browser without storage works, it only forgets.

const OLDEST_DRAFT_MS = 14 * 24 * 3600 * 1000;

export function openKeep(scope) {
  const prefix = `tiebreak:${scope}:`;
  const write = (name, value) => {
    try {
      if (value === null) localStorage.removeItem(prefix + name);
      else localStorage.setItem(prefix + name, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  };
  const read = (name) => {
    try {
      return JSON.parse(localStorage.getItem(prefix + name));
    } catch {
      return null;
    }
  };
  const names = (start) => {
    try {
      return Object.keys(localStorage)
        .filter((key) => key.startsWith(prefix + start))
        .map((key) => key.slice(prefix.length));
    } catch {
      return [];
    }
  };
  const all = (start) => names(start).map(read).filter(Boolean).sort((a, b) => a.order - b.order);

  for (const name of names("draft:")) {
    if (!((read(name) ?? {}).at > Date.now() - OLDEST_DRAFT_MS)) write(name, null);
  }
  return {
    draft: (token) => read(`draft:${token}`),
    keepDraft: (token, draft) => write(`draft:${token}`, { ...draft, at: Date.now() }),
    dropDraft: (token) => write(`draft:${token}`, null),
    events: () => all("event:"),
    keepEvent: (event) => write(`event:${event.event_id}`, event),
    dropEvent: (event) => write(`event:${event.event_id}`, null),
    refused: () => all("refused:"),
    keepRefused: (event) => write(`refused:${event.event_id}`, event),
    dropRefused: (event) => write(`refused:${event.event_id}`, null),
    seenGuidelines: (id) => read("guidelines") === id,
    seeGuidelines: (id) => write("guidelines", id),
    // Tells the other tabs that a pair is done; they hear it as a `storage` event.
    tellDone: (token) => write("done", { token, at: Date.now() }),
    readDone: (event) => (event.key === prefix + "done" && event.newValue ? JSON.parse(event.newValue).token : null),
  };
}
