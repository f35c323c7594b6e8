"use strict";
// The rating page: shows pairs one by one, keeps the answers in this browser, and saves them as a JSON file.

const SIDES = { left: "Left", both_good: "Both good", tie: "Same", both_bad: "Both bad", right: "Right" };
const QUESTIONS = {
  quality: { text: "Which video looks better?", keys: ["q", "w", "e", "r", "t"] },
  alignment: { text: "Which video shows better what the text says?", keys: ["a", "s", "d", "f", "g"] },
};
const { study, items } = readData();
const STORE = `ivideo-rating-${study}`;
const byId = (id) => document.getElementById(id);

const state = Object.assign({ rater: "", current: 0, ratings: {} }, recall());
let player = null;
let shownAt = 0;
let nextTimer = 0;

function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {}; // this browser keeps nothing: the answers live as long as the page
  }
}

function remember() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    say("This browser does not keep your answers: save them before you close the page.");
  }
}

function say(text, isGood = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("is-good", isGood);
}

function ratingOf(item) {
  return (state.ratings[item.id] ??= { quality: null, alignment: null, seconds: 0 });
}

function isDone(item) {
  const rating = state.ratings[item.id];
  return Boolean(rating && rating.quality && rating.alignment);
}

// Seconds count only while the pair is on the screen.
function spend() {
  if (shownAt) ratingOf(items[state.current]).seconds += (performance.now() - shownAt) / 1000;
  shownAt = document.visibilityState === "visible" ? performance.now() : 0;
}

function show(index) {
  clearTimeout(nextTimer);
  spend();
  state.current = Math.max(0, Math.min(index, items.length - 1));
  if (player) player.detach();
  const item = items[state.current];
  player = new Player(
    ["left", "right"].map((side) => ({ source: item[side], name: `${side} video` })),
    { name: "both videos" },
  );
  byId("item").replaceChildren(el("p", { class: "prompt" }, item.prompt), player.element,
    ...Object.entries(QUESTIONS).map(([name, question]) => makeQuestion(item, name, question)));
  player.play();
  remember();
  showProgress();
}

function makeQuestion(item, name, { text, keys }) {
  const buttons = Object.entries(SIDES).map(([side, label], i) => el("button", {
    type: "button", "aria-pressed": String(ratingOf(item)[name] === side),
    "aria-keyshortcuts": keys[i], "data-question": name, "data-side": side, onclick: () => answer(name, side),
  }, label, el("kbd", { "aria-hidden": "true" }, keys[i].toUpperCase())));
  return el("fieldset", { class: "question" }, el("legend", {}, text),
    el("div", { class: "options", role: "group", "aria-label": text }, buttons));
}

function answer(name, side) {
  const item = items[state.current];
  const wasDone = isDone(item);
  spend();
  ratingOf(item)[name] = side;
  for (const button of byId("item").querySelectorAll(`[data-question="${name}"]`)) {
    button.setAttribute("aria-pressed", String(button.dataset.side === side));
  }
  remember();
  showProgress();
  if (!wasDone && isDone(item)) {
    clearTimeout(nextTimer);
    nextTimer = setTimeout(goOn, 350);
  }
}

function goOn() {
  const count = items.length;
  for (let step = 1; step <= count; step++) {
    const index = (state.current + step) % count;
    if (!isDone(items[index])) return show(index);
  }
  say("All pairs are answered. Thank you! Now save your answers.", true);
  byId("save").classList.add("primary");
  byId("save").focus();
}

function showProgress() {
  const done = items.filter(isDone).length;
  byId("progress").max = items.length;
  byId("progress").value = done;
  byId("counted").textContent = `${done} of ${items.length} answered`;
  byId("place").textContent = `pair ${state.current + 1} of ${items.length}`;
  byId("previous").disabled = state.current === 0;
  byId("next").disabled = state.current === items.length - 1;
}

function save() {
  const rater = byId("rater").value.trim();
  if (!rater) {
    say("Write your name or a nickname first, so that your answers can be told from others'.");
    byId("rater").focus();
    return;
  }
  spend();
  remember();
  const ratings = items
    .filter((item) => state.ratings[item.id]?.quality || state.ratings[item.id]?.alignment)
    .map((item) => {
      const { quality, alignment, seconds } = state.ratings[item.id];
      return { id: item.id, quality, alignment, seconds: Math.round(seconds * 10) / 10 };
    });
  const answers = { kind: "ivideo-ratings", schema_version: 2, study, rater, saved: new Date().toISOString(), ratings };
  const blob = new Blob([JSON.stringify(answers, null, 1) + "\n"], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(blob), download: `ratings_${study}_${fileName(rater)}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${count(ratings.length, "answered pair")} of ${items.length}. You can go on and save again later.`, true);
}

// For the next person at the same browser.
function restart() {
  if (!confirm("Forget all answers in this browser and begin again, as another person? Save them first.")) return;
  Object.assign(state, { rater: "", ratings: {} });
  byId("rater").value = "";
  byId("save").classList.remove("primary");
  say("");
  show(0);
}

function fileName(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "rater";
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input[type=text]")) return;
  const key = event.key.toLowerCase();
  for (const [name, { keys }] of Object.entries(QUESTIONS)) {
    if (keys.includes(key)) return answer(name, Object.keys(SIDES)[keys.indexOf(key)]);
  }
  if (key === "n") return goOn();
  if (key === " " && !event.target.matches("button")) {
    event.preventDefault();
    return player.toggle();
  }
  if (event.target.matches("input")) return undefined; // the arrows move the slider there
  if (key === "arrowright") return show(state.current + 1);
  if (key === "arrowleft") return show(state.current - 1);
  return undefined;
}

byId("rater").value = state.rater;
byId("rater").addEventListener("input", () => { state.rater = byId("rater").value; remember(); });
byId("previous").addEventListener("click", () => show(state.current - 1));
byId("next").addEventListener("click", () => show(state.current + 1));
byId("save").addEventListener("click", save);
byId("restart").addEventListener("click", restart);
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => { spend(); remember(); });
if (items.length) show(state.current);
else say("This study has no pairs.");
