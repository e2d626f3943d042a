// Connects with the bundle of the official client as a page does, and sends one message, which comes back from the lobby.
// Resolves to what happened: `{ origin, transport, text }`, or `{ origin, error }` of the first attempt.
function talk(url, { upgrade, ...options }, text) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  const talked = new Promise((resolve) => {
    const send = () => socket.emit('message', { message: text });
    socket.on('connect_error', (error) => resolve({ error: error.message }));
    socket.on('connect', () => {
      const { engine } = socket.io;
      // The upgrade may be through before the answer to CONNECT comes.
      if (upgrade && engine.transport.name !== 'websocket') engine.once('upgrade', send);
      else send();
    });
    socket.on('message', ({ message }) => message === text && resolve({ transport: socket.io.engine.transport.name, text }));
  });
  return talked.then((what) => {
    socket.disconnect();
    return { origin: self.origin, ...what };
  });
}

// In a frame: the page around it asks.
addEventListener('message', async ({ data, source }) => source.postMessage(await talk(...data), '*'));
