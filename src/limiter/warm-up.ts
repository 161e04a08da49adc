import { randomUUID } from 'node:crypto';
import { digestIdentity } from '../base/identity.ts';
import type { Settings } from './limiter-options.ts';
import { IGNORE_REPLY } from './pending-calls.ts';
import type { PendingCalls } from './pending-calls.ts';
import { attachReceipt, redeem } from './refund-receipt.ts';
import { seesShards } from './shard-probe.ts';

/** Two parts, so that it never equals a caller's single-part identity. */
const PROBE: readonly string[] = ['distributed-rate-limiter', 'ready'];

/** Runs every command of the script once on a reserved identity, and warns if several servers share the keys. */
export async function warmUp(calls: PendingCalls, settings: Settings): Promise<void> {
  const { limits, hashSecret } = settings;
  const { key, homes } = limits.locateProbe(PROBE, hashSecret);
  const probe = (verb: 'peek' | 'reset') =>
    calls.submit({ key, homes, shape: limits.shape(verb, 1) }, IGNORE_REPLY);
  const charge = () =>
    calls.submit<object>(
      limits.ttlsMs.length > 0
        ? { key, homes, shape: limits.shape('acquire', 1), details: [randomUUID()] }
        : { key, homes, shape: limits.shape('allow', 1) },
      {
        read: ({ shape }, reply, at) => {
          const charged = {};
          attachReceipt(charged, { issuer: calls, key, homes, shape, reply, at, refunded: false });
          return charged;
        },
      },
    );
  // A reset deletes the key only if nothing is left to refund.
  const undo = async (charged: object) => {
    if (limits.limits.some(({ algorithm }) => algorithm !== 'concurrency')) {
      await calls.submit(redeem(charged, calls), IGNORE_REPLY);
    }
    await probe('reset');
  };
  // A key that occurs twice is read and written by the driver (GET, PSETEX); a single new key by lone-path.lua (SET);
  // a reset deletes.
  await probe('reset');
  const [charged] = await Promise.all([charge(), probe('peek')]);
  await undo(charged);
  await undo(await charge());
  await warnOfShards(calls, settings);
}

async function warnOfShards(calls: PendingCalls, settings: Settings): Promise<void> {
  const { store, sharding, namespace, hashSecret } = settings;
  if (store.warn === undefined || sharding === 'key') {
    return;
  }
  const keyOf = (identity: string): string =>
    `${namespace}:token_bucket:${digestIdentity(identity, hashSecret)}`;
  if (await seesShards(calls, keyOf, sharding === 'hash_tag')) {
    store.warn(
      'DRL_SHARDED',
      sharding === undefined
        ? "Several servers behind `redis` share the keys out (a proxy such as Twemproxy?), so calls that share a script call are counted on the wrong server and limits do not hold. Set `sharding: 'key'`, or 'hash_tag'."
        : "`sharding` is 'hash_tag', but keys with one hash tag are on different servers, so limits do not hold. Let the proxy hash what stands between braces only (Twemproxy: `hash_tag: \"{}\"`; Envoy: `enable_hashtagging: true`), or set `sharding: 'key'`.",
    );
  }
}
