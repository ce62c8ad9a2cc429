"use strict";
(() => {
  const form = document.getElementById("filter");
  const table = document.querySelector("#matrix table");
  const opened = () => {
    // Not every browser opens a details element when a link leads into it.
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let d = target && target.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", opened);
  if (location.hash) opened();
  for (const button of document.querySelectorAll("button[data-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = button.dataset.open === "yes";
      for (const d of document.querySelectorAll("#failures details")) if (!d.hidden) d.open = open;
    });
  }
  if (!form || !table) return;
  form.hidden = false;
  const text = form.elements.text, verdict = form.elements.verdict, words = form.elements.words;
  const status = document.getElementById("found");
  const heads = [...table.tHead.rows[1].cells].map((th) => ({ th, text: th.dataset.text }));
  const groups = [...table.tHead.rows[0].cells].slice(1);
  const rows = [...table.tBodies[0].rows].map((tr) => ({
    tr,
    text: tr.dataset.text,
    cells: [...tr.cells].slice(1).map((td) => ({
      td,
      key: td.className.slice(2),
      text: td.textContent.toLowerCase(),
    })),
  }));
  const items = [...document.querySelectorAll("[data-item]")].map((e) => ({
    e, key: e.dataset.key, text: e.dataset.item,
  }));
  const sections = [...document.querySelectorAll("[data-items]")];
  const apply = () => {
    const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const key = verdict.value;
    const all = !terms.length && !key;
    const columns = new Array(heads.length).fill(false);
    let found = 0, cases = 0;
    for (const row of rows) {
      let any = false;
      row.cells.forEach((cell, i) => {
        const own = `${row.text} ${heads[i].text} ${cell.text}`;
        const fits = (!key || cell.key === key) && terms.every((term) => own.includes(term));
        cell.td.classList.toggle("dim", !fits);
        if (fits) { found += 1; any = true; columns[i] = true; }
      });
      row.tr.hidden = !any && !all;
      cases += any;
    }
    heads.forEach((head, i) => {
      const hide = !columns[i] && !all;
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
    for (const item of items) {
      item.e.hidden = !((!key || item.key === key) && terms.every((term) => item.text.includes(term)));
    }
    for (const section of sections) section.hidden = !section.querySelector("[data-item]:not([hidden])");
    const cells = columns.filter(Boolean).length;
    const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
    status.textContent = `${count(found, "result")} in ${count(cases, "case")} and ${count(cells, "cell")}`;
  };
  let waiting = 0;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 80); });
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("reset", () => setTimeout(apply));
  words.addEventListener("change", () => table.classList.toggle("signs", !words.checked));
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); text.focus(); }
    if (event.key === "Escape" && event.target === text) { text.value = ""; apply(); }
  });
  apply();
})();
