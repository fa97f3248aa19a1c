"""The page's script: unpacks the pictures' numbers, colours them for the theme, and draws them in turn."""

SCRIPT = r"""
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const chosen = { instruments: 0 };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let webgl;
  const hasWebgl = () => {
    if (webgl === undefined) {
      try { webgl = !!document.createElement("canvas").getContext("webgl"); } catch (e) { webgl = false; }
    }
    return webgl;
  };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  // "@s0" is the palette's s0; "@s0/50" the same, half transparent.
  const paint = (token) => {
    const [name, alpha] = token.slice(1).split("/"), value = css(name);
    return alpha ? value + Math.round(Number(alpha) * 2.55).toString(16).padStart(2, "0") : value;
  };

  const unpack = (packed) => {
    const text = atob(packed.u), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const units = new Uint32Array(bytes.buffer), out = new Float64Array(units.length);
    for (let i = 0; i < units.length; i++) {
      out[i] = units[i] === 4294967295 ? NaN : packed.a + packed.b * units[i];
    }
    return out;
  };
  const resolve = (value, key) => {
    if (typeof value === "string") {
      if (key === "type" && value === "scattergl" && !hasWebgl()) return "scatter";
      return value[0] === "@" && /color$/.test(key) ? paint(value) : value;
    }
    if (Array.isArray(value)) return value.map((item) => resolve(item, key));
    if (value && typeof value === "object") {
      if (typeof value.u === "string") return unpack(value);
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, k)]));
    }
    return value;
  };
  const merge = (base, over) => {
    const out = { ...base };
    for (const [key, value] of Object.entries(over)) {
      const plain = value && typeof value === "object" && !Array.isArray(value);
      out[key] = plain && out[key] ? merge(out[key], value) : value;
    }
    return out;
  };

  const theme = (layout) => {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("muted") };
    const axis = {
      gridcolor: css("rule"), linecolor: css("rule"), zerolinecolor: css("faint"), zeroline: false,
      gridwidth: 1, zerolinewidth: 1, ticks: "", tickfont: font, spikecolor: css("faint"), automargin: true,
      title: { font, standoff: 12 }, exponentformat: "none", separatethousands: true,
    };
    const base = {
      paper_bgcolor: css("paper"), plot_bgcolor: css("paper"), font, margin: { l: 70, r: 12, t: 44, b: 40 },
      separators: ".,", dragmode: "zoom", hoverdistance: 30,
      legend: {
        orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal",
        font: { ...font, color: css("ink") },
      },
      hoverlabel: {
        bgcolor: css("tint"), bordercolor: css("rule"), font: { ...font, color: css("ink") }, namelength: 40,
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("faint"), activecolor: css("ink") },
    };
    const out = merge(base, layout);
    for (const key of Object.keys(out)) if (/^[xy]axis\d*$/.test(key)) out[key] = merge(axis, out[key]);
    return out;
  };
  const config = {
    responsive: true, displaylogo: false, displayModeBar: "hover", showTips: false, typesetMath: false,
    // The library offers to upload a chart to its makers: never from here.
    showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: [
      "sendChartToCloud", "select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d",
    ],
  };

  const draw = (place) => {
    const name = place.dataset.figure, entry = figures[name];
    if (!entry) return null;
    const figure = resolve(Array.isArray(entry) ? entry[chosen[name]] : entry, "");
    return Plotly.react(place, figure.data, theme(figure.layout), config);
  };
  const places = [...document.querySelectorAll(".plot")];
  const drawAll = async () => { for (const place of places) { await draw(place); } };

  const choose = (name, n) => {
    chosen[name] = n;
    for (const bar of document.querySelectorAll(`.tabs[data-for="${name}"]`)) {
      for (const button of bar.children) {
        button.setAttribute("aria-selected", button.dataset.tab === String(n));
      }
      for (const note of bar.parentElement.querySelectorAll(".caption")) {
        note.classList.toggle("shown", note.dataset.caption === String(n));
      }
    }
  };
  for (const bar of document.querySelectorAll(".tabs")) {
    const name = bar.dataset.for;
    choose(name, 0);
    bar.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      choose(name, Number(button.dataset.tab));
      const place = document.getElementById("plot-" + name);
      Plotly.purge(place);
      draw(place);
    });
  }
  dark.addEventListener("change", drawAll);
  drawAll();
})();
"""
