// Two small multiples over the last hour or day, as SVG, and as a table for screen readers.
const WIDTH = 600, HEIGHT = 140, SVG = "http://www.w3.org/2000/svg";

function shape(name, className, attributes) {
  const node = document.createElementNS(SVG, name);
  node.setAttribute("class", className);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  return node;
}

function drawing(label, parts) {
  const svg = shape("svg", "", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  svg.append(...parts, shape("line", "base", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }));
  return svg;
}

function legend(text, keys) {
  const caption = element("figcaption", text);
  for (const [className, name] of keys) caption.append(element("span", "", `key ${className}`), name);
  return caption;
}

function bars(points, placeOf, kinds, highest) {
  const width = Math.max(1, placeOf.step - 1), height = (value) => HEIGHT * value / highest;
  return points.flatMap((point) => {
    let top = HEIGHT;
    return kinds.map((kind) => {
      const tall = height(point[kind]);
      top -= tall;
      return shape("rect", kind, { x: placeOf(point), y: top, width, height: tall });
    });
  });
}

function places(points, hours) {
  const step = WIDTH / Math.max(points.length, hours === 1 ? 60 : 96), end = now();
  const placeOf = (point) => Math.max(0, WIDTH * (1 - (end - Date.parse(point.at)) / (hours * 3600000)) - step);
  return Object.assign(placeOf, { step });
}

function showCharts(points, hours) {
  const placeOf = places(points, hours), over = hours === 1 ? "the last 60 minutes" : "the last 24 hours";
  const limit = points.length ? points.at(-1).limit : 10;
  const top = Math.max(limit, ...points.map((point) => point.signed + point.failed + point.other)) * 1.1;
  const line = HEIGHT * (1 - limit / top);
  byId("calls-chart").replaceChildren(
    legend(`Calls per window; the dashed line is the limit, ${limit}.`,
      [["signed", "signed"], ["failed", "failed"], ["other", "refused or limited"]]),
    drawing(`Calls per window over ${over}, never above the limit of ${limit}`,
      [...bars(points, placeOf, ["signed", "failed", "other"], top),
        shape("line", "limit", { x1: 0, x2: WIDTH, y1: line, y2: line })]));
  const most = Math.max(1, ...points.map((point) => point.backlog));
  const oldest = Math.max(1, ...points.map((point) => point.oldest_age_ms));
  const path = points.map((point, index) =>
    `${index ? "L" : "M"}${placeOf(point) + placeOf.step / 2} ${HEIGHT * (1 - 0.9 * point.oldest_age_ms / oldest)}`).join("");
  byId("backlog-chart").replaceChildren(
    legend("", [["backlog", `backlog, at most ${most === 1 && !points.some((point) => point.backlog) ? 0 : most}`],
      ["age", `age of the oldest, at most ${oldest === 1 ? "0 s" : span(oldest)}`]]),
    drawing(`Backlog and age of the oldest over ${over}`,
      [...bars(points, placeOf, ["backlog"], most * 1.1), shape("path", "age", { d: path || "M0 0" })]));
  byId("points").replaceChildren(...[...points].reverse().map(tableRow));
}

function tableRow(point) {
  const row = element("tr"), time = (ms) => ms ? fine(ms) : "–";
  row.append(element("td", clock(point.at)), ...[point.signed, point.failed, point.other, point.limit, point.accepted, point.at_once,
    point.backlog].map((value) => element("td", String(Math.round(value * 10) / 10))), element("td", time(point.oldest_age_ms)),
  element("td", time(point.p50_ms)), element("td", time(point.p95_ms)), element("td", String(point.given_up)));
  return row;
}
