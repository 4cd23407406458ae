// The frame around the work: progress, status, hints, the stage for pairs, the place of the form, and the empty states.
import { element } from "./panes.js";
import { say } from "./words.js";

const STATES = ["paused", "failed", "qualifying", "active"];

export function openFrame(shadow, acts) {
  const button = (key, text, call) =>
    element("button", { type: "button", class: "quiet", "aria-keyshortcuts": key, onclick: call }, text, " ", element("kbd", { "aria-hidden": "true" }, key));
  const track = element("div", { class: "track", role: "progressbar", "aria-label": say("desk.progress"), "aria-valuemin": "0" }, element("span", {}));
  const count = element("span", { class: "count" });
  const status = element("span", { class: "status", role: "status", "aria-live": "polite" });
  const hint = element("p", { class: "hint", role: "alert" });
  const spoken = element("p", { class: "spoken", "aria-live": "polite" });
  const refused = element("div", { class: "refusals" });
  const banner = element("div", { class: "banner", hidden: true }, `${say("desk.editing")} `, element("button", { type: "button", class: "quiet", onclick: acts.cancel }, `${say("desk.leave_edit")} `, element("kbd", { "aria-hidden": "true" }, "Esc")));
  const stage = element("div", { class: "stage" });
  const nothing = element("div", { class: "nothing", hidden: true });
  const place = element("div", { class: "formplace" });
  const bar = element("header", { class: "bar" }, track, count, status, element("span", { class: "gap" }), button("?", say("desk.guidelines"), acts.guidelines), button("E", say("desk.history"), acts.history));
  const root = element("div", { class: "labeler" }, bar, hint, refused, banner, stage, nothing, place, spoken);
  shadow.append(root);

  const fit = () => root.style.setProperty("--tb-height", `${Math.max(460, window.innerHeight - Math.max(0, root.getBoundingClientRect().top) - 12)}px`);
  const scroller = root.getRootNode().host?.closest("section") ?? document.scrollingElement;
  const narrow = window.matchMedia("(max-width: 760px)");
  const refit = () => scroller.scrollTop === 0 && fit();
  window.addEventListener("resize", refit);
  const observer = new ResizeObserver(refit);
  observer.observe(document.body);
  requestAnimationFrame(fit);
  return {
    root,
    stage,
    setForm: (node) => place.replaceChildren(node),
    hint(text) {
      if (hint.textContent !== text) hint.textContent = text;
    },
    /** Where the page itself scrolls, a new pair starts at the top of it. */
    toTop() {
      if (narrow.matches || root.classList.contains("unfolded")) scroller.scrollTop = 0;
    },
    announce(text) {
      spoken.textContent = spoken.textContent === text ? `${text} ` : text;
    },
    wordsFor(state) {
      const key = STATES.includes(state) ? state : "active";
      return { title: say(`empty.${key}`), text: say(`empty.${key}_text`), look: true };
    },
    empty(words) {
      const isEmpty = words !== null;
      if (nothing.hidden === isEmpty) nothing.hidden = !isEmpty;
      stage.hidden = place.hidden = isEmpty;
      if (!isEmpty) return;
      const look = words.look ? [element("button", { type: "button", onclick: acts.refresh }, say("desk.look_again"))] : [];
      nothing.replaceChildren(element("h2", {}, words.title), element("p", {}, words.text), ...look);
    },
    editing(on) {
      banner.hidden = !on;
    },
    unfold(on) {
      root.classList.toggle("unfolded", on);
    },
    progress({ done, target }, state) {
      const share = target ? Math.min(1, done / target) : 0;
      track.firstChild.style.transform = `scaleX(${share})`;
      track.hidden = !target;
      track.setAttribute("aria-valuenow", String(done));
      track.setAttribute("aria-valuemax", String(Math.max(target, done)));
      const key = state === "qualifying" ? "qualification" : target ? "judged_of" : "judged";
      count.textContent = say(`desk.${key}`, { done, target });
    },
    status({ waiting, late, saved }) {
      const text = waiting ? say(late ? "desk.offline" : "desk.saving", { waiting }) : saved ? say("desk.saved") : "";
      status.dataset.state = waiting ? (late ? "late" : "saving") : "saved";
      if (status.textContent !== text) status.textContent = text;
    },
    refused(events, describe) {
      refused.replaceChildren(
        ...events.map((event) =>
          element("div", { class: "refusal", role: "alert" }, element("b", {}, `${say("desk.refused")} `), event.message, element("br"), element("span", { class: "small" }, say("desk.refused_answer", { answer: describe(event) })), " ", element("button", { type: "button", class: "quiet", onclick: () => acts.forget(event) }, say("desk.dismiss"))),
        ),
      );
    },
    close() {
      window.removeEventListener("resize", refit);
      observer.disconnect();
      root.remove();
    },
  };
}
