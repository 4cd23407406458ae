// The keyboard: taken on the window before anyone else, because Streamlit's own shortcuts (R reruns) listen there too.

const TYPING = "input, textarea, select, [contenteditable=''], [contenteditable=true]";
const PRESSABLE = "button:not([role=radio]), a[href], summary, [role=button], [role=option], [role=menuitem], [role=tab], [role=combobox]";

/** `hold(event)` may keep a key back; `replay(key)` of the result gives it again later. */
export function listen({ root, dialogs, act, hasPair, ready, hold }) {
  const dispatch = (event, { inRows = false, onPressable = false, onScrollable = false } = {}) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (dialogs.isOpen) return dialogs.key(event);
    if (hasPair() && act.take?.(event, { onScrollable })) return true;
    switch (key) {
      case "u":
        return act.undo(), true;
      case "e":
        return act.history(), true;
      case "?":
        return act.guidelines(), true;
    }
    // What is left concerns the pair on the screen; nobody judges one that has not come yet.
    if (!hasPair()) return false;
    if (/^[0-9]$/.test(key)) return act.digit(key);
    switch (key) {
      case "Enter":
        return onPressable ? false : (act.submit(), true);
      case "t":
        return act.tie(), true;
      case "b":
        return act.bothBad(), true;
      case "s":
        return act.skip(), true;
      case "f":
        return act.flag(), true;
      case "n":
        return act.rationale(), true;
      case "d":
        return act.mode("diff"), true;
      case "m":
        return act.mode("raw"), true;
      case "x":
        return act.unfold(), true;
      case "Escape":
        return act.cancel(), true;
      case "Backspace":
      case "Delete":
        return act.clear(), true;
      case "ArrowUp":
      case "ArrowDown":
        return onScrollable ? false : (act.step(key === "ArrowUp" ? -1 : 1), true);
      case "ArrowLeft":
      case "ArrowRight":
        return inRows ? (act.shift(key === "ArrowLeft" ? -1 : 1), true) : false;
      case "PageDown":
      case "PageUp":
        return act.scroll(key === "PageDown" ? 1 : -1), true;
      case " ":
        return onPressable ? false : (act.scroll(event.shiftKey ? -1 : 1), true);
      default:
        return key.length === 1 && act.criterion(key);
    }
  };
  const onKey = (event) => {
    if (!ready() || event.isComposing) return;
    const target = event.composedPath()[0];
    const is = (selector) => target instanceof Element && target.closest(selector) !== null;
    const inside = target instanceof Node && root.contains(target);
    if (is(TYPING)) {
      if (!inside) return;
      if (event.key === "Escape") target.blur();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (target.blur(), act.submit());
      else return void event.stopImmediatePropagation(); // no shortcut of anyone while writing
      take(event);
      return;
    }
    // Copying, searching and the browser's own keys stay what they are.
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat && !["ArrowUp", "ArrowDown", "PageUp", "PageDown", " "].includes(event.key)) return void (isOurs(event) && take(event));
    if (hold(event)) return take(event);
    const place = {
      inRows: inside && is("[role=radiogroup]"),
      onPressable: is(PRESSABLE),
      onScrollable: inside && is(".text, .talk"),
    };
    if (!inside && place.onPressable && !/^[0-9a-z?]$/i.test(event.key)) return;
    if (dispatch(event, place)) take(event);
  };
  const isOurs = (event) => event.key.length === 1 || ["Enter", "Backspace", "Delete"].includes(event.key);
  const take = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  window.addEventListener("keydown", onKey, true);
  return {
    replay: (key) => dispatch(key),
    stop: () => window.removeEventListener("keydown", onKey, true),
  };
}
