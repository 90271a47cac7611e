// The live page: what is asked for, the sliders, the plane, and pictures that are dropped in.
import { all, ask, decibels, inBits, make, newest, number, one, pictured, safely, save, say, take, weighted } from "./parts.js";
import { axes, loadUnits, now, paintRow, showValues, SIDE } from "./units.js";

const CALM = 150; // milliseconds after the last change before the plane is decoded again
const STEPS = 1000; // of a slider over λ that is continuous

// ---- what is asked for

const changes = () => [...[...now.sets].map(([dim, value]) => ({ dim, set: value })), ...now.edits];
const recipe = () => ({ source: now.source, label: now.label, changes: changes() });
const between = () => ({ between: now.kept, t: Number(one("#place").value) });
const asked = (more) => ({ line: now.line, weight: now.weight, recipe: recipe(), ...more });

// ---- theme

const theme = one("#theme");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = name === "dark" ? "Light" : "Dark";
  theme.setAttribute("aria-pressed", String(name === "dark"));
}
theme.addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// ---- the picture, and the values of its code

const show = newest(async () => {
  const { units } = now;
  if (!units) return;
  const found = await ask("show", asked({ dims: units.units.map((unit) => unit.dim) }));
  if (units !== now.units) return; // another network is shown by now, and asked next
  one("#picture").src = found.image;
  showValues(found.values);
  one("#original-box").hidden = !found.original;
  if (found.original) one("#original").src = found.original;
  const rows = found.original ? [["Its reconstruction", decibels(found.psnr)], ["Its code", inBits(found.bits)]] : [];
  one("#numbers").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  one("#picture").dataset.shown = String(Number(one("#picture").dataset.shown ?? 0) + 1);
});

// The plane, row by row, so that a slider never waits for all of it. Its own two units do not change it.
function planeAsked() {
  const own = new Set(axes());
  const rest = asked({ axes: axes() });
  rest.recipe.changes = rest.recipe.changes.filter((change) => !(own.has(change.dim) && "set" in change));
  return rest;
}

let later = 0;
let painted = "";
const paintPlane = newest(async () => {
  if (!now.units || now.units.count < 2) return;
  const wanted = planeAsked();
  const key = JSON.stringify(wanted);
  if (key === painted) return;
  painted = "";
  for (let row = 0; row < SIDE; row += 1) {
    if (!now.units || JSON.stringify(planeAsked()) !== key) return; // another one follows
    await paintRow(row, (await ask("plane", { ...wanted, row })).image);
  }
  painted = key;
});

function changed() {
  if (!now.units) return;
  one("#neighbours").replaceChildren(); // which were those of another picture
  show();
  clearTimeout(later);
  if (now.units.count > 1) later = setTimeout(paintPlane, CALM);
}
now.changed = changed;

// ---- where the code comes from

async function from(source, label, words) {
  now.source = source;
  if (label !== null && now.about.classes.length) {
    now.label = label;
    one("#class").value = label;
  }
  now.sets.clear();
  one("#said").textContent = words;
  changed();
  await showEvery();
}

const random = () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  return from({ kind: "prior", seed }, null, `Drawn from the ${now.about.prior}, seed ${seed}.${zero()}`);
};
const zero = () => (now.weight === 0 ? " At λ = 0 training leaves the prior out: the decoder has not learned what to make of it." : "");

async function datum() {
  const place = Math.floor(Math.random() * now.about.test);
  const { label, row } = await ask("datum", { line: now.line, place });
  await from({ kind: "data", place }, label, `Image ${row} of the data, from the test split.`);
}

async function dropped(files) {
  if (!files.length) return;
  const { key, frames } = await take(files[0]);
  const [channels, height, width] = now.about.shape;
  const first = frames > 1 ? `, the first of its ${frames} frames` : "";
  const colours = channels === 1 ? "gray" : "colour";
  await from({ kind: "upload", key }, null, `${files[0].name}${first}: turned upright, its middle made ${width}×${height} in ${colours}, as the data are.`);
}

one("#random").addEventListener("click", safely(random));
one("#data").addEventListener("click", safely(datum));
one("#file").addEventListener("change", safely((event) => dropped(event.target.files)));
const drop = one("#drop");
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
addEventListener("drop", safely((event) => now.about.encodes && dropped(event.dataTransfer.files)));

