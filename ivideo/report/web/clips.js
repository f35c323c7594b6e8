"use strict";
// The clips: best and worst, and a table of all that can be sorted and searched; a row opens on its players.

const NUM_EXTREMES = 3;
const onScreen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? target.player.enter() : target.player.leave();
}, { rootMargin: "200px" });

function makeClipPlayer(data, row, metric) {
  const { results, sources } = data;
  const digits = digitsOf(results, metric);
  const player = new Player(row.clips.map((clip, i) => ({
    source: sources[clip.video] ?? null, label: results.contestants[i].name, colour: colourOf(i),
    value: formatNumber(clip.scores[metric], digits),
  })), { name: nameOf(row), fps: results.contestants[0].settings?.fps ?? 8 });
  player.element.player = player;
  onScreen.observe(player.element);
  return player;
}

function nameOf(row) {
  return row.seed === null || row.seed === undefined ? row.prompt : `${row.prompt} (seed ${row.seed})`;
}

function changeOf(row, metric, b) {
  const [before, after] = [row.clips[0].scores[metric], row.clips[b].scores[metric]];
  return isNumber(before) && isNumber(after) ? after - before : null;
}

function makeChange(results, metric, change) {
  const isBetter = results.metrics[metric]?.higher_is_better;
  const direction = typeof isBetter === "boolean" && change ? (change > 0 === isBetter ? "better" : "worse") : "";
  return el("span", { class: `number change ${direction}` }, formatSigned(change, digitsOf(results, metric)));
}

function makeExtremes(data, { metric, b }) {
  const rows = data.results.rows.filter((row) => changeOf(row, metric, b) !== null)
    .sort((one, two) => changeOf(two, metric, b) - changeOf(one, metric, b));
  const best = rows.slice(0, Math.min(NUM_EXTREMES, Math.ceil(rows.length / 2)));
  const worst = rows.slice(Math.max(rows.length - NUM_EXTREMES, best.length)).reverse();
  const group = (title, chosen) => chosen.length > 0 && [el("h3", { class: "group" }, title),
    el("div", { class: "cards clips" }, chosen.map((row) => el("article", { class: "card" },
      el("p", { class: "clip-title" }, el("span", {}, row.prompt, " ", el("span", { class: "muted small" }, seedOf(row))), makeChange(data.results, metric, changeOf(row, metric, b))),
      makeClipPlayer(data, row, metric).element)))];
  return [group("Raised most", best), group("Lowered most, or raised least", worst)].filter(Boolean).flat();
}

function seedOf(row) {
  return row.seed === null || row.seed === undefined ? "" : `seed ${row.seed}`;
}

