"use strict";
// Draws the figures of the page from its JSON: colours from the style sheet, hover text as plain text.
const page = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const ring = document.getElementById("ring");
const narrow = () => window.innerWidth < 700;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function color(value) {
  if (Array.isArray(value)) return value.map(color);
  return css(value) || value;
}

function colored(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(
    ([key, v]) => [key, key === "color" ? color(v) : key === "fillcolor" ? color(v) + "33" : colored(v)]));
}

// plotly.js reads a little HTML in texts; what users wrote is none
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function rowsOf(trace) {
  return typeof trace.rows === "string" ? page.table.lists[trace.rows] : trace.rows;
}

function columnOf(name, hyperparameter) {
  return hyperparameter ? page.table.values[name] : page.table.columns[name];
}

function logit(p) {
  const within = Math.min(Math.max(p, 1e-15), 1 - 1e-15);
  return Math.log(within / (1 - within));
}

function placesIn(figure, trace) {
  // what a figure's axes take, for every row of the trace; computed once
  const column = columnOf(trace.y, figure.small);
  const map = figure.logit ? logit : figure.layout.yaxis.type === "category" ? plain : (v) => v;
  return trace.known ||= {
    x: rowsOf(trace).map((row) => (row === null ? null : page.table.columns.age[row])),
    y: rowsOf(trace).map((row) => (row === null || column[row] === null ? null : map(column[row]))),
  };
}

// so many pieces that plotly.js, which makes an element of each, would be slow, or leave short ones out
const isFlat = (trace) => trace.flat || (trace.at && trace.mode === "lines" && trace.at.x.includes(null));

function filled(trace, figure) {
  const { rows, tips, at, y, flat, known, ...rest } = trace;
  const made = { type: "scatter", hoverinfo: "none", connectgaps: false, ...colored(rest), showlegend: false };
  if (isFlat(trace)) {
    // it is there to be pointed at; shapesOf draws it
    for (const key of ["marker", "line"]) delete made[key];
    made.mode = "none";
    if (rows && trace.line) return { ...made, hoverinfo: "skip", x: [], y: [] };
  }
  if (!at) return { ...made, ...placesIn(figure, trace) };
  made.x = at.x;
  made.y = at.y.map((v) => (typeof v === "string" ? plain(v) : v));
  if (made.text) made.text = made.text.map(plain);
  return made;
}

function shapesOf(figure) {
  // thousands of results as some dozens of paths: each holds a stretch of ages, so that a browser
  // paints only what is in sight; a line of no length with round ends is a dot
  const shapes = [];
  for (const trace of figure.traces) {
    if (!isFlat(trace) || trace.visible === false) continue;
    figure.paths ||= new Map();
    if (!figure.paths.has(trace)) figure.paths.set(trace, pathsOf(figure, trace));
    figure.paths.get(trace).forEach((path, i) => {
      const { color: name, width, size } = trace.marker || trace.line;
      const line = { color: css(name), width: width || size[0] + ((size[1] - size[0]) * (i + 1)) / STRETCH_COUNT };
      if (path) shapes.push({ type: "path", path, line, layer: "between" });
    });
  }
  return shapes;
}

const STRETCH_COUNT = 12;

function piecesOf({ x, y }) {
  // neighbours in turn into two paths, so that they are seen apart, unless there are too many
  const paths = ["", ""];
  let count = 0;
  const seen = x.length < 1000 ? 2 : 1;
  x.forEach((v, i) => {
    if (v === null) count++;
    else paths[count % seen] += `${i === 0 || x[i - 1] === null ? "M" : "L"}${v},${y[i]}`;
  });
  return paths;
}

function pathsOf(figure, trace) {
  if (trace.at) return piecesOf(trace.at);
  const { x, y: values } = placesIn(figure, trace);
  const labels = figure.layout.yaxis.labels && figure.layout.yaxis.labels.map(plain);
  const y = labels ? values.map((v) => (v === null ? null : labels.indexOf(v))) : values;
  const oldest = page.table.columns.age.at(-1);
  const paths = new Array(STRETCH_COUNT).fill("");
  let last = null; // where the path of the stretch before ended
  for (let i = 0; i < x.length; i++) {
    if (y[i] === null) continue;
    const to = `${x[i]},${y[i]}`;
    const stretch = Math.ceil((x[i] * STRETCH_COUNT) / oldest) - 1;
    if (trace.marker) paths[stretch] += `M${to}L${to}`;
    else if (i && y[i - 1] !== null) {
      paths[stretch] += last === stretch ? `L${to}` : `M${x[i - 1]},${y[i - 1]}L${to}`;
      last = stretch;
      continue;
    }
    last = null;
  }
  return paths;
}

