// The interface's texts in the reader's language, as the server sent them (annotate_app/languages).
let texts = {};
let language = "";

/** Takes `{language, texts}`; without texts it only names the language that was sent before. */
export function setWords(words) {
  if (words.texts) [language, texts] = [words.language, words.texts];
}

/** Takes some more texts, of the language that is spoken here. */
export function addWords(more) {
  texts = { ...texts, ...more };
}

/** The code of the language whose texts are here, "" before any came. */
export function wordsLanguage() {
  return language;
}

/** A text by its key, `{name}` in it filled in; an unknown key shows itself. */
export function say(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}
