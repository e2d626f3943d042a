// Real reverse proxies that end TLS, with the very configurations that docs/operations.md and docs/proxies.md give. Only what each
// machine has of its own is replaced in them: ports, paths, and for Caddy the names.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { authority, noCertificates } from './authority.mjs';
import { SITE } from './browsers.mjs';
import { find } from './programs.mjs';
import { apacheWith, launch, nginxWith, PROGRAMS } from './proxies.mjs';

/** The name in the documented configurations. */
export const NAME = 'chat.example.com';
/** Names of the proxy: the documented one, one that this machine resolves, and one that the browsers here do. */
const NAMES = [NAME, 'localhost', SITE];

/** The example of a document that begins with a fence of this language. */
function documented(document, language) {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8');
  const examples = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, found]) => found === language);
  assert.equal(examples.length, 1, `${document} has one example of ${language}`);
  return examples[0][2];
}

/** Replaces texts, each of which must be there. */
function replaced(text, pairs) {
  return pairs.reduce((rest, [from, to]) => {
    assert.ok(rest.includes(from), `the documented configuration has ${from}`);
    return rest.replaceAll(from, to);
  }, text);
}

const certificate = ({ cert, key }) => [['/etc/ssl/chat/fullchain.pem', cert], ['/etc/ssl/chat/privkey.pem', key]];
const server = ({ upstream }) => [['127.0.0.1:3000', `127.0.0.1:${upstream}`]];

function nginx({ port, folder, files, ...rest }, example = documented('operations.md', 'nginx')) {
  return nginxWith(folder, replaced(example, [['listen 443 ', `listen 127.0.0.1:${port} `], ...certificate(files), ...server(rest)]));
}

function nginxToTls(given) {
  const example = replaced(documented('operations.md', 'nginx'), [
    ['    proxy_pass http://127.0.0.1:3000;\n', documented('proxies.md', 'nginx')],
  ]);
  return nginx(given, replaced(example, [['/etc/ssl/chat/ca.pem', given.files.ca]]));
}

/** HAProxy's own lines of its health checks, which come at once. */
const quickChecks = ['defaults\n', 'defaults\n  log stdout format raw local0\n  option log-health-checks\n  default-server inter 100ms\n'];

function haproxy({ port, files, checkPort, ...rest }) {
  const check = checkPort ? [['3000 check\n', `3000 check port ${checkPort}\n`]] : [];
  return replaced(documented('operations.md', 'haproxy'), [
    ...check, quickChecks, ['bind :443 ', `bind 127.0.0.1:${port} `], ['/etc/ssl/chat/chat.pem', files.chain], ...server(rest),
  ]);
}

function haproxyToTls({ port, ...rest }) {
  return replaced(documented('proxies.md', 'haproxy'), [quickChecks, ['bind :443\n', `bind 127.0.0.1:${port}\n`], ...server(rest)]);
}

function apache({ port, folder, files, ...rest }) {
  const example = replaced(documented('operations.md', 'apache'), [['*:443', `127.0.0.1:${port}`], ...certificate(files), ...server(rest)]);
  return apacheWith(folder, port, ['http2', 'socache_shmcb', 'ssl'], example);
}

/** Without `skip_install_trust` Caddy, run by root, adds an authority to those of the machine. */
function caddy({ port, files, ...rest }) {
  const sites = NAMES.map((name) => `https://${name}:${port}`).join(', ');
  const example = replaced(documented('operations.md', 'caddy'), [[`${NAME} {`, `${sites} {`], ...certificate(files), ...server(rest)]);
  return `{\n  admin off\n  auto_https off\n  skip_install_trust\n  default_bind 127.0.0.1\n}\n${example}`;
}

/** For each proxy: program and configuration, whether it offers HTTP/2, and what the server needs behind it. */
export const TLS_PROXIES = {
  nginx: { ...PROGRAMS.nginx, configuration: nginx, http2: true },
  haproxy: { ...PROGRAMS.haproxy, configuration: haproxy, http2: true },
  apache: { ...PROGRAMS.apache, configuration: apache, http2: true },
  caddy: { ...PROGRAMS.caddy, configuration: caddy, http2: true },
  'nginx to a server with TLS': { ...PROGRAMS.nginx, configuration: nginxToTls, http2: true, encrypted: true },
  'haproxy to a server with TLS, by send-proxy-v2': {
    ...PROGRAMS.haproxy, configuration: haproxyToTls, http2: false, encrypted: true, settings: { 'http.proxy_protocol': true },
  },
};

/** Why a proxy cannot be tested here, or false. */
export function missing(name) {
  const { program } = TLS_PROXIES[name];
  return noCertificates || (find(program) ? false : `${program} is not installed`);
}

/** The certificates for a proxy, and the settings of a server behind it. */
export function prepare(t, name) {
  const certificates = authority(t, NAMES);
  const { encrypted, settings } = TLS_PROXIES[name];
  return { ...certificates, settings: { ...settings, ...(encrypted ? certificates.settings : {}) } };
}

/** Starts a proxy in front of a server; it ends with the test `t`. `checkPort` is where HAProxy asks for the server's health. */
export async function start(t, name, { port: upstream }, { ca, files, checkPort }) {
  const { configuration, ...program } = TLS_PROXIES[name];
  const proxy = await launch(t, program, (port, folder) => configuration({ port, folder, files, upstream, checkPort }));
  return { ...proxy, ca, url: `https://localhost:${proxy.port}`, site: `https://${SITE}:${proxy.port}` };
}
