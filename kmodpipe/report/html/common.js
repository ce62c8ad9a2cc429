"use strict";
// What the page of every run does: filter by its numbers, open what a link leads into, copy, scroll, print.
const Report = (() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const form = byId("filter");
  const GOOD = ["pass", "unmet", "defect"];
  // Whether something with these keys is what the filter shows.
  const fits = (key, keys) => !key || (key === "good" ? GOOD.some((one) => keys.includes(one)) : keys.includes(key));
  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  // -- links into the page
  const scrolled = (details) => {
    for (const mark of details.querySelectorAll("pre mark")) {
      const pre = mark.closest("pre");
      pre.scrollTop = Math.max(0, mark.offsetTop - pre.offsetTop - pre.clientHeight / 3);
    }
  };
  const opened = () => {
    // Not every browser opens a details element when a link leads into it.
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    for (let d = target && target.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
    const own = target && target.querySelector(":scope > details");
    if (own && target.tagName === "SECTION") own.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", opened);
  for (const card of all("details.card")) {
    card.addEventListener("toggle", () => { if (card.open) scrolled(card); });
    if (card.open) scrolled(card);
  }
  for (const button of all("button[data-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = button.dataset.open === "yes";
      for (const d of all("#failures-s details.card")) if (!d.hidden) d.open = open;
    });
  }
  // What is printed is read without a mouse.
  addEventListener("beforeprint", () => { for (const d of all("#failures-s details.card")) d.open = true; });

  // -- copy
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page that is opened from the disk may not have the clipboard.
      const area = document.createElement("textarea");
      area.value = text;
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const was = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = was; }, 1500);
  };
  for (const button of all("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button.parentElement.querySelector("pre").textContent, button));
  }

  // -- the filter: what of the page fits, apart from the matrix
  const items = all("[data-keys]").map((e) => ({ e, keys: e.dataset.keys.split(" "), text: e.dataset.text }));
  const sections = all("[data-items]");
  const tiles = all("a[data-filter]");
  const wanted = () => ({
    terms: form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean).slice(0, 30),
    key: form.elements.verdict.value,
  });
  const shown = ({ terms, key }) => {
    for (const item of items) {
      item.e.hidden = !(fits(key, item.keys) && terms.every((term) => item.text.includes(term)));
    }
    for (const section of sections) {
      section.hidden = !section.querySelector("[data-keys]:not([hidden])");
    }
    for (const tile of tiles) tile.setAttribute("aria-pressed", String(Boolean(key) && tile.dataset.filter === key));
  };
  const told = (found, cases, cells) => {
    byId("found").textContent = `${count(found, "result")} in ${count(cases, "case")} and ${count(cells, "cell")}`;
  };
  const start = (apply) => {
    form.hidden = false;
    let waiting = 0;
    const later = () => { clearTimeout(waiting); waiting = setTimeout(apply, 80); };
    form.addEventListener("input", later);
    form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
    form.addEventListener("reset", () => setTimeout(apply));
    const words = byId("words");
    if (words) words.closest("label").hidden = false;
    for (const tile of tiles) {
      tile.setAttribute("role", "button");
      const press = (event) => {
        event.preventDefault();
        const select = form.elements.verdict, key = tile.dataset.filter;
        select.value = select.value === key ? "" : key;
        apply();
        const anchor = tile.getAttribute("href").slice(1);
        if (select.value && anchor === "matrix") byId("matrix-d").open = true;
        if (select.value) byId(anchor)?.scrollIntoView({ block: "start" });
      };
      tile.addEventListener("click", press);
      tile.addEventListener("keydown", (event) => { if (event.key === " ") press(event); });
    }
    addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === "/" && !typing) { event.preventDefault(); form.elements.text.focus(); }
      if (event.key === "Escape" && event.target === form.elements.text) { form.elements.text.value = ""; apply(); }
    });
    apply();
  };
  return { all, byId, count, fits, opened, shown, start, told, wanted };
})();
