// The code by its units: a slider for each, and the plane of the first two.
import { all, ask, make, number, one } from "./parts.js";

const FEW = 8; // units that have a slider at once where nothing tells which are active

// What is chosen; changed() is called once a hand has changed the code.
export const now = { line: 0, about: null, weight: null, label: null, source: null, sets: new Map(), edits: [], units: null, kept: [null, null], changed: null };
export const axes = () => now.units.units.slice(0, 2).map((unit) => unit.dim);

// ---- the plane of the first two units; its pictures lie at the middles of SIDE × SIDE cells

const pad = one("#pad");
export const SIDE = Number(pad.dataset.side);
const cell = (fraction) => Math.min(1, Math.max(0, (fraction * SIDE - 0.5) / (SIDE - 1)));
const fraction = (place) => (Math.min(1, Math.max(0, place)) * (SIDE - 1) + 0.5) / SIDE;

export async function paintRow(row, source) {
  const image = Object.assign(new Image(), { src: source });
  await image.decode();
  const canvas = one("#plane");
  const [width, height] = [image.width, SIDE * image.height];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(image, 0, row * image.height);
}

function placeSpot(values) {
  const [x, y] = now.units.units;
  if (!y) return;
  const at = (unit) => (values[unit.dim] - unit.low) / (unit.high - unit.low);
  one("#spot").style.left = `${100 * fraction(at(x))}%`;
  one("#spot").style.top = `${100 * (1 - fraction(at(y)))}%`;
  pad.setAttribute("aria-label", `Plane: z${x.dim} is ${number(values[x.dim])}, z${y.dim} is ${number(values[y.dim])}`);
  pad.values = values;
}

// The values of the code on the sliders, but for one that a hand is on.
export function showValues(values) {
  for (const slider of all("#units input")) {
    const value = values[slider.dataset.dim];
    if (slider !== document.activeElement || !now.sets.has(Number(slider.dataset.dim))) slider.value = value;
    one("output", slider.closest(".unit")).textContent = number(value);
  }
  placeSpot(values);
}

function moveTo(right, up) {
  [right, up].forEach((place, axis) => {
    const unit = now.units.units[axis];
    now.sets.set(unit.dim, unit.low + Math.min(1, Math.max(0, place)) * (unit.high - unit.low));
  });
  now.changed();
}

function drag(event) {
  const box = pad.getBoundingClientRect();
  moveTo(cell((event.clientX - box.left) / box.width), 1 - cell((event.clientY - box.top) / box.height));
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  drag(event);
});
pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && drag(event));
pad.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!step) return;
  event.preventDefault();
  moveTo(...step.map((by, axis) => {
    const unit = now.units.units[axis];
    const value = now.sets.get(unit.dim) ?? pad.values[unit.dim];
    return (value - unit.low) / (unit.high - unit.low) + by / 30;
  }));
});

// ---- units

const UNITS = {
  kl: (count, active) => `${active} of ${count} units are active. Each has its mean KL over test images in nats, and a slider in standard deviations of the prior.`,
  variance: (count, active) => `${active} of ${count} units are active. Each has the variance of its code over test images.`,
  null: (count) => `${count} units, by their number: how much each says of an image is not known here.`,
};

function unitSlider(unit) {
  const row = make("label", "", { className: "unit" });
  const tells = { kl: `, ${number(unit.information)} nats`, variance: `, σ² ${number(unit.information)}`, null: "" }[now.units.measure];
  const slider = make("input", "", { type: "range", min: unit.low, max: unit.high, step: (unit.high - unit.low) / 200 });
  slider.dataset.dim = unit.dim;
  slider.addEventListener("input", () => {
    now.sets.set(unit.dim, Number(slider.value));
    now.changed();
  });
  row.append(make("span", `z${unit.dim}${tells}`), slider, make("output"));
  return row;
}

export async function loadUnits() {
  const found = await ask("units", { line: now.line, weight: now.weight });
  if (now.units && JSON.stringify(found) === JSON.stringify(now.units)) return;
  now.units = found;
  const { units, count, active, all_active: total, measure } = found;
  const first = active ?? Math.min(FEW, units.length);
  one("#units-title").textContent = measure === "kl" ? "Units, by their KL" : "Units";
  one("#units-help").textContent = active === 0 && measure === "kl"
    ? "No unit is active: at this λ the posterior has collapsed to the prior, and the decoder hears nothing of the code."
    : UNITS[measure](count, total);
  const rows = units.map(unitSlider);
  rows.forEach((row, place) => { row.hidden = place >= first; });
  one("#units").replaceChildren(...rows);
  const more = one("#more");
  const rest = units.length - first;
  more.hidden = rest < 1;
  more.setAttribute("aria-expanded", "false");
  more.textContent = `${rest} more ${rest === 1 ? "unit" : "units"}`;
  more.onclick = () => {
    const open = more.getAttribute("aria-expanded") !== "true";
    more.setAttribute("aria-expanded", String(open));
    rows.slice(first).forEach((row) => { row.hidden = !open; });
    more.textContent = open ? "Fewer units" : `${rest} more ${rest === 1 ? "unit" : "units"}`;
  };
  pad.closest("figure").hidden = units.length < 2;
  if (units.length > 1) one("#axes").textContent = `z${units[0].dim} to the right, z${units[1].dim} upward`;
  one("#edit-dim").max = count - 1;
}
