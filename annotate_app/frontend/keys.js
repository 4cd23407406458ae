// The keyboard: taken on the window before anyone else, because Streamlit's own shortcuts (R reruns) listen there too.

const TYPING = "input, textarea, select, [contenteditable=''], [contenteditable=true]";
const PRESSABLE = "button:not([role=radio]), a[href], summary, [role=button], [role=option], [role=menuitem], [role=tab], [role=combobox]";

// An option that has the focus in a question without an answer; in an answered one Enter submits.
const OPEN_OPTION = "[role=radiogroup]:not(:has([aria-checked=true])) [role=radio]:focus-visible";
const PRESSING = ["Enter", " "];

/** `hold(event)` may keep a key back; `replay(key)` of the result gives it again later. */
export function listen({ root, dialogs, act, hasPair, ready, hold }) {
  const dispatch = (event, { inRows = false, onPressable = false, onOpenOption = false, onScrollable = false } = {}) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // A focused button is pressed by Enter and Space, also in a dialog: it is what the person sees marked.
    if (onPressable && PRESSING.includes(key)) return false;
    if (dialogs.isOpen) return dialogs.key(event);
    if (hasPair() && act.take?.(event, { onScrollable })) return true;
    if (hasPair() && act.marks(event)) return true;
    switch (key) {
      case ".":
        return act.menu(), true;
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
        return onOpenOption ? false : (act.submit(), true);
      case "t":
        return act.tie(), true;
      case "b":
        return act.bothBad(), true;
      case "s":
        return act.skip(), true;
      case "r":
        return act.criterion(key) || (act.edit(), true);
      case "c":
        return act.ask(), true;
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
        return onOpenOption ? false : (act.scroll(event.shiftKey ? -1 : 1), true);
      default:
        return key.length === 1 && act.criterion(key);
    }
  };
  const onKey = (event) => {
    if (!ready() || event.isComposing) return;
    if (act.writing(event)) return void event.stopImmediatePropagation();
    const target = event.composedPath()[0];
    const is = (selector) => target instanceof Element && target.closest(selector) !== null;
    const inside = target instanceof Node && root.contains(target);
    if (is(TYPING)) {
      if (!inside) return;
      if (dialogs.isOpen && (event.key === "Escape" || isSubmit(event))) dialogs.key(event);
      else if (event.key === "Escape") target.blur();
      else if (isSubmit(event)) (target.blur(), act.submit());
      else return void event.stopImmediatePropagation(); // no shortcut of anyone while writing
      take(event);
      return;
    }
    if (isSubmit(event) && hasPair() && !dialogs.isOpen) {
      if (!event.repeat && !hold(event)) act.submit();
      return take(event);
    }
    // Copying, searching and the browser's own keys stay what they are.
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat && !["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", " "].includes(event.key)) return void (isOurs(event) && take(event));
    const place = {
      inRows: inside && is("[role=radiogroup]"),
      onPressable: is(PRESSABLE),
      onOpenOption: is(OPEN_OPTION),
      onScrollable: inside && is(".text, .talk"),
    };
    if (!inside && place.onPressable && !/^[0-9a-z?.]$/i.test(event.key)) return;
    if (!(place.onPressable && PRESSING.includes(event.key)) && hold(event)) return take(event);
    if (dispatch(event, place)) take(event);
  };
  const isSubmit = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey);
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
