"use strict";
// Charts as SVG, drawn for the width that they get and again when it changes.

function drawInto(holder, height, draw) {
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (width === drawn || width === 0) return;
    drawn = width;
    holder.replaceChildren(draw(width, height));
  }).observe(holder);
  return holder;
}

function scale([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

// Room around the values, and some where there is but one.
function widen(values, share = 0.06) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low) * share || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

function niceTicks([low, high], wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push({ value: i * step, text: formatNumber(i * step, digits) });
  return ticks;
}

function frame(width, height, label, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" }, children);
}

function axes({ width, height, left, right, top, bottom }, x, y, xTicks, yTicks, xLabel, yLabel) {
  const floor = height - bottom;
  return [
    ...yTicks.map(({ value, text }) => svg("g", {},
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, text))),
    ...xTicks.map(({ value, text }) => svg("g", {},
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: floor }),
      svg("text", { x: x(value), y: floor + 16, "text-anchor": "middle" }, text))),
    svg("text", { class: "axis", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, xLabel),
    yLabel && svg("text", { class: "axis", x: left, y: 11, "text-anchor": "start" }, yLabel),
  ];
}

// A difference, and its interval if it has one, on a line with zero in the middle; `reach` is the scale's end on both sides.
function drawInterval({ difference, ci_low: low, ci_high: high }, reach, colour) {
  const width = 200;
  const x = scale([-reach, reach], [6, width - 6]);
  return svg("svg", { viewBox: `0 0 ${width} 22`, class: `interval ${colour}`, "aria-hidden": "true", preserveAspectRatio: "none" },
    svg("line", { class: "grid", x1: 0, x2: width, y1: 11, y2: 11 }),
    svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 1, y2: 21 }),
    isNumber(low) && svg("line", { class: "whisker", x1: x(low), x2: x(high), y1: 11, y2: 11 }),
    svg("rect", { class: "mark", x: x(difference) - 3, y: 4, width: 6, height: 14, rx: 2 }));
}

// Each clip as a point: the baseline's score to the right, the other's upwards; above the diagonal the other is higher.
function drawScatter(points, names, colour, digits, open) {
  return (width, height) => {
    const box = { width, height, left: 48, right: 10, top: 20, bottom: 40 };
    const range = widen(points.flatMap((point) => [point.a, point.b]));
    const x = scale(range, [box.left, width - box.right]);
    const y = scale(range, [height - box.bottom, box.top]);
    const ticks = (wanted) => niceTicks(range, wanted);
    return frame(width, height, `${names[1]} against ${names[0]}, ${count(points.length, "clip")}`,
      ...axes(box, x, y, ticks(Math.max(4, width / 70)), ticks(5), names[0], names[1]),
      svg("line", { class: "zero", x1: x(range[0]), y1: y(range[0]), x2: x(range[1]), y2: y(range[1]) }),
      ...points.map((point) => svg("circle", { class: `point ${colour}`, cx: x(point.a), cy: y(point.b), r: 5, onclick: () => open(point) },
        svg("title", {}, `${point.name}: ${formatNumber(point.a, digits)} to ${formatNumber(point.b, digits)}`))));
  };
}

// Each clip's difference as a bar, from the most lowered to the most raised.
function drawDifferences(points, colour, digits, open) {
  const sorted = [...points].sort((one, two) => one.b - one.a - (two.b - two.a));
  return (width, height) => {
    const box = { width, height, left: 48, right: 10, top: 20, bottom: 24 };
    const range = widen([0, ...sorted.map((point) => point.b - point.a)]);
    const y = scale(range, [height - box.bottom, box.top]);
    const step = Math.min((width - box.left - box.right) / sorted.length, 48);
    const bars = sorted.map((point, i) => {
      const change = point.b - point.a;
      return svg("rect", {
        class: `bar ${colour}`, x: box.left + (i + 0.1) * step, width: 0.8 * step,
        y: Math.min(y(0), y(change)), height: Math.max(Math.abs(y(change) - y(0)), 1), onclick: () => open(point),
      }, svg("title", {}, `${point.name}: ${formatSigned(change, digits)}`));
    });
    return frame(width, height, `Difference of each of ${count(points.length, "clip")}, sorted`,
      ...axes(box, null, y, [], niceTicks(range, 5), "clips, sorted by difference", ""), ...bars,
      svg("line", { class: "zero", x1: box.left, x2: width - box.right, y1: y(0), y2: y(0) }));
  };
}

// Lines: [{name, colour, points: [[frame, value]]}].
function drawCurves(lines, label) {
  return (width, height) => {
    const box = { width, height, left: 48, right: 12, top: 20, bottom: 40 };
    const frames = lines.flatMap((line) => line.points.map(([index]) => index));
    const x = scale(widen(frames, 0.02), [box.left, width - box.right]);
    const range = widen(lines.flatMap((line) => line.points.map(([, value]) => value)));
    const y = scale(range, [height - box.bottom, box.top]);
    const ticks = niceTicks(widen(frames, 0.02), Math.min(8, width / 60)).filter(({ value }) => Number.isInteger(value));
    return frame(width, height, `${label} of ${lines.map((line) => line.name).join(", ")}`,
      ...axes(box, x, y, ticks, niceTicks(range, 5), "frame", label),
      ...lines.map((line) => svg("g", { class: line.colour },
        svg("polyline", { class: "curve", points: line.points.map(([i, value]) => `${x(i)},${y(value)}`).join(" ") }),
        ...line.points.map(([i, value]) => svg("circle", { class: "point", cx: x(i), cy: y(value), r: 3 },
          svg("title", {}, `${line.name}, frame ${i}: ${value.toFixed(4)}`))))));
  };
}

// Parts of a whole: [{share, text, kind}].
function makeShares(parts, label) {
  return el("div", { class: "shares", role: "img", "aria-label": `${label}: ${parts.map((part) => part.text).join(", ")}` },
    parts.filter((part) => part.share > 0).map((part) => el("span", { class: part.kind, "--share": part.share, title: part.text },
      part.share > 0.09 ? part.short : "")));
}
