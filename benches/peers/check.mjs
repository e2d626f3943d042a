// Shows that a peer speaks the chat with the official client, as far as the benchmarks use it.
//
//   npm ci --prefix conformance                    once: the client is conformance's
//   node benches/peers/check.mjs [--websocket-only] COMMAND [ARGUMENT...]
//
// It starts the command with the peers' arguments, checks, and ends it; exit code 0 means all is well.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const { io } = createRequire(new URL("../../conformance/package.json", import.meta.url))("socket.io-client");

const SECRET = "check-only-0123456789abcdef-0123456789abcdef";
const PING_INTERVAL = 300;
const PING_TIMEOUT = 200;
const words = process.argv.slice(2);
const websocketOnly = words[0] === "--websocket-only" && words.shift();
const transports = websocketOnly ? ["websocket"] : ["websocket", "polling"];
const soon = () => Math.floor(Date.now() / 1000) + 600;

function token(claims, secret = SECRET) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

function within(promise, what) {
  const late = sleep(5000, null, { ref: false }).then(() => Promise.reject(new Error(`no ${what} within 5 s`)));
  return Promise.race([promise, late]);
}

const clients = [];
function client(url, transport, auth) {
  const socket = io(url, { transports: [transport], auth, forceNew: true, reconnection: false });
  socket.inbox = [];
  socket.wakers = [];
  socket.on("message", (event) => {
    socket.inbox.push(event);
    socket.wakers.splice(0).forEach((wake) => wake());
  });
  clients.push(socket);
  return socket;
}

async function messages(socket, count) {
  while (socket.inbox.length < count) {
    await within(new Promise((wake) => socket.wakers.push(wake)), `message ${socket.inbox.length + 1} of ${count}`);
  }
  return socket.inbox.splice(0, count);
}

async function connected(url, transport, sub, claims = {}) {
  const socket = client(url, transport, { token: token({ sub, exp: soon(), ...claims }) });
  await within(new Promise((done, fail) => socket.on("connect", done).on("connect_error", fail)), "connect");
  return socket;
}

async function refused(url, transport, auth) {
  const socket = client(url, transport, auth);
  const refusal = new Promise((done) => socket.on("connect_error", done).on("connect", () => done(null)));
  const error = await within(refusal, "refusal");
  assert(error, `connected with ${JSON.stringify(auth)}`);
  assert.equal(error.message, "unauthorized");
  socket.disconnect();
}

async function check(url, own, other) {
  await refused(url, own, {});
  await refused(url, own, { token: "a.b.c" });
  await refused(url, own, { token: token({ sub: "eve", exp: soon() }, "another-secret") });
  await refused(url, own, { token: token({ sub: "eve", exp: 1_000_000_000 }) });
  await refused(url, own, { token: token({ sub: "eve" }) });

  const roomId = `room "${own}/${other}" ü`;
  const alice = await connected(url, own, "alice", { name: 'A "quoted" 🦀' });
  const bob = await connected(url, other, "bob");
  assert.deepEqual(await within(alice.emitWithAck("join", { roomId }), "ack"), { ok: true, roomId, members: 1 });
  assert.deepEqual(await within(bob.emitWithAck("join", { roomId }), "ack"), { ok: true, roomId, members: 2 });
  const outsider = await connected(url, own, "carol");

  // With an acknowledgement, and exactly the context that was sent.
  const context = { roomId, big: 1.5e300, nested: [{ a: null }, [], "\u2028 \ud83d\ude80"] };
  const answer = await within(alice.emitWithAck("message", { message: "first \" one", context }), "ack");
  for (const socket of [alice, bob]) {
    const [event] = await messages(socket, 1);
    const { id, timestamp } = answer;
    const expected = { id, message: "first \" one", timestamp, context, userId: "alice", username: 'A "quoted" 🦀' };
    assert.deepEqual(event, expected);
    assert.deepEqual(Object.keys(event), Object.keys(expected));
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert(Math.abs(Date.parse(timestamp) - Date.now()) < 5000, timestamp);
  }
  assert.deepEqual({ ...answer, id: null, timestamp: null }, { ok: true, id: null, timestamp: null });

  // Attachments, in both directions of the pair.
  for (const [from, count] of [[alice, 1], [bob, 2]]) {
    const attachments = Array.from({ length: count }, () => randomBytes(64 * 1024));
    from.emit("message", { message: "with attachments", context: { files: attachments, roomId } });
    for (const socket of [alice, bob]) {
      const [event] = await messages(socket, 1);
      assert.equal(event.context.files.length, count);
      attachments.forEach((sent, place) => assert(sent.equals(Buffer.from(event.context.files[place])), "bytes"));
      assert.equal(event.context.roomId, roomId);
    }
  }

  // Many at once from both: each in order, both receivers in one order, ids growing.
  for (let number = 0; number < 200; number++) {
    for (const from of [alice, bob]) from.emit("message", { message: `${number}`, context: { roomId } });
  }
  const [seen, alike] = [await messages(alice, 400), await messages(bob, 400)];
  assert.deepEqual(seen, alike);
  for (const user of ["alice", "bob"]) {
    const texts = seen.filter(({ userId }) => userId === user).map(({ message }) => Number(message));
    assert.deepEqual(texts, Array.from({ length: 200 }, (_, number) => number));
  }
  seen.reduce((last, { id }) => (assert(id > last, `${id} after ${last}`), id), "");

  // Longer than three heartbeats; and who left is no member.
  await sleep(3 * PING_INTERVAL + PING_TIMEOUT);
  for (const socket of [alice, bob, outsider]) assert(socket.connected, "still connected");
  assert.equal(outsider.inbox.length, 0);
  outsider.disconnect();
  alice.disconnect();
  bob.emit("message", { message: "alone", context: { roomId } });
  assert.equal((await messages(bob, 1))[0].message, "alone");
  const gone = async () => (await within(bob.emitWithAck("join", { roomId }), "ack")).members === 1;
  // No event tells it: asked again and again, each time when the last answer is there.
  for (const until = Date.now() + 5000; !(await gone()); ) {
    assert(Date.now() < until, "a member that left is still counted");
  }
  bob.disconnect();
}

// A client that answers no ping is closed, and no earlier than promised.
async function silent(address) {
  const socket = new WebSocket_(`ws://${address}/socket.io/?EIO=4&transport=websocket`);
  const start = Date.now();
  await within(once(socket, "close"), "close of a silent client");
  const took = Date.now() - start;
  assert(took >= PING_TIMEOUT && took < 3 * (PING_INTERVAL + PING_TIMEOUT), `closed after ${took} ms`);
}
const WebSocket_ = createRequire(new URL("../../conformance/package.json", import.meta.url))("ws");

const timing = ["--ping-interval-ms", PING_INTERVAL, "--ping-timeout-ms", PING_TIMEOUT];
const [command, ...args] = [...words, "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, ...timing].map(String);
const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
try {
  const [line] = await within(once(createInterface(child.stdout), "line"), "first line");
  const url = line.match(/^listening on (http:\/\/.+)$/)?.[1];
  assert(url, `its first line is ${line}`);
  for (const own of transports) {
    for (const other of transports) {
      await check(url, own, other);
      console.log(`ok ${own}, ${other}`);
    }
  }
  await silent(new URL(url).host);
  console.log("ok silent client");
  assert.equal(child.exitCode, null, "it has ended");
} finally {
  clients.forEach((socket) => socket.disconnect());
  child.kill();
}
