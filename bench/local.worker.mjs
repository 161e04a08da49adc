// @ts-check
import { Redis } from 'ioredis';
import { serve } from './child.mjs';
import { makeIdentities } from './identities.mjs';
import { runLoad } from './load.mjs';
import { zipf } from './zipf.mjs';

/** Identities that take turns being refused. */
const REFUSED = 100;

/** @type {(identity: string) => Promise<boolean>} */
let decide;
/** Decisions so far, by where they were made. @type {() => Readonly<Record<string, number>>} */
let sources = () => ({});

/** @type {Record<string, () => string>} */
const traffics = { hot: () => 'user:hot' };

serve(async (request) => {
  switch (request.kind) {
    case 'open': {
      if (request.module !== undefined) {
        const { open } = await import(`./subjects/${request.module}`);
        ({ decide } = await open(request));
        return undefined;
      }
      const { RateLimiter } = await import('../dist/index.js');
      const limiter = new RateLimiter({
        redis: new Redis({ port: request.port, db: request.db, maxRetriesPerRequest: 0 }),
        ...request.limit,
        ...request.local,
        failStrategy: 'throw',
        timeoutMs: 5_000,
      });
      await limiter.ready();
      decide = async (identity) => (await limiter.allow(identity)).allowed;
      sources = () => limiter.stats().sources;
      return undefined;
    }
    case 'load': {
      const next = (traffics[request.traffic] ??= makeTraffic(request));
      const before = sources();
      const result = await runLoad(decide, next, request);
      const asked = Number(sources()['store']) - Number(before['store']);
      return { ...result, perDecision: asked / result.decisions };
    }
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

/** @param {{ traffic: 'zipf' | 'refused', identities: number }} request */
function makeTraffic({ traffic, identities }) {
  if (traffic === 'zipf') return zipf(makeIdentities(identities));
  let at = 0;
  return () => `refused:${at++ % REFUSED}`;
}