function axis(spec, zoom, labelWidth) {
  const { title, log, labels, whole, room, ...rest } = spec || {};
  const made = {
    gridcolor: css("grid"), linecolor: css("faint"), zeroline: false, automargin: true,
    ticks: "outside", tickcolor: css("grid"), tickfont: { size: 12 },
    title: { text: plain(title || ""), font: { size: 13 }, standoff: 8 }, ...rest,
  };
  if (room && narrow()) made.range = [0, 2.2 * room];
  if (log) {
    const [low, high] = log.map(Math.log10);
    const pad = 0.04 * (high - low) || 0.1;
    made.range = [low - pad, high + pad];
  }
  Object.assign(made, zoom);
  if (labels) {
    const all = labels.map(plain);
    const ticktext = labels.map((label) => plain(middle(label, labelWidth)));
    Object.assign(made, { categoryorder: "array", categoryarray: all, tickvals: all, ticktext });
  }
  if (log && made.range) Object.assign(made, logTicks(...made.range));
  if (whole && made.range) Object.assign(made, { tickformat: "d", nticks: 12, dtick: made.range[1] - made.range[0] < 12 ? 1 : undefined });
  return made;
}

function logTicks(low, high) {
  // plotly.js would set digits without their power of ten
  const tickvals = [];
  if (high - low < 0.6) {
    const [begin, end] = [10 ** low, 10 ** high];
    const power = 10 ** Math.floor(Math.log10((end - begin) / 5));
    const step = power * [1, 2, 5, 10].find((m) => m * power >= (end - begin) / 5);
    for (let n = Math.ceil(begin / step); n * step <= end; n++) tickvals.push(n * step);
  } else {
    const [leads, decades] = high - low >= 1.6 ? [[1], Math.ceil((high - low) / 6.5)] : [[1, 2, 5], 1];
    for (let e = Math.floor(low); e <= high; e += decades) for (const m of leads) tickvals.push(m * 10 ** e);
  }
  const exact = tickvals.map((v) => Number(v.toPrecision(4)));
  return { tickvals, ticktext: exact.map((v) => (v >= 0.001 && v < 100000 ? String(v) : v.toExponential().replace("+", ""))) };
}

const labelRoom = (figure) => (figure.small || narrow() ? 120 : 360);
const heightOf = (figure) => figure.layout.height || (figure.small ? 280 : narrow() ? 340 : 440);

function layoutOf(figure) {
  const { layout: spec, zoom = {} } = figure;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("ink") },
    margin: { l: 56, r: 16, t: 12, b: 44 }, hovermode: "closest", hoverdistance: 25,
    dragmode: narrow() ? false : "zoom", showlegend: false, bargap: 0.35,
    height: heightOf(figure),
    xaxis: axis(spec.xaxis, zoom.xaxis), yaxis: axis(spec.yaxis, zoom.yaxis, labelRoom(figure)), shapes: shapesOf(figure),
  };
}

// --- what is under the pointer ---------------------------------------------------------------

function rounded(value, digits) {
  // near 1, what is missing to it keeps two digits; no digit before the point is lost
  const missing = Math.abs(1 - Math.abs(value));
  const near = missing > 0 && missing < 0.1 ? 1 + (Math.abs(value) > 1) - Math.floor(Math.log10(missing)) : 0;
  const whole = Math.abs(value) < 1e7 ? Math.trunc(Math.abs(value)).toString().length : 0;
  return String(Number(value.toPrecision(Math.min(15, Math.max(digits, near, whole)))));
}

function shown(value) {
  if (value === null || value === undefined) return "nan";
  const text = typeof value === "number" && !Number.isInteger(value) ? rounded(value, 5) : String(value);
  return text.length > 120 ? text.slice(0, 119) + "…" : text;
}

function resultLines(row) {
  const { columns: c, values, metrics } = page.table;
  const lines = [`member ${c.member[row]}, age ${c.age[row]}`, `score ${shown(c.score[row])}`];
  for (const [name, column] of Object.entries(metrics)) if (column[row] !== null) lines.push(`${name} ${shown(column[row])}`);
  for (const [name, column] of Object.entries(values)) if (column[row] !== null) lines.push(`${name} = ${shown(column[row])}`);
  if (c.parent[row] !== null) lines.push(`continued member ${c.parent[row]}`);
  lines.push(`worker ${c.worker[row]}`, `log ${c.log[row]}`);
  return lines;
}

function linesOf(figure, curve, point) {
  const trace = figure.traces[curve];
  if (trace.tips) return trace.tips[point];
  const row = rowsOf(trace)[point];
  return row === null || row === undefined ? null : resultLines(row);
}

