// The report's script: draws the charts, cuts pictures out of sheets, moves sliders, sorts the table.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text ?? "" });

// ---- pictures: one sheet holds many images; a canvas shows one of them, pixel by pixel

const loaded = new Map();
function picture(uri) {
  if (!loaded.has(uri)) {
    const image = new Image();
    image.src = uri;
    loaded.set(uri, image.decode().then(() => image));
  }
  return loaded.get(uri);
}

// Draws on a canvas what needs images that are still to load; only the last call for a canvas counts.
async function paint(canvas, images, drawing) {
  const call = (canvas.call = Symbol("call"));
  const loadedImages = await Promise.all(images);
  if (canvas.call === call) drawing(canvas.getContext("2d"), loadedImages);
}

const columnsOf = (strip) => JSON.parse(strip.dataset.columns);

// Cells [[sheet, row, column], ...] beside each other.
function drawCells(canvas, cells) {
  const [width, height] = cells[0][0].cell, gap = cells.length > 1 ? 1 : 0;
  return paint(canvas, cells.map(([sheet]) => picture(sheet.uri)), (context, images) => {
    canvas.width = cells.length * (width + gap) - gap;
    canvas.height = height;
    cells.forEach(([sheet, row, column], place) => {
      const [w, h] = sheet.cell;
      context.drawImage(images[place], column * w, row * h, w, h, place * (width + gap), 0, width, height);
    });
  });
}

// Says what a slider stands at, beside it and to who hears the page.
function say(slider, text) {
  one("output", slider.closest("label")).textContent = text;
  slider.setAttribute("aria-valuetext", text);
}

// ---- charts

const dark = () => document.documentElement.dataset.theme === "dark";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function themed() {
  const axis = { color: colour("--ink"), gridcolor: colour("--line"), linecolor: colour("--soft") };
  const layout = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": colour("--ink"),
    "hoverlabel.bgcolor": colour("--panel"), "hoverlabel.font.color": colour("--ink") };
  for (const letter of ["x", "y"]) for (const key in axis) layout[`${letter}axis.${key}`] = axis[key];
  return layout;
}

const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

async function draw(chart) {
  if (chart.drawn) return chart.drawn;
  const part = chart.closest(".part").dataset.part;
  const figure = DATA[part].figures[chart.dataset.chart];
  if (!figure) return null;
  const own = structuredClone(figure); // which Plotly changes
  chart.drawn = Plotly.newPlot(chart, own.data, own.layout, CONFIG).then(() => Plotly.relayout(chart, themed()));
  await chart.drawn;
  chart.on("plotly_hover", (event) => point(chart, event.points[0].data.meta));
  chart.on("plotly_click", (event) => point(chart, event.points[0].data.meta));
  return chart.drawn;
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "400px" });
all(".chart[data-chart]").forEach((chart) => seen.observe(chart));
const themeButton = one("#theme");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  themeButton.textContent = name === "dark" ? "Light" : "Dark";
  themeButton.setAttribute("aria-pressed", String(name === "dark"));
  for (const chart of all(".chart")) if (chart.drawn) chart.drawn.then(() => Plotly.relayout(chart, themed()));
}
themeButton.addEventListener("click", () => setTheme(dark() ? "light" : "dark"));

// Paper is white, whatever the screen is, and shows all charts, also those not yet scrolled to.
let onScreen = "light";
addEventListener("beforeprint", () => {
  onScreen = document.documentElement.dataset.theme;
  setTheme("light");
  all(".chart[data-chart]").forEach(draw);
  all(".gallery").forEach((gallery) => { gallery.open = true; });
});
addEventListener("afterprint", () => setTheme(onScreen));
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// ---- the rate-distortion plane: the run that is pointed at, with its numbers and pictures

function point(chart, run) {
  const select = one(".pointed", chart.closest(".part"));
  if (!run || !select || !chart.dataset.chart.startsWith("rate") || ![...select.options].some((o) => o.value === run)) return;
  select.value = run;
  describe(select);
}

