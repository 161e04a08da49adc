// @ts-check
import autocannon from 'autocannon';
import { serve } from './child.mjs';
import { zipf } from './zipf.mjs';

/** Number of callers that take turns, each with its own limit. */
const CALLERS = 10_000;

/** Callers of Zipf-distributed traffic. */
const UNEQUAL_CALLERS = 100_000;

let caller = 0;
const inTurn = () => `user:${(caller = (caller + 1) % CALLERS)}`;
/** @type {(() => string) | undefined} */
let unequal;

serve(async ({ port, connections, ms, isZipf = false }) => {
  const next = isZipf
    ? (unequal ??= zipf(Array.from({ length: UNEQUAL_CALLERS }, (_, i) => `user:${i}`)))
    : inTurn;
  const { requests, latency, non2xx, errors } = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: ms / 1_000,
    requests: [
      {
        path: '/',
        setupRequest: (request) => ({
          ...request,
          headers: { ...request.headers, 'x-user': next() },
        }),
      },
    ],
  });
  return { total: requests.total, p50Ms: latency.p50, p99Ms: latency.p99, failed: non2xx + errors };
});
