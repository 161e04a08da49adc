/**
 * What the library takes of `node:crypto`, for the playground: a browser has digests only asynchronously. Keys of the
 * playground's states are therefore the very keys that Redis would have.
 */
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

export function hash(_algorithm: 'sha256', data: string | Uint8Array, _encoding: 'hex'): string {
  return bytesToHex(sha256(bytesOf(data)));
}

export function createHmac(_algorithm: 'sha256', secret: string | Uint8Array): Hmac {
  const state = hmac.create(sha256, bytesOf(secret));
  const made: Hmac = {
    update(data) {
      state.update(bytesOf(data));
      return made;
    },
    digest: () => bytesToHex(state.digest()),
  };
  return made;
}

interface Hmac {
  update(data: string | Uint8Array): Hmac;
  digest(encoding: 'hex'): string;
}

function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === 'string' ? utf8ToBytes(data) : data;
}
