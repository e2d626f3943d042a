// The same chat as chat-server's, on Node and socket.io with its default WebSocket engine (ws): the peer the
// benchmarks compare with. JWT (HS256) at CONNECT, rooms, id and timestamp stamped, one broadcast per message.
// What a careful operator would set is set: no compression, no logging, one HMAC key object, no work per recipient.
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const { values: flags } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    "jwt-secret": { type: "string" },
    "ping-interval-ms": { type: "string", default: "25000" },
    "ping-timeout-ms": { type: "string", default: "20000" },
    "tls-cert": { type: "string" },
    "tls-key": { type: "string" },
  },
});
if (!flags["jwt-secret"]) throw new Error("--jwt-secret is required");
const key = createSecretKey(Buffer.from(flags["jwt-secret"], "utf8"));
const [host, port] = flags.listen.split(":");

const LOBBY = "lobby";
const MAX_MESSAGE = 4096;
// Chat rooms live under a prefix, so that no room id can name a socket's own room.
const prefixed = (roomId) => `room:${roomId}`;

function refusal(code) {
  const error = new Error("unauthorized");
  error.data = { code };
  return error;
}

// HS256 only: the algorithm is pinned here, never taken from the token (RFC 8725, section 3.1).
function verify(token) {
  if (typeof token !== "string") throw refusal("token_missing");
  const parts = token.split(".");
  if (parts.length !== 3) throw refusal("token_invalid");
  const [head, body, signature] = parts;
  const expected = createHmac("sha256", key).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw refusal("token_invalid");
  let header, claims;
  try {
    header = JSON.parse(Buffer.from(head, "base64url"));
    claims = JSON.parse(Buffer.from(body, "base64url"));
  } catch {
    throw refusal("token_invalid");
  }
  if (header?.alg !== "HS256") throw refusal("token_invalid");
  if (typeof claims?.sub !== "string" || typeof claims.exp !== "number") throw refusal("claims_invalid");
  if (claims.exp * 1000 <= Date.now()) throw refusal("token_expired");
  const user = { userId: claims.sub, username: claims.name ?? claims.username ?? claims.sub };
  return { user, rooms: claims.rooms ?? [] };
}

// UUIDv7 (RFC 9562, section 5.7) with the counter of section 6.2, method 1: ids grow strictly within the process.
let lastMillis = 0;
let counter = 0;
const suffix = randomBytes(7).toString("hex");
const node = `${((Number.parseInt(suffix[0], 16) & 3) | 8).toString(16)}${suffix.slice(1, 4)}`;
function stamp() {
  const now = Date.now();
  if (now > lastMillis) {
    lastMillis = now;
    counter = 0;
  } else if (++counter > 0xfffffff) {
    lastMillis += 1;
    counter = 0;
  }
  const millis = lastMillis.toString(16).padStart(12, "0");
  const count = counter.toString(16).padStart(7, "0");
  const id = `${millis.slice(0, 8)}-${millis.slice(8)}-7${count.slice(0, 3)}-${node}-${count.slice(3)}${suffix.slice(4, 12)}`;
  return { id, timestamp: new Date(now).toISOString() };
}

const roomIdOf = (value) => (typeof value === "string" && value.length > 0 && value.length <= 128 ? value : null);

function onMessage(socket, payload, ack) {
  const fail = (code) => {
    const error = { code, message: code };
    if (typeof ack === "function") ack({ ok: false, error });
    else socket.emit("error", { ...error, event: "message" });
  };
  const { message, context } = payload ?? {};
  if (typeof message !== "string") return fail("invalid_payload");
  if (message.trim().length === 0) return fail("message_empty");
  if (message.length > MAX_MESSAGE) return fail("message_too_long");
  if (context !== undefined && (typeof context !== "object" || context === null)) return fail("invalid_payload");
  const roomId = context?.roomId === undefined ? LOBBY : roomIdOf(context.roomId);
  if (roomId === null) return fail("room_invalid");
  const room = prefixed(roomId);
  if (!socket.rooms.has(room)) socket.join(room);
  const { id, timestamp } = stamp();
  const { userId, username } = socket.data;
  io.to(room).emit("message", { id, message, timestamp, context, userId, username });
  if (typeof ack === "function") ack({ ok: true, id, timestamp });
}

function onJoin(socket, payload, ack) {
  const roomId = roomIdOf(payload?.roomId);
  if (roomId === null) {
    if (typeof ack === "function") ack({ ok: false, error: { code: "room_invalid", message: "room_invalid" } });
    return;
  }
  const room = prefixed(roomId);
  socket.join(room);
  if (typeof ack === "function") ack({ ok: true, roomId, members: io.sockets.adapter.rooms.get(room).size });
}

const tls = flags["tls-cert"] !== undefined;
const http = tls
  ? createTlsServer({ cert: readFileSync(flags["tls-cert"]), key: readFileSync(flags["tls-key"]) })
  : createServer();
const io = new Server(http, {
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
  pingInterval: Number(flags["ping-interval-ms"]),
  pingTimeout: Number(flags["ping-timeout-ms"]),
});

io.use((socket, next) => {
  try {
    const { user, rooms } = verify(socket.handshake.auth.token);
    socket.data = user;
    for (const room of rooms) socket.join(prefixed(room));
    next();
  } catch (error) {
    next(error);
  }
});

io.on("connection", (socket) => {
  socket.join(prefixed(LOBBY));
  socket.on("message", (payload, ack) => onMessage(socket, payload, ack));
  socket.on("join", (payload, ack) => onJoin(socket, payload, ack));
});

http.listen(Number(port), host, () => console.log(`listening on ${tls ? "https" : "http"}://${host}:${http.address().port}`));
