// Before anything is painted: the theme that somebody chose here.
"use strict";
try {
  const chosen = localStorage.getItem("entrepot-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* without storage the system's theme counts */ }