function describe(select) {
  const part = select.closest(".part"), run = DATA[part.dataset.part].runs[select.value];
  const panel = select.closest(".panel"), canvas = one(".probes", panel);
  const numbers = Object.entries(run.metrics).flatMap(([name, value]) => [make("dt", name), make("dd", value)]);
  one(".numbers", panel).replaceChildren(...numbers);
  const rows = all('[data-matrix="reconstructions"] .frame:first-of-type tr', part);
  const strips = ["", select.value].map((name) => rows.find((row) => row.dataset.run === name));
  canvas.hidden = !strips.every(Boolean);
  canvas.setAttribute("aria-label", `Test images above their reconstructions: ${run.label}`);
  if (!canvas.hidden) drawProbes(canvas, strips.map((row) => one(".strip", row)));
}

// Half of the columns, wrapped: images above reconstructions, then again.
function drawProbes(canvas, strips) {
  const count = columnsOf(strips[1]).length, columns = Math.ceil(count / 2);
  return paint(canvas, strips.map((strip) => picture(one("img", strip).src)), (context, images) => {
    const width = images[0].naturalWidth / count, height = images[0].naturalHeight;
    canvas.width = columns * width;
    canvas.height = 4 * height + 4;
    canvas.style.width = "100%";
    for (const half of [0, 1]) images.forEach((image, row) =>
      context.drawImage(image, half * columns * width, 0, columns * width, height, 0, half * (2 * height + 4) + row * height, columns * width, height));
  });
}
for (const select of all(".pointed")) {
  select.addEventListener("change", () => describe(select));
  if (select.value) describe(select);
}

// ---- learning curves: axes, and runs on and off in all charts at once

for (const part of all(".part")) {
  const curves = all(".chart[data-chart^=curve]", part);
  const chosen = (name) => one(`input[name="${part.id}-${name}"]:checked`, part)?.value;
  const apply = async (change) => { for (const chart of curves) { await draw(chart); await change(chart); } };
  all(`input[name="${part.id}-x"]`, part).forEach((input) => input.addEventListener("change", () => apply((chart) => {
    const figure = DATA[part.dataset.part].figures[chart.dataset.chart];
    const seconds = chosen("x") === "seconds";
    const x = figure.data.map((trace) => (seconds ? trace.customdata : trace.x));
    return Plotly.update(chart, { x }, { "xaxis.title.text": seconds ? "seconds of training" : "epoch", "xaxis.dtick": seconds ? null : figure.layout.xaxis.dtick ?? null });
  })));
  all(`input[name="${part.id}-y"]`, part).forEach((input) => input.addEventListener("change", () => apply((chart) =>
    Plotly.relayout(chart, { "yaxis.type": chosen("y"), "yaxis.autorange": true }))));
  all(".run-toggle", part).forEach((box) => box.addEventListener("change", () => apply((chart) => {
    const traces = chart.data.flatMap((trace, place) => (trace.meta === box.value ? [place] : []));
    return traces.length ? Plotly.restyle(chart, { visible: box.checked }, traces) : null;
  })));
}

// ---- the matrix: choose what is shown, enlarge, move with the arrow keys

for (const choice of all(".matrix-choice")) choice.addEventListener("change", () => {
  for (const box of all(".matrix-box", choice.closest("section"))) box.hidden = box.dataset.matrix !== choice.value;
});

for (const slider of all(".frame-slider")) slider.addEventListener("input", () => {
  // What was kept in the end comes first, and is the slider's last place.
  const chosen = (+slider.value + 1) % (+slider.max + 1);
  all(".frame", slider.closest(".matrix-box")).forEach((frame, place) => { frame.hidden = place !== chosen; });
  say(slider, JSON.parse(slider.dataset.frames)[+slider.value]);
});

const viewer = one("#viewer");
let at = null; // { strips, row, column } of the enlarged image

