// The page of a run whose matrix is one table.
(() => {
  const { byId, fits, opened, shown, start, told, wanted } = Report;
  if (location.hash) opened();
  const table = document.querySelector("#matrix table");
  if (!byId("filter") || !table) return;
  const words = byId("words");
  const heads = [...table.tHead.rows[1].cells].map((th) => ({ th, text: th.dataset.cell }));
  const groups = [...table.tHead.rows[0].cells].slice(1);
  const rows = [...table.tBodies[0].rows].map((tr) => ({
    tr, text: tr.dataset.case,
    cells: [...tr.cells].slice(1).map((td) => ({
      td, text: td.textContent.toLowerCase(), keys: td.className.split(" ").map((name) => name.slice(2)),
    })),
  }));
  const apply = () => {
    const { terms, key } = wanted();
    const everything = !terms.length && !key;
    const columns = new Array(heads.length).fill(false);
    let found = 0, cases = 0;
    for (const row of rows) {
      let any = false;
      row.cells.forEach((cell, i) => {
        const own = `${row.text} ${heads[i].text} ${cell.text}`;
        const match = fits(key, cell.keys) && terms.every((term) => own.includes(term));
        cell.td.classList.toggle("dim", !match);
        if (match) { found += 1; any = true; columns[i] = true; }
      });
      row.tr.hidden = !any && !everything;
      cases += any;
    }
    heads.forEach((head, i) => {
      const hide = !columns[i] && !everything;
      if (head.th.hidden === hide) return;
      head.th.hidden = hide;
      for (const row of rows) row.cells[i].td.hidden = hide;
    });
    let at = 0;
    for (const group of groups) {
      const size = Number(group.dataset.size);
      const left = heads.slice(at, at + size).filter((head) => !head.th.hidden).length;
      group.hidden = !left;
      if (left) group.colSpan = left;
      at += size;
    }
    shown({ terms, key });
    told(found, cases, columns.filter(Boolean).length);
  };
  words.addEventListener("change", () => table.classList.toggle("signs", !words.checked));
  start(apply);
})();
