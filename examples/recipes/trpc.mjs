/** tRPC: middleware that charges each procedure call, those of one batched HTTP request each by itself. */
import { initTRPC, TRPCError } from '@trpc/server';
import { createHTTPHandler } from '@trpc/server/adapters/standalone';
import { createServer } from 'node:http';
import { RateLimiter, RateLimitExceeded } from 'distributed-rate-limiter';
import { identifyByAddress } from 'distributed-rate-limiter/http';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';

const limiter = new RateLimiter({ ...place, namespace: 'trpc', rate: 5, period: '1m' });
const identify = identifyByAddress();

const t = initTRPC.context().meta().create();

const limited = t.procedure.use(async ({ ctx, meta, next }) => {
  const decision = await limiter.allow(ctx.identity, { cost: meta?.cost ?? 1 });
  if (!decision.allowed) {
    const code = decision.degraded ? 'SERVICE_UNAVAILABLE' : 'TOO_MANY_REQUESTS';
    throw new TRPCError({ code, cause: new RateLimitExceeded(decision) });
  }
  return next();
});

const router = t.router({
  hello: limited.query(() => 'hello'),
  report: limited.meta({ cost: 3 }).query(() => 'a report'),
});

const handler = createHTTPHandler({
  router,
  createContext: ({ req }) => ({ identity: identify(req) }),
  // A batch waits for the longest wait among its calls.
  responseMeta({ errors }) {
    const waits = errors.map(({ cause }) =>
      cause instanceof RateLimitExceeded ? (cause.retryAfterMs ?? 0) : 0,
    );
    const longestMs = Math.max(0, ...waits);
    return longestMs === 0
      ? {}
      : { headers: { 'Retry-After': String(Math.ceil(longestMs / 1_000)) } };
  },
});

await run(createServer(handler), limiter);
