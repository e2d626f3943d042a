// A cable between a client and a server: it carries the bytes of every connection until a test cuts it.

import { connect, createServer } from 'node:net';

import { Inbox, withDeadline } from './inbox.mjs';
import { fresh, Peer } from './peer.mjs';

export class Cable {
  /** Connections, and whether each waits for the server to say something. */
  #pairs = new Map();
  #asked = null;
  #held = null;
  #isUnplugged = false;

  /** A cable to a server's address, taken away with the test `t`. */
  static async lay(t, url) {
    const cable = new Cable();
    const { port } = new URL(url);
    const server = createServer((client) => cable.#join(client, connect(Number(port), '127.0.0.1')));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.close();
      cable.cut();
    });
    cable.url = `http://127.0.0.1:${server.address().port}`;
    return cable;
  }

  #join(client, server) {
    if (this.#isUnplugged) {
      client.destroy();
      server.destroy();
      return;
    }
    const pair = [client, server];
    this.#pairs.set(pair, false);
    client.on('data', (bytes) => {
      server.write(bytes);
      this.#pairs.set(pair, true);
      this.#asked?.();
    });
    server.on('data', (bytes) => {
      this.#pairs.set(pair, false);
      if (this.#held) this.#held.push(bytes.toString('latin1'));
      else client.write(bytes);
    });
    for (const [from, to] of [pair, [server, client]]) {
      from.on('error', () => {});
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** From now until the cut nothing that the server sends arrives. Resolves when it has sent this text. */
  lose(text) {
    this.#held = new Inbox();
    return this.#held.next((bytes) => bytes.includes(text), `${text} from the server`);
  }

  /** Waits until a request is under way: between two polls there is nothing to cut. */
  async poll() {
    if ([...this.#pairs.values()].some((waits) => waits)) return;
    await withDeadline(new Promise((resolve) => (this.#asked = resolve)), 'a request');
  }

  /** Ends all connections, and carries no new ones until `plug`. */
  unplug() {
    this.#isUnplugged = true;
    this.cut();
  }

  plug() {
    this.#isUnplugged = false;
  }

  /** Ends all connections. New ones are carried. */
  cut() {
    this.#held = null;
    for (const [client, server] of this.#pairs.keys()) {
      client.destroy();
      server.destroy();
    }
  }
}

/** A user behind a cable, in a room. */
export async function behindCable(t, server, roomId, transport = 'websocket') {
  const cable = await Cable.lay(t, server.url);
  const peer = await Peer.open(t, cable.url, await server.token(fresh('user')), { transport });
  await peer.connected();
  await peer.ok('join', { roomId });
  return { cable, peer };
}
