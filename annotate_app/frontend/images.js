// Images of texts: put where the server left a place for one of ours, enlarged in a dialog. The address is made here
// from the hash that the server checked, never from a text, so that no text can make the page fetch anything.
import { say } from "./words.js";

let project = 0;

/** The project whose images the texts of this page name. */
export function setProject(id) {
  project = id;
}

/** Fills a node of sanitised HTML: labels in the reader's language, images in their places. */
export function dress(node) {
  for (const label of node.querySelectorAll("[data-say]")) label.textContent = say(`media.${label.dataset.say}`);
  for (const place of node.querySelectorAll(".image.own[data-image]")) place.replaceWith(picture(place));
  return node;
}

function picture(place) {
  const { image: hash, size = "" } = place.dataset;
  if (!project) return notYet(place);
  const described = place.textContent.trim();
  const words = described || say("media.no_description");
  const [width, height] = size.split("x");
  const figure = document.createElement("span");
  figure.className = "picture";
  const button = document.createElement("button");
  button.type = "button";
  const image = new Image();
  if (width) Object.assign(image, { width: Number(width), height: Number(height) });
  Object.assign(image, { alt: described, decoding: "async", src: `/images/${project}/${hash}` });
  button.setAttribute("aria-label", say("media.enlarge", { words }));
  button.append(image);
  button.addEventListener("click", () => enlarge(button, image));
  const caption = document.createElement("span");
  caption.className = "caption";
  caption.textContent = words;
  if (!described) caption.setAttribute("data-extra", "");
  image.addEventListener("error", () => {
    const gone = document.createElement("span");
    gone.className = "image";
    const missing = document.createElement("span");
    missing.setAttribute("data-extra", "");
    missing.textContent = `${say("media.image_missing")} `;
    const name = document.createElement("span");
    name.className = "image-address";
    name.textContent = ` ${hash.slice(0, 12)}`;
    gone.append(missing, described, name);
    figure.replaceWith(gone);
  });
  figure.append(button, caption);
  return figure;
}

/** Before an import the bytes are not here; the place says so. */
function notYet(place) {
  const words = document.createElement("span");
  words.setAttribute("data-extra", "");
  words.textContent = `${say("media.image_waits")} `;
  const node = document.createElement("span");
  node.className = "image";
  node.append(words, place.textContent || say("media.no_description"));
  return node;
}

/** Asks the dialogs of this page to show an image large. */
function enlarge(button, image) {
  const large = new Image();
  Object.assign(large, { src: image.src, alt: image.alt });
  button.dispatchEvent(new CustomEvent("enlarge", { bubbles: true, detail: { image: large, title: image.alt || say("media.no_description") } }));
}
