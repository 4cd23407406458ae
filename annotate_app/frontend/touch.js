// Staying in touch: leases are renewed while somebody works, the queue is looked at while it is empty, other tabs are
// listened to, and leaving the page is said.

const BEAT_MS = 5_000;
const RENEW_EVERY_MS = 60_000;
const LOOK_EVERY_MS = 30_000;

export function stayInTouch({ clock, hasPair, isBusy, renew, elsewhere, leave }) {
  let renewed = performance.now();
  const beat = setInterval(() => {
    const now = performance.now();
    const works = hasPair() && clock.lastSign > renewed && now - renewed > RENEW_EVERY_MS;
    const waits = !hasPair() && document.visibilityState === "visible" && now - renewed > LOOK_EVERY_MS;
    if (isBusy() || !(works || waits)) return;
    renewed = now;
    renew();
  }, BEAT_MS);
  window.addEventListener("storage", elsewhere);
  window.addEventListener("pagehide", leave);
  return {
    stop() {
      clearInterval(beat);
      window.removeEventListener("storage", elsewhere);
      window.removeEventListener("pagehide", leave);
    },
  };
}
