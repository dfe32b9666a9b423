"use strict";
// Draws the figures of the page from its JSON: colours from the style sheet, hover text as plain text.
const page = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
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

function filled(trace, figure) {
  const { rows, tips, at, y, ...rest } = trace;
  const made = { type: "scatter", hoverinfo: "none", connectgaps: false, ...colored(rest) };
  delete made.legend;
  made.showlegend = false;
  if (at) {
    made.x = at.x;
    made.y = at.y.map((v) => (typeof v === "string" ? plain(v) : v));
    if (made.text) made.text = made.text.map(plain);
  } else {
    const list = rowsOf(trace);
    const column = columnOf(y, figure.small);
    const map = figure.logit ? (p) => (p === null ? null : Math.log(p / (1 - p))) : (v) => v;
    const category = figure.layout.yaxis.type === "category";
    made.x = list.map((row) => (row === null ? null : page.table.columns.age[row]));
    made.y = list.map((row) => (row === null || column[row] === null ? null
      : category ? plain(column[row]) : map(column[row])));
    if (made.marker && Array.isArray(made.marker.size)) {
      made.marker = { ...made.marker, size: list.map((row) => trace.marker.size[row]) };
      made.marker.line = { width: 0 };
    }
  }
  return made;
}

function axis(spec, side) {
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
    const decades = Math.ceil((high - low) / (side === "y" ? 6 : 5));
    if (high - low >= 1.5) Object.assign(made, { dtick: decades, exponentformat: "power" });
    else {
      made.tickvals = [];
      for (let e = Math.floor(low); e <= high; e++) for (const m of [1, 2, 5]) made.tickvals.push(m * 10 ** e);
      made.ticktext = made.tickvals.map((v) => String(Number(v.toPrecision(3))));
    }
  }
  if (labels) Object.assign(made, { categoryorder: "array", categoryarray: labels.map(plain) });
  if (whole) Object.assign(made, { tickformat: "d", nticks: 12, dtick: rest.range && rest.range[1] < 12 ? 1 : undefined });
  return made;
}

function layoutOf(figure) {
  const spec = figure.layout;
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("ink") },
    margin: { l: 56, r: 16, t: 12, b: 44 }, hovermode: "closest", hoverdistance: 25,
    dragmode: narrow() ? false : "zoom", showlegend: false, bargap: 0.35,
    height: spec.height || (figure.small ? 280 : narrow() ? 340 : 440),
    xaxis: axis(spec.xaxis, "x"), yaxis: axis(spec.yaxis, "y"),
  };
  if (figure.axes) Object.assign(made, parallelLayout(figure.axes, made));
  return made;
}

function parallelLayout([names, ends], layout) {
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const note = (i, j) => ({
    x: i, y: j, xref: "x", yref: "y", yshift: j ? 10 : -10, showarrow: false,
    font: { size: 12, color: css("soft") }, text: plain(cut(ends[i][j], 9)),
  });
  return {
    height: 420, margin: { l: 28, r: 28, t: 28, b: 90 },
    xaxis: { ...layout.xaxis, range: [-0.35, names.length - 0.65], tickvals: names.map((_, i) => i),
      ticktext: names.map((n) => plain(cut(n, 18))), showgrid: true, tickangle: narrow() || names.length > 8 ? -40 : 0,
      ticks: "", gridcolor: css("faint"), title: { text: "" }, fixedrange: true, ticklabelstandoff: 18 },
    yaxis: { ...layout.yaxis, visible: false, range: [-0.1, 1.08], fixedrange: true },
    annotations: names.flatMap((_, i) => [note(i, 0), note(i, 1)]),
  };
}

// --- what is under the pointer ---------------------------------------------------------------

function shown(value) {
  if (value === null || value === undefined) return "nan";
  const text = typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value);
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

function byKeys(figure, node) {
  // the arrow keys walk along the last trace: the best lineage, or what stands for it
  let curve = figure.traces.findIndex((t) => t.rows === "best");
  if (curve < 0) curve = figure.traces.length - 1;
  let point = -1;
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (!step || curve < 0) return;
    event.preventDefault();
    const trace = node.data[curve];
    const count = trace.x.length;
    for (let tries = 0; tries < count; tries++) {
      point = (point + step + count) % count;
      if (trace.x[point] !== null && linesOf(figure, curve, point)) break;
    }
    const area = node.getBoundingClientRect();
    tell(linesOf(figure, curve, point), area.left + area.width / 2, area.top + 40);
  });
  node.addEventListener("blur", () => { tip.hidden = true; });
}

// --- drawing ---------------------------------------------------------------------------------

function swatch(trace) {
  const given = trace.fillcolor || (trace.line && trace.line.color) || (trace.marker && trace.marker.color);
  return Array.isArray(given) ? given[0] : given;
}

function legend(figure, node, redraw = () => draw(figure, node)) {
  if (figure.small) return;
  const names = [...new Set(figure.traces.map((t) => t.name))];
  if (names.length < 2) return;
  const box = document.createElement("div");
  box.className = "legend";
  for (const name of names) {
    const of = figure.traces.map((t, i) => (t.name === name ? i : -1)).filter((i) => i >= 0);
    const button = document.createElement("button");
    const mark = document.createElement("i");
    mark.style.background = `var(--${swatch(figure.traces[of[0]])})`;
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
      if (node.dataset.drawn) draw(figure, node);
    }
  });
}

function draw(figure, node) {
  const traces = figure.traces.map((trace) => filled(trace, figure));
  return Plotly.react(node, traces, layoutOf(figure), { displayModeBar: false, responsive: true });
}

function begin(figure, node) {
  if (node.dataset.drawn) return;
  node.dataset.drawn = "yes";
  legend(figure, node);
  draw(figure, node);
  node.on("plotly_hover", (event) => {
    const point = event.points[0];
    tell(linesOf(figure, point.curveNumber, point.pointNumber), event.event.clientX, event.event.clientY);
  });
  node.on("plotly_unhover", () => { tip.hidden = true; });
  byKeys(figure, node);
}

const nodes = page.figures.map((figure) => [figure, document.getElementById(figure.id)]);
const near = new IntersectionObserver((seen) => {
  for (const entry of seen) if (entry.isIntersecting) {
    near.unobserve(entry.target);
    begin(...nodes.find(([, node]) => node === entry.target));
  }
}, { rootMargin: "500px" });
sharedLegend();
for (const [figure, node] of nodes) {
  node.style.minHeight = layoutOf(figure).height + "px";
  near.observe(node);
}
function all() { for (const [figure, node] of nodes) begin(figure, node); }
function again() { for (const [figure, node] of nodes) if (node.dataset.drawn) draw(figure, node); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
matchMedia("(max-width: 699px)").addEventListener("change", again);
window.addEventListener("beforeprint", all);
