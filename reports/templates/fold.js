// Reads the data of the page, keeps the filters in the address, folds releases that look the same.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SLIM = data.environments.indexOf("slim");
const GLYPH = new Map(data.verdicts.map(([name, glyph]) => [name, glyph]));
const MEANING = new Map(data.verdicts.map(([name, , meaning]) => [name, meaning]));
const WRITTEN = "other stacks";
const BATCH = 20;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (key === "class") node.className = value;
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// cells: key → [face, evidence], one map per capability, made when it is first asked for.
const maps = new Map();
const key = (stack, target, machine, environment) => `${stack}.${target}.${machine}.${environment}`;
function cellsOf(capability) {
  if (!maps.has(capability)) {
    const map = new Map();
    const at = data.capabilities.indexOf(capability);
    for (const [s, t, m, e, c, face, evidence] of data.cells)
      if (c === at) map.set(key(s, t, m, e), [face, evidence]);
    maps.set(capability, map);
  }
  return maps.get(capability);
}

// strings: how many characters a word shares with the one before, then the rest of it.
let words;
function wordAt(at) {
  if (!words) {
    words = [];
    for (let i = 0; i < data.strings.length; i += 2)
      words.push((words.at(-1) ?? "").slice(0, data.strings[i]) + data.strings[i + 1]);
  }
  return words[at];
}

// ---- state, kept in the address
const BLANK = { capability: data.first, q: "", target: "", machine: "", environment: "", verdict: "", cell: "" };
const state = { ...BLANK };
const opened = new Set();
const FIELDS = ["q", "target", "machine", "environment", "verdict"];

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(BLANK)) state[name] = given.get(name) ?? BLANK[name];
  if (!data.capabilities.includes(state.capability)) state.capability = data.first;
  for (const name of FIELDS) {
    $(name).value = state[name];
    if ($(name).value !== state[name]) state[name] = $(name).value = BLANK[name];
  }
}
function writeHash() {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value !== BLANK[name]) kept.set(name, value);
  const hash = kept.toString();
  if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

// ---- folding: what the filters leave decides what is equal
const primary = () => (state.environment ? data.environments.indexOf(state.environment) : Math.max(SLIM, 0));
const second = () => (state.environment ? -1 : data.environments.findIndex((_, e) => e !== primary()));
function placesOf(cells) {
  const places = [];
  data.targets.forEach((target, t) => {
    if (state.target && target.name !== state.target) return;
    for (const machine of target.machines) {
      const m = data.machines.indexOf(machine);
      if (m < 0 || (state.machine && machine !== state.machine)) continue;
      if (data.stacks.some((_, s) => cells.has(key(s, t, m, primary())))) places.push({ t, machines: [m], alone: true });
    }
  });
  return places;
}
const faceAt = (cells, s, t, m, e) => (e < 0 ? undefined : cells.get(key(s, t, m, e))?.[0]);
function signature(cells, s, { t, machines: [m] }) {
  return `${faceAt(cells, s, t, m, primary())}/${faceAt(cells, s, t, m, second())}`;
}
function fold(cells, places) {
  const wanted = state.q.toLowerCase();
  const rows = new Map();
  data.stacks.forEach((stack, s) => {
    if (wanted && !stack.name.toLowerCase().includes(wanted)) return;
    const faces = places.map((p) => faceAt(cells, s, p.t, p.machines[0], primary()));
    if (faces.every((f) => f === undefined)) return;
    if (state.verdict && !faces.some((f) => f !== undefined && data.faces[f][4] === state.verdict)) return;
    const same = places.map((p) => signature(cells, s, p)).join();
    const series = rows.get(stack.series) ?? [];
    rows.set(stack.series, series);
    const last = series.at(-1);
    const next = last && data.stacks.findIndex((other, at) => at > last.stacks.at(-1) && other.series === stack.series);
    if (last && last.same === same && next === s && stack.series !== WRITTEN) last.stacks.push(s);
    else series.push({ same, stacks: [s] });
  });
  return rows;
}
function merge(cells, places, rows) {
  const columns = [];
  for (const place of places) {
    const last = columns.at(-1);
    if (last && last.t === place.t) {
      const same = [...rows.values()].flat().every((row) => signature(cells, row.stacks[0], last) === signature(cells, row.stacks[0], place));
      if (same) { last.machines.push(...place.machines); continue; }
      last.alone = place.alone = false;
    }
    columns.push({ ...place, machines: [...place.machines] });
  }
  return columns;
}
