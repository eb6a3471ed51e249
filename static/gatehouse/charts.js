// Draws each chart from the JSON beside it, in the page's own colours, and again when the theme changes.
(() => {
  const colour = (name) => {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  // A figure names colours as "@brand" or "@brand/0.12"; here they become what the theme says.
  const resolve = (value) => {
    if (Array.isArray(value)) return value.map(resolve);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v)]));
    if (typeof value === "string" && value.startsWith("@")) {
      const [name, alpha] = value.slice(1).split("/");
      const rgb = colour(name);
      if (!alpha) return rgb;
      const parts = rgb.match(/[\d.]+/g).slice(0, 3);
      return `rgba(${parts.join(",")},${alpha})`;
    }
    return value;
  };
  const draw = () => {
    for (const element of document.querySelectorAll("[data-chart]")) {
      const source = document.getElementById(element.dataset.chart);
      if (!source || !window.Plotly) continue;
      const figure = resolve(JSON.parse(source.textContent));
      // On a narrow screen neighbouring events would write over each other: they take turns on three lines.
      if (element.clientWidth < 600) {
        (figure.layout.annotations || []).filter((a) => a.name === "event").forEach((a, i) => { a.yshift = -14 * (i % 3); });
        // Every other date, level, and room for a legend of several lines under the axis' title.
        const axis = figure.layout.xaxis;
        if (axis && axis.tickvals) {
          for (const key of ["tickvals", "ticktext"]) axis[key] = axis[key].filter((_, i) => i % 2 === 0);
          axis.tickangle = 0;
        }
        if (figure.layout.showlegend) {
          figure.layout.legend.y = -0.3;
          figure.layout.margin.b += 50;
          figure.layout.height += 50;
        }
      }
      const layout = Object.assign({}, figure.layout, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink-2") },
      });
      window.Plotly.react(element, figure.data, layout, { displayModeBar: false, responsive: true });
    }
  };
  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("htmx:afterSwap", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
