// Draws the matrix, its history and the contradictions. Words from wheels become textContent only.
const machineName = (m) => data.machines[m];
const shortName = (s) => (data.stacks[s].series === WRITTEN ? data.stacks[s].name : data.stacks[s].version);
const fullName = (s) => (data.stacks[s].series === WRITTEN ? data.stacks[s].name : `${data.stacks[s].series} ${data.stacks[s].version}`);
const label = (stacks) => (stacks.length === 1 ? shortName(stacks[0]) : `${shortName(stacks.at(-1))} – ${shortName(stacks[0])}`);
function chip(verdict) {
  return el("span", { class: `chip v-${verdict}` }, el("span", { class: "g", "aria-hidden": "true", text: GLYPH.get(verdict) }), ` ${verdict}`);
}
function lampRow(face) {
  const row = el("span", { class: "row", "aria-hidden": "true" });
  [...face[6]].forEach((mark, at) => row.append(el("span", { class: `lamp t-${face[7][at]}`, text: mark })));
  return row;
}
const spoken = (face) => data.lamps.map(([name], at) => `${name} ${face[at] || "unknown"}`).join(", ");

const begins = (columns, column) => columns[columns.indexOf(column) - 1]?.t !== column.t;
function drawCell(cells, stacks, columns, column) {
  const [m] = column.machines;
  const found = cells.get(key(stacks[0], column.t, m, primary()));
  if (!found) return el("td", { role: "gridcell", tabindex: "-1" });
  const face = data.faces[found[0]];
  const other = faceAt(cells, stacks[0], column.t, m, second());
  const machine = column.alone && column.machines.length > 1 ? "" : ` ${machineName(m)}`;
  const cell = el("td", {
    class: begins(columns, column) ? "cell begins" : "cell", role: "gridcell", tabindex: "-1", "aria-haspopup": "dialog",
    "aria-label": `${label(stacks)}, ${data.targets[column.t].name}${machine}: ${face[4]}${face[5] ? ", " + face[5] : ""}; ${spoken(face)}`,
    "data-cell": [data.stacks[stacks[0]].name, data.targets[column.t].name, machineName(m), data.environments[primary()]].map(encodeURIComponent).join("/"),
    title: face[5].replaceAll("_", " ") || false,
  }, chip(face[4]), lampRow(face));
  if (other !== undefined && other !== found[0])
    cell.append(el("span", { class: "devel" }, `${data.environments[second()]} `, chip(data.faces[other][4])));
  if (state.verdict && face[4] !== state.verdict) cell.classList.add("faded");
  return cell;
}
function drawRow(cells, columns, stacks, id) {
  const many = stacks.length > 1;
  const head = el("th", { scope: "row", role: "rowheader" });
  if (many) {
    const button = el("button", { type: "button", class: "range", tabindex: "-1", "aria-expanded": String(opened.has(id)), text: label(stacks), "data-row": id });
    head.append(button, el("small", { text: `${stacks.length} releases` }));
  } else head.append(el("span", { class: "range single", text: label(stacks) }));
  return el("tr", { role: "row" }, head, ...columns.map((column) => drawCell(cells, stacks, columns, column)));
}
// With two machines the product with the first CPU is named first in the data, and that with the other last.
function productOf(target, column) {
  const second = target.machines.length > 1 && column.machines.every((m) => machineName(m) !== target.machines[0]);
  return (second ? target.products.at(-1) : target.products[0]) ?? "";
}
function drawMatrix() {
  const cells = cellsOf(state.capability);
  const places = placesOf(cells);
  const rows = fold(cells, places);
  const columns = merge(cells, places, rows);
  const table = el("table", { role: "grid", "aria-label": `${state.capability}: stacks by targets` });
  const heads = columns.map((column) => {
    const target = data.targets[column.t];
    const under = column.machines.map(machineName).join(", ");
    return el("th", { scope: "col", role: "columnheader", class: begins(columns, column) ? "begins" : false, title: `compute capability ${target.compute_capability}: ${target.products.join(", ")}` },
      el("b", { text: target.name }), el("small", { text: under }), el("small", { text: productOf(target, column) }));
  });
  table.append(el("thead", {}, el("tr", { role: "row" }, el("th", { scope: "col", role: "columnheader" }, el("b", { text: "Stack" })), ...heads)));
  const body = el("tbody");
  let shown = 0;
  for (const [series, runs] of rows) {
    body.append(el("tr", { class: "series", role: "row" }, el("th", { scope: "rowgroup", role: "rowheader", text: series }), el("td", { colspan: columns.length || 1, role: "presentation" })));
    for (const { stacks } of runs) {
      const id = `${series}|${data.stacks[stacks[0]].name}|${stacks.length}`;
      shown += stacks.length;
      body.append(drawRow(cells, columns, stacks, id));
      if (stacks.length > 1 && opened.has(id))
        for (const s of stacks) {
          const child = drawRow(cells, columns, [s], "");
          child.classList.add("child");
          body.append(child);
        }
    }
  }
  table.append(body);
  $("scroll").replaceChildren(table);
  const count = [...rows.values()].reduce((sum, runs) => sum + runs.length, 0);
  $("status").textContent = count ? `${shown} of ${data.stacks.length} stacks in ${count} rows` : "Nothing matches these filters.";
  (table.querySelector("td.cell") ?? table.querySelector("[tabindex]"))?.setAttribute("tabindex", "0");
}
function drawHistory() {
  const cells = cellsOf(state.capability);
  const places = placesOf(cells);
  const wanted = state.q.toLowerCase();
  const series = new Map();
  data.stacks.forEach((stack, s) => {
    if (wanted && !stack.name.toLowerCase().includes(wanted)) return;
    series.set(stack.series, [s, ...(series.get(stack.series) ?? [])]);
  });
  $("history").replaceChildren();
  for (const [name, stacks] of series) {
    const heat = el("div", { class: "heat", style: `grid-template-columns: auto repeat(${stacks.length}, minmax(17px, 1fr))` }, el("span"));
    stacks.forEach((s) => heat.append(el("span", { class: "x", text: shortName(s) })));
    for (const { t, machines: [m] } of places) {
      const target = data.targets[t].name;
      heat.append(el("span", { class: "y" }, el("b", { text: target }), " ", el("span", { text: machineName(m) })));
      for (const s of stacks) {
        const face = data.faces[faceAt(cells, s, t, m, primary())];
        heat.append(face ? el("i", {
          class: `v-${face[4]}`, text: GLYPH.get(face[4]), title: `${fullName(s)}, ${target} ${machineName(m)}: ${face[4]}${face[5] ? " (" + face[5].replaceAll("_", " ") + ")" : ""}`,
          "data-cell": [data.stacks[s].name, target, machineName(m), data.environments[primary()]].map(encodeURIComponent).join("/"),
        }) : el("span"));
      }
    }
    const summary = `${state.capability}, ${name}, ${stacks.length} ${stacks.length === 1 ? "stack" : "stacks"}, verdict by release and target; the matrix above has the same cells in text`;
    $("history").append(el("div", { class: "strip", tabindex: "0", role: "region", "aria-label": `History of ${name}` }, el("h3", { text: `${name}: ${state.capability}` }), el("div", { role: "img", "aria-label": summary }, heat)));
  }
}
let most = BATCH;
function drawContradictions() {
  const q = state.q.toLowerCase();
  const wanted = data.contradictions.filter((one) => one.capability === state.capability
    && one.places.some(([target, machine]) => (!state.target || target === state.target) && (!state.machine || machine === state.machine))
    && one.stacks.some((s) => data.stacks[s].name.toLowerCase().includes(q)));
  $("contradictions-title").textContent = `Contradictions in ${state.capability}: ${wanted.length}`;
  $("list").replaceChildren(...wanted.slice(0, most).map((one) => {
    const copy = el("button", { type: "button", text: "Copy" });
    copy.addEventListener("click", () => copyText(copy, [`${one.label}, ${one.where}, ${one.capability}: ${one.kind}`, "", one.text, "", ...one.read.map((line) => `- ${line}`)].join("\n")));
    return el("li", {}, el("span", { class: "what" }, el("b", { text: one.kind }), `  ${one.label} · ${one.where}`), el("p", { text: one.text }), el("ul", {}, ...one.read.map((line) => el("li", { class: "where", text: line }))), copy);
  }));
  $("more").hidden = wanted.length <= most;
  $("more").textContent = `Show ${wanted.length - most} more`;
}
async function copyText(button, text) {
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch {
    const area = el("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = done ? "Copied" : "Copy failed";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