async function enlarge() {
  const strip = at.strips[at.row], names = columnsOf(strip), image = one("img", strip);
  const width = image.naturalWidth / names.length, height = image.naturalHeight;
  const canvas = one("canvas", viewer);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, at.column * width, 0, width, height, 0, 0, width, height);
  const label = `${one("th", strip.closest("tr")).textContent}: ${names[at.column]}`;
  one("#viewer-caption").textContent = label;
  canvas.setAttribute("aria-label", label);
  if (!viewer.open) viewer.showModal();
}
function move(direction) {
  if (direction === "close") return viewer.close();
  const step = { left: [0, -1], right: [0, 1], up: [-1, 0], down: [1, 0] }[direction];
  at.row = Math.max(0, Math.min(at.strips.length - 1, at.row + step[0]));
  at.column = Math.max(0, Math.min(columnsOf(at.strips[at.row]).length - 1, at.column + step[1]));
  enlarge();
}
for (const strip of all(".strip")) strip.addEventListener("click", (event) => {
  const strips = all(".strip", strip.closest("table")), box = strip.getBoundingClientRect();
  // A key press has no place of its own: it begins with the first image.
  const place = event.detail === 0 ? 0 : (event.clientX - box.left) / box.width;
  const column = Math.floor(Math.max(0, Math.min(0.999, place)) * columnsOf(strip).length);
  at = { strips, row: strips.indexOf(strip), column };
  enlarge();
});
all("[data-move]", viewer).forEach((button) => button.addEventListener("click", () => move(button.dataset.move)));
viewer.addEventListener("keydown", (event) => {
  const direction = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" }[event.key];
  if (!direction) return;
  event.preventDefault();
  move(direction);
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

// ---- the table: columns, filter, order, copies

const table = one("#runs"), heads = all("th", table), body = one("tbody", table);
const shownColumns = () => heads.flatMap((head, place) => (head.hidden ? [] : [place]));

all(".column").forEach((box) => box.addEventListener("change", () => {
  for (const row of all("tr", table)) row.children[+box.value].hidden = !box.checked;
  filterRows();
}));
function filterRows() {
  const words = one("#filter").value.toLowerCase().split(/\s+/).filter(Boolean), columns = shownColumns();
  for (const row of body.rows) {
    const text = columns.map((place) => row.cells[place].textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}
one("#filter").addEventListener("input", filterRows);
heads.forEach((head, place) => one("button", head).addEventListener("click", () => {
  const down = head.getAttribute("aria-sort") === "ascending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[place].dataset.value;
  const compare = (a, b) => (head.classList.contains("numeric") ? a - b : a.localeCompare(b));
  // Empty cells stay at the end in both orders.
  const order = (a, b) => (value(a) === "") - (value(b) === "") || (down ? -1 : 1) * compare(value(a), value(b));
  body.append(...[...body.rows].sort(order));
}));

function lines() {
  const columns = shownColumns(), rows = [...body.rows].filter((row) => !row.hidden);
  return [columns.map((place) => heads[place].textContent), ...rows.map((row) => columns.map((place) => row.cells[place].dataset.value))];
}
// A spreadsheet would compute texts that begin like formulas.
const inert = (cell) => (/^[=+\-@\t\r＝＋－＠]/.test(cell) && !Number.isFinite(+cell) ? `'${cell}` : cell);
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const asCsv = () => lines().map((row) => row.map((cell) => quoted(inert(cell))).join(",")).join("\n");
function asLatex() {
  const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  const escape = (text) => text.replace(/[\\~^&%$#_{}]/g, (mark) => special[mark] ?? `\\${mark}`);
  const short = (cell) => (cell !== "" && Number.isFinite(+cell) ? String(+(+cell).toPrecision(5)) : escape(cell));
  const [head, ...rows] = lines();
  const kinds = shownColumns().map((place) => (heads[place].classList.contains("numeric") ? "r" : "l")).join("");
  return [`\\begin{tabular}{${kinds}}`, "\\hline", `${head.map(escape).join(" & ")} \\\\`, "\\hline",
    ...rows.map((row) => `${row.map(short).join(" & ")} \\\\`), "\\hline", "\\end{tabular}"].join("\n");
}
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    one("#copied").textContent = `${text.split("\n").length} lines copied`;
  } catch { // no clipboard in this browser: the text is shown to be copied by hand
    const box = one("#copy-box");
    one("textarea", box).value = text;
    box.showModal();
    one("textarea", box).select();
  }
}
one("#copy-csv").addEventListener("click", () => copy(asCsv()));
one("#copy-latex").addEventListener("click", () => copy(asLatex()));
one("#copy-box button").addEventListener("click", () => one("#copy-box").close());

// ---- moving pictures: they move where the reader has not asked for less motion, and each can be stopped

for (const image of all("img[data-moving]")) {
  const [button, still] = [one("button", image.parentElement), image.src];
  const move = (moves) => {
    image.src = moves ? image.dataset.moving : still;
    button.textContent = moves ? "Pause" : "Play";
  };
  button.addEventListener("click", () => move(image.src === still));
  image.closest("details").addEventListener("toggle", (event) => {
    move(event.target.open && !matchMedia("(prefers-reduced-motion: reduce)").matches);
  });
}
