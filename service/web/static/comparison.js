// Two portraits beside each other or in one place, moved and toned together.
import { Blink } from "./blink.js";
import { Choice } from "./references.js";
import { followPointer } from "./pointer.js";

const MOST = 6;
const STEP = 1.25;
const TONES = { brightness: 100, contrast: 100, grey: 0, mix: 50 };

export class Comparison {
  constructor(root, tools, place) {
    this.root = root;
    this.stage = root.querySelector(".stage");
    this.pair = root.querySelector(".pair");
    this.images = [...this.pair.querySelectorAll(".frame img")];
    this.addresses = this.images.map((image) => image.getAttribute("src"));
    this.view = { zoom: 1, x: 0, y: 0 };
    this.isOriginal = false;
    this.#addTools(tools, place);
    this.blink = new Blink(this.pair, this.tools.querySelector("[data-do=pause]"));
    this.choices = [...root.querySelectorAll(".references[data-side]")].map((list) => new Choice(this, list));
    this.pair.tabIndex = 0;
    this.pair.classList.add("is-live");
    followPointer(this);
    this.#show();
  }

  get mode() {
    return this.pair.dataset.mode;
  }

  setMode(mode) {
    this.pair.dataset.mode = mode;
    this.stage.dataset.mode = mode;
    for (const button of this.tools.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    if (mode === "blink") this.blink.start();
    else this.blink.stop();
  }

  // Zooms about a point given in hundredths of the frame from its middle, so that what lies there stays there.
  zoomBy(factor, x = 0, y = 0) {
    const zoom = Math.min(MOST, Math.max(1, this.view.zoom * factor));
    const change = zoom / this.view.zoom;
    this.moveTo(zoom, x - (x - this.view.x) * change, y - (y - this.view.y) * change);
  }

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  panBy(x, y) {
    this.moveTo(this.view.zoom, this.view.x + x, this.view.y + y);
  }

  // The portraits always fill their frames: they move at most as far as they stand out.
  moveTo(zoom, x, y) {
    const most = (zoom - 1) * 50;
    const within = (value) => Math.min(most, Math.max(-most, value)) || 0;
    this.view = { zoom, x: within(x), y: within(y) };
    this.#show();
  }

  setTone(name, value) {
    this.tools.querySelector(`[data-slider=${name}]`).value = value;
    this.pair.style.setProperty(`--${name}`, value / 100);
  }

  tone(name) {
    return Number(this.tools.querySelector(`[data-slider=${name}]`).value);
  }

  // Darker or brighter, and the like: one step within what its slider allows.
  step(name, by) {
    const slider = this.tools.querySelector(`[data-slider=${name}]`);
    const value = Number(slider.value) + by;
    slider.value = Math.min(Number(slider.max), Math.max(Number(slider.min), value));
    this.#slide(slider);
  }

  toggle(name) {
    const button = this.tools.querySelector(`[data-toggle=${name}]`);
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    if (name === "lines") this.pair.classList.toggle("is-lined", on);
    if (name === "wide") this.root.classList.toggle("is-wide", on);
    if (name === "original") {
      this.isOriginal = on;
      this.pair.classList.toggle("is-original", on);
      this.addresses.forEach((address, side) => this.setAddress(side, address));
    }
  }

  setAddress(side, address) {
    this.addresses[side] = address;
    const wanted = this.isOriginal ? `${address}?view=original` : address;
    if (this.images[side].getAttribute("src") !== wanted) this.images[side].src = wanted;
  }

  reset() {
    this.moveTo(1, 0, 0);
    for (const [name, value] of Object.entries(TONES)) this.setTone(name, value);
    for (const name of ["lines", "original"]) {
      if (this.tools.querySelector(`[data-toggle=${name}]`).getAttribute("aria-pressed") === "true") this.toggle(name);
    }
  }

  #show() {
    for (const [name, value] of Object.entries(this.view)) this.pair.style.setProperty(`--${name}`, value);
    this.pair.classList.toggle("is-zoomed", this.view.zoom > 1);
    this.tools.querySelector(".zoom").textContent = `${Math.round(this.view.zoom * 100)}%`;
  }

  #addTools(template, place) {
    this.tools = template.content.firstElementChild.cloneNode(true);
    for (const element of this.tools.querySelectorAll("[id]")) element.id += `-${place}`;
    for (const label of this.tools.querySelectorAll("label")) label.htmlFor += `-${place}`;
    this.stage.prepend(this.tools);
    this.stage.dataset.mode = "side";
    this.tools.addEventListener("click", (event) => this.#press(event.target.closest("button")));
    this.tools.addEventListener("input", (event) => this.#slide(event.target));
    // The tools stand within the form of the opinion, which Enter would send.
    this.tools.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.matches("input")) event.preventDefault();
    });
  }

  #press(button) {
    if (!button) return;
    if (button.dataset.mode) this.setMode(button.dataset.mode);
    if (button.dataset.toggle) this.toggle(button.dataset.toggle);
    const work = {
      "zoom-in": () => this.zoomIn(),
      "zoom-out": () => this.zoomOut(),
      reset: () => this.reset(),
      pause: () => this.blink.pauseOrPlay(),
      swap: () => this.blink.swap(),
    };
    work[button.dataset.do]?.();
  }

  #slide(input) {
    const name = input.dataset.slider;
    if (name === "speed") this.blink.setSpeed(Number(input.value) / 10);
    else if (name) this.setTone(name, Number(input.value));
  }
}
