"use strict";
// Parallel coordinates in SVG: a line per result. A stretch of an axis that is marked, by dragging
// or by keys, leaves the results that pass there.
const ABSENT = -0.1; // where a result passes an axis whose hyperparameter it does not have
const STRETCHES = [null, [0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]]; // what the keys choose
const STRETCH_NAMES = ["all", "lowest quarter", "second quarter", "third quarter", "highest quarter"];
const HINT = "Drag along an axis, or press the up and down keys on it, to choose the results that pass there.";

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function ending(text, width) {
  const most = Math.max(3, Math.floor(width / 7));
  return text.length <= most ? text : "…" + text.slice(1 - most);
}

function middle(text, width) {
  // the beginning and the end of a text tell more than its middle
  const most = Math.max(5, Math.floor(width / 7));
  if (text.length <= most) return text;
  return text.slice(0, Math.ceil((most - 1) / 2)) + "…" + text.slice(-Math.floor((most - 1) / 2));
}

function brief(text, width) {
  // a number loses digits before it loses its end
  const number = Number(text);
  const ways = text === "" || Number.isNaN(number) ? [text]
    : [text, rounded(number, 2), number.toExponential(0)];
  return ways.find((way) => way.length * 7 <= width) || middle(text, width);
}

function linesOfResults(figure) {
  // every result that is drawn: its row of the table, and where it passes each axis
  return figure.traces.flatMap((trace) => (trace.visible === false ? [] : trace.rows.map((row, i) => (
    { row, trace, at: trace.points[i].map((v) => (v === null ? ABSENT : v)) }))));
}

function placesOf(figure, node) {
  // pixels from the axes' numbers and their coordinates, and back
  const count = figure.axes.length;
  const width = Math.max(node.clientWidth, 46 * count);
  const slanted = width / count < 90;
  const absent = linesOfResults(figure).some((line) => line.at.includes(ABSENT));
  const [left, right, top, bottom] = [slanted ? 26 : 52, 52, slanted ? 136 : 52, absent ? 66 : 28];
  const [gap, tall] = [(width - left - right) / Math.max(1, count - 1), figure.layout.height - top - bottom];
  return {
    width, slanted, gap, top, tall,
    x: (axis) => left + axis * gap, y: (v) => top + (1 - v) * tall,
    axis: (x) => (x - left) / gap, value: (y) => 1 - (y - top) / tall,
  };
}

function passes(figure, line) {
  return figure.brushes.every((b, i) => b === null || (line.at[i] >= b[0] && line.at[i] <= b[1]));
}

function pathOf(lines, places) {
  const one = (line) => "M" + line.at.map((v, i) => `${places.x(i).toFixed(1)},${places.y(v).toFixed(1)}`).join("L");
  return lines.map(one).join("");
}

function drawParallel(figure, node) {
  figure.brushes ||= figure.axes.map(() => null);
  const places = placesOf(figure, node);
  const paths = figure.traces.map((trace) => ["faded", "kept"].map((className) => svg("path",
    { class: className, "data-name": trace.name, style: `stroke: var(--${trace.line.color}); stroke-width: ${trace.line.width}` })));
  const pointed = svg("path", { class: "pointed" });
  const axes = figure.axes.map((axis, i) => axisOf(axis, i, figure, places));
  const drawing = svg("svg", { width: places.width, height: figure.layout.height }, ...paths.flat(), pointed,
    ...axes.map((axis) => axis.group));
  const words = document.createElement("p");
  words.className = "soft chosen";
  words.setAttribute("role", "status");
  const scroll = document.createElement("div");
  scroll.className = "wide";
  scroll.append(drawing);
  const focused = axes.length && node.contains(document.activeElement) ? document.activeElement.dataset.axis : undefined;
  node.replaceChildren(scroll, words);
  if (focused !== undefined) axes[focused].zone.focus();
  node.setAttribute("role", "group"); // it holds sliders, as an image could not
  const lines = linesOfResults(figure);
  function refresh() {
    const brushed = figure.brushes.some(Boolean);
    figure.traces.forEach((trace, i) => {
      const own = lines.filter((line) => line.trace === trace);
      const kept = own.filter((line) => passes(figure, line));
      paths[i][0].setAttribute("d", brushed ? pathOf(own, places) : "");
      paths[i][1].setAttribute("d", pathOf(kept, places));
    });
    axes.forEach((axis) => axis.refresh());
    say(figure, words, lines.filter((line) => passes(figure, line)), lines.length, clear);
  }
  function clear() {
    figure.brushes.fill(null);
    refresh();
  }
  axes.forEach((axis, i) => brushing(axis.zone, i, figure, places, drawing, refresh));
  figure.mark = (row) => pointed.setAttribute("d", pathOf(lines.filter((line) => line.row === row), places));
  pointing(figure, drawing, places, lines);
  node.onkeydown = (event) => { if (event.key === "Escape") clear(); };
  node.onblur = () => figure.mark(null);
  refresh();
}

