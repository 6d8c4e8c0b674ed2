// What one can do on a page: the menu, the theme, copying, filters, and changes of images.

import { refresh } from "./live.js";

const csrf = document.querySelector("meta[name=csrf]")?.content;
const byClick = new Map();

document.addEventListener("click", (event) => {
  for (const [selector, act] of byClick) {
    const target = event.target.closest(selector);
    if (target) return act(target, event);
  }
  return undefined;
});

export function tell(text, bad = false) {
  const toast = document.createElement("p");
  toast.className = bad ? "toast bad" : "toast";
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), bad ? 9000 : 5000);
}

// The menu of a phone

byClick.set("[data-menu]", (button) => {
  const open = document.getElementById("menu").classList.toggle("open");
  button.setAttribute("aria-expanded", String(open));
});

// Light and dark

const THEMES = { auto: "Automatic", light: "Light", dark: "Dark" };

function theme() {
  return document.documentElement.dataset.theme || "auto";
}

function showTheme() {
  for (const name of document.querySelectorAll("[data-theme-name]")) name.textContent = THEMES[theme()];
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.setAttribute("aria-label", `Theme: ${THEMES[theme()]}`);
  }
}

byClick.set("[data-theme-toggle]", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme()) + 1) % names.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("entrepot-theme", next);
  } catch { /* then it counts for this page alone */ }
  showTheme();
  document.dispatchEvent(new Event("entrepot:theme"));
});
showTheme();

// Copying; without TLS a browser has no clipboard of the modern kind

byClick.set("[data-copy]", async (button) => {
  const code = button.parentElement.querySelector("code");
  let copied = false;
  if (navigator.clipboard && window.isSecureContext) {
    copied = await navigator.clipboard.writeText(code.textContent).then(() => true, () => false);
  }
  if (!copied) {
    const selection = getSelection();
    selection.selectAllChildren(code);
    copied = document.execCommand("copy");
  }
  const label = button.querySelector("span");
  label.textContent = copied ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { label.textContent = "Copy"; }, 2500);
});

// Filters take effect as they are chosen

for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("select")) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
  });
}

// Changes

async function change(action, body) {
  const answer = await fetch(`/api/images/${action}`, {
    method: "POST", body: JSON.stringify(body), redirect: "error",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
  });
  const told = await answer.json();
  if (answer.status === 401) location.assign(`/ui/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!told.ok) throw new Error(told.error || `status ${answer.status}`);
  return told;
}

export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = bytes;
  while (value >= 1023.95 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

function confirmed(shown, name) {
  const dialog = document.getElementById("confirm");
  const text = dialog.querySelector("[data-confirm-text]");
  dialog.querySelector("[data-confirm-name]").textContent = shown;
  text.textContent = "Looking what would go…";
  change("remove", { names: [name], dry_run: true }).then(
    (told) => {
      const names = told.removed.length === 1 ? "" : ` with ${told.removed.length} names`;
      text.textContent = `${size(told.freed)} become free${names}. What other images are made of stays; the next pull fetches it again.`;
    },
    (error) => { text.textContent = error.message; },
  );
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

byClick.set("[data-act]", async (button) => {
  const { act, name, shown } = button.dataset;
  if (act === "remove" && !(await confirmed(shown, name))) return;
  button.disabled = true;
  try {
    const told = await change(act, { names: [name] });
    if (act === "remove") tell(`Deleted ${shown}: ${size(told.freed)} are free`);
    else tell(act === "pin" ? `Pinned ${shown}` : `Unpinned ${shown}`);
  } catch (error) {
    tell(error.message, true);
  }
  button.disabled = false;
  await refresh();
});

byClick.set("[data-sign-out]", async () => {
  await fetch("/ui/sign-out", { method: "POST", headers: { "X-CSRF-Token": csrf }, redirect: "manual" });
  location.assign("/");
});
