import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import type { Random } from '../../kit/random.mjs';
import { hostileArray, notTexts, notWholeNumbers } from '../../kit/fakes/values.ts';

const revoked: unknown = (() => {
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  return proxy;
})();

/** Any character, many of them troublesome: controls, quotes, separators, lone surrogates, other scripts. */
const UNITS = [
  ...Array.from('abzAZ019 _-./:;,=*~%#@{}[]()"\'\\\t\n\r\0\u007f\u0085\u00e9\u2028\ufeff\uffff'),
  '\ud800',
  '\udfff',
  '😀',
  '\u0661',
  '\uff11',
  '__proto__',
  'constructor',
  'default',
  'redis://',
  '1m',
];

export function anyText(random: Random, longest = 24): string {
  const length = random.chance(3) ? random.int(0, 3_000) : random.int(0, longest);
  return Array.from({ length }, () => random.pick(UNITS)).join('');
}

function anyNumber(random: Random): number {
  switch (random.int(0, 6)) {
    case 0:
      return random.int(-3, 20);
    case 1:
      return random.magnitude(1, Number.MAX_SAFE_INTEGER);
    case 2:
      return -random.magnitude(1, Number.MAX_SAFE_INTEGER);
    case 3:
      return random.int(0, 1_000_000) / 1_000;
    case 4:
      return 2 ** random.int(-1_074, 1_023);
    case 5:
      return random.pick([2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e9, 1e9 + 1]);
    default:
      return random.pick([Number.NaN, Infinity, -Infinity, -0, Number.MAX_VALUE]);
  }
}

const fixed: readonly unknown[] = [
  undefined,
  hostileArray,
  revoked,
  new Map([['a', 1]]),
  new Set(['a']),
  new WeakMap(),
  new Uint8Array(40),
  new ArrayBuffer(8),
  Promise.resolve(1),
  /x/g,
  new Error('an error'),
  globalThis.process,
  Symbol.iterator,
  function named() {},
  Date,
  async () => {},
  () => {
    throw new Error('it was called');
  },
  new Date(Number.NaN),
  Object.create(null),
  Object.create({ rate: 1 }),
  new Proxy(() => {}, {}),
  AbortSignal.abort(),
];
const pool: readonly unknown[] = [
  ...fixed,
  ...notWholeNumbers.map(([, value]) => value),
  ...notTexts.map(([, value]) => value),
];

/** Any value, nested at most this deep. */
export function anyValue(random: Random, depth = 2): unknown {
  const kind = random.int(0, depth > 0 ? 9 : 5);
  switch (kind) {
    case 0:
    case 1:
      return random.pick(pool);
    case 2:
    case 3:
      return anyNumber(random);
    case 4:
      return anyText(random);
    case 5:
      return random.pick(['1m', '1s', '0s', '5ms', '-1s', '1.5h', 'day', 'month', '9'.repeat(30)]);
    case 6:
      return Array.from({ length: random.int(0, 4) }, () => anyValue(random, depth - 1));
    case 7:
      return BigInt(random.int(-5, 5));
    default:
      return anyObject(random, [], depth - 1);
  }
}

/** An object with some of these names and some others; some of its properties may throw when read. */
export function anyObject(
  random: Random,
  names: readonly string[],
  depth = 1,
): Record<string, unknown> {
  const object: Record<string, unknown> = random.chance(10) ? Object.create(null) : {};
  for (let left = random.int(0, 3); left > 0; left--) {
    const name =
      names.length > 0 && random.chance(70)
        ? mistyped(random.pick(names), random)
        : anyText(random, 3);
    define(object, name, anyValue(random, depth), random);
  }
  return object;
}

function mistyped(name: string, random: Random): string {
  if (!random.chance(20)) return name;
  const at = random.int(0, name.length);
  return name.slice(0, at) + random.pick(['', 's', 'X']) + name.slice(at + random.int(0, 1));
}

export function define(
  object: Record<string, unknown>,
  name: string,
  value: unknown,
  random: Random,
): void {
  const hostile = random.chance(2);
  Object.defineProperty(object, name, {
    configurable: true,
    enumerable: true,
    ...(hostile
      ? {
          get: () => {
            throw new Error('from the getter');
          },
        }
      : { value, writable: true }),
  });
}

/** Almost a client. */
export function nearlyClient(random: Random): unknown {
  const client: Record<string, unknown> = {};
  const names = ['send', 'isReply', 'onStateChange', 'on', 'call', 'options', 'status', 'isOpen'];
  const more = ['sendCommand', 'isReady', 'nodes', 'mode', 'state', 'isCluster', 'evalsha', 'eval'];
  for (const name of [...names, ...more]) {
    if (random.chance(45)) {
      const value = random.chance(70) ? () => client : anyValue(random, 1);
      define(client, name, value, random);
    }
  }
  return random.chance(30) ? new FakeRedis() : client;
}
