// Active seconds on a pair: time between signs of life, each gap counted up to the idle limit, none of it while hidden.

const SIGNS = ["keydown", "pointermove", "pointerdown", "wheel", "touchmove"];

export function startClock() {
  let active = 0;
  let last = performance.now();
  let lastSign = last;
  let idle = 60_000;
  const count = () => {
    const now = performance.now();
    if (document.visibilityState === "visible") active += Math.min(now - last, Math.max(0, lastSign + idle - last));
    last = now;
  };
  const sign = () => {
    count();
    lastSign = last;
  };
  const flip = () => {
    // Called after the change: what passed before it was visible if it is hidden now.
    const now = performance.now();
    if (document.visibilityState === "hidden") active += Math.min(now - last, Math.max(0, lastSign + idle - last));
    else lastSign = now;
    last = now;
  };
  for (const kind of SIGNS) window.addEventListener(kind, sign, { capture: true, passive: true });
  document.addEventListener("visibilitychange", flip);
  return {
    start(seconds) {
      active = seconds * 1000;
      last = lastSign = performance.now();
    },
    seconds() {
      count();
      return Math.round(active / 10) / 100;
    },
    setIdle(seconds) {
      idle = seconds * 1000;
    },
    get lastSign() {
      return lastSign;
    },
    stop() {
      for (const kind of SIGNS) window.removeEventListener(kind, sign, { capture: true });
      document.removeEventListener("visibilitychange", flip);
    },
  };
}
