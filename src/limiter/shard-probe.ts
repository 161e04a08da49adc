import { randomUUID } from 'node:crypto';
import { makeShape } from '../script/call-shape.ts';
import type { Rule } from '../script/call-shape.ts';
import { readVerdicts } from '../script/read-answer.ts';
import { block } from '../algorithms/block.ts';
import { slidingWindow } from '../algorithms/sliding-window.ts';
import type { PendingCalls } from './pending-calls.ts';
import { IGNORE_REPLY } from './pending-calls.ts';
import { StoreError } from '../base/errors.ts';

/** The number of keys tried. With two servers, all keys are on one of them, and show nothing, once in 2^8 starts. */
const TRIALS = 8;

/** A reset deletes its state at once. */
const limit = slidingWindow({ rate: 1, period: '1m' });
const rule: Rule = { limit, plan: limit.plan(1, 0), suffix: '', id: `=${limit.twin.letter!}` };
const ruleBeside: Rule = { limit: block, plan: block.plan(0, 0), suffix: '#beside', id: '-' };
const charge = makeShape('allow', 1, [rule]);
const look = makeShape('peek', 1, [rule]);
const lookBehindTag = makeShape('peek', 1, [ruleBeside, rule]);
const forget = makeShape('reset', 1, [rule]);

/**
 * Tells whether keys that share a script call may be on different servers. Charges several keys, each in its own
 * script call, then peeks at each of them in a script call that has another key first. A peek that does not see the
 * charge ran on another server. `byTag` tries only keys of the same identity.
 */
export async function seesShards(
  calls: PendingCalls,
  keyOf: (identity: string) => string,
  byTag: boolean,
): Promise<boolean> {
  try {
    return await probe(calls, keyOf, byTag);
  } catch (error) {
    // If few calls may be in flight, the probe cannot run, and there is no warning.
    if (error instanceof StoreError && error.reason === 'overloaded') {
      return false;
    }
    throw error;
  }
}

async function probe(
  calls: PendingCalls,
  keyOf: (identity: string) => string,
  byTag: boolean,
): Promise<boolean> {
  const keys = Array.from({ length: TRIALS }, () => keyOf(randomUUID()));
  await Promise.all(
    keys.map((key) => calls.submit({ key, shape: charge, shard: key }, IGNORE_REPLY)),
  );
  const seen = await Promise.all(
    keys.map(async (key) => {
      const shape = byTag ? lookBehindTag : look;
      const beside = byTag
        ? undefined
        : calls.submit({ key: keyOf(randomUUID()), shape, shard: key }, IGNORE_REPLY);
      const charged = calls.submit(
        { key, shape, shard: key },
        { read: (_, reply, at) => readVerdicts(shape, reply, at).at(-1)!.refused },
      );
      return (await Promise.all([charged, beside]))[0];
    }),
  ).catch((error: unknown) => {
    // A server or proxy that refuses such script calls has reported the same in its own way.
    if (error instanceof StoreError && error.reason === 'store_error') {
      return [false];
    }
    throw error;
  });
  await Promise.all(
    keys.map((key) => calls.submit({ key, shape: forget, shard: key }, IGNORE_REPLY)),
  );
  return seen.includes(false);
}
