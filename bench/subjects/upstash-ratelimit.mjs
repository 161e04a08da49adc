// @ts-check
import { createHash } from 'node:crypto';
import { Ratelimit } from '@upstash/ratelimit';
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

/** The first line of its scripts names a flag that Upstash's servers know, and which Redis refuses. */
const FLAGGED = /^#!lua flags=allow-key-locking/;

/**
 * A fixed window. Its own client speaks HTTP to Upstash's servers; here ioredis takes that client's place, so that its
 * calls reach the same Redis on the same way as all others.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  const client = await connect(options);
  /** Its digest of a script -> the digest without the flag. @type {Map<string, string>} */
  const loaded = new Map();
  const redis = {
    /** @param {string} digest @param {string[]} keys @param {unknown[]} args */
    evalsha: async (digest, keys, args) => {
      const own = loaded.get(digest);
      if (own === undefined) throw new Error('NOSCRIPT');
      return client.evalsha(own, keys.length, ...keys, ...args.map(String));
    },
    /** @param {string} script @param {string[]} keys @param {unknown[]} args */
    eval: async (script, keys, args) => {
      const own = String(await client.script('LOAD', script.replace(FLAGGED, '#!lua')));
      loaded.set(createHash('sha1').update(script).digest('hex'), own);
      return client.evalsha(own, keys.length, ...keys, ...args.map(String));
    },
  };
  const limiter = new Ratelimit({
    redis: /** @type {any} */ (redis),
    limiter: Ratelimit.fixedWindow(NEVER_REFUSES, '1 h'),
  });
  const decide = async (/** @type {string} */ identity) => (await limiter.limit(identity)).success;
  return { decide, fill: decide, close: () => client.disconnect() };
}
