import { sharedByCopies } from '../base/copies.ts';
import type { Decision } from '../base/decision.ts';

const decisions = sharedByCopies('decisions by request', () => new WeakMap<object, Decision>());

/** Stores the decision about a request, if the request is an object. */
export function noteDecision(request: unknown, decision: Decision): void {
  if (typeof request === 'object' && request !== null) {
    decisions.set(request, decision);
  }
}

/**
 * The decision about a request that a guard has seen; of several guards, the last one's. Undefined if the request was
 * skipped or had no identity. Pass the object that the framework gives to its handlers: Express and `node:http`
 * `req`, Fastify's `request`, Hono's `c`, Koa's `ctx`, a web `Request`.
 *
 * @example
 * app.get('/', (req, res) => res.json({ left: decisionOf(req)?.remaining }));
 */
export function decisionOf(request: object): Decision | undefined {
  return decisions.get(request);
}

/** Copies the decision to another object for the same request, if a framework has two. */
export function shareDecision(from: object, to: object): void {
  const decision = decisions.get(from);
  if (decision !== undefined) {
    noteDecision(to, decision);
  }
}
