// Shows two portraits in one place by turns.
//
// At most 3 changes a second, which is 1.5 flashes: WCAG 2.2 (2.3.1) allows three. Whoever asked the system for less
// motion starts it by hand, and everybody can pause it (2.2.2).

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

export class Blink {
  #timer = 0;
  #perSecond = 1.2;

  constructor(pair, button) {
    this.pair = pair;
    this.button = button;
  }

  get isRunning() {
    return this.#timer !== 0;
  }

  start() {
    if (calm.matches) this.#say();
    else this.#run();
  }

  stop() {
    this.pause();
    this.pair.classList.remove("is-second");
  }

  pause() {
    window.clearInterval(this.#timer);
    this.#timer = 0;
    this.#say();
  }

  pauseOrPlay() {
    if (this.isRunning) this.pause();
    else this.#run();
  }

  swap() {
    this.pause();
    this.#turn();
  }

  setSpeed(perSecond) {
    this.#perSecond = perSecond;
    if (this.isRunning) this.#run();
  }

  #run() {
    window.clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#turn(), 1000 / this.#perSecond);
    this.#say();
  }

  #turn() {
    this.pair.classList.toggle("is-second");
  }

  #say() {
    this.button.textContent = this.isRunning ? this.button.dataset.pause : this.button.dataset.play;
  }
}