function tell(lines, x, y) {
  if (!lines) return;
  tip.replaceChildren(...lines.map((line) => {
    const div = document.createElement("div");
    div.textContent = line;
    return div;
  }));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > window.innerWidth ? x - 16 - box.width : x + 16;
  tip.style.left = Math.max(8, Math.min(left, window.innerWidth - box.width - 8)) + "px";
  const top = y + 16 + box.height > window.innerHeight ? y - 16 - box.height : y + 16;
  tip.style.top = Math.max(8, top) + "px";
}

function placeOf(node, curve, point) {
  // where in the window a point is; a figure of our own has no such place
  const area = node.getBoundingClientRect();
  const { xaxis, yaxis } = node._fullLayout || {};
  if (!xaxis) return [area.left + area.width / 2, area.top + 40];
  const { x, y } = node.data[curve];
  return [area.left + xaxis._offset + xaxis.d2p(x[point]), area.top + yaxis._offset + yaxis.d2p(y[point])];
}

function encircle(figure, node, curve, point) {
  // an empty trace draws nothing, not even what is under the pointer
  const rows = rowsOf(figure.traces[curve]);
  if (figure.mark) figure.mark(rows[point]);
  ring.hidden = !rows || !node.data;
  if (ring.hidden) return;
  const [left, top] = placeOf(node, curve, point);
  Object.assign(ring.style, { left: left + window.scrollX - 7 + "px", top: top + window.scrollY - 7 + "px" });
}

function hush() {
  tip.hidden = true;
  ring.hidden = true;
}

function within(axis, value) {
  const at = axis.d2p(value);
  return at >= -1 && at <= axis._length + 1;
}

function pointsOf(figure, node, curve) {
  // what the keys reach: the points of a trace that are seen, and tell something
  const trace = figure.traces[curve];
  if (trace.visible === false || trace.rows === "stars") return [];
  const there = (trace.tips || rowsOf(trace)).flatMap((of, i) => (of === null ? [] : [i]));
  if (figure.axes) return there;
  const [{ xaxis, yaxis }, { x, y }] = [node._fullLayout, node.data[curve]];
  return there.filter((i) => within(xaxis, x[i]) && within(yaxis, y[i]));
}

function nearest(node, points, curve, [left, top]) {
  const far = points.map((point) => {
    const [x, y] = placeOf(node, curve, point);
    return Math.hypot(x - left, y - top);
  });
  return points[far.indexOf(Math.min(...far))];
}

function next(figure, curve, points, point, step) {
  // the next point that tells something else
  const told = point === null ? null : String(linesOf(figure, curve, point));
  let at = points.indexOf(point);
  if (at < 0 && step < 0) at = 0;
  for (let tries = 0; tries < points.length; tries++) {
    at = (at + step + points.length) % points.length;
    if (String(linesOf(figure, curve, points[at])) !== told) break;
  }
  return points[at];
}

function byKeys(figure, node) {
  // left and right walk along a trace, at first the best lineage, or what stands for it; up and
  // down go over to another trace, where it is nearest
  let [curve, point] = [figure.traces.findIndex((t) => t.rows === "best"), null];
  if (curve < 0) curve = figure.traces.findLastIndex((t) => (t.tips || rowsOf(t)).length > 1);
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hush();
    const [along, across] = [{ ArrowRight: 1, ArrowLeft: -1 }[event.key], { ArrowUp: 1, ArrowDown: -1 }[event.key]];
    const taken = event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (taken || !(along || across)) return;
    const points = figure.traces.map((_, i) => pointsOf(figure, node, i));
    const curves = points.flatMap((of, i) => (of.length ? [i] : []));
    if (!curves.length) return;
    event.preventDefault();
    const [before, known] = [curve, curves.indexOf(curve)];
    if (known < 0) [curve, point] = [curves.at(-1), null];
    else if (across && point !== null) curve = curves[(known + across + curves.length) % curves.length];
    if (along || point === null) point = next(figure, curve, points[curve], point, along || 1);
    else point = nearest(node, points[curve], curve, placeOf(node, before, point));
    encircle(figure, node, curve, point);
    tell(linesOf(figure, curve, point), ...placeOf(node, curve, point));
  });
  node.addEventListener("focusout", hush);
}

// --- drawing ---------------------------------------------------------------------------------

function swatch(trace) {
  const given = trace.fillcolor || (trace.line && trace.line.color) || (trace.marker && trace.marker.color);
  return Array.isArray(given) ? given[0] : given;
}

