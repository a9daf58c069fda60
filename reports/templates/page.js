// Evidence of one cell, keys, clicks, tabs and filters; runs last.
// ---- the panel
let back = "";
function source(where) {
  if (!/^https:\/\/[^\s]+$/.test(where)) return el("span", { class: "where", text: where });
  return el("a", { class: "where", href: where, rel: "noopener noreferrer", target: "_blank", text: where });
}
function openPanel(address) {
  let parts = [];
  try { parts = address.split("/").map(decodeURIComponent); } catch { /* a damaged address opens nothing */ }
  const [stack, target, machine, environment] = parts;
  const s = data.stacks.findIndex((one) => one.name === stack);
  const t = data.targets.findIndex((one) => one.name === target);
  const found = cellsOf(state.capability).get(key(s, t, data.machines.indexOf(machine), data.environments.indexOf(environment)));
  if (!found) { state.cell = ""; return; }
  const face = data.faces[found[0]];
  state.cell = address;
  $("panel-title").textContent = `${state.capability} on ${target}`;
  const body = $("panel-body");
  body.replaceChildren(el("p", { text: `${fullName(s)}, ${machine}, ${environment}` }),
    el("p", {}, chip(face[4]), ` ${MEANING.get(face[4])}`));
  if (face[5]) body.append(el("p", { text: `Reason: ${face[5].replaceAll("_", " ")}` }));
  const others = data.environments.filter((name, e) => name !== environment && cellsOf(state.capability).has(key(s, t, data.machines.indexOf(machine), e)));
  for (const name of others) {
    const swap = el("button", { type: "button", text: `Show ${name}` });
    swap.addEventListener("click", () => { openPanel([stack, target, machine, name].map(encodeURIComponent).join("/")); writeHash(); body.focus(); });
    body.append(el("p", { class: "swap" }, swap));
  }
  const lamps = el("dl", { class: "kv" });
  data.lamps.forEach(([name, , question], at) => lamps.append(el("dt", {}, el("span", { class: `lamp t-${face[7][at]}`, text: face[6][at] })), el("dd", { text: name }), el("dd", {}, face[at] || "unknown", el("small", { text: question }))));
  const items = el("ul", { class: "items" });
  for (const at of data.evidence[found[1]]) {
    const [kind, name, answer, text, where] = data.items[at].map(wordAt);
    items.append(el("li", {}, el("div", { class: "top" }, el("span", { class: "kind", text: kind }), el("b", { text: name }), el("span", { class: `answer a-${/^[a-z_]+$/.test(answer) ? answer : "unknown"}`, text: answer })), text ? el("p", { text }) : "", where ? source(where) : ""));
  }
  body.append(el("h3", { text: "Lamps" }), lamps, el("h3", { text: "Evidence" }), items.children.length ? items : el("p", { text: "Nothing was read for this cell." }));
  const pins = el("dl", { class: "pins" });
  for (const [name, version] of Object.entries(data.stacks[s].pins[machine] ?? {})) pins.append(el("dt", { text: name }), el("dd", { text: version }));
  if (pins.children.length) body.append(el("h3", { text: "Pins" }), pins);
  if (data.stacks[s].note) body.append(el("p", { text: data.stacks[s].note }));
  body.scrollTop = 0;
  if (!$("panel").open) { $("panel").showModal(); $("close").focus(); }
}
const withCell = (address) => [...document.querySelectorAll("#scroll [data-cell]")].find((node) => node.dataset.cell === address);
function show(address) { back = address; openPanel(address); writeHash(); }
$("panel").addEventListener("close", () => { state.cell = ""; writeHash(); const node = withCell(back) ?? $("scroll").querySelector("[tabindex='0']"); if (node) focusCell(node); });
$("panel").addEventListener("click", (event) => { if (event.target === $("panel")) $("panel").close(); });
$("close").addEventListener("click", () => $("panel").close());

// ---- keys and clicks
function focusCell(node) {
  for (const other of $("scroll").querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
  node.setAttribute("tabindex", "0");
  node.focus();
}
function toggle(id) {
  if (opened.has(id)) opened.delete(id); else opened.add(id);
  const { scrollLeft, scrollTop } = $("scroll");
  drawMatrix();
  Object.assign($("scroll"), { scrollLeft, scrollTop });
  const node = [...document.querySelectorAll("[data-row]")].find((one) => one.dataset.row === id);
  if (node) focusCell(node);
}
const stops = () => [...$("scroll").querySelectorAll("tbody tr:not(.series)")].map((row) => [row.querySelector("button.range"), ...row.querySelectorAll("td")]);
$("scroll").addEventListener("keydown", (event) => {
  const node = event.target.closest("td, button.range");
  if (!node) return;
  if ((event.key === "Enter" || event.key === " ") && node.dataset.cell) { event.preventDefault(); show(node.dataset.cell); return; }
  const grid = stops();
  const y = grid.findIndex((row) => row.includes(node));
  const x = grid[y].indexOf(node);
  const far = grid[y].length - 1;
  const [ny, nx] = { ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1], Home: [y, 1], End: [y, far], PageUp: [Math.max(y - 8, 0), x], PageDown: [Math.min(y + 8, grid.length - 1), x] }[event.key] ?? [];
  if (ny === undefined) return;
  event.preventDefault();
  const next = grid[ny]?.[nx] ?? (nx === 0 && ny !== y ? grid[ny]?.[1] : undefined);
  if (next) focusCell(next);
});
document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-row]");
  const cell = event.target.closest("[data-cell]");
  if (row) toggle(row.dataset.row);
  else if (cell) show(cell.dataset.cell);
});
for (const [link, place] of [["skip", "matrix"], ["to-contradictions", "contradictions"]])
  $(link).addEventListener("click", (event) => { event.preventDefault(); $(place).scrollIntoView(); $(place).focus(); });
$("more").addEventListener("click", () => { most += 100; drawContradictions(); });

// ---- tabs and filters
const options = (id, names) => $(id).append(...names.map((name) => el("option", { value: name, text: name })));
options("target", data.targets.map((one) => one.name));
options("machine", data.machines);
$("environment").append(el("option", { value: "", text: data.environments.length > 1 ? "slim, devel where it differs" : "any" }));
options("environment", data.environments);
options("verdict", data.verdicts.map(([name]) => name).filter((name) => data.faces.some((face) => face[4] === name)));
for (const name of data.capabilities) $("tabs").append(el("button", { type: "button", role: "tab", "data-tab": name, "aria-controls": "matrix", text: name }));
$("tabs").addEventListener("click", (event) => {
  const name = event.target.dataset?.tab;
  if (name) { state.capability = name; most = BATCH; draw(); }
});
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = data.capabilities;
  state.capability = all[(all.indexOf(state.capability) + step + all.length) % all.length];
  draw();
  $("tabs").querySelector("[aria-selected=true]").focus();
});
$("filters").addEventListener("input", () => { for (const name of FIELDS) state[name] = $(name).value; draw(); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  for (const name of FIELDS) state[name] = $(name).value = BLANK[name];
  draw();
});

function draw() {
  for (const tab of $("tabs").children) {
    const chosen = tab.dataset.tab === state.capability;
    tab.setAttribute("aria-selected", String(chosen));
    tab.setAttribute("tabindex", chosen ? "0" : "-1");
  }
  drawMatrix();
  drawHistory();
  drawContradictions();
  writeHash();
}
function restore() {
  readHash();
  const address = state.cell;
  draw();
  if (address) show(address); else if ($("panel").open) $("panel").close();
}
addEventListener("hashchange", restore);
restore();
