import type { Decision } from '../base/decision.ts';

const decisions = new WeakMap<object, Decision>();

/** Notes what was decided about the request, where it is one that can be asked about. */
export function noteDecision(request: unknown, decision: Decision): void {
  if (typeof request === 'object' && request !== null) {
    decisions.set(request, decision);
  }
}

/**
 * What was decided about a request that a guard has seen; of several guards, by the last. Undefined where it was
 * skipped or nobody could be identified. The request is what the framework hands to its handlers: Express and
 * `node:http` `req`, Fastify's `request`, Hono's `c`, Koa's `ctx`, a web `Request`.
 *
 * @example
 * app.get('/', (req, res) => res.json({ left: decisionOf(req)?.remaining }));
 */
export function decisionOf(request: object): Decision | undefined {
  return decisions.get(request);
}

/** Another object that stands for the same request, for a framework which has two. */
export function shareDecision(from: object, to: object): void {
  const decision = decisions.get(from);
  if (decision !== undefined) {
    noteDecision(to, decision);
  }
}
