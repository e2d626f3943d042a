"""python-socketio's clients against the fixture `client-sio`: python.py [TEST...]. See the script `python`.

The cases are written once, for the asyncio client. `Threaded` gives the sync client the same methods.
"""

import asyncio
import functools
import os
import re
import signal
import subprocess
import unittest
from datetime import datetime

import socketio
from socketio.exceptions import ConnectionError

# How long anything may take that should happen at once, in seconds.
DEADLINE = 8

EVENTS = [
    "connect", "disconnect", "connect_error", "hi", "got it", "takeUtf8", "takeDate", "takeDateObj", "false", "doge",
    "takebin", "buffack", "jsonbuff-ack", "abuff2-ack", "handshake",
]
VALUES = ["é漢😀\u2028\"\\\n", 0, -1.5, 1e21, False, None, [], {}, {"deep": [{"a": [[1]]}]}]
BINARY = [bytes([0, 1, 255]), {"a": [b"", "x", {"b": "é".encode()}], "c": None}, [bytes([7]) * 50_000]]


class Fixture:
    """The server, and its port, which a second start keeps."""

    port = 0

    def start(self):
        environment = {**os.environ, "CONF_FIXTURE": "client-sio", "PORT": str(self.port)}
        self.process = subprocess.Popen([os.environ["CONF_BINARY"]], env=environment, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.url = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", line)[1]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self):
        """Ends it. It may not have ended by itself."""
        self.process.terminate()
        self.process.stdout.close()
        assert self.process.wait(DEADLINE) == -signal.SIGTERM


class Threaded:
    """The sync client with the methods of the asyncio client: each call runs on a thread of its own."""

    def __init__(self, **options):
        self.client = socketio.Client(**options)
        self.on = self.client.on

    def __getattr__(self, name):
        attribute = getattr(self.client, name)
        if not callable(attribute) or name in ("get_sid", "transport"):
            return attribute
        return lambda *args, **options: asyncio.to_thread(attribute, *args, **options)


class Cases:
    """The cases. The classes below name a client and its transports."""

    transports = None

    @classmethod
    def setUpClass(cls):
        cls.fixture = Fixture()
        cls.fixture.start()

    @classmethod
    def tearDownClass(cls):
        cls.fixture.stop()

    def new(self, namespaces=("/",), **options):
        """A client that keeps what it hears: `next(event)` is the arguments of the next one."""
        client = self.Client(**{"reconnection": False, **options})
        loop, heard = asyncio.get_running_loop(), {}

        def put(queue, *args):
            # The sync client's threads may tell of the end when the test is over.
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, args)

        for nsp in namespaces:
            for event in EVENTS:
                heard[nsp, event] = asyncio.Queue()
                client.on(event, functools.partial(put, heard[nsp, event]), namespace=nsp)
        client.on("ack", lambda *_: (5, {"test": True}), namespace="/")

        async def next(event, namespace="/"):
            return await asyncio.wait_for(heard[namespace, event].get(), DEADLINE)

        self.addAsyncCleanup(client.disconnect)
        return client, next

    async def connect(self, path="", namespaces=("/",), auth=None, **options):
        client, next = self.new(namespaces, **options)
        await client.connect(
            self.fixture.url + path, namespaces=list(namespaces), transports=self.transports, auth=auth, wait_timeout=DEADLINE)
        self.assertEqual(client.transport(), "polling" if self.transports == ["polling"] else "websocket")
        return client, next

    async def test_ids_and_namespaces(self):
        client, next = await self.connect(namespaces=("/", "/foo"))
        for nsp in ("/", "/foo"):
            self.assertEqual(await client.call("getId", namespace=nsp), client.get_sid(nsp))
        self.assertNotEqual(client.get_sid("/"), client.get_sid("/foo"))
        self.assertNotEqual(client.get_sid("/"), client.eio.sid)

    async def test_handshake(self):
        auth = {"token": "é", "list": [1]}
        client, next = await self.connect("/?q%26=%3D%3F%C3%A9", namespaces=("/abc",), auth=auth)
        handshake = (await next("handshake", "/abc"))[0]
        self.assertEqual(handshake["auth"], auth)
        self.assertEqual(handshake["query"]["q&"], "=?é")
        self.assertEqual(handshake["query"]["EIO"], "4")

    async def test_refusals(self):
        for path, nsp, reason in [
            ("/?fail=true", "/", "Auth failed (main namespace)"),
            ("", "/no", "Auth failed (custom namespace)"),
            ("", "/nothing", "Invalid namespace"),
        ]:
            with self.subTest(reason):
                client, next = self.new((nsp,))
                with self.assertRaises(ConnectionError):
                    await client.connect(
                        self.fixture.url + path, namespaces=[nsp], transports=self.transports, wait_timeout=DEADLINE)
                self.assertEqual((await next("connect_error", nsp))[0], {"message": reason})

    async def test_events_and_acknowledgements(self):
        client, next = await self.connect()
        for value in VALUES:
            self.assertEqual(await client.call("echo", value), value)
        await client.emit("hi")
        await next("hi")
        await client.emit("false")
        self.assertIs((await next("false"))[0], False)
        await client.emit("getUtf8")
        texts = ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]
        heard = [(await next("takeUtf8"))[0] for _ in texts]
        # The sync client calls each handler on a thread of its own, so it has no order.
        self.assertEqual(*([sorted(heard), sorted(texts)] if self.Client is Threaded else [heard, texts]))
        await client.emit("getDate")
        await client.emit("getDateObj")
        for date in [
            (await next("takeDate"))[0],
            (await next("takeDateObj"))[0]["date"],
            await client.call("getAckDate", {}),
        ]:
            datetime.strptime(date, "%Y-%m-%dT%H:%M:%S.%fZ")
        await client.emit("ack")
        await next("got it")

    async def test_binary(self):
        client, next = await self.connect()
        for value in BINARY:
            self.assertEqual(await client.call("echo", value), value)
        for event, answer in [("doge", "doge"), ("getbin", "takebin")]:
            await client.emit(event)
            self.assertEqual((await next(answer))[0], b"asdfasdf")
        await client.emit("buffa", b"\x01")
        await next("buffack")
        await client.emit("jsonbuff", {"hello": "lol", "message": b"\x02", "goodbye": "gotcha"})
        await next("jsonbuff-ack")
        await client.emit("abuff1", b"\x03")
        await client.emit("abuff2", "after it")
        await next("abuff2-ack")

    async def test_disconnect(self):
        client, next = await self.connect()
        await client.disconnect()
        self.assertEqual(await next("disconnect"), (socketio.Client.reason.CLIENT_DISCONNECT,))

    async def test_reconnect(self):
        client, next = await self.connect(reconnection=True, reconnection_delay=0.05, randomization_factor=0)
        await next("connect")
        before = client.get_sid("/")
        await asyncio.to_thread(self.fixture.stop)
        await next("disconnect")
        await asyncio.to_thread(self.fixture.start)
        await next("connect")
        self.assertEqual(await client.call("getId"), client.get_sid("/"))
        self.assertNotEqual(client.get_sid("/"), before)


class SyncPolling(Cases, unittest.IsolatedAsyncioTestCase):
    Client, transports = Threaded, ["polling"]


class SyncWebSocket(Cases, unittest.IsolatedAsyncioTestCase):
    Client, transports = Threaded, ["websocket"]


class SyncUpgrade(Cases, unittest.IsolatedAsyncioTestCase):
    Client = Threaded


class AsyncPolling(Cases, unittest.IsolatedAsyncioTestCase):
    Client, transports = socketio.AsyncClient, ["polling"]


class AsyncWebSocket(Cases, unittest.IsolatedAsyncioTestCase):
    Client, transports = socketio.AsyncClient, ["websocket"]


class AsyncUpgrade(Cases, unittest.IsolatedAsyncioTestCase):
    Client = socketio.AsyncClient


unittest.main(verbosity=2)