// ---- the same at every λ

const showEvery = newest(async () => {
  const { pictures, original } = await ask("every", asked());
  const isPicture = now.source.kind !== "prior";
  const items = pictures.map((found) => {
    const name = found.kl_weight === null ? "reconstruction" : weighted(found.kl_weight);
    const lines = isPicture ? [name, decibels(found.psnr), inBits(found.bits)] : [name];
    return Object.assign(pictured(found.image, `decoded, ${name}`, lines), { weight: found.kl_weight });
  });
  const first = original ? [pictured(original, "the encoded picture", ["the picture"])] : [];
  one("#every-strip").replaceChildren(...first, ...items);
  one("#every-help").textContent = isPicture
    ? "The picture is encoded and decoded by each network, from the mean of its code. PSNR: how near the reconstruction is, higher is nearer. Bits: what the code takes beside the prior, KL / ln 2, or the length of a discrete code."
    : "The same draw decoded by each network. Choose a picture to see its reconstructions with their PSNR and bits.";
  mark();
});
const mark = () => all("#every-strip li").forEach((item) => item.classList.toggle("now", item.weight !== undefined && item.weight === now.weight));

// ---- λ, runs, class

function weightAt(place) {
  if (!now.about.bounds) return now.about.weights[place];
  const [low, high] = now.about.bounds;
  return place === STEPS ? high : low * (high / low) ** (place / STEPS);
}

const moveWeight = newest(async () => {
  const slider = one("#weight");
  now.weight = weightAt(Number(slider.value));
  const unit = now.about.unit === "nats" ? "" : ` (${now.about.unit})`;
  one("#lambda").textContent = now.weight === null ? "" : weighted(now.weight) + unit;
  slider.setAttribute("aria-valuetext", one("#lambda").textContent);
  if (!now.about.bounds) now.sets.clear(); // another run has other units
  mark();
  await loadUnits();
  changed();
  if (now.kept.every(Boolean)) showWay();
});
one("#weight").addEventListener("input", moveWeight);
one("#class").addEventListener("change", (event) => {
  now.label = Number(event.target.value);
  changed();
  showEvery();
});

async function loadLine(place) {
  one("#said").textContent = "Loading the networks…";
  const about = await ask("line", { line: place });
  Object.assign(now, { line: place, about, label: about.classes.length ? 0 : null, sets: new Map(), edits: [], kept: [null, null], units: null });
  const [channels, height, width] = about.shape;
  one("#about").textContent = `${about.folders.length} ${about.folders.length === 1 ? "run" : "runs"} · images of ${height}×${width}×${channels} · ${now.device}`;
  one("#weights").hidden = about.weights.length === 1;
  const slider = one("#weight");
  slider.max = about.bounds ? STEPS : about.weights.length - 1;
  const nearOne = about.weights.findIndex((weight) => weight >= 1);
  slider.value = about.bounds ? STEPS / 2 : Math.max(0, nearOne);
  one("#classes").hidden = !about.classes.length;
  one("#class").replaceChildren(...about.classes.map((name, place) => make("option", name, { value: place })));
  one("#random").hidden = !about.prior;
  one("#random").textContent = about.prior?.startsWith("Gaussian") ? "Random code" : "Random from the prior";
  one("#data").hidden = !about.encodes || !about.test;
  all(".file, #between, #every, a[href='#every'], a[href='#between']").forEach((part) => { part.hidden = !about.encodes; });
  one("#near").hidden = !about.prepared;
  one("#every-title").textContent = about.weights[0] === null ? "The picture and its reconstruction" : "At every λ";
  const lacking = about.prepared ? [] : ["The images of these runs are not prepared here: pictures decode, but none come from the data. data_dir=FOLDER says where they are."];
  const remarks = [...now.remarks.map((line) => `Left out: ${line}`), ...lacking];
  one("#remarks").replaceChildren(...remarks.map((line) => make("li", line)));
  one("#remarks").hidden = !remarks.length;
  one("#edited").replaceChildren();
  one("#way").replaceChildren();
  one("#neighbours").replaceChildren();
  showKept();
  now.weight = weightAt(Number(slider.value));
  now.source = { kind: "prior", seed: 0 };
  await moveWeight();
  await (about.encodes && about.test ? datum() : about.prior ? random() : null);
}

