// The tokens of Node's libraries, for make.py.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
// From where `npm install` was run.
const require = createRequire(`${process.cwd()}/x.js`);
const { SignJWT } = require('jose');
const jsonwebtoken = require('jsonwebtoken');

const tokens = [];
for (const { key, algorithm, pem } of JSON.parse(readFileSync(0, 'utf8'))) {
  const privateKey = createPrivateKey(pem);
  const token = await new SignJWT({ name: 'jose' })
    .setProtectedHeader({ alg: algorithm, kid: key, typ: 'JWT' })
    .setSubject('jose').setIssuer('https://issuer.example/').setAudience(['chat', 'other'])
    .setIssuedAt(1700000000).setExpirationTime(4102444800).sign(privateKey);
  tokens.push({ library: 'jose', key, algorithm, kid: key, token });
  if (algorithm === 'EdDSA') {
    // The newer name of the same algorithm.
    const renamed = await new SignJWT({ sub: 'jose', iss: 'https://issuer.example/', aud: 'chat', exp: 4102444800 })
      .setProtectedHeader({ alg: 'Ed25519', kid: key }).sign(privateKey);
    tokens.push({ library: 'jose', key, algorithm, kid: key, token: renamed });
    continue; // jsonwebtoken does not know it.
  }
  const payload = { sub: 'jsonwebtoken', exp: 4102444800, iat: 1700000000 };
  const options = { algorithm, keyid: key, issuer: 'https://issuer.example/', audience: 'chat' };
  tokens.push({ library: 'jsonwebtoken', key, algorithm, kid: key, token: jsonwebtoken.sign(payload, privateKey, options) });
}
console.log(JSON.stringify(tokens));
