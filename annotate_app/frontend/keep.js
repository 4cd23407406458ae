// What must outlive a reload, in the browser's storage under one person's and project's scope: drafts by pair, an edit
// under way, events on their way to the server, and judgments that the server refused. A browser without storage works,
// it only forgets.

const OLDEST_DRAFT_MS = 14 * 24 * 3600 * 1000;

export function openKeep(scope) {
  const prefix = `tiebreak:${scope}:`;
  const write = (name, value, where = "localStorage") => {
    try {
      if (value === null) window[where].removeItem(prefix + name);
      else window[where].setItem(prefix + name, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  };
  const read = (name, where = "localStorage") => {
    try {
      return JSON.parse(window[where].getItem(prefix + name));
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
  const all = (start) => names(start).map((name) => read(name)).filter(Boolean).sort((a, b) => a.order - b.order);

  for (const name of names("draft:")) {
    if (!((read(name) ?? {}).at > Date.now() - OLDEST_DRAFT_MS)) write(name, null);
  }
  return {
    draft: (token) => read(`draft:${token}`),
    keepDraft: (token, draft) => write(`draft:${token}`, { ...draft, at: Date.now() }),
    dropDraft: (token) => write(`draft:${token}`, null),
    // The edit under way in this tab: which judgment, and its answer so far. Its token does not outlive the page.
    edit: () => read("edit", "sessionStorage"),
    keepEdit: (edit) => write("edit", edit, "sessionStorage"),
    dropEdit: () => write("edit", null, "sessionStorage"),
    events: () => all("event:"),
    keepEvent: (event) => write(`event:${event.event_id}`, event),
    dropEvent: (event) => write(`event:${event.event_id}`, null),
    refused: () => all("refused:"),
    keepRefused: (event) => write(`refused:${event.event_id}`, event),
    dropRefused: (event) => write(`refused:${event.event_id}`, null),
    // A question that is being written about a pair.
    question: (token) => read(`draft:question:${token}`)?.text ?? "",
    keepQuestion: (token, text) => write(`draft:question:${token}`, text ? { text, at: Date.now() } : null),
    // Tells the other tabs that a pair is done; they hear it as a `storage` event.
    tellDone: (token) => write("done", { token, at: Date.now() }),
    readDone: (event) => (event.key === prefix + "done" && event.newValue ? JSON.parse(event.newValue).token : null),
  };
}
