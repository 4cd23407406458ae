// The component's entry. Streamlit calls it on mounting and again with every new `data`; one desk lives per mount.
import { openDesk } from "./desk.js";
import { setWords } from "./words.js";

const desks = new WeakMap();

export default function labeler({ data, parentElement, setTriggerValue }) {
  setWords(data.words);
  let desk = desks.get(parentElement);
  if (!desk) {
    desk = openDesk(parentElement);
    desks.set(parentElement, desk);
  }
  desk.receive(data, (message) => setTriggerValue("message", message));
  return () => {
    desk.close();
    desks.delete(parentElement);
  };
}
