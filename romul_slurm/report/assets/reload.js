"use strict";
// The page of a running population is written anew now and then. Who watches lets it reload itself:
// what was zoomed, hidden or chosen stays, and nothing happens under the hands of somebody who looks.
const IDLE_MS = 60000;
const MEMORY = "romul " + location.pathname;

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY)) || {};
  } catch {
    return {}; // the browser keeps nothing for this page
  }
}

function remember(more) {
  try {
    sessionStorage.setItem(MEMORY, JSON.stringify({ ...remembered(), ...more }));
  } catch { /* as above */ }
}

let touched = Date.now();

function due(now) {
  const box = document.getElementById("reload");
  return box !== null && box.checked && now - touched >= IDLE_MS;
}

function staying(box) {
  if (!box) return; // the population is not running
  const { reload, figures, opened = [] } = remembered();
  box.checked = Boolean(reload);
  box.addEventListener("change", () => remember({ reload: box.checked }));
  for (const head of document.querySelectorAll("summary")) if (opened.includes(head.textContent)) head.parentNode.open = true;
  for (const [figure, node] of nodes) restore(figure, (figures || {})[figure.id] || {}, node);
  for (const kind of ["pointermove", "pointerdown", "wheel", "keydown"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  setInterval(() => { if (due(Date.now())) renew(); }, IDLE_MS / 6);
}

function renew() {
  remember({ figures: Object.fromEntries(nodes.map(([figure]) => [figure.id, {
    zoom: figure.zoom, brushes: figure.brushes,
    hidden: figure.traces.filter((trace) => trace.visible === false).map((trace) => trace.name),
  }])), opened: [...document.querySelectorAll("details[open] > summary")].map((head) => head.textContent) });
  location.reload(); // the browser itself keeps the place on the page
}

function restore(figure, { zoom, brushes, hidden = [] }, node) {
  figure.zoom = zoom;
  if (brushes && figure.axes && brushes.length === figure.axes.length) figure.brushes = brushes;
  for (const trace of figure.traces) if (hidden.includes(trace.name)) trace.visible = false;
  const box = (node.closest(".small") || node).previousElementSibling;
  for (const button of box && box.matches(".legend") ? box.children : []) {
    button.setAttribute("aria-pressed", String(!hidden.includes(button.textContent)));
  }
}
