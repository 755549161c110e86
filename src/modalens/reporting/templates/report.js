"use strict";
// One part of the page at a time, tables that sort and filter, lists by the page, charts that answer to mouse and keys.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const number = text => {
    const found = text.replace(/−/g, "-").replace(/,/g, "").match(/[+-]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : NaN;
  };
  const compare = (a, b) => {
    const [x, y] = [a, b].map(value => (typeof value === "number" ? value : number(String(value).trim())));
    const numeric = value => typeof value === "number" || /^[<+−-]?\s*\d/.test(String(value).trim()) || /^[–]?$/.test(String(value).trim());
    if (numeric(a) && numeric(b)) return (Number.isNaN(x) ? -Infinity : x) - (Number.isNaN(y) ? -Infinity : y);
    return String(a).localeCompare(String(b));
  };

  // Parts
  const panels = all(".panel"), tabs = all("nav.tabs a");
  const show = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1))) || panels[0];
    const panel = target.closest(".panel") || panels[0];
    for (const other of panels) other.hidden = other !== panel;
    for (const tab of tabs) {
      if (tab.hash === "#" + panel.id) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    if (target === panel) scrollTo(0, 0);
    else target.scrollIntoView();
    widths();
  };
  // Only what does scroll is a stop for the keyboard.
  const widths = () => all(".scroll, pre").forEach(box => {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "scrolls sideways");
    } else ["tabindex", "role", "aria-label"].forEach(name => box.removeAttribute(name));
  });

  // Tables
  const heads = (row, sorted) => all("th", row).forEach((cell, index) => {
    if (!cell.textContent.trim()) return;
    const button = make("button", { type: "button" }, cell.textContent);
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") === (cell.className === "t" ? "ascending" : "descending") ? cell.className === "t" : cell.className !== "t";
      all("th", row).forEach(other => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      sorted(index, down ? -1 : 1);
    });
  });
  const filter = (name, typed) => {
    const label = make("label", {}, `filter ${name} `), input = make("input", { type: "search" });
    input.addEventListener("input", () => typed(input.value.toLowerCase()));
    label.append(input);
    return label;
  };
  all("table.sortable").forEach(table => {
    const body = table.tBodies[0], rows = [...body.rows];
    heads(table.tHead.rows[0], (index, sign) => {
      const key = new Map(rows.map(row => [row, row.cells[index].textContent]));
      body.append(...rows.sort((a, b) => sign * compare(key.get(a), key.get(b))));
    });
    if (rows.length > 12) {
      const tools = make("div", { class: "tools" });
      tools.append(filter("rows", text => rows.forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(text); })));
      table.parentElement.before(tools);
    }
  });

  // Lists too long for a table: rows from JSON, so many at a time.
  const PAGE = 20;
  all(".listing").forEach(box => {
    const { columns, rows, numbers } = JSON.parse(box.querySelector("script").textContent);
    const words = rows.map(row => row.join("\n").toLowerCase()), numeric = new Set(numbers);
    let order = rows.map((_, index) => index), kept = order, first = 0;
    const table = make("table"), head = make("tr"), body = make("tbody"), scroll = make("div", { class: "scroll" });
    columns.forEach((name, index) => head.append(make("th", numeric.has(index) ? {} : { class: "t" }, name)));
    table.append(make("caption", {}, box.dataset.caption), make("thead"), body);
    table.tHead.append(head);
    scroll.append(table);
    const said = make("span", { role: "status" });
    const [before, after] = ["earlier", "later"].map(name => make("button", { type: "button" }, name));
    let text = "";
    const draw = () => {
      body.replaceChildren(...kept.slice(first, first + PAGE).map(index => {
        const line = make("tr");
        rows[index].forEach((value, column) => line.append(make("td", numeric.has(column) ? {} : { class: "t" }, String(value).replace(/^-/, "−"))));
        return line;
      }));
      said.textContent = kept.length ? `${first + 1} to ${Math.min(first + PAGE, kept.length)} of ${kept.length}` : "no clip";
      before.disabled = first === 0;
      after.disabled = first + PAGE >= kept.length;
      widths();
    };
    const narrow = () => { kept = order.filter(index => words[index].includes(text)); first = 0; draw(); };
    before.addEventListener("click", () => { first -= PAGE; draw(); });
    after.addEventListener("click", () => { first += PAGE; draw(); });
    heads(head, (index, sign) => { order = order.slice().sort((a, b) => sign * compare(rows[a][index], rows[b][index])); narrow(); });
    const tools = make("div", { class: "tools" });
    tools.append(filter("clips", typed => { text = typed; narrow(); }), said, before, after);
    box.append(tools, scroll);
    draw();
  });

  // Charts: drawn by Vega when they come into view; the drawing of the page stays for print.
  const read = live => {
    // The intervals are told with their dots.
    const marks = () => all('.role-mark:not(.mark-rule) > [role="graphics-symbol"][aria-label]', live);
    const output = make("output", { class: "read" });
    let at = -1;
    live.tabIndex = 0;
    live.setAttribute("role", "group");
    live.after(output);
    live.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || event.target !== live || !marks().length) return;
      event.preventDefault();
      at = (at + step + marks().length) % marks().length;
      all("[data-at]", live).forEach(mark => mark.removeAttribute("data-at"));
      marks()[at].setAttribute("data-at", "");
      output.textContent = marks()[at].getAttribute("aria-label");
    });
    live.addEventListener("blur", () => all("[data-at]", live).forEach(mark => mark.removeAttribute("data-at")));
  };
  const draw = async chart => {
    const spec = JSON.parse(chart.querySelector("script").textContent);
    if (spec.width !== spec.height) { spec.width = "container"; spec.autosize = { type: "fit-x", contains: "padding" }; }
    const still = chart.querySelector(".static"), live = make("div", { class: "live" });
    live.setAttribute("aria-label", chart.dataset.words + ". Arrow keys read its marks.");
    spec.background = "transparent";
    still.before(live);
    try {
      await vegaEmbed(live, spec, { actions: false, renderer: "svg", tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" } });
      // A list below a chart is for its values, not for its keys.
      read(live);
      still.hidden = true;
    } catch (error) {
      live.remove();
      console.error(error);
    }
  };
  const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => { seen.unobserve(entry.target); draw(entry.target); }), { rootMargin: "200px" });
  all(".chart").forEach(chart => seen.observe(chart));

  all("button.copy").forEach(button => button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.of).textContent);
    button.textContent = "copied";
  }));
  addEventListener("hashchange", show);
  addEventListener("resize", widths);
  show();
})();
