"use strict";
// What came out: a card for each candidate, every metric's difference, and what people said.

const LEVEL = 0.05;

function comparisonOf(results, metric, b) {
  return results.comparisons.find((one) => one.metric === metric && one.b === b);
}

function digitsOf(results, metric) {
  const spreads = (results.means[metric] ?? []).map((one) => one.std);
  const changes = results.comparisons.filter((one) => one.metric === metric).map((one) => Math.abs(one.difference));
  const size = Math.max(0, ...[...spreads, ...changes].filter(isNumber));
  return size > 0 ? Math.min(Math.max(2 - Math.floor(Math.log10(size)), 1), 6) : 3;
}

function labelOf(results, metric) {
  return results.metrics[metric]?.label ?? metric;
}

function colourOf(index) {
  return `c${index === 0 ? 0 : 1 + ((index - 1) % 7)}`;
}

function hasInterval(comparison) {
  return isNumber(comparison.ci_low);
}

function isSure(comparison) {
  return hasInterval(comparison) && (comparison.ci_low > 0 || comparison.ci_high < 0);
}

function describeInterval(comparison, digits) {
  return hasInterval(comparison) ? `${formatSigned(comparison.ci_low, digits)} to ${formatSigned(comparison.ci_high, digits)}` : "none";
}

function describeDifference(results, comparison) {
  const names = results.contestants.map((one) => one.name);
  const word = comparison.difference > 0 ? "higher" : "lower";
  const isSignificant = comparison.wilcoxon_p_corrected < LEVEL;
  if (isSure(comparison) && isSignificant) return { text: `${names[comparison.b]} scores ${word} than ${names[comparison.a]}`, kind: word };
  if (isSure(comparison)) return { text: `Perhaps ${word}: the interval leaves out zero, but the corrected test allows for chance`, kind: "" };
  if (isSignificant && !hasInterval(comparison)) return { text: `Perhaps ${word}: the test says so, but there is no interval`, kind: "" };
  if (isSignificant) return { text: `Perhaps ${word}: the test says so, but the interval holds zero`, kind: "" };
  return { text: "No clear difference", kind: "" };
}

function makeCard(results, b, metric) {
  const comparison = comparisonOf(results, metric, b);
  if (!comparison) return null;
  const digits = digitsOf(results, metric);
  const summary = describeDifference(results, comparison);
  const { wins, ties, losses, n } = comparison;
  const parts = [[wins, "won", "win"], [ties, "tied", "tie"], [losses, "lost", "loss"]].map(([number, text, kind]) => (
    { share: number / n, text: `${number} ${text}`, short: String(number), kind }));
  return el("article", { class: `card summary ${colourOf(b)}` },
    el("h3", {}, el("span", { class: "dot" }), `${results.contestants[b].name} against ${results.contestants[0].name}`),
    el("div", {},
      el("p", { class: `big number ${summary.kind}` }, formatSigned(comparison.difference, digits)),
      el("p", { class: "number" }, `${labelOf(results, metric)}, 95 % interval ${describeInterval(comparison, digits)}`),
      el("p", { class: "says" }, summary.text)),
    el("div", {},
      makeShares(parts, "Prompts"),
      el("p", { class: "muted small" }, `${wins} won, ${ties} tied, ${losses} lost of ${count(n, "prompt")}; `
        + `p ${formatP(comparison.wilcoxon_p_corrected).replace(/^(?=\d)/, "= ")} (Wilcoxon, corrected); effect size ${formatSigned(comparison.effect_size, 2)}`)),
    ...warnings(results, b, comparison).map((text) => el("p", { class: "warning small" }, text)));
}

function warnings(results, b, comparison) {
  const found = [];
  const motion = comparisonOf(results, "motion", b);
  if (motion && isSure(motion) && motion.difference < 0 && comparison.difference > 0) {
    found.push(`Its clips move less (motion ${formatSigned(motion.difference, digitsOf(results, "motion"))}): part of the reward may be stillness.`);
  }
  if (!hasInterval(comparison)) found.push("No interval: it takes 5 prompts, and differences that vary.");
  if (comparison.num_left_out) found.push(`${count(comparison.num_left_out, "row")} left out: a clip has no number there.`);
  if (comparison.n < 6) found.push(`${count(comparison.n, "prompt")} can't show a difference at p < 0.05 by a sign test; that takes 6.`);
  return found;
}

function makeMetricsTable(results) {
  const heads = ["Metric", "Candidate", "Mean (deviation)", "Difference from the baseline", "95 % interval", "Won / tied / lost",
    "Effect size", "p sign", "p Wilcoxon"];
  const rows = Object.keys(results.metrics).flatMap((metric) => {
    const all = results.comparisons.filter((one) => one.metric === metric);
    const reach = Math.max(...all.flatMap((one) => [one.ci_low, one.ci_high, one.difference].map(Math.abs))) || 1;
    return all.map((comparison, i) => makeMetricRow(results, metric, comparison, reach, heads, i === 0));
  });
  return el("table", { class: "metrics" },
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows));
}

