// The frame around the work: progress, status, hints, the stage for pairs, the place of the form, and the empty states.
import { element } from "./panes.js";

const WORDS = {
  paused: ["Your work here is paused", "A lead of this project was told and will come back to you. What you judged is kept."],
  failed: ["The qualification round was not passed", "This project takes no judgments from you. A lead can open the round again."],
  qualifying: ["The qualification round is over", "As soon as it is evaluated, the work begins."],
  active: ["Nothing to judge right now", "Every pair has the judgments it needs, or is with somebody else. This page looks again by itself."],
};

export function openFrame(shadow, acts) {
  const button = (key, text, call) =>
    element("button", { type: "button", class: "quiet", "aria-keyshortcuts": key, onclick: call }, text, " ", element("kbd", { "aria-hidden": "true" }, key));
  const track = element("div", { class: "track", role: "progressbar", "aria-label": "Your progress", "aria-valuemin": "0" }, element("span", {}));
  const count = element("span", { class: "count" });
  const status = element("span", { class: "status", role: "status", "aria-live": "polite" });
  const hint = element("p", { class: "hint", role: "alert" });
  const spoken = element("p", { class: "spoken", "aria-live": "polite" });
  const refused = element("div", { class: "refusals" });
  const banner = element("div", { class: "banner", hidden: true }, "You are changing an earlier judgment. ", element("button", { type: "button", class: "quiet", onclick: acts.cancel }, "Leave it as it was ", element("kbd", { "aria-hidden": "true" }, "Esc")));
  const stage = element("main", { class: "stage" });
  const nothing = element("div", { class: "nothing", hidden: true });
  const place = element("div", { class: "formplace" });
  const bar = element("header", { class: "bar" }, track, count, status, element("span", { class: "gap" }), button("?", "Guidelines", acts.guidelines), button("E", "My judgments", acts.history));
  const root = element("div", { class: "labeler" }, bar, hint, refused, banner, stage, nothing, place, spoken);
  shadow.append(root);

  const fit = () => root.style.setProperty("--tb-height", `${Math.max(460, window.innerHeight - Math.max(0, root.getBoundingClientRect().top) - 12)}px`);
  const scroller = root.getRootNode().host?.closest("section") ?? document.scrollingElement;
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
    announce(text) {
      spoken.textContent = spoken.textContent === text ? `${text} ` : text;
    },
    wordsFor(state) {
      const [title, text] = WORDS[state] ?? WORDS.active;
      return { title, text, look: true };
    },
    empty(words) {
      const isEmpty = words !== null;
      if (nothing.hidden === isEmpty) nothing.hidden = !isEmpty;
      stage.hidden = place.hidden = isEmpty;
      if (!isEmpty) return;
      const look = words.look ? [element("button", { type: "button", onclick: acts.refresh }, "Look again")] : [];
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
      const round = state === "qualifying" ? "Qualification round · " : "";
      count.textContent = round + (target ? `${done} of ${target} judged` : `${done} judged`);
    },
    status({ waiting, late, saved }) {
      const text = waiting ? (late ? `Offline · ${waiting} waiting, kept in this browser` : "Saving …") : saved ? "Saved" : "";
      status.dataset.state = waiting ? (late ? "late" : "saving") : "saved";
      if (status.textContent !== text) status.textContent = text;
    },
    refused(events, describe) {
      refused.replaceChildren(
        ...events.map((event) =>
          element("div", { class: "refusal", role: "alert" }, element("b", {}, "A judgment was not accepted. "), event.message, element("br"), element("span", { class: "small" }, `You had answered: ${describe(event)}`), " ", element("button", { type: "button", class: "quiet", onclick: () => acts.forget(event) }, "Dismiss")),
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
