"use strict";

// Names come from records: they reach the page as text, never as markup.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Tables: a click on a heading sorts the measured rows; cited ones stay where they are.
for (const table of all("table.sortable")) {
  const body = table.querySelector("tbody.measured");
  const order = [...body.rows];
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
      body.append(...[...order].sort(compare));
    });
  });
}

// Charts: the nearest point shows its values; the legend hides and highlights lines.
const tip = document.getElementById("tip");
for (const charts of all(".charts")) {
  const legend = charts.previousElementSibling;
  const highlight = (name) => {
    charts.classList.toggle("picked", name !== null);
    for (const curve of all(".curve", charts)) curve.classList.toggle("hot", curve.dataset.name === name);
  };
  for (const button of all("button", legend)) {
    const name = button.dataset.name;
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      for (const curve of all(".curve", charts)) {
        if (curve.dataset.name === name) curve.classList.toggle("off", !shown);
      }
    });
    button.addEventListener("pointerenter", () => highlight(name));
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
      for (const circle of all(".curve:not(.off) circle", svg)) {
        const x = circle.cx.baseVal.value * scale.a + scale.e - event.clientX;
        const y = circle.cy.baseVal.value * scale.d + scale.f - event.clientY;
        if (x * x + y * y < least) {
          least = x * x + y * y;
          nearest = circle;
        }
      }
      if (!nearest) return;
      nearest.classList.add("near");
      const name = nearest.parentNode.dataset.name;
      highlight(name);
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
