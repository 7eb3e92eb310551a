"use strict";

// Names come from records: they reach the page as text, never as markup.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Tables: a click on a heading sorts the measured rows of each block; all others stay where they are.
for (const table of all("table.sortable")) {
  const bodies = all("tbody.measured", table).map((body) => [body, all("tr[data-row]", body)]);
  all("thead th", table).forEach((heading, column) => {
    const button = heading.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last
        const numeric = Number(x) - Number(y);
        const result = Number.isNaN(numeric) ? x.localeCompare(y) : numeric;
        return ascending ? result : -result;
      };
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      for (const [body, rows] of bodies) body.append(...[...rows].sort(compare));
    });
  });
}

// Baseline: the others of its block show their difference to the pinned row.
const signed = (value, mean) =>
  (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(Math.abs(mean) >= 1 ? 2 : 4);
for (const card of all(".board")) {
  const bodies = all("tbody.measured", card).map((body) => ({
    rows: all("tr[data-row]", body),
    means: JSON.parse(body.dataset.means ?? "null"),
    widths: JSON.parse(body.dataset.widths ?? "null"),
  }));
  const column = all("thead th", card).findIndex((heading) => heading.classList.contains("against"));
  const pin = (key) => {
    card.classList.toggle("pinned", key !== null);
    for (const { rows, means, widths } of bodies) {
      const base = means ? rows.findIndex((row) => row.dataset.row === key) : -1;
      rows.forEach((row, i) => {
        const isBase = row.dataset.row === key;
        row.toggleAttribute("data-pinned", isBase);
        const button = row.querySelector(".pin");
        button.setAttribute("aria-pressed", String(isBase));
        button.textContent = isBase ? "baseline" : "pin";
        const cell = row.cells[column];
        cell.classList.remove("clear");
        delete cell.dataset.sort;
        cell.textContent = isBase ? "baseline" : "";
        if (base < 0 || isBase) return;
        const [difference, width] = [means[i] - means[base], widths[Math.max(i, base)][Math.min(i, base)]];
        cell.dataset.sort = difference;
        cell.textContent = signed(difference, means[i]);
        const ends = [difference - (width ?? 0), difference + (width ?? 0)];
        cell.classList.toggle("clear", width !== null && (ends[0] > 0 || ends[1] < 0));
        cell.append(
          note(width === null ? "n=1: no interval" : `[${ends.map((end) => signed(end, means[i])).join(", ")}]`),
        );
      });
    }
  };
  for (const button of all("button.pin", card)) {
    button.addEventListener("click", () => {
      pin(button.getAttribute("aria-pressed") === "true" ? null : button.closest("tr").dataset.row);
    });
  }
  pin(card.querySelector("tr[data-pinned]")?.dataset.row ?? null);
}

// Columns: what is not needed goes; on a narrow screen all but the score at first.
const headings = all("table.sortable thead th[data-column]");
const choices = document.querySelector("#columns .choices");
const narrow = innerWidth < 640;
for (const name of new Set(headings.map((heading) => heading.dataset.column))) {
  const own = headings.filter((heading) => heading.dataset.column === name);
  if (!own[0].classList.contains("extra")) continue;
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = !narrow && !own.every((heading) => heading.classList.contains("same"));
  const label = document.createElement("label");
  label.append(box, ` ${name}`);
  choices.append(label);
  const show = () => {
    for (const heading of own) {
      for (const row of heading.closest("table").rows) {
        const cell = row.cells[heading.cellIndex];
        if (cell && row.cells.length > 1) cell.hidden = !box.checked;
      }
    }
  };
  box.addEventListener("change", show);
  show();
}
document.addEventListener("click", (event) => {
  if (!event.target.closest("#columns")) document.getElementById("columns").open = false;
});

// Find: rows, lines and samples whose names hold every word.
const find = document.getElementById("find");
const rows = all("tr[data-row]");
const words = new Map(rows.map((row) => [row.dataset.row, row.dataset.words]));
function filter() {
  const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (key) => wanted.every((word) => words.get(key).includes(word));
  for (const element of all("[data-row]")) element.toggleAttribute("hidden", !fits(element.dataset.row));
  const shown = [...words.keys()].filter(fits).length;
  document.getElementById("found").textContent = wanted.length ? `${shown} of ${words.size} rows` : "";
}
find.addEventListener("input", filter);

// Charts: the nearest point shows its values; the legend hides and highlights lines.
const tip = document.getElementById("tip");
for (const charts of all(".charts")) {
  const legend = charts.previousElementSibling;
  const highlight = (row) => {
    charts.classList.toggle("picked", row !== null);
    for (const curve of all(".curve", charts)) curve.classList.toggle("hot", curve.dataset.row === row);
  };
  for (const button of all("button", legend)) {
    const row = button.dataset.row;
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      for (const curve of all(".curve", charts)) {
        if (curve.dataset.row === row) curve.classList.toggle("off", !shown);
      }
    });
    button.addEventListener("pointerenter", () => highlight(row));
    button.addEventListener("pointerleave", () => highlight(null));
  }
  for (const svg of all("svg", charts)) {
    const leave = () => {
      tip.hidden = true;
      highlight(null);
      all("circle.near", svg).forEach((circle) => circle.classList.remove("near"));
    };
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      leave();
      const scale = svg.getScreenCTM();
      let nearest = null;
      let least = 40 ** 2; // pixels
      for (const circle of all(".curve:not(.off):not([hidden]) circle", svg)) {
        const x = circle.cx.baseVal.value * scale.a + scale.e - event.clientX;
        const y = circle.cy.baseVal.value * scale.d + scale.f - event.clientY;
        if (x * x + y * y < least) {
          least = x * x + y * y;
          nearest = circle;
        }
      }
      if (!nearest) return;
      nearest.classList.add("near");
      const { name, row } = nearest.parentNode.dataset;
      highlight(row);
      tip.textContent = `${name}\n${nearest.dataset.hover}`;
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      const right = event.clientX + 16 + box.width > innerWidth;
      tip.style.left = `${Math.max(4, right ? event.clientX - 16 - box.width : event.clientX + 16)}px`;
      tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.height - 4))}px`;
    });
  }
}

// Commands: copy, also where a browser gives a page from a file no clipboard.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
for (const button of all("button.copy")) {
  button.addEventListener("click", async () => {
    await copy(button.closest(".command").querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
}

// Samples: a click shows a grid in full.
const zoom = document.getElementById("zoom");
for (const button of all("button.picture")) {
  button.addEventListener("click", () => {
    const picture = zoom.querySelector("img");
    picture.src = button.querySelector("img").src;
    picture.alt = button.querySelector("img").alt;
    zoom.showModal();
  });
}
zoom.addEventListener("click", () => zoom.close());

// Settings of any two runs, side by side.
const runs = JSON.parse(document.getElementById("runs").textContent);
for (const run of runs) {
  run.harmless = new Set(run.settings.filter(([, , harmless]) => harmless).map(([key]) => key));
  run.settings = new Map(run.settings.map(([key, value]) => [key, value]));
}
const [chooseA, chooseB] = [document.getElementById("run-a"), document.getElementById("run-b")];
const everything = document.getElementById("all-settings");
for (const choose of [chooseA, chooseB]) {
  const groups = new Map();
  runs.forEach((run, index) => {
    if (!groups.has(run.group)) {
      const group = document.createElement("optgroup");
      group.label = run.group;
      groups.set(run.group, group);
      choose.append(group);
    }
    groups.get(run.group).append(new Option(run.name, index));
  });
  choose.addEventListener("change", showDifference);
}
everything.addEventListener("change", showDifference);
// Begin with two rows of one data set, if there are two.
const second = runs.findIndex((run) => run.group === runs[0].group && run.row !== runs[0].row);
chooseB.value = String(second > 0 ? second : Math.min(1, runs.length - 1));

function showDifference() {
  const [a, b] = [runs[chooseA.value], runs[chooseB.value]];
  const keys = [...new Set([...a.settings.keys(), ...b.settings.keys()])];
  const body = document.querySelector("#diff tbody");
  body.replaceChildren();
  let [count, trained] = [0, 0];
  for (const key of keys) {
    const harmless = a.harmless.has(key) || b.harmless.has(key);
    const [x, y] = [a.settings.get(key), b.settings.get(key)];
    const differs = x !== y;
    count += differs;
    trained += differs && !harmless;
    if (!differs && !everything.checked) continue;
    const row = body.insertRow();
    row.className = (differs ? "differs" : "same") + (harmless ? " harmless" : "");
    const name = row.insertCell();
    name.className = "mono";
    name.textContent = key;
    for (const value of [x, y]) {
      const cell = row.insertCell();
      cell.className = "mono";
      cell.textContent = value ?? "";
      if (value === undefined) cell.append(note("not set"));
    }
  }
  const summary = document.getElementById("diff-summary");
  if (a === b) summary.textContent = "The same run twice.";
  else if (!count) summary.textContent = "All their settings are equal.";
  else {
    const others = count - trained;
    summary.textContent =
      `${trained} ${trained === 1 ? "entry" : "entries"} that may change the result differ` +
      `${trained === 1 ? "s" : ""}` +
      (others ? `; ${others} more (seed, paths, how it was carried out) in grey.` : ".");
  }
  document.getElementById("diff").hidden = !body.rows.length;
}

function note(text) {
  const small = document.createElement("small");
  small.textContent = text;
  return small;
}
showDifference();
