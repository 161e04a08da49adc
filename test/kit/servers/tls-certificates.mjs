// @ts-check
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateFolder } from './reaper.mjs';

/**
 * @typedef {object} Certificates
 * @property {string} ca PEM text of the authority
 * @property {string} cert PEM text of the certificate that it signed, for `localhost` and `127.0.0.1`, good for a
 *   server and for a client
 * @property {string} key PEM text of that certificate's key
 * @property {string} caFile
 * @property {string} certFile
 * @property {string} keyFile
 */

/** @type {Certificates | undefined} */
let shared;

/**
 * Explains why no certificates can be made on this machine, for the name of a skipped test. Undefined if they can.
 *
 * @returns {string | undefined}
 */
export function tlsMissing() {
  return spawnSync('openssl', ['version']).error ? 'no openssl on this machine' : undefined;
}

/**
 * Makes an authority and a certificate signed by it, valid for two days, with `openssl`.
 *
 * @param {{ fresh?: boolean }} [options] `fresh`: a new authority, which no client trusts yet; default: one for the whole process
 * @returns {Certificates}
 */
export function makeCertificates({ fresh = false } = {}) {
  if (shared && !fresh) return shared;
  const dir = privateFolder('tls');
  /** @param {string} name */
  const file = (name) => join(dir, name);
  /** @param {string} line */
  const openssl = (line) =>
    execFileSync('openssl', line.split(' '), { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });

  writeFileSync(
    file('extensions'),
    'subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n',
  );
  const signed = '-CA ca.crt -CAkey ca.key -CAcreateserial -extfile extensions';
  openssl('ecparam -genkey -name prime256v1 -out ca.key');
  openssl('ecparam -genkey -name prime256v1 -out leaf.key');
  openssl('req -x509 -new -key ca.key -days 2 -subj /CN=test-authority -out ca.crt');
  openssl('req -new -key leaf.key -subj /CN=localhost -out leaf.csr');
  openssl(`x509 -req -in leaf.csr ${signed} -days 2 -out leaf.crt`);

  const certificates = {
    ca: readFileSync(file('ca.crt'), 'utf8'),
    cert: readFileSync(file('leaf.crt'), 'utf8'),
    key: readFileSync(file('leaf.key'), 'utf8'),
    caFile: file('ca.crt'),
    certFile: file('leaf.crt'),
    keyFile: file('leaf.key'),
  };
  if (!fresh) shared = certificates;
  return certificates;
}
