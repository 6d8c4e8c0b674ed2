// Keeps the parts of a page up to date while somebody looks at it: asks for their HTML, and puts
// what has changed in the place of what is shown.

const EVERY_MS = 2000;
const SOON_MS = 500;
const MOST_MS = 30000;

const page = document.querySelector("[data-live]");
let timer = 0;
let failures = 0;
let asking = null;

function replaceParts(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  let pending = false;
  for (const part of fresh.querySelectorAll("[id^='part-']")) {
    const shown = document.getElementById(part.id);
    if (!shown) continue;
    pending ||= part.hasAttribute("data-pending");
    if (shown.outerHTML === part.outerHTML || isSelected(shown)) continue;
    if (shown.contains(document.activeElement)) keepFocus(shown, part);
    else shown.replaceWith(document.adoptNode(part));
  }
  return pending;
}

// Somebody is in this part with the keyboard: go on at the same place in the new one.
function keepFocus(shown, part) {
  const reachable = "a[href], button, input, select, summary, [tabindex]";
  const at = [...shown.querySelectorAll(reachable)].indexOf(document.activeElement);
  const label = document.activeElement.getAttribute("aria-label");
  const fresh = document.adoptNode(part);
  shown.replaceWith(fresh);
  const places = [...fresh.querySelectorAll(reachable)];
  const same = places.find((one) => label && one.getAttribute("aria-label") === label);
  (same || places[at] || fresh).focus({ preventScroll: true });
}

// Somebody is about to copy from this part.
function isSelected(shown) {
  const selection = getSelection();
  return !selection.isCollapsed && shown.contains(selection.anchorNode);
}

function sayAway() {
  const state = document.getElementById("part-state");
  if (!state || failures < 2) return;
  state.className = "state bad";
  state.querySelector(".state-text").textContent = "No answer";
  state.querySelector(".state-more").textContent = "shown is what was";
}

function isBusy() {
  return document.querySelector("dialog[open]") !== null;
}

export async function refresh() {
  if (!page) return;
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  let wait = Number(page.dataset.every || 0) * 1000 || EVERY_MS;
  try {
    const answer = await fetch(`${page.dataset.live}${location.search}`, {
      signal: asking.signal, headers: { Accept: "text/html" }, redirect: "error",
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const html = await answer.text();
    if (!isBusy() && replaceParts(html)) wait = SOON_MS;
    failures = 0;
    document.dispatchEvent(new Event("entrepot:refreshed"));
  } catch (error) {
    if (error.name === "AbortError") return;
    failures += 1;
    sayAway();
    wait = Math.min(MOST_MS, wait * 2 ** failures);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

if (page) {
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) refresh();
  });
  const pending = document.querySelector("[data-pending]") !== null;
  timer = setTimeout(refresh, pending ? SOON_MS : EVERY_MS);
}
