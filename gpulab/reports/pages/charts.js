"use strict";
// The page's charts, drawn by uPlot from the data in the page; colours come from the page's own style.
const COLOURS = ["#1f77b4", "#d9730d", "#2a9d4e", "#c2334d", "#8458b3", "#8c6d46", "#c2559d", "#6f7780", "#949400", "#0b98a6"];
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = [];

// The steps as a band above the chart: a name stands in it where there is room; the cursor tells the others.
function band(spans) {
  const at = (u) => spans.find((s) => u.cursor.left >= 0 && within(u.posToVal(u.cursor.left, "x"), s));
  const within = (x, s) => x >= s.start && x <= s.end;
  let said;
  return {
    hooks: {
      ready: (u) => {
        said = document.createElement("p");
        said.className = "where";
        said.textContent = "\u00a0";
        u.root.append(said);
      },
      setCursor: (u) => { if (said) said.textContent = "step: " + ((at(u) || {}).step || "\u00a0"); },
      drawClear: (u) => {
        const { ctx, bbox } = u, px = devicePixelRatio || 1, height = 20 * px;
        ctx.save();
        ctx.font = `${11 * px}px sans-serif`;
        ctx.textBaseline = "middle";
        spans.forEach((s, n) => {
          const from = Math.max(u.valToPos(s.start, "x", true), bbox.left);
          const to = Math.min(u.valToPos(s.end, "x", true), bbox.left + bbox.width);
          if (to <= from) return;
          ctx.globalAlpha = n % 2 ? 0.16 : 0.34;
          ctx.fillStyle = style("--accent");
          ctx.fillRect(from, bbox.top - height, to - from, height);
          ctx.globalAlpha = 1;
          ctx.fillStyle = style("--ink");
          if (ctx.measureText(s.step).width + 8 * px < to - from) ctx.fillText(s.step, from + 4 * px, bbox.top - height / 2);
        });
        ctx.restore();
      },
    },
  };
}

const exponent = (v) => v.toExponential(2).replace(/\.?0+e/, "e");
const short = (v) => v == null ? "–" : Math.abs(v) >= 1e4 || (v && Math.abs(v) < 1e-3) ? exponent(v) : String(+v.toPrecision(4));

function draw(box) {
  const chart = JSON.parse(box.dataset.chart);
  const sides = [...new Set(chart.curves.map((c) => c.unit))];
  const axis = { stroke: () => style("--ink"), grid: { stroke: () => style("--line"), width: 1 }, ticks: { stroke: () => style("--line") } };
  const options = {
    width: box.clientWidth, height: 240, legend: { live: true }, padding: [chart.spans.length ? 26 : 8, 12, 0, 0],
    cursor: { drag: { x: true, y: false } },
    scales: { x: { time: false } },
    axes: [{ ...axis, label: chart.x, labelSize: 20 },
      ...sides.map((unit, n) => ({ ...axis, scale: unit || "y", side: n ? 1 : 3, size: 62, label: unit || undefined, labelSize: 18,
        grid: { ...axis.grid, show: !n }, values: (_, ticks) => ticks.map(short) }))],
    series: [{ label: chart.x, value: (_, v) => short(v) },
      ...chart.curves.map((c, n) => ({ label: c.label, scale: c.unit || "y", stroke: COLOURS[n % COLOURS.length], width: c.unit === "%" ? 0.8 : 1.6,
        dash: n >= COLOURS.length ? [6, 4] : undefined, spanGaps: true, points: { show: c.x.length < 40 },
        value: (_, v) => short(v) }))],
    plugins: chart.spans.length ? [band(chart.spans)] : [],
  };
  const plot = new uPlot(options, uPlot.join(chart.curves.map((c) => [c.x, c.y])), box);
  charts.push([plot, box]);
}

const fit = () => charts.forEach(([plot, box]) => plot.setSize({ width: box.clientWidth, height: 240 }));
// On paper two charts stand side by side, in the light colours, whatever the screen has.
const paper = () => charts.forEach(([plot, box]) => plot.setSize({ width: box.closest(".charts").children.length > 1 ? 330 : 670, height: 170 }));
const seen = new IntersectionObserver((found) => found.filter((f) => f.isIntersecting && f.target.clientWidth).forEach((f) => {
  seen.unobserve(f.target);
  draw(f.target);
}), { rootMargin: "600px" });
document.querySelectorAll(".chart").forEach((box) => seen.observe(box));
window.addEventListener("resize", () => fit());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(([plot]) => plot.redraw()));
window.addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  document.querySelectorAll("details").forEach((d) => { if (d.dataset.print !== undefined) d.open = true; });
  document.querySelectorAll(".chart").forEach((box) => { if (!box.firstChild) { seen.unobserve(box); draw(box); } });
  paper();
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  fit();
});

document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl-C";
  }
}));
