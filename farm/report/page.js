"use strict";
// Filters, paging, the viewer and the theme of the report. The page is readable without it.
// body[data-ready] = "images/broken/errors" once everything is loaded: what the browser test reads.

let errors = 0;
window.addEventListener("error", () => { errors += 1; });
window.addEventListener("unhandledrejection", () => { errors += 1; });
document.addEventListener("securitypolicyviolation", () => { errors += 1; });

const PAGE = 24;
const byId = (id) => document.getElementById(id);

// Overlays lie on a photograph of the same card: its bytes are in the page once, and shown twice.
for (const image of document.querySelectorAll("img[data-under]")) {
  const panels = image.closest(".shots").querySelectorAll(".panel");
  const photo = panels[Number(image.dataset.under)].querySelector("img.photo");
  if (photo) image.src = photo.src; else image.remove();
}

function startGallery() {
  const form = byId("filters");
  const list = byId("cards");
  if (!form) return;
  const cards = [...list.children];
  let limit = PAGE;

  function fits(card) {
    return ["outcome", "method", "defect", "reason"].every((key) => {
      const wanted = form.elements[key] ? form.elements[key].value : "";
      return wanted === "" || card.dataset[key] === wanted;
    });
  }

  function ordered(found) {
    const [key, way] = form.elements.order.value.split("-");
    if (!key) return found;
    const known = found.filter((card) => card.dataset[key] !== "");
    const rest = found.filter((card) => card.dataset[key] === "");
    const sign = way === "up" ? 1 : -1;
    known.sort((one, other) => sign * (Number(one.dataset[key]) - Number(other.dataset[key])));
    return [...known, ...rest];
  }

  function show() {
    const found = ordered(cards.filter(fits));
    const shown = new Set(found.slice(0, limit));
    for (const card of cards) card.hidden = !shown.has(card);
    list.append(...found);
    byId("shown").textContent = `${shown.size} of ${found.length} shown`;
    byId("more").hidden = shown.size === found.length;
    byId("more").textContent = `Show ${Math.min(PAGE, found.length - shown.size)} more`;
    byId("none").hidden = found.length > 0;
  }

  form.addEventListener("input", () => { limit = PAGE; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => { limit += PAGE; show(); });
  byId("clear").addEventListener("click", () => { form.reset(); limit = PAGE; show(); });
  form.reset();
  show();
}

function startPhotos() {
  const list = byId("photos");
  if (!list) return;
  const more = byId("morephotos");
  const rest = [...list.children].slice(PAGE / 2);
  for (const card of rest) card.hidden = true;
  more.hidden = rest.length === 0;
  more.textContent = `Show ${rest.length} more`;
  more.addEventListener("click", () => {
    for (const card of rest) card.hidden = false;
    more.hidden = true;
  });
}

function startViewer() {
  const viewer = byId("viewer");
  let current = null;

  function open(card) {
    current = card;
    byId("viewerhead").replaceChildren(card.querySelector(".cardhead").cloneNode(true));
    const shots = card.querySelector(".shots").cloneNode(true);
    for (const button of shots.querySelectorAll("button")) button.replaceWith(...button.childNodes);
    const numbers = document.createElement("p");
    numbers.className = "numbers-line";
    numbers.append(...[...card.querySelectorAll(".cardfoot > span")].map((span) => span.cloneNode(true)));
    const parts = [shots, numbers];
    const fade = crossfade(shots);
    if (fade) parts.push(fade);
    const facts = card.querySelector("dl.facts");
    if (facts) parts.push(facts.cloneNode(true));
    byId("viewerbody").replaceChildren(...parts);
    if (!viewer.open) viewer.showModal();
  }

  // A slider that fades the source into the image, where the card has both.
  function crossfade(shots) {
    const photos = [...shots.querySelectorAll("img.photo")];
    if (photos.length < 2) return null;
    const box = document.createElement("div");
    const stack = document.createElement("div");
    const label = document.createElement("label");
    const range = document.createElement("input");
    const [below, above] = photos.slice(0, 2).map((photo) => photo.cloneNode());
    box.className = "fade";
    stack.className = "shot";
    above.className = "over";
    Object.assign(range, { type: "range", min: "0", max: "100", value: "50" });
    const apply = () => { above.style.opacity = String(Number(range.value) / 100); };
    range.addEventListener("input", apply);
    apply();
    label.append("source", range, "image");
    stack.append(below, above);
    box.append(stack, label);
    return box;
  }

  function step(by) {
    const all = [...current.parentElement.children].filter((card) => !card.hidden);
    const next = all[all.indexOf(current) + by];
    if (next) open(next);
  }

  for (const shots of document.querySelectorAll(".card .shots")) {
    const first = shots.querySelector(".shot");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.setAttribute("aria-label", "Enlarge: " + (shots.querySelector("img[alt]:not([alt=''])")?.alt ?? "sample"));
    first.replaceWith(button);
    button.append(first);
    shots.addEventListener("click", () => open(shots.closest(".card")));
  }
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.type === "range") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  viewer.addEventListener("close", () => current?.querySelector(".enlarge")?.focus());
}

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

startGallery();
startPhotos();
startViewer();

window.addEventListener("load", () => {
  const images = [...document.images];
  const broken = images.filter((image) => image.naturalWidth === 0).length;
  document.body.dataset.ready = `${images.length}/${broken}/${errors}`;
});
