// The interface's texts in the reader's language, as the server sent them (annotate_app/languages).
let texts = {};

export function setWords(next) {
  texts = next;
}

/** A text by its key, `{name}` in it filled in; an unknown key shows itself. */
export function say(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}
