// The two charts of the overview: what was delivered, and what became of requests. Drag to zoom; the
// server then gives finer points where it has them.

import { size } from "./actions.js";

const HEIGHT = 250;
const AGAIN_MS = 10000;

const cards = [...document.querySelectorAll("[data-chart]")];
const period = new URLSearchParams(location.search).get("period") || "day";
let zoom = null;
let figures = null;
let asked = 0;
let charts = [];

const count = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");

const KINDS = {
  bytes: {
    format: size,
    axis: (value) => (value ? size(value).replace(".0 ", " ") : "0"),
    series: [
      { label: "from here", colour: "one", of: (f) => f.saved },
      { label: "from registries", colour: "two", of: (f) => f.from_upstream },
    ],
  },
  requests: {
    format: count,
    axis: (value) => (value >= 1000 ? `${value / 1000}k` : String(value)),
    series: [
      { label: "from here", colour: "one", of: (f) => sum(f.outcomes.hit, f.outcomes.collapsed) },
      { label: "fetched", colour: "two", of: (f) => f.outcomes.miss },
      { label: "passed by", colour: "three", of: (f) => sum(f.outcomes.bypass, f.outcomes.tunnel) },
      { label: "errors", colour: "four", of: (f) => f.outcomes.error },
    ],
  },
};

function sum(a, b) {
  return a.map((value, at) => value + b[at]);
}

function stacked(kind) {
  const layers = [];
  for (const one of kind.series) {
    const values = one.of(figures);
    layers.push(layers.length ? sum(values, layers.at(-1)) : values);
  }
  return layers;
}

// A colour of the style sheet, as a canvas takes it.
function colour(name) {
  const probe = document.createElement("i");
  probe.className = `swatch-${name}`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function two(number) {
  return String(number).padStart(2, "0");
}

function moment(seconds, step) {
  const at = new Date(seconds * 1000);
  const day = at.toLocaleDateString("en", { day: "numeric", month: "short" });
  if (step >= 86400) return day;
  return `${day}, ${two(at.getHours())}:${two(at.getMinutes())}`;
}

function ticks(_, splits, __, ___, increment) {
  return splits.map((seconds) => {
    const at = new Date(seconds * 1000);
    const midnight = at.getHours() === 0 && at.getMinutes() === 0;
    if (increment >= 86400 || midnight) return at.toLocaleDateString("en", { day: "numeric", month: "short" });
    return `${two(at.getHours())}:${two(at.getMinutes())}`;
  });
}

function tip(card, kind) {
  const box = document.createElement("div");
  box.className = "chart-tip";
  box.hidden = true;
  const plot = card.querySelector(".plot");
  plot.append(box);
  return (u) => {
    const at = u.cursor.idx;
    box.hidden = at === null || at === undefined || u.cursor.left < 0;
    if (box.hidden) return;
    const title = document.createElement("b");
    title.textContent = moment(figures.times[at], figures.step);
    box.replaceChildren(title);
    for (const one of kind.series) {
      const line = document.createElement("div");
      line.textContent = `${kind.format(one.of(figures)[at])} ${one.label}`;
      box.append(line);
    }
    const left = u.cursor.left + u.over.offsetLeft;
    const flip = left > plot.clientWidth / 2;
    box.style.left = `${flip ? left - box.offsetWidth - 14 : left + 14}px`;
    box.style.top = `${Math.max(0, u.over.offsetTop + 4)}px`;
  };
}

function make(card) {
  const kind = KINDS[card.dataset.chart];
  const counts = card.dataset.chart === "requests";
  const paths = uPlot.paths.bars({ size: [0.74, 26], radius: 0.12 });
  const plot = card.querySelector(".plot");
  const axis = { stroke: colour("muted"), font: '12px "Inter", sans-serif', grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const series = kind.series.map((one) => ({
    stroke: colour(one.colour), fill: colour(one.colour), width: 0, paths, points: { show: false },
  }));
  const show = tip(card, kind);
  const chart = new uPlot({
    width: Math.max(200, plot.clientWidth), height: HEIGHT, padding: [12, 26, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    select: { show: true },
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, values: ticks, space: 64, size: 28, grid: { show: false } },
      { ...axis, values: (_, splits) => splits.map(kind.axis), size: counts ? 44 : 66, incrs: counts ? WHOLE : BINARY },
    ],
    // The highest first, so that what lies below is painted over it.
    series: [{}, ...series.reverse()],
    hooks: { setCursor: [show], setSelect: [(u) => select(u)] },
  }, [figures.times, ...stacked(kind).reverse()], plot);
  return { card, kind, chart };
}

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7];
const BINARY = [];
for (let step = 1; step <= 2 ** 52; step *= 2) BINARY.push(step);