function makeMetricRow(results, metric, comparison, reach, heads, isFirst) {
  const digits = digitsOf(results, metric);
  const { unit, higher_is_better: isBetter } = results.metrics[metric];
  const mean = (index) => {
    const { mean: value, std } = results.means[metric][index];
    return el("span", { class: "pair" }, formatNumber(value, digits) + (isNumber(std) ? ` (${formatNumber(std, digits)})` : ""));
  };
  const direction = isBetter === true ? "higher is better" : isBetter === false ? "lower is better" : "";
  const cells = [
    el("span", {}, formatSigned(comparison.difference, digits), drawInterval(comparison, reach, colourOf(comparison.b))),
    describeInterval(comparison, digits),
    `${comparison.wins} / ${comparison.ties} / ${comparison.losses}`,
    formatSigned(comparison.effect_size, 2),
    formatP(comparison.sign_p_corrected),
    formatP(comparison.wilcoxon_p_corrected),
  ];
  const titles = { 7: `uncorrected ${formatP(comparison.sign_p)}`, 8: `uncorrected ${formatP(comparison.wilcoxon_p)}` };
  return el("tr", { class: `${isFirst ? "first " : ""}${isSure(comparison) ? "is-sure" : ""}` },
    el("th", { scope: "row" }, el("span", { class: isFirst ? "" : "hidden-visually" }, labelOf(results, metric)),
      isFirst && el("span", { class: "muted small unit" }, [unit, direction].filter(Boolean).join(", "))),
    el("td", { "data-label": heads[1] }, el("span", { class: "who" }, el("span", { class: `dot ${colourOf(comparison.b)}` }), results.contestants[comparison.b].name)),
    el("td", { "data-label": heads[2], class: "number" }, mean(comparison.a), " \u2192 ", mean(comparison.b)),
    cells.map((cell, i) => el("td", { "data-label": heads[i + 3], class: "number", title: titles[i + 3] }, cell)));
}

// What an answer counts as, and what it was called on the page.
const KINDS = { both_good: "both good", same: "same", both_bad: "both bad" };

function describeShare(share, [low, high]) {
  return formatPercent(share) + (isNumber(low) ? ` (${formatPercent(low)} to ${formatPercent(high)})` : "");
}

function makePeople(results) {
  const { pairs, num_raters: raters, num_ratings: ratings } = results.preference;
  const cards = pairs.flatMap((pair) => Object.entries(pair.questions).filter(([, one]) => one)
    .map(([name, one]) => makeVotes(results, pair, name, one)));
  return [el("p", { class: "muted" }, `${count(raters, "rater")}, ${count(ratings, "rated pair")}, blind and in drawn order; 95 % intervals over prompts, none below 5.`),
    results.contestants.length > 2 && makeStrengths(results), el("div", { class: "cards" }, cards)].filter(Boolean);
}

function makeVotes(results, pair, name, one) {
  const names = { a: results.contestants[pair.a].name, b: results.contestants[pair.b].name };
  const parts = ["b", "tie", "a"].map((option) => ({
    share: one.shares[option], short: formatPercent(one.shares[option]), kind: { b: "win", tie: "tie", a: "loss" }[option],
    text: `${names[option] ?? "tie"} ${describeShare(one.shares[option], one.ci[option])}`,
  }));
  const { alpha, percent } = one.agreement;
  const ties = Object.entries(KINDS).map(([kind, text]) => `${one.counts[kind]} ${text}`).join(", ");
  return el("article", { class: `card ${colourOf(pair.b)}`, "--loser": `var(--${colourOf(pair.a)})` },
    el("h3", {}, el("span", { class: "dot" }), `${capitalise(name)}: ${names.b} against ${names.a}`),
    makeShares(parts, name), el("ul", { class: "plain number" }, parts.map((part) => el("li", {}, part.text))),
    el("p", { class: "muted small" }, `${count(one.num_votes, "vote")} on ${count(one.num_items, "pair")} of ${count(one.num_prompts, "prompt")}; ties: ${ties}; `
      + (alpha === null ? "agreement between raters unknown" : `Krippendorff's alpha ${formatNumber(alpha, 2)}`)
      + (percent === null ? "" : `, raters agree in ${formatPercent(percent)}`)));
}

// Everyone's strength by each question, the first one's being 0.
function makeStrengths(results) {
  const asked = Object.entries(results.preference.strengths).filter(([, all]) => all);
  const show = ({ strength, ci_low: low, ci_high: high }) => formatSigned(strength, 2)
    + (isNumber(low) ? ` (${formatSigned(low, 2)} to ${formatSigned(high, 2)})` : "");
  return el("div", { class: "card scroll", id: "strengths" },
    el("table", {},
      el("thead", {}, el("tr", {}, ["Strength", ...asked.map(([name]) => capitalise(name))].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, results.contestants.map((one, i) => el("tr", {},
        el("th", { scope: "row" }, el("span", { class: "who" }, el("span", { class: `dot ${colourOf(i)}` }), one.name)),
        asked.map(([, all]) => el("td", { class: "number" }, show(all[i]))))))),
    el("p", { class: "muted small" }, `Bradley-Terry: log of the odds that it is preferred to ${results.contestants[0].name}, by all pairs together; a tie is half a win for each.`));
}

function capitalise(text) {
  return text[0].toUpperCase() + text.slice(1);
}
