// The page of a large run: draws the part of the results that a reader filters for.
(() => {
  const COLUMNS = 40, ROWS = 50, CELLS = 50;
  const { byId, count, fits: named, shown, start, told, wanted } = Report;
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== "") element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const data = JSON.parse(byId("results").textContent);
  const table = byId("results-table"), words = byId("words");
  const links = new Map(data.links.map(([row, column, anchor]) => [row * data.cells.length + column, anchor]));
  const lower = {
    cases: data.cases.map((one) => one[1].toLowerCase()),
    cells: data.cells.map((one) => one[2].toLowerCase()),
    kinds: data.kinds.map((one) => `${one[1]} ${one[2]}, ${one[3]}`.toLowerCase()),
  };
  const at = { cells: 0, cases: 0 };
  let rows = [], columns = [], fits = () => true, anchors = null;

  // -- the filter: a result fits if each term is in its case, its cell or its outcome
  const filter = () => {
    const { terms, key } = wanted(), whole = 2 ** terms.length - 1;
    const bits = (texts) => texts.map((one) => terms.reduce((sum, term, n) => sum | (one.includes(term) << n), 0));
    const ofCase = bits(lower.cases), ofCell = bits(lower.cells), ofKind = bits(lower.kinds);
    const keyed = data.kinds.map((one) => named(key, [one[0], one[4]]));
    fits = (row, column) => {
      const kind = data.results[row][column];
      return keyed[kind] && (ofCase[row] | ofCell[column] | ofKind[kind]) === whole;
    };
    const any = new Uint8Array(data.cells.length);
    let found = 0;
    rows = [];
    for (let row = 0; row < data.cases.length; row += 1) {
      const before = found;
      for (let column = 0; column < any.length; column += 1) {
        if (fits(row, column)) { found += 1; any[column] = 1; }
      }
      if (found > before) rows.push(row);
    }
    columns = [...any.keys()].filter((column) => any[column]);
    at.cells = at.cases = 0;
    shown({ terms, key });
    anchors = terms.length || key ? new Set(columns.map((column) => data.cells[column][3])) : null;
    told(found, rows.length, columns.length);
    draw();
    list(CELLS);
  };

  // -- the table: a page of what fits
  const page = (which, all, size) => {
    const shown = all.slice(at[which], at[which] + size);
    byId(`${which}-shown`).textContent = all.length
      ? `${which} ${at[which] + 1} to ${at[which] + shown.length} of ${all.length.toLocaleString("en")}` : "";
    for (const button of document.querySelectorAll(`[data-page=${which}]`)) {
      button.disabled = Number(button.dataset.step) < 0 ? !at[which] : at[which] + size >= all.length;
      button.parentElement.hidden = all.length <= size;
    }
    return shown;
  };
  const field = (row, column) => {
    const [key, sign, word, meaning, change] = data.kinds[data.results[row][column]];
    const td = make("td", { class: `m-${key}${change ? ` c-${change}` : ""}${fits(row, column) ? "" : " dim"}` });
    const anchor = links.get(row * data.cells.length + column);
    const seen = words.checked ? ` ${word}` : "";
    const heard = `${seen ? "" : ` ${word}`}${key === "pass" ? "" : `, ${meaning}`}`;
    const told = [sign + seen, ...(heard ? [make("u", {}, heard)] : [])];
    td.append(...(anchor ? [make("a", { href: `#${anchor}` }, ...told)] : told));
    return td;
  };
  const draw = () => {
    const across = page("cells", columns, COLUMNS), down = page("cases", rows, ROWS);
    // Of a cell the values are shown, one below the other, and the names of the axes once, beside them.
    const axes = make("span", { class: "axes", "aria-hidden": "true" }, data.axes.join("\n"));
    const groups = make("tr", {}, make("th", { rowspan: "2", scope: "col" }, "case", axes));
    for (const column of across) {
      const name = data.groups[data.cells[column][0]], last = groups.lastElementChild;
      if (last.dataset.group === name) last.colSpan += 1;
      else groups.append(make("th", { scope: "colgroup", colspan: "1", "data-group": name }, name));
    }
    const heads = across.map((column) => {
      const [, values, name, anchor] = data.cells[column];
      const shown = make("span", { "aria-hidden": "true" }, values.join("\n"));
      const link = make("a", { href: `#${anchor}`, title: name }, make("span", { class: "sr" }, name), shown);
      return make("th", { class: "cell", scope: "col" }, link);
    });
    const body = down.map((row) => {
      const [name, , anchor] = data.cases[row];
      const head = make("th", { scope: "row" }, make("a", { href: `#${anchor}` }, name));
      return make("tr", {}, head, ...across.map((column) => field(row, column)));
    });
    table.replaceChildren(
      make("caption", { class: "sr" }, "Cases by row, cells by column, the outcome with its sign"),
      make("thead", {}, groups, make("tr", {}, ...heads)), make("tbody", {}, ...body),
    );
    byId("browse").querySelector(".scroll").hidden = !down.length;
  };

  // -- the cells: their facts are read when the first one is opened
  let known = null;
  const facts = () => {
    known ??= JSON.parse(byId("cells-data").textContent);
    return known;
  };
  const pairs = (flat) => flat.flatMap((_, n) => n % 2 ? [] : [[flat[n], flat[n + 1]]]);
  const fill = (details, cell) => {
    if (details.querySelector("table")) return;
    const { texts } = facts();
    const told = pairs(cell[4]).map(([name, value]) =>
      make("tr", {}, make("th", { scope: "row" }, texts[name]), make("td", {}, texts[value])));
    const files = pairs(cell[5]).map(([name, href]) => make("li", {}, make("a", { href }, texts[name])));
    const caption = make("caption", { class: "sr" }, `Provenance of ${cell[1]}`);
    details.lastElementChild.append(
      make("table", { class: "facts" }, caption, make("tbody", {}, ...told)),
      ...(files.length ? [make("ul", { class: "files" }, ...files)] : []));
  };
  const part = (cell) => {
    const { texts } = facts();
    const badge = make("span", { class: `badge m-${texts[cell[2]]}` }, texts[cell[3]]);
    const details = make("details", {}, make("summary", {}, badge, ` ${cell[1]}`), make("div", { id: cell[0] }));
    details.addEventListener("toggle", () => { if (details.open) fill(details, cell); });
    return details;
  };
  const list = (most) => {
    const chosen = facts().cells.filter((cell) => !anchors || anchors.has(cell[0]));
    const more = byId("cells-more");
    byId("cell-list").replaceChildren(...chosen.slice(0, most).map(part));
    more.hidden = chosen.length <= most;
    more.firstElementChild.textContent = `${count(chosen.length - Math.min(most, chosen.length), "more cell")}.`;
    more.lastElementChild.onclick = () => list(most + 4 * CELLS);
  };

  // -- links into the page, of which a part may not be drawn yet
  const opened = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!byId(id)) {
      const cell = facts().cells.find((one) => one[0] === id);
      if (cell) byId("cell-list").prepend(part(cell));
    }
    Report.opened();
  };

  byId("browse").hidden = false;
  for (const button of document.querySelectorAll("[data-page]")) {
    button.addEventListener("click", () => {
      const size = button.dataset.page === "cells" ? COLUMNS : ROWS;
      at[button.dataset.page] += Number(button.dataset.step) * size;
      draw();
    });
  }
  words.addEventListener("change", draw);
  addEventListener("hashchange", opened);
  start(filter);
  if (location.hash) opened();
})();
