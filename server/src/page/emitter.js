// Lets others listen to what happens to an object.

export class Emitter {
  #listeners = new Map();

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  tell(event, ...args) {
    for (const listener of this.#listeners.get(event) ?? []) listener(...args);
  }
}
