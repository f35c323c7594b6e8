"use strict";
// Clips side by side that loop as one: the longest one leads, the others are brought into step with it.

const STEP_SECONDS = 0.06; // how far a clip may run from the leader, about half a frame at 8 frames per second
const PLAY_ICON = "M3 1.5v13l11-6.5z";
const PAUSE_ICON = "M3 1.5h3.5v13H3zM9.5 1.5H13v13H9.5z";

class Player {
  // clips: [{source, label, value, colour}]; source null means that there is no video.
  constructor(clips, { name, fps = 8 }) {
    this.isPlaying = false;
    this.wasPlaying = false; // when it was last on the screen
    this.fps = fps;
    this.sources = clips.map((clip) => clip.source);
    this.screens = clips.map((clip) => this.makeScreen(clip));
    this.videos = this.screens.filter((screen) => screen instanceof HTMLVideoElement);
    this.icon = svg("path", { d: PLAY_ICON, fill: "currentColor" });
    this.button = el("button", { type: "button", class: "play", onclick: () => this.toggle() },
      svg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, this.icon));
    this.slider = el("input", {
      type: "range", min: 0, max: 1, step: 1 / fps, value: 0, "aria-label": `Position in ${name}`,
      oninput: () => { this.pause(); this.seek(Number(this.slider.value)); },
    });
    this.clock = el("span", { class: "time number" });
    this.name = name;
    const figures = clips.map((clip, i) => el("figure", {}, this.screens[i], clip.label && el("figcaption", {},
      el("span", { class: `dot ${clip.colour ?? ""}` }), el("span", { class: "name", title: clip.label }, clip.label),
      el("span", { class: "value number" }, clip.value ?? ""))));
    this.element = el("div", { class: "player", role: "group", "aria-label": name, "--columns": clips.length },
      el("div", { class: "screens" }, figures),
      el("div", { class: "controls", hidden: this.videos.length === 0 }, this.button, this.slider, this.clock));
    this.showState();
  }

  makeScreen(clip) {
    if (clip.source === null) return el("div", { class: "no-video" }, "This video is missing.");
    if (isPicture(clip.source)) return this.makePicture(clip);
    const video = el("video", { muted: true, playsinline: true, preload: "auto", "aria-label": clip.label ?? clip.name });
    video.muted = true;
    video.addEventListener("click", () => this.toggle());
    video.addEventListener("loadedmetadata", () => {
      video.classList.toggle("is-small", video.videoWidth < 200);
      this.element.style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
      this.showTime();
    });
    video.addEventListener("error", () => {
      video.replaceWith(el("div", { class: "no-video" }, "This browser can't show this video."));
      this.videos = this.videos.filter((one) => one !== video);
    });
    return video;
  }

  // A gif plays by itself, and can't be stopped.
  makePicture(clip) {
    const picture = el("img", { src: clip.source, alt: clip.label ?? clip.name });
    picture.addEventListener("load", () => {
      picture.classList.toggle("is-small", picture.naturalWidth < 200);
      this.element.style.setProperty("--aspect", `${picture.naturalWidth} / ${picture.naturalHeight}`);
    });
    return picture;
  }

  // Browsers hold only some dozens of videos at once, so a player takes its clips when seen and drops them after.
  enter() {
    this.attach();
    if (this.wasPlaying) this.play();
    this.wasPlaying = false;
  }

  leave() {
    this.wasPlaying ||= this.isPlaying;
    this.detach();
  }

  attach() {
    this.screens.forEach((screen, i) => {
      if (screen instanceof HTMLVideoElement && !screen.hasAttribute("src")) screen.src = this.sources[i];
    });
  }

  detach() {
    this.pause();
    for (const video of this.videos) {
      video.removeAttribute("src");
      video.load();
    }
  }

  get leader() {
    return this.videos.reduce((best, video) => ((video.duration || 0) > (best.duration || 0) ? video : best));
  }

  async play() {
    if (this.isPlaying || !this.videos.length) return;
    this.isPlaying = true;
    this.showState();
    this.attach();
    await Promise.all(this.videos.map(untilReady));
    if (!this.isPlaying) return;
    if (this.leader.ended || this.leader.currentTime >= this.leader.duration - 0.5 / this.fps) this.seek(0);
    this.startAll();
    requestAnimationFrame(() => this.tick());
  }

  startAll() {
    for (const video of this.videos) video.play().catch(() => {}); // refused where the clip was dropped meanwhile
  }

  tick() {
    if (!this.isPlaying) return;
    const leader = this.leader;
    if (leader.ended) {
      this.seek(0);
      this.startAll();
    }
    for (const video of this.videos) {
      const wanted = Math.min(leader.currentTime, video.duration);
      if (video === leader || video.seeking || leader.seeking || video.ended) continue;
      if (Math.abs(video.currentTime - wanted) > STEP_SECONDS) video.currentTime = wanted;
    }
    this.showTime();
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    for (const video of this.videos) video.pause();
    if (this.videos.every((video) => video.readyState > 0)) this.seek(this.leader.currentTime);
    this.showState();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  seek(seconds) {
    for (const video of this.videos) video.currentTime = Math.min(seconds, video.duration || 0);
    this.showTime();
  }

  showState() {
    this.icon.setAttribute("d", this.isPlaying ? PAUSE_ICON : PLAY_ICON);
    this.button.setAttribute("aria-label", `${this.isPlaying ? "Pause" : "Play"} ${this.name}`);
    this.button.setAttribute("aria-pressed", String(this.isPlaying));
  }

  showTime() {
    const { duration, currentTime } = this.leader;
    if (!isNumber(duration)) return;
    this.slider.max = duration;
    this.slider.value = currentTime;
    const text = `${currentTime.toFixed(1)} / ${duration.toFixed(1)} s`;
    this.clock.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }
}

function isPicture(source) {
  return source.startsWith("data:image/") || source.endsWith(".gif");
}

function untilReady(video) {
  if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA || video.error) return Promise.resolve();
  return new Promise((resolve) => {
    for (const event of ["canplay", "error", "emptied"]) video.addEventListener(event, resolve, { once: true });
  });
}
