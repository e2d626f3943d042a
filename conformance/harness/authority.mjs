// Certificates: an authority of the test's own, made by openssl.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { find } from './programs.mjs';

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' });

/** Why there are no certificates here, or false. */
export const noCertificates = find('openssl') ? false : 'openssl is not installed';

/**
 * An authority and a certificate of it for 127.0.0.1 and the names, with their keys, in a directory that is removed with the test.
 * `issue` makes another certificate in place of the first. `chain` is a file with certificate and key, as HAProxy wants it.
 */
export function authority(t, names = []) {
  const directory = mkdtempSync(join(tmpdir(), 'chat-tls-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = (name) => join(directory, `${name}.pem`);
  openssl('req', '-x509', ...CURVE, '-keyout', file('ca-key'), '-out', file('ca'), '-subj', '/CN=authority of this test');
  const alternatives = ['IP:127.0.0.1', ...names.map((name) => `DNS:${name}`)].join(',');
  const issue = () => {
    const about = ['-subj', '/CN=localhost', '-addext', `subjectAltName=${alternatives}`, '-addext', 'basicConstraints=critical,CA:FALSE'];
    openssl('req', '-x509', ...CURVE, '-CA', file('ca'), '-CAkey', file('ca-key'), '-keyout', file('key'), '-out', file('cert'), ...about);
    writeFileSync(file('chain'), readFileSync(file('cert'), 'utf8') + readFileSync(file('key'), 'utf8'));
  };
  issue();
  const files = { ca: file('ca'), cert: file('cert'), key: file('key'), chain: file('chain') };
  return { issue, ca: readFileSync(file('ca')), files, settings: { 'tls.cert': file('cert'), 'tls.key': file('key') } };
}