function legend(figure, node, redraw = () => near.observe(node)) {
  if (figure.small || figure.legend === false) return;
  const names = [...new Set(figure.traces.map((t) => t.name))];
  if (names.length < 2) return;
  const box = document.createElement("div");
  box.className = "legend";
  for (const name of names) {
    const of = figure.traces.map((t, i) => (t.name === name ? i : -1)).filter((i) => i >= 0);
    const button = document.createElement("button");
    const mark = document.createElement("i");
    const ink = `var(--${swatch(figure.traces[of[0]])})`;
    const dash = { dash: "9px", dot: "3px" }[figure.traces[of.at(-1)].line?.dash];
    mark.style.background = dash ? `repeating-linear-gradient(90deg, ${ink} 0 ${dash}, transparent 0 calc(${dash} + 3px))` : ink;
    if (figure.axes) mark.style.height = 1.6 * figure.traces[of[0]].line.width + "px";
    button.append(mark, name);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const i of of) figure.traces[i].visible = on;
      redraw();
    });
    box.append(button);
  }
  node.before(box);
}

function sharedLegend() {
  // the small figures say the same of members and the best lineage: one legend serves them all
  const small = nodes.filter(([figure]) => figure.small);
  if (!small.length) return;
  const all = { traces: small[0][0].traces };
  legend(all, small[0][1].closest(".small"), () => {
    for (const [figure, node] of small) {
      figure.traces.forEach((trace, i) => { trace.visible = all.traces[i].visible; });
      near.observe(node);
    }
  });
}

function draw(figure, node) {
  if (figure.axes) return drawParallel(figure, node);
  const traces = figure.traces.map((trace) => filled(trace, figure));
  return Plotly.react(node, traces, layoutOf(figure), { displayModeBar: false, responsive: true });
}

function begin(figure, node) {
  if (node.dataset.drawn) return;
  node.dataset.drawn = "yes";
  near.unobserve(node);
  draw(figure, node);
  byKeys(figure, node);
  if (figure.axes) return onNewWidth(node, () => draw(figure, node));
  node.on("plotly_hover", (event) => {
    const { curveNumber, pointNumber } = event.points[0];
    tell(linesOf(figure, curveNumber, pointNumber), event.event.clientX, event.event.clientY);
    encircle(figure, node, curveNumber, pointNumber);
  });
  node.on("plotly_unhover", hush);
  node.on("plotly_relayout", (change) => {
    if (!Object.keys(change).some((key) => /^[xy]axis/.test(key))) return; // a new size
    const of = ({ range, autorange }) => (autorange ? { autorange, range: undefined } : { range: [...range] });
    figure.zoom = { xaxis: of(node._fullLayout.xaxis), yaxis: of(node._fullLayout.yaxis) };
    draw(figure, node); // with ticks for what is seen now
  });
}

function onNewWidth(node, redraw) {
  let width = node.clientWidth;
  new ResizeObserver(() => {
    if (node.clientWidth === width) return; // nothing may move under a hand that drags
    width = node.clientWidth;
    redraw();
  }).observe(node);
}

const nodes = page.figures.map((figure) => [figure, document.getElementById(figure.id)]);
const near = new IntersectionObserver((seen) => {
  // what is out of sight waits until it is scrolled to
  for (const { isIntersecting, target } of seen) if (isIntersecting) {
    near.unobserve(target);
    const [figure] = nodes.find(([, node]) => node === target);
    if (target.dataset.drawn) draw(figure, target);
    else begin(figure, target);
  }
}, { rootMargin: "500px" });
function again() { for (const [, node] of nodes) near.observe(node); }
function all() { for (const [figure, node] of nodes) begin(figure, node); }
function measure() { for (const [figure, node] of nodes) node.style.minHeight = heightOf(figure) + "px"; }
sharedLegend();
for (const [figure, node] of nodes) legend(figure, node);
measure();
staying(document.getElementById("reload"));
again();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
matchMedia("(max-width: 699px)").addEventListener("change", () => {
  for (const [figure] of nodes) delete figure.zoom;
  measure();
  again();
});
function printing(begins) {
  // paper is light, and holds all figures and tables
  document.documentElement.classList.toggle("printed", begins);
  for (const box of document.querySelectorAll(begins ? "details:not([open])" : "details.printed")) {
    box.open = begins;
    box.classList.toggle("printed", begins);
  }
  if (!begins) return again();
  all();
  for (const [figure, node] of nodes) draw(figure, node);
}
addEventListener("scroll", hush, { passive: true, capture: true }); // it would stand beside another point
addEventListener("pointerdown", (event) => { if (!event.target.closest(".plot")) hush(); });
addEventListener("beforeprint", () => printing(true));
addEventListener("afterprint", () => printing(false));