class ClipTable {
  constructor(data) {
    this.data = data;
    this.sort = { column: "row", isDown: false };
    this.body = el("tbody");
    this.head = el("tr");
    this.counted = el("span", { class: "muted", role: "status" });
    this.search = el("input", { type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", oninput: () => this.showRows() });
    this.element = el("div", {},
      el("div", { class: "tools" }, this.search, this.counted),
      el("div", { class: "card scroll" }, el("table", { class: "all" }, el("thead", {}, this.head), this.body)));
    this.opened = new Map(); // row index -> its element with the players
  }

  show(choice) {
    this.choice = choice;
    this.close();
    const { contestants } = this.data.results;
    this.columns = [
      { name: "prompt", text: "Prompt", value: (row) => row.prompt.toLowerCase() },
      { name: "seed", text: "Seed", value: (row) => row.seed },
      ...contestants.map((one, i) => ({ name: `score${i}`, isHidden: i !== 0 && i !== choice.b, text: one.name, colour: colourOf(i), value: (row) => row.clips[i].scores[choice.metric] })),
      { name: "change", text: "Difference", value: (row) => changeOf(row, choice.metric, choice.b) },
    ];
    this.showRows();
  }

  showHead() {
    this.head.replaceChildren(...this.columns.map((column) => {
      const isSorted = this.sort.column === column.name;
      const arrow = isSorted ? (this.sort.isDown ? "\u25BC" : "\u25B2") : "";
      return el("th", { scope: "col", class: `${column.name}${column.isHidden ? " not-chosen" : ""}`, "aria-sort": isSorted ? (this.sort.isDown ? "descending" : "ascending") : null },
        el("button", { type: "button", "data-column": column.name, onclick: () => this.sortBy(column.name) },
          column.colour && el("span", { class: `dot ${column.colour}` }), column.text, el("span", { class: "arrow", "aria-hidden": "true" }, arrow)));
    }));
  }

  sortBy(column) {
    const isText = column === "prompt" || column === "seed";
    this.sort = { column, isDown: this.sort.column === column ? !this.sort.isDown : !isText };
    this.showRows();
    this.head.querySelector(`[data-column="${column}"]`).focus();
  }

  showRows() {
    this.showHead();
    const wanted = this.search.value.trim().toLowerCase();
    const column = this.columns.find((one) => one.name === this.sort.column);
    const entries = this.data.results.rows.map((row, index) => ({ row, index, key: column ? column.value(row) : index }))
      .filter(({ row }) => row.prompt.toLowerCase().includes(wanted))
      .sort((one, two) => compareKeys(one.key, two.key, this.sort.isDown) || one.index - two.index);
    this.body.replaceChildren(...entries.flatMap(({ row, index }) => [this.makeRow(row, index), this.opened.get(index)].filter(Boolean)));
    this.counted.textContent = `${entries.length} of ${count(this.data.results.rows.length, "row")}`;
  }

  makeRow(row, index) {
    const { results } = this.data;
    const { metric, b } = this.choice;
    const isOpen = this.opened.has(index);
    return el("tr", { "data-row": index, class: isOpen ? "is-open" : "" },
      el("th", { scope: "row" }, el("button", { type: "button", class: "open", "aria-expanded": String(isOpen), onclick: () => this.toggle(index) },
        el("span", { class: "chevron", "aria-hidden": "true" }, "\u203A"), el("span", {}, row.prompt, el("span", { class: "muted small seed-below" }, seedOf(row))))),
      el("td", { class: "number seed" }, row.seed ?? "\u2013"),
      row.clips.map((clip, i) => el("td", { class: `number${i === 0 || i === b ? "" : " not-chosen"}` },
        formatNumber(clip.scores[metric], digitsOf(results, metric)))),
      el("td", {}, makeChange(results, metric, changeOf(row, metric, b))));
  }

  toggle(index) {
    if (this.opened.has(index)) this.close(index);
    else this.opened.set(index, this.makeDetail(index));
    this.showRows();
    this.body.querySelector(`[data-row="${index}"] button`).focus();
    this.opened.get(index)?.scrollIntoView({ block: "nearest" });
  }

  close(index) {
    for (const [key, element] of [...this.opened]) {
      if (index !== undefined && key !== index) continue;
      const { player } = element.querySelector(".player");
      onScreen.unobserve(player.element);
      player.detach();
      this.opened.delete(key);
    }
  }

  open(index) {
    this.search.value = "";
    if (!this.opened.has(index)) this.opened.set(index, this.makeDetail(index));
    this.showRows();
    const button = this.body.querySelector(`[data-row="${index}"] button`);
    button.scrollIntoView({ block: "start" });
    button.focus({ preventScroll: true });
  }

  makeDetail(index) {
    const { results } = this.data;
    const row = results.rows[index];
    const player = makeClipPlayer(this.data, row, this.choice.metric);
    const curves = row.clips.map((clip, i) => ({
      name: results.contestants[i].name, colour: colourOf(i),
      points: (clip.frame_indices ?? []).map((frame, k) => [frame, clip.frame_rewards[k]]).filter(([, value]) => isNumber(value)),
    })).filter((line) => line.points.length > 0);
    const scores = el("table", { class: "scores" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Metric"), results.contestants.map((one) => el("th", { scope: "col" }, one.name)))),
      el("tbody", {}, Object.keys(results.metrics).map((metric) => el("tr", {}, el("th", { scope: "row" }, labelOf(results, metric)),
        row.clips.map((clip) => el("td", { class: "number" }, formatNumber(clip.scores[metric], digitsOf(results, metric))))))));
    const detail = el("tr", { class: "detail" }, el("td", { colspan: this.columns.length }, el("div", { class: "inside" }, player.element,
      el("div", {}, el("div", { class: "scroll" }, scores), curves.length > 0 && drawInto(el("div"), 180, drawCurves(curves, "reward by frame"))))));
    player.play();
    return detail;
  }
}

// Missing values come last, whichever way it is sorted.
function compareKeys(one, two, isDown) {
  const isMissing = (key) => key === null || key === undefined;
  if (isMissing(one) || isMissing(two)) return isMissing(one) - isMissing(two);
  const order = typeof one === "string" ? one.localeCompare(two) : one - two;
  return isDown ? -order : order;
}
