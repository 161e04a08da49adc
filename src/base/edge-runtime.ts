/**
 * Stands for the entries where a tool resolves the condition `edge-light`: Vercel's Edge Runtime, which has no
 * `node:crypto`. Only its CommonJS is used, in which a bundler looks for no names that it would miss.
 */
import { RateLimiterError } from './errors.ts';

throw new RateLimiterError(
  'ERR_RUNTIME_UNSUPPORTED',
  "`runtime` must be Node.js, Bun, Deno or Cloudflare Workers, got an edge runtime without `node:crypto`. In Next.js remove `runtime = 'edge'`.",
);
