// @ts-check
import autocannon from 'autocannon';
import { serve } from './child.mjs';

/** Number of callers that take turns, each with its own limit. */
const CALLERS = 10_000;

serve(async ({ port, connections, ms }) => {
  let caller = 0;
  const { requests, latency, non2xx, errors } = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: ms / 1_000,
    requests: [
      {
        path: '/',
        setupRequest: (request) => {
          caller = (caller + 1) % CALLERS;
          return { ...request, headers: { ...request.headers, 'x-user': `user:${caller}` } };
        },
      },
    ],
  });
  return { total: requests.total, p50Ms: latency.p50, p99Ms: latency.p99, failed: non2xx + errors };
});
