// What the page's parts share: questions to the server, numbers in words, elements.
export const one = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text ?? "" }, more);

const TOKEN = new URLSearchParams(location.search).get("token") ?? "";
const problem = one("#problem");

let asking = 0;
const main = one("#main");

async function post(path, body) {
  let response;
  main.dataset.asking = ++asking;
  try {
    response = await fetch(path, { method: "POST", body, headers: { "X-Token": TOKEN } });
  } catch {
    throw new Error("vae-explore does not answer: it has ended, or the connection has");
  } finally {
    main.dataset.asking = --asking;
  }
  if (response.ok) return response;
  const found = await response.json().catch(() => ({}));
  throw new Error(found.error ?? `the server answers with ${response.status}: its terminal says more`);
}

export const ask = async (question, asked = {}) => (await post(question, JSON.stringify(asked))).json();
export const take = async (file) => (await post(`take?name=${encodeURIComponent(file.name)}`, file)).json();

// Saves what the server makes as a file of the browser's.
export async function save(asked) {
  const found = await (await post("save", JSON.stringify(asked))).blob();
  const link = make("a", "", { href: URL.createObjectURL(found), download: `${asked.what}.${asked.kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Says what went wrong, or that nothing does any more.
export function say(error) {
  problem.hidden = !error;
  problem.textContent = error ? error.message : "";
}

// An event's answer, whose problem is said.
export const safely = (act) => async (...given) => {
  try {
    await act(...given);
    say(null);
  } catch (error) {
    say(error);
  }
};

// Calls that are made while one is under way wait, and only the last of them is done.
export function newest(act) {
  let busy = false;
  let waiting = false;
  return async function run() {
    if (busy) {
      waiting = true;
      return;
    }
    busy = true;
    try {
      do {
        waiting = false;
        await safely(act)();
      } while (waiting);
    } finally {
      busy = false;
    }
  };
}

export const number = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
export const weighted = (weight) => `λ = ${String(Number(weight.toPrecision(3))).replace("-", "−")}`;
export const decibels = (value) => `${number(value, 1)} dB PSNR`;
export const inBits = (value) => (value === null ? "no prior, no bits" : `${number(value, value < 10 ? 2 : 1)} bits`);

// One picture of a row: an image with its lines below it.
export function pictured(image, alt, lines) {
  const item = make("li");
  item.append(make("img", "", { src: image, alt }));
  lines.forEach((line, place) => item.append(make(place ? "span" : "strong", line)));
  return item;
}