function axisOf(axis, i, figure, places) {
  const [x, top, low] = [places.x(i), places.y(1), places.y(0)];
  const absent = figure.traces.some((trace) => trace.points.some((point) => point[i] === null));
  const mark = svg("rect", { class: "brush", x: x - 7, width: 14, visibility: "hidden" });
  const wide = Math.min(40, places.gap * 0.7);
  const zone = svg("rect", { class: "zone", x: x - wide / 2, width: wide, y: top - 8, height: places.y(absent ? ABSENT : 0) - top + 16,
    tabindex: 0, role: "slider", "aria-label": axis.name, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 4, "data-axis": i });
  const group = svg("g", {}, svg("line", { x1: x, x2: x, y1: top, y2: low, class: "axis" }), nameOf(axis.name, x, places));
  const ticks = axis.ticks.concat(absent ? [[ABSENT, "absent"]] : []);
  const crowded = places.gap < 90 || axis.ticks.length > 8;
  for (const [v, text] of ticks) {
    const beside = v > (absent ? -0.01 : 0) && v < 1; // the others are above and below the axis
    if (beside && crowded && v > 0) continue;
    const at = beside ? { x: x + 6, y: places.y(v) + (v === 0 ? 14 : 4) }
      : { x, y: places.y(v) + (v === 1 ? -8 : 17), "text-anchor": "middle" };
    group.append(svg("text", at, brief(text, places.gap)));
  }
  group.append(mark, zone);
  const refresh = () => {
    const brush = figure.brushes[i];
    const number = STRETCHES.findIndex((s) => String(s) === String(brush));
    zone.setAttribute("aria-valuenow", Math.max(0, number));
    zone.setAttribute("aria-valuetext", number >= 0 ? STRETCH_NAMES[number] : brush.map((v) => `${Math.round(100 * v)} %`).join(" to "));
    mark.setAttribute("visibility", brush ? "visible" : "hidden");
    if (brush) {
      mark.setAttribute("y", places.y(brush[1]));
      mark.setAttribute("height", Math.max(1, places.y(brush[0]) - places.y(brush[1])));
    }
  };
  return { group, zone, refresh };
}

function nameOf(name, x, places) {
  const [y, title] = [places.top - 30, svg("title", {}, name)];
  const slant = places.slanted ? { transform: `rotate(-40 ${x} ${y})` } : { "text-anchor": "middle" };
  return svg("text", { class: "name", x, y, ...slant }, ending(name, places.slanted ? 140 : places.gap - 8), title);
}

function brushing(zone, i, figure, places, drawing, refresh) {
  let held = null; // where the pointer went down, and the mark that it took hold of, if any
  const at = (event) => Math.max(ABSENT - 0.02, Math.min(1.02, places.value(event.clientY - drawing.getBoundingClientRect().top)));
  zone.addEventListener("pointerdown", (event) => {
    const brush = figure.brushes[i];
    zone.setPointerCapture(event.pointerId);
    held = { from: at(event), y: event.clientY, brush: brush && at(event) >= brush[0] && at(event) <= brush[1] ? brush : null };
    tip.hidden = true;
  });
  zone.addEventListener("pointermove", (event) => {
    if (!held || Math.abs(event.clientY - held.y) < 4) return;
    const [from, to] = [held.from, at(event)];
    figure.brushes[i] = held.brush ? held.brush.map((v) => v + to - from) : [Math.min(from, to), Math.max(from, to)];
    refresh();
  });
  zone.addEventListener("pointerup", (event) => {
    if (held && Math.abs(event.clientY - held.y) < 4) figure.brushes[i] = null; // a click lets go
    held = null;
    refresh();
  });
  zone.addEventListener("pointercancel", () => { held = null; });
  zone.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const now = Math.max(0, STRETCHES.findIndex((s) => String(s) === String(figure.brushes[i])));
    figure.brushes[i] = STRETCHES[(now + step + STRETCHES.length) % STRETCHES.length];
    refresh();
  });
}

function pointing(figure, drawing, places, lines) {
  const leave = () => {
    tip.hidden = true;
    figure.mark(null);
  };
  drawing.addEventListener("pointermove", (event) => {
    if (event.buttons) return;
    const box = drawing.getBoundingClientRect();
    const across = places.axis(event.clientX - box.left);
    const left = Math.max(0, Math.min(figure.axes.length - 2, Math.floor(across)));
    const heightOf = ({ at }) => places.y(at[left] + (across - left) * (at[left + 1] - at[left]));
    let [near, nearest] = [12, null];
    for (const line of lines) {
      const far = Math.abs(heightOf(line) - (event.clientY - box.top));
      if (far <= near && passes(figure, line)) [near, nearest] = [far, line];
    }
    if (!nearest) return leave();
    figure.mark(nearest.row);
    tell(resultLines(nearest.row), event.clientX, event.clientY);
  });
  drawing.addEventListener("pointerleave", leave);
}

function say(figure, words, kept, total, clear) {
  const parts = figure.axes.flatMap(({ name }, i) => (figure.brushes[i] && kept.length ? [`${name} ${rangeOf(kept, name, i)}`] : []));
  if (!figure.brushes.some(Boolean)) return words.replaceChildren(HINT);
  const text = `${kept.length} of ${total} results pass` + (parts.length ? `: ${parts.join("; ")}. ` : ". ");
  const button = document.createElement("button");
  button.textContent = "show all";
  button.onclick = clear;
  words.replaceChildren(text, button);
}

function rangeOf(kept, name, i) {
  const { columns, values } = page.table;
  const column = i < Object.keys(values).length ? values[name] : columns.score;
  const found = [...new Set(kept.map((line) => column[line.row]))].filter((v) => v !== null);
  if (!found.length) return "absent";
  if (found.some((v) => typeof v !== "number")) return found.slice(0, 6).join(", ") + (found.length > 6 ? ", …" : "");
  const [low, high] = [Math.min(...found), Math.max(...found)];
  return low === high ? shown(low) : `${shown(low)} to ${shown(high)}`;
}
