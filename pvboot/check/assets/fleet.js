"use strict";
// Sorting and filtering.  Everything shown is in the page already; nothing here makes markup out of text.
(() => {
  const collator = new Intl.Collator("en", { numeric: true });

  function sortBy(table, header, column) {
    const descending = header.getAttribute("aria-sort") === "ascending"
      || (!header.hasAttribute("aria-sort") && header.dataset.first === "descending");
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (body) => body.rows[0].cells[column].dataset.key;
    const bodies = [...table.tBodies];
    const sign = descending ? -1 : 1;
    bodies.sort((a, b) => sign * collator.compare(key(a), key(b)) || a.dataset.order - b.dataset.order);
    table.append(...bodies);
  }

  for (const table of document.querySelectorAll("table")) {
    [...table.tBodies].forEach((body, order) => { body.dataset.order = order; });
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => sortBy(table, header, column));
    });
  }

  // Without this script everything stands open.
  for (const button of document.querySelectorAll("button.open")) {
    const more = button.closest("tbody").rows[1];
    const set = (open) => { more.hidden = !open; button.setAttribute("aria-expanded", String(open)); };
    button.addEventListener("click", () => set(more.hidden));
    set(false);
  }

  const search = document.getElementById("search");
  const outcome = document.getElementById("outcome");
  const rule = document.getElementById("rule");
  const shown = document.getElementById("shown");
  const bodies = [...document.getElementById("sources").tBodies];

  function filter() {
    const text = search.value.toLowerCase();
    let count = 0;
    for (const body of bodies) {
      const rules = body.dataset.rules.split(" ");
      const fits = (!outcome.value || body.dataset.outcome === outcome.value)
        && (!rule.value || rules.includes(rule.value))
        && (!text || body.textContent.toLowerCase().includes(text));
      body.hidden = !fits;
      count += fits;
      for (const item of body.querySelectorAll("li")) {
        item.hidden = Boolean(rule.value) && item.dataset.rule !== rule.value;
      }
    }
    shown.textContent = `${count} of ${bodies.length} sources`;
  }

  search.addEventListener("input", filter);
  for (const list of [outcome, rule]) list.addEventListener("change", filter);
  for (const button of document.querySelectorAll("button.rule")) {
    button.addEventListener("click", () => {
      rule.value = button.dataset.rule;
      filter();
      document.getElementById("sources-title").scrollIntoView();
    });
  }
  filter();
})();
