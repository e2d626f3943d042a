// A queue that a test can await. It keeps what arrives in order until a test takes it; a test that takes from it waits
// for a limited time. It does not know what is being queued.

/** How long anything may take that should happen at once, in ms. */
export const DEADLINE = 8_000;

/** A promise that rejects with `what` unless `promise` settles within `within` ms. */
export async function withDeadline(promise, what, within = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${within} ms: ${typeof what === 'function' ? what() : what}`)), within);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export class Inbox {
  #unread = [];
  #waiting = [];
  /** Everything that ever arrived, in order. */
  all = [];

  push(item) {
    this.all.push(item);
    const index = this.#waiting.findIndex(({ matches }) => matches(item));
    if (index < 0) {
      this.#unread.push(item);
    } else {
      this.#waiting.splice(index, 1)[0].resolve(item);
    }
  }

  /** Takes the first unread item that matches; waits for it when there is none. */
  async next(matches, what, within = DEADLINE) {
    const index = this.#unread.findIndex((item) => matches(item));
    if (index >= 0) {
      return this.#unread.splice(index, 1)[0];
    }
    const waiter = { matches };
    const arrived = new Promise((resolve) => {
      waiter.resolve = resolve;
    });
    this.#waiting.push(waiter);
    try {
      return await withDeadline(arrived, () => `${what}; so far ${summary(this.all)}`, within);
    } finally {
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
    }
  }
}

function summary(items) {
  const text = JSON.stringify(items.slice(-20)) ?? '';
  return text.length > 2_000 ? `${text.slice(0, 2_000)}...` : text;
}
