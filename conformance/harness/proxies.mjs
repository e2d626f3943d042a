// Real reverse proxies in front of a server: nginx, HAProxy and Apache, with the configurations that socket.io's
// documentation gives for them ("Behind a reverse proxy"), and Caddy, which needs one line.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { DEADLINE, withDeadline } from './inbox.mjs';
import { end, find } from './programs.mjs';

const alive = new Set();
process.on('exit', () => alive.forEach((child) => end(child)));

/** A port that nobody listens on now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until somebody listens on a port. */
async function listening(port, ended) {
  for (;;) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(Boolean(socket.destroy())));
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    if (ended()) throw new Error('the proxy ended');
  }
}

/** nginx's own default, 512, is too few for a herd that connects (docs/proxies.md). */
const WORKER_CONNECTIONS = 4096;

/** nginx in the foreground, with its files in a folder. */
export function nginxWith(folder, servers) {
  return `
    daemon off;
    master_process off;
    pid ${folder}/pid;
    error_log stderr;
    events {
      worker_connections ${WORKER_CONNECTIONS};
    }
    http {
      access_log off;
      client_body_temp_path ${folder}/body;
      proxy_temp_path ${folder}/proxy;
      fastcgi_temp_path ${folder}/fastcgi;
      uwsgi_temp_path ${folder}/uwsgi;
      scgi_temp_path ${folder}/scgi;
      ${servers}
    }`;
}

function nginx(port, upstream, folder, { pages = upstream, forwardedFor = '$proxy_add_x_forwarded_for' } = {}) {
  return nginxWith(folder, `
      server {
        listen 127.0.0.1:${port};
        location /pages/ {
          proxy_pass http://127.0.0.1:${pages}/;
        }
        location / {
          proxy_set_header X-Forwarded-For ${forwardedFor};
          proxy_set_header Host $host;
          proxy_pass http://127.0.0.1:${upstream};
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection "upgrade";
        }
      }`);
}

const HAPROXY = `
global
  log stdout format raw local0
defaults
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h`;

function haproxy(port, upstream) {
  return `${HAPROXY}
  mode http
  option forwardfor
  option log-health-checks
listen chat
  bind 127.0.0.1:${port}
  option httpchk
  server app 127.0.0.1:${upstream} check inter 100ms
`;
}

/** HAProxy passes on bytes, and says who the client is by the PROXY protocol. */
function haproxyTcp(version) {
  return (port, upstream) => `${HAPROXY}
  mode tcp
listen chat
  bind 127.0.0.1:${port}
  server app 127.0.0.1:${upstream} ${version}
`;
}

/** Apache with its files in a folder, and modules beside those that every configuration needs. */
export function apacheWith(folder, port, modules, rest) {
  const all = ['mpm_event', 'authz_core', 'proxy', 'proxy_http', 'proxy_wstunnel', 'rewrite', ...modules];
  return `
ServerRoot ${folder}
ServerName localhost
PidFile ${folder}/pid
DefaultRuntimeDir ${folder}
ErrorLog ${folder}/error.log
Listen 127.0.0.1:${port}
${all.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
${rest}
`;
}

/** Without ProxyPreserveHost, as in the documentation: Host is the server's own address. */
function apache(port, upstream, folder, { pages = upstream } = {}) {
  return apacheWith(folder, port, [], `
RewriteEngine On
RewriteRule ^/pages/(.*) http://127.0.0.1:${pages}/$1 [P,L]
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule /(.*) ws://127.0.0.1:${upstream}/$1 [P,L]
RewriteCond %{HTTP:Upgrade} !=websocket [NC]
RewriteRule /(.*) http://127.0.0.1:${upstream}/$1 [P,L]
`);
}

/** Only on this address, and without certificates. */
function caddy(port, upstream) {
  return `
{
  admin off
  auto_https off
}
http://:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${upstream}
}
`;
}

/** For each program: its name, and its arguments for a configuration file. */
export const PROGRAMS = {
  nginx: { program: 'nginx', args: (file, folder) => ['-p', folder, '-c', file, '-e', 'stderr'] },
  haproxy: { program: 'haproxy', args: (file) => ['-db', '-f', file] },
  apache: { program: 'apache2', args: (file) => ['-DFOREGROUND', '-f', file] },
  caddy: { program: 'caddy', args: (file) => ['run', '--config', file, '--adapter', 'caddyfile'] },
};

/** For each proxy: the program and the configuration. */
export const PROXIES = {
  nginx: { ...PROGRAMS.nginx, configuration: nginx },
  haproxy: { ...PROGRAMS.haproxy, configuration: haproxy },
  apache: { ...PROGRAMS.apache, configuration: apache },
  caddy: { ...PROGRAMS.caddy, configuration: caddy },
  'haproxy with send-proxy': { ...PROGRAMS.haproxy, configuration: haproxyTcp('send-proxy') },
  'haproxy with send-proxy-v2': { ...PROGRAMS.haproxy, configuration: haproxyTcp('send-proxy-v2') },
};

/** Why a proxy cannot be tested here, or false. */
export function missing(name) {
  const { program } = PROXIES[name];
  return find(program) ? false : `${program} is not installed`;
}

/**
 * Starts a proxy in front of a server; it ends with the test `t`. `pages` is the port of an application's pages, which nginx and
 * Apache serve under `/pages/` beside the chat. `forwardedFor` is what nginx says of every client, in place of the truth.
 */
export async function start(t, name, server, options = {}) {
  const { program, args, configuration } = PROXIES[name];
  const proxy = await launch(t, { program, args }, (port, folder) => configuration(port, server.port, folder, options));
  return { ...proxy, url: `http://127.0.0.1:${proxy.port}` };
}

/** Starts a program with what `configuration` returns for a port to listen on and a folder; it ends with the test `t`. */
export async function launch(t, { program, args }, configuration) {
  const folder = mkdtempSync(join(tmpdir(), 'chat-proxy-'));
  const file = join(folder, 'configuration');
  const port = await freePort();
  writeFileSync(file, configuration(port, folder));
  // Caddy keeps files in the user's directories.
  const env = { ...process.env, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
  const child = spawn(find(program), args(file, folder), { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env });
  alive.add(child);
  let output = '';
  const waiting = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      for (const check of waiting) check();
    });
  }
  const exited = new Promise((resolve) => {
    child.once('exit', () => {
      alive.delete(child);
      resolve();
    });
  });
  t.after(async () => {
    end(child);
    await withDeadline(exited, `the end of ${program}`);
    rmSync(folder, { recursive: true, force: true });
  });
  try {
    await withDeadline(listening(port, () => child.exitCode !== null), `${program} to listen`);
  } catch (error) {
    throw new Error(`${error.message}: ${output}`);
  }
  return {
    port,
    /** Waits until the proxy has written a line that matches. */
    says: (pattern) => {
      const said = new Promise((resolve) => {
        const check = () => pattern.test(output) && resolve();
        waiting.push(check);
        check();
      });
      return withDeadline(said, `${program} to write ${pattern}`, DEADLINE);
    },
  };
}
