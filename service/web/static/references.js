// Puts another portrait of the same person into a comparison; pressing it again brings the first one back.

export class Choice {
  constructor(comparison, list) {
    this.comparison = comparison;
    this.side = list.dataset.side === "left" ? 0 : 1;
    this.name = list.dataset.side;
    this.caption = comparison.pair.querySelectorAll("figcaption")[this.side];
    this.first = {
      address: comparison.addresses[this.side],
      caption: this.caption.cloneNode(true),
      alt: comparison.images[this.side].alt,
    };
    this.buttons = [...list.querySelectorAll("[data-choose]")];
    for (const button of this.buttons) {
      button.hidden = false;
      button.addEventListener("click", () => this.#press(button));
    }
    this.#mark();
  }

  // Goes on to the next portrait, after the last one to the first.
  next() {
    const at = this.buttons.findIndex((button) => button.dataset.choose === this.comparison.addresses[this.side]);
    if (at === this.buttons.length - 1 && this.name === "left") this.#show(this.first);
    else this.#choose(this.buttons[(at + 1) % this.buttons.length]);
  }

  #press(button) {
    if (button.getAttribute("aria-pressed") === "true") this.#show(this.first);
    else this.#choose(button);
    this.comparison.pair.scrollIntoView({ block: "nearest" });
  }

  #choose(button) {
    const figure = button.closest("figure");
    this.#show({
      address: button.dataset.choose,
      caption: figure.querySelector("figcaption").cloneNode(true),
      alt: figure.querySelector("img").alt,
    });
  }

  #show({ address, caption, alt }) {
    this.comparison.setAddress(this.side, address);
    this.comparison.images[this.side].alt = alt;
    this.caption.replaceChildren(...caption.cloneNode(true).childNodes);
    this.#mark();
  }

  #mark() {
    for (const button of this.buttons) {
      const shown = button.dataset.choose === this.comparison.addresses[this.side];
      button.setAttribute("aria-pressed", String(shown));
    }
  }
}
