"use strict";
// Puts the report together, and draws again what depends on the chosen metric and candidate.

const data = readData();
const { results } = data;
const place = (id, ...children) => document.getElementById(id).replaceChildren(...children);
const metrics = Object.keys(results.metrics);
const primary = metrics.includes("reward") ? "reward" : metrics[0];
const choice = { metric: primary, b: 1 };
const table = new ClipTable(data);

function makeChoice(label, options, key) {
  const select = el("select", { id: `choose-${key}` }, options.map(([value, text]) => el("option", { value }, text)));
  select.addEventListener("change", () => {
    choice[key] = key === "b" ? Number(select.value) : select.value;
    showChosen();
  });
  return el("label", {}, label, " ", select);
}

function meanCurves() {
  return results.contestants.map((contestant, i) => {
    const values = new Map();
    for (const { clips } of results.rows) {
      (clips[i].frame_indices ?? []).forEach((frame, k) => {
        if (isNumber(clips[i].frame_rewards[k])) values.set(frame, [...(values.get(frame) ?? []), clips[i].frame_rewards[k]]);
      });
    }
    const most = Math.max(0, ...[...values.values()].map((list) => list.length));
    const points = [...values].filter(([, list]) => list.length === most).sort((one, two) => one[0] - two[0])
      .map(([frame, list]) => [frame, list.reduce((sum, value) => sum + value, 0) / list.length]);
    return { name: contestant.name, colour: colourOf(i), points };
  }).filter((line) => line.points.length > 0);
}

function makeFigure(title, holder, legend = null) {
  return el("figure", { class: "card" }, el("figcaption", {}, el("b", {}, title), legend), holder);
}

function makeLegend() {
  return el("span", { class: "legend small" }, results.contestants.map((one, i) => el("span", {}, el("span", { class: `dot ${colourOf(i)}` }), one.name)));
}

function showChosen() {
  const { metric, b } = choice;
  const digits = digitsOf(results, metric);
  const points = results.rows.map((row, index) => ({ index, name: nameOf(row), a: row.clips[0].scores[metric], b: row.clips[b].scores[metric] }))
    .filter((point) => isNumber(point.a) && isNumber(point.b));
  const names = [results.contestants[0].name, results.contestants[b].name];
  const open = (point) => table.open(point.index);
  const curves = meanCurves();
  const label = labelOf(results, metric);
  place("charts", ...(points.length > 0 ? [
    makeFigure(`${label}, clip by clip`, drawInto(el("div"), 320, drawScatter(points, names, colourOf(b), digits, open))),
    makeFigure(`Difference in ${label}`, drawInto(el("div"), 320, drawDifferences(points, colourOf(b), digits, open))),
  ] : [el("p", { class: "muted" }, "No clip has this number for both candidates.")]),
  ...(curves.length > 0 ? [makeFigure("Mean reward over time", drawInto(el("div"), 320, drawCurves(curves, "reward")), makeLegend())] : []));
  place("extremes-list", ...makeExtremes(data, choice));
  showPlaying(false);
  table.show(choice);
}

function playAll(button) {
  const isOn = button.getAttribute("aria-pressed") !== "true";
  showPlaying(isOn);
  for (const { player } of document.querySelectorAll("#extremes-list .player")) isOn ? player.play() : player.pause();
}

function showPlaying(isOn) {
  const button = document.getElementById("play-all");
  button.setAttribute("aria-pressed", String(isOn));
  button.textContent = isOn ? "Pause all" : "Play all";
}

function showAll() {
  const numPrompts = new Set(results.rows.map((row) => row.prompt)).size;
  place("summary", `${count(numPrompts, "prompt")}, ${count(results.rows.length, "row")} of ${results.contestants.length} clips; reward: ${results.judge}`);
  place("cards", ...results.contestants.slice(1).map((_, i) => makeCard(results, i + 1, primary)).filter(Boolean));
  place("metrics-table", makeMetricsTable(results));
  place("choices", makeChoice("Metric", metrics.map((name) => [name, labelOf(results, name)]), "metric"),
    ...(results.contestants.length > 2 ? [makeChoice("Candidate", results.contestants.map((one, i) => [i, one.name]).slice(1), "b")] : []));
  if (results.preference) place("people-list", ...makePeople(results));
  document.getElementById("people").hidden = !results.preference;
  document.getElementById("to-people").hidden = !results.preference;
  place("clip-table", table.element);
  place("reproduce-list", ...makeReproduce(data));
  document.getElementById("play-all").hidden = Object.values(data.sources).every(isPicture);
  document.getElementById("play-all").addEventListener("click", (event) => playAll(event.currentTarget));
  showChosen();
}

showAll();
