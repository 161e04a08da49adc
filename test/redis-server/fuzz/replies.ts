import { RateLimiter, StoreError } from 'distributed-rate-limiter';
import { digestIdentity } from '../../../src/base/identity.ts';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';
import type { Send } from '../../kit/fakes/fake-client.ts';
import { Finding, ownError, settlesWithin } from './area.ts';
import type { Area } from './area.ts';
import { anyRejection, anyReply, isWhole } from './damage.ts';

const RATE = 5;
const TIMEOUT_MS = 25;

/** The reply to several keys, and the index of one of them. */
interface Came {
  readonly reply: unknown;
  readonly place: number;
  readonly keys: number;
}

/** Whether a call may count as decided: the reply has its length, a time, and the call's own whole number. */
function isWellFormed({ reply, place, keys }: Came): boolean {
  return (
    Array.isArray(reply) && reply.length === keys + 1 && isWhole(reply[0]) && isWhole(reply[place])
  );
}

/** Whatever the reply, even none: a decision is real only if its own numbers came, else it names the failure. */
export const replies: Area = {
  name: 'replies',
  percent: 5,

  open: () => ({
    async run(random) {
      const redis = new FakeRedis();
      const strategy = random.pick(['open', 'closed', 'throw'] as const);
      let errors = 0;
      const limiter = new RateLimiter({
        redis,
        rate: RATE,
        period: '1h',
        namespace: 'fuzz',
        failStrategy: strategy,
        timeoutMs: TIMEOUT_MS,
        onError: () => (errors += 1),
      });
      const shown: unknown[] = [];
      /** The last reply for each key, as it came. */
      const came = new Map<string, Came>();
      // A slow reply makes the test wait, so it is rare.
      const silent = random.chance(1);
      const refusals = random.int(0, 3);
      const answer = (send: Send): unknown => {
        for (const key of send.keys) came.delete(key);
        if (silent) return silence();
        if (redis.sends.length <= refusals && random.chance(60)) {
          const error = anyRejection(random);
          shown.push(error);
          throw error;
        }
        const reply = anyReply(random, redis.run(send));
        // The raw reply: the library parses numbers from it.
        const copy: unknown = Array.isArray(reply) ? [...reply] : reply;
        send.keys.forEach((key, i) =>
          came.set(key, { reply: copy, place: i + 1, keys: send.keys.length }),
        );
        shown.push(reply);
        return reply;
      };
      redis.respond = answer;
      if (random.chance(5)) {
        redis.send = () => {
          // oxlint-disable-next-line only-throw-error
          throw random.pick([new Error('thrown'), undefined, 'thrown']);
        };
      }
      const calls = random.int(1, 4);
      const input = { strategy, calls, shown };
      const outcomes = await settlesWithin(
        TIMEOUT_MS + 500,
        Promise.allSettled(Array.from({ length: calls }, (_, i) => limiter.allow(`user:${i}`))),
        () => input,
      );
      // After NOSCRIPT, TRYAGAIN and CROSSSLOT the library resends, in the end one call for each slot.
      if (redis.sends.length > 3 + calls) {
        throw new Finding(`${redis.sends.length} sends for ${calls} calls`, input);
      }
      outcomes.forEach((outcome, i) => {
        const its = came.get(`fuzz:token_bucket:${digestIdentity(`user:${i}`, undefined)}`);
        const wellFormed = its !== undefined && isWellFormed(its);
        if (outcome.status === 'rejected') {
          const error = ownError(outcome.reason, input);
          if (strategy !== 'throw' || !(error instanceof StoreError) || wellFormed) {
            throw new Finding(`call ${i} rejects: ${error.code}`, input, error);
          }
          return;
        }
        const decision = outcome.value;
        if (decision.degraded) {
          if (wellFormed || decision.allowed !== (strategy === 'open')) {
            throw new Finding(`call ${i} is degraded: ${decision.error.message}`, input);
          }
          return;
        }
        if (!wellFormed) throw new Finding(`call ${i} is real, and its answer is not`, input);
        if (decision.reason === 'impossible') throw new Finding(`call ${i}: impossible`, input);
        // Whole numbers may be wrong by any amount; the decision's numbers stay whole, and within the limit.
        const { remaining, resetAfterMs, resetAtMs, retryAfterMs = 1 } = decision;
        const sane =
          [remaining, resetAfterMs, resetAtMs, retryAfterMs].every(Number.isInteger) &&
          remaining >= 0 &&
          remaining <= RATE;
        if (!sane) throw new Finding(`call ${i}: numbers that are none`, { ...input, decision });
      });
      const failed = outcomes.some((it) => it.status === 'rejected' || it.value.degraded);
      if (failed !== errors > 0) throw new Finding(`onError was told ${errors} times`, input);
      await limiter.close();
    },
  }),
};
