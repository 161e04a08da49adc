import { expect, test } from 'vitest';
import { digestIdentity, nameOfIdentity, nameOfNamedParts } from '../../../src/base/identity.ts';
import type { AnyIdentity, Identity } from '../../../src/base/identity.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

/** Pieces that are likely to be mistaken for each other, halves of pairs among them. */
const PIECES = ['\udc00', '\ud83d', '\ude00', '1:', '2:', '0:', 'a', '1', '12', ''];
const ODD = [-0, Number.NaN, 1.5, 2 ** 53, 12n, 10n ** 1_024n, null, undefined, {}];

function textOf(random: Random): string {
  return random.list(0, 4, () => random.pick(PIECES)).join('');
}

function partOf(random: Random): unknown {
  const kind = random.int(0, 9);
  return kind < 6 ? textOf(random) : kind < 8 ? random.int(-2, 12) : random.pick(ODD);
}

function identityOf(random: Random): unknown {
  switch (random.int(0, 2)) {
    case 0:
      return partOf(random);
    case 1:
      return random.list(0, 3, () => partOf(random));
    default: // written as the name of several parts is
      return `\udc00${random
        .list(1, 2, () => textOf(random))
        .map((part) => `${part.length}:${part}`)
        .join('')}`;
  }
}

function digestOf(identity: unknown): string | undefined {
  try {
    return digestIdentity(identity as Identity, undefined);
  } catch {
    return undefined;
  }
}

test('two identities of which one is valid have one name only if they have one digest', async () => {
  const cases = casesOf(2_000);
  let alike = 0;
  await check(cases, (random) => {
    const one = identityOf(random);
    for (const _ of random.steps(20, 20)) {
      const other = identityOf(random);
      const name = nameOfIdentity(one as AnyIdentity);
      if (name !== undefined && name === nameOfIdentity(other as AnyIdentity)) {
        alike += 1;
        expect(digestOf(one)).toBe(digestOf(other));
      }
    }
  });
  expect(alike).toBeGreaterThan(cases / 20);
});

test.each([
  ['a number that is no whole one', 'NaN', Number.NaN],
  ['a negative zero', '0', -0],
  ['an ill-formed text', ['a'], '\udc001:a'],
  ['other parts', ['a', 'bc'], ['ab', 'c']],
  ['one part', ['a', 'b'], '1:a1:b'],
])('%s is never named like an identity that is valid', (_, valid, other) => {
  expect(nameOfIdentity(valid)).toBeDefined();
  expect(nameOfIdentity(other as AnyIdentity)).not.toBe(nameOfIdentity(valid));
});

test('a whole number is named like its digits', () => {
  expect([42, 42n, '42'].map(nameOfIdentity)).toEqual(['42', '42', '42']);
  expect(nameOfIdentity(['a', 1])).toBe(nameOfIdentity(['a', '1']));
});

test('named parts are named in the order of the limit, and not at all where there is none of one', () => {
  const names = ['org', 'user'];
  expect(nameOfNamedParts({ user: 7, org: 'a' }, names)).toBe(
    nameOfNamedParts({ org: 'a', user: '7' }, names),
  );
  expect(nameOfNamedParts({ org: '7', user: 'a' }, names)).not.toBe(
    nameOfNamedParts({ org: 'a', user: '7' }, names),
  );
  expect(nameOfNamedParts({ org: 'a', user: null }, names)).toBeUndefined();
  expect(() => nameOfNamedParts({ org: 'a', user: 7, more: 1 }, names)).toThrow(
    /no limit counts by/,
  );
});
