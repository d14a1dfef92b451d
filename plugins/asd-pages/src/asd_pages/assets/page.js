"use strict";
(() => {
  const text = (cell) => cell.dataset.value ?? cell.textContent.trim();

  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };

  const sort = (table, index, heading) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [text(row.cells[index]), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last either way
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };

  const filterField = (table) => {
    const label = document.createElement("label");
    const field = document.createElement("input");
    const count = document.createElement("output");
    field.type = "search";
    label.append(table.dataset.filter, " ", field);
    const rows = [...table.tBodies[0].rows].map((row) => [row.textContent.toLowerCase(), row]);
    const show = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [content, row] of rows) {
        row.hidden = !words.every((word) => content.includes(word));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length}`;
    };
    field.addEventListener("input", show);
    show();
    const bar = document.createElement("div");
    bar.className = "filter";
    bar.append(label, count);
    table.parentElement.before(bar);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, index, heading));
    });
    if (table.dataset.filter) filterField(table);
  }

  // The titles of horizontal axes break into lines where they are wider than the plot.
  const breakTitles = (node, most) => {
    for (const [key, value] of Object.entries(node)) {
      if (!value || typeof value !== "object" || key === "data") continue;
      if (key === "x" && typeof value.title === "string" && value.title.length > most) {
        value.title = value.title.split(" ").reduce((lines, word) => {
          const last = lines.at(-1);
          return last && `${last} ${word}`.length <= most ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
        }, []);
      }
      breakTitles(value, most);
    }
  };

  // A chart is drawn when it is about to be seen; until then, and where scripts are off, its picture stands there.
  const fitted = (spec, width) => {
    const limit = Math.max(90, Math.round(width * 0.4));
    spec.config = spec.config || {};
    for (const axis of ["axisY", "axisX"]) {
      const own = (spec.config[axis] || {}).labelLimit || (spec.config.axis || {}).labelLimit || 180;
      spec.config[axis] = { ...spec.config[axis], labelLimit: Math.min(own, limit) };
    }
    const rows = spec.encoding?.y;
    if (rows?.type === "nominal") { // long names lose their middle: their ends tell them apart
      const most = Math.floor(Math.min(limit, spec.config.axisY.labelLimit) / 6.8), half = most >> 1;
      const short = `slice(datum.label, 0, ${half}) + '…' + slice(datum.label, ${half + 1 - most})`;
      rows.axis = { ...rows.axis, labelExpr: `length(datum.label) > ${most} ? ${short} : datum.label` };
    }
    breakTitles(spec, Math.floor((width - limit) / 7.5));
    if (width < 640) spec.config.legend = { ...spec.config.legend, columns: 1 };
    if (spec.usermeta?.fixed) return spec;
    if (spec.facet && spec.columns) {
      spec.columns = Math.max(1, Math.min(spec.columns, Math.floor((width - 20) / ((spec.spec.width || 200) + 50))));
    } else if (typeof spec.width === "number" && typeof spec.height === "number") {
      spec.width = "container";
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    return spec;
  };

  const charts = document.querySelector("script.charts");
  const loadCharts = () => {
    if (window.vegaEmbed) return;
    const script = document.createElement("script"); // the page's policy knows its digest
    script.textContent = charts.textContent;
    document.body.append(script);
  };

  const draw = (figure) => {
    loadCharts();
    const box = figure.querySelector(".drawn");
    figure.classList.add("drawing");
    const spec = fitted(JSON.parse(figure.querySelector("script").textContent), figure.clientWidth);
    const actions = { export: { svg: true, png: true }, source: false, compiled: false, editor: false };
    window
      .vegaEmbed(box, spec, { ast: true, renderer: "svg", actions, downloadFileName: figure.dataset.name })
      .then(() => figure.classList.replace("drawing", "live"))
      .catch((error) => {
        figure.classList.remove("drawing");
        console.error(error);
      });
  };

  const whenNear = (elements, act) => {
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) {
          seen.unobserve(target);
          act(target);
        }
      }
    }, { rootMargin: "400px" });
    elements.forEach((element) => seen.observe(element));
  };
  const show = (image) => { image.src = image.dataset.src; };
  const later = document.querySelectorAll("img[data-src]");
  // The page is there first.
  addEventListener("load", () => {
    setTimeout(() => {
      if (charts) whenNear(document.querySelectorAll(".chart"), draw);
      whenNear(later, show);
    });
  });
  addEventListener("beforeprint", () => later.forEach(show));
})();