// ---- between two

function showKept() {
  const there = now.kept.every(Boolean);
  one("#place").disabled = !there;
  all("[data-what=way]").forEach((saves) => { saves.hidden = !there; });
  one("#mixed-box").hidden = !there;
  ["a", "b"].forEach((name, place) => { one(`#keep-${name}`).setAttribute("aria-pressed", String(Boolean(now.kept[place]))); });
}

const mix = newest(async () => {
  one("#t").textContent = `t = ${number(Number(one("#place").value))}`;
  one("#mixed").src = (await ask("show", asked({ recipe: between() }))).image;
});
const showWay = newest(async () => {
  const { images } = await ask("way", asked({ recipe: between() }));
  one("#way").replaceChildren(...images.map((image, place) => {
    const t = `t = ${number(place / (images.length - 1))}`;
    return pictured(image, `decoded at ${t}`, [place === 0 ? `A, ${t}` : place === images.length - 1 ? `B, ${t}` : t]);
  }));
  await mix();
});
["a", "b"].forEach((name, place) => one(`#keep-${name}`).addEventListener("click", () => {
  now.kept[place] = structuredClone(recipe());
  showKept();
  if (now.kept.every(Boolean)) showWay();
}));
one("#place").addEventListener("input", mix);

// ---- edits, neighbours, files

function listEdits() {
  one("#edited").replaceChildren(...now.edits.map((edit, place) => {
    const [kind] = Object.keys(edit).filter((key) => key !== "dim");
    const words = { add: `z${edit.dim} + ${edit.add}`, set: `z${edit.dim} = ${edit.set}`, scale: `z${edit.dim} × ${edit.scale}` }[kind];
    const item = make("li", `${words} `);
    const remove = make("button", "Remove", { type: "button", ariaLabel: `Remove ${words}` });
    remove.addEventListener("click", () => {
      now.edits.splice(place, 1);
      listEdits();
      changed();
    });
    item.append(remove);
    return item;
  }));
}

one("#edits").addEventListener("submit", (event) => {
  event.preventDefault();
  now.edits.push({ dim: Number(one("#edit-dim").value), [one("#edit-kind").value]: Number(one("#edit-value").value) });
  listEdits();
  changed();
});
one("#reset").addEventListener("click", () => {
  now.sets.clear();
  now.edits = [];
  listEdits();
  changed();
});
one("#find").addEventListener("click", safely(async () => {
  const { neighbours } = await ask("neighbours", asked());
  one("#neighbours").replaceChildren(...neighbours.map(({ image, distance, row }) =>
    pictured(image, `training image ${row}, RMSE ${number(distance, 3)}`, [`RMSE ${number(distance, 3)}`, `training image ${row}`])));
}));

const NAMES = { picture: "the picture", plane: "the plane", every_weight: "the row", way: "the way" };
for (const saves of all(".saves")) {
  const what = saves.dataset.what;
  saves.append(make("span", `Save ${NAMES[what]}:`));
  for (const kind of ["PNG", "GIF", "npz"]) {
    const button = make("button", kind, { type: "button", ariaLabel: `Save ${NAMES[what]} as ${kind}` });
    button.addEventListener("click", safely(() => save(asked({ what, kind: kind.toLowerCase(), axes: axes(), ...(what === "way" ? { recipe: between() } : {}) }))));
    saves.append(button);
  }
}

// ---- begin

safely(async () => {
  const { lines, remarks, device } = await ask("state");
  Object.assign(now, { remarks, device });
  one("#model").replaceChildren(...lines.map((name, place) => make("option", name, { value: place })));
  one("#models").hidden = lines.length === 1;
  one("#title").textContent = lines.length === 1 ? lines[0] : "What the networks have learned";
  one("#model").addEventListener("change", safely((event) => loadLine(Number(event.target.value))));
  await loadLine(0);
  document.body.dataset.ready = "yes";
})();
say(null);
