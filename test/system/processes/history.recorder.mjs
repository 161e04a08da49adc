// @ts-check
import { slotOfKey, tagOfSlot } from '../../kit/servers/index.mjs';
import { Shapes } from './asked.mjs';
import { decideBatch } from './built.mjs';

/**
 * A call of a script call, without what its shape says: its key, the place of its shape among those told, and what only
 * some calls have.
 *
 * @typedef {[key: string, shape: number, own?: Pick<import('../../../src/script/call-shape.ts').Entry, 'homes' | 'record' | 'details'>]} ToldCall
 *
 * @typedef {['shape', import('./asked.mjs').Asked]
 *   | ['encoded', string, ToldCall[]]
 *   | ['answered', string]} ToldOfScript
 *   `encoded`: keys and arguments of a script call, and which calls they stand for; `answered`: the same with its reply
 *
 * @typedef {import('../../../src/redis/connection/script.ts').Script<import('../../../src/stores/store.ts').Call>} Script
 */

/**
 * Production's script calls, told as they are made and as they are answered. The tag of their slot is one more argument,
 * for `scriptThatNotes`.
 *
 * @param {import('../../../src/redis/connection/script.ts').ScriptSource} source
 * @param {(...told: ToldOfScript) => void} tell
 * @returns {Script}
 */
export function recordingScript(source, tell) {
  const shapes = new Shapes((asked) => tell('shape', asked));
  /** By the first call of each script call. @type {WeakMap<object, string>} */
  const texts = new WeakMap();
  /** @param {readonly object[]} calls @param {unknown} reply */
  const hear = (calls, reply) => {
    if (Array.isArray(reply)) tell('answered', `${texts.get(calls[0] ?? {})}|${reply.join(' ')}`);
  };
  return {
    source,
    encode: (calls, from) => {
      const { keys, args, taken } = decideBatch.encode(calls, from);
      const mine = calls.slice(from, from + taken);
      const text = `${keys.join(' ')}|${args.join(' ')}`;
      texts.set(mine[0] ?? {}, text);
      tell(
        'encoded',
        text,
        mine.map((call) => toldOf(call, shapes)),
      );
      return { keys, args: [...args, tagOfSlot(slotOfKey(keys[0] ?? ''))], taken };
    },
    settle: (calls, reply, sentAtMs, node) => {
      hear(calls, reply);
      decideBatch.settle(calls, reply, sentAtMs, node);
    },
    settleLate: (calls, reply) => {
      hear(calls, reply);
      decideBatch.settleLate?.(calls, reply);
    },
  };
}

/** @param {import('../../../src/stores/store.ts').Call} call @param {Shapes} shapes @returns {ToldCall} */
function toldOf({ key, shape, homes, record, details }, shapes) {
  const place = shapes.placeOf(shape);
  return homes === undefined && record === undefined && details === undefined
    ? [key, place]
    : [key, place, { homes, record, details }];
}