function select(u) {
  if (u.select.width < 6) return;
  const since = Math.floor(u.posToVal(u.select.left, "x"));
  const until = Math.ceil(u.posToVal(u.select.left + u.select.width, "x"));
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  look({ since, until: Math.max(until, since + 300) });
}

function look(at) {
  zoom = at;
  for (const card of cards) card.querySelector("[data-zoom-out]").hidden = zoom === null;
  load();
}

function describe({ card, kind }) {
  const last = figures.times.at(-1) + figures.step;
  const totals = kind.series.map((one) => `${kind.format(one.of(figures).reduce((a, b) => a + b, 0))} ${one.label}`);
  const text = `${moment(figures.times[0], figures.step)} to ${moment(last, figures.step)}: ${totals.join(", ")}.`;
  card.querySelector("[data-chart-text]").textContent = text;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const text of ["From", ...kind.series.map((one) => one.label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = table.createTBody();
  figures.times.forEach((time, at) => {
    const values = kind.series.map((one) => one.of(figures)[at]);
    if (!values.some(Boolean)) return;
    const row = body.insertRow();
    const cell = document.createElement("th");
    cell.scope = "row";
    cell.textContent = moment(time, figures.step);
    row.append(cell);
    for (const value of values) row.insertCell().textContent = kind.format(value);
  });
  card.querySelector("[data-chart-table]").replaceChildren(table);
}

function paint(anew) {
  if (anew || !charts.length) {
    for (const { card, chart } of charts) {
      chart.destroy();
      card.querySelector(".plot").replaceChildren();
    }
    charts = cards.map(make);
  } else {
    for (const { kind, chart } of charts) chart.setData([figures.times, ...stacked(kind).reverse()]);
  }
  charts.forEach(describe);
}

function nothing(text) {
  for (const card of cards) {
    const note = document.createElement("p");
    note.className = "nothing";
    note.textContent = text;
    card.querySelector(".plot").replaceChildren(note);
  }
}

async function load() {
  asked = Date.now();
  const query = zoom ? new URLSearchParams(zoom) : new URLSearchParams({ period });
  const answer = await fetch(`/api/figures?${query}`, { redirect: "error" }).catch(() => null);
  if (!answer || !answer.ok) {
    if (!figures) nothing("Nothing is recorded yet");
    return;
  }
  figures = await answer.json();
  paint(false);
}

for (const card of cards) {
  card.querySelector("[data-zoom-out]").addEventListener("click", () => look(null));
  card.querySelector("[data-zoom-in]").addEventListener("click", () => {
    if (!figures) return;
    const { since, until } = figures;
    if (until - since > 600) look({ since: Math.floor((since + until) / 2), until });
  });
}
document.addEventListener("entrepot:refreshed", () => {
  if (!zoom && Date.now() - asked >= AGAIN_MS) load();
});
document.addEventListener("entrepot:theme", () => figures && paint(true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures && paint(true));
new ResizeObserver(() => {
  for (const { card, chart } of charts) {
    const width = card.querySelector(".plot").clientWidth;
    if (Math.abs(chart.width - width) > 1) chart.setSize({ width, height: HEIGHT });
  }
}).observe(cards[0].parentElement);

load();
