"use strict";
// What it takes to get the same numbers again, and how they are to be read.

function makeCandidates(contestants) {
  const names = [...new Set(contestants.flatMap((one) => Object.keys(one.settings ?? {})))];
  const shown = (value) => (value === null || value === undefined ? "\u2013" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const values = (name) => contestants.map((one) => shown(one.settings?.[name]));
  const isShared = (name) => new Set(values(name)).size === 1;
  const line = (name, cells) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", {}, cell)));
  const facts = [["kind", "kind"], ["model", "model"], ["folder", "folder"], ["adapter", "adapter"], ["LoRA scale", "lora_scale"]];
  return [
    el("div", { class: "card scroll" }, el("table", { class: "settings" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Candidate"),
        contestants.map((one, i) => el("th", { scope: "col" }, el("span", { class: `dot ${colourOf(i)}` }), one.name)))),
      el("tbody", {}, facts.filter(([, key]) => contestants.some((one) => shown(one[key]) !== "\u2013")).map(([text, key]) => line(text, contestants.map((one) => shown(one[key])))),
        names.filter((name) => !isShared(name)).map((name) => line(name, values(name)))))),
    el("details", { class: "card" }, el("summary", {}, "Settings that all candidates share"),
      el("dl", { class: "pairs" }, names.filter(isShared).map((name) => el("div", {}, el("dt", {}, name), el("dd", {}, values(name)[0]))))),
  ];
}

function makeReading(results, meanings) {
  const judges = Object.entries(results.judges ?? {}).map(([name, label]) => el("div", {}, el("dt", {}, name), el("dd", {}, label)));
  const others = Object.entries(meanings).map(([name, text]) => el("div", {}, el("dt", {}, labelOf(results, name)), el("dd", {}, text)));
  return el("div", { class: "card" },
    el("dl", {}, judges, others),
    el("p", { class: "warning" }, "A frozen clip looks perfect on flicker, smoothness and consistency, and a reward model of single frames may like it: "
      + "read these numbers beside motion, and look at the clips."),
    el("p", { class: "muted small" }, "Differences are the candidate's mean minus the baseline's, over prompts; several seeds of a prompt count as one observation. "
      + "Intervals are 95 % intervals over prompts by the studentised bootstrap; below 5 prompts there is none. p is of an exact two-sided sign test and of Wilcoxon's signed-rank test, "
      + "corrected by Holm over all metrics and candidates. Effect size is Cohen's d_z: mean difference in standard deviations of the differences."));
}

function makeReproduce({ results, meanings }) {
  const seeds = [...new Set(results.rows.map((row) => row.seed))].filter(isNumber).sort((one, two) => one - two);
  const range = seeds.length > 8 ? `${seeds[0]} to ${seeds[seeds.length - 1]}` : seeds.join(", ");
  return [
    el("pre", { class: "card command", tabindex: 0, "aria-label": "Command" }, results.command),
    el("p", { class: "muted small" }, `ivideo ${results.ivideo_version}, ${results.created.slice(0, 16).replace("T", " ")} UTC`, seeds.length > 0 && `; seeds ${range}`,
      ". The table above lists each clip's prompt and seed, ", el("code", {}, "results.json"), " beside this page everything."),
    ...makeCandidates(results.contestants),
    el("h3", { class: "group" }, "What the numbers mean"),
    makeReading(results, meanings),
  ];
}
