import { describe, expect, test } from 'vitest';
import { check, Random, seed } from '../kit/random.mjs';

/** The error of a failing property, and how often the property ran. */
async function failure(
  property: (random: Random) => void | Promise<void>,
): Promise<{ error: Error; runs: number }> {
  let runs = 0;
  const error = await check(1_000, async (random) => {
    runs += 1;
    await property(random);
  }).catch((reason: unknown) => reason);
  if (!(error instanceof Error)) throw new Error('the property holds');
  return { error, runs };
}

/** The choices of its case as the error shows them. */
const choices = ({ message }: Error): readonly string[] =>
  message
    .split('\n')
    .slice(1, -1)
    .map((line) => line.trim());

describe('a failing case', () => {
  test('keeps only the steps that it needs, each with its simplest choices', async () => {
    const { error, runs } = await failure(async (random) => {
      let [sum, names] = [0, 0];
      for (const _ of random.steps(0, 200)) {
        await Promise.resolve();
        const verb = random.pick(['add', 'name', 'rest']);
        const units = random.int(0, 1_000);
        if (verb === 'add' && units >= 17) sum += 1;
        if (verb === 'name' && random.list(0, 9, () => random.int(0, 9)).includes(4)) names += 1;
      }
      if (sum >= 2 && names >= 1) throw new RangeError('too much');
    });
    expect(error).toBeInstanceOf(RangeError);
    expect(choices(error)).toEqual([
      "step 0: 'add', 17",
      "step 1: 'add', 17",
      "step 2: 'name', 0, [4]",
    ]);
    expect(error.message).toMatch(/\ntoo much$/);
    expect(runs).toBeLessThan(1_000);
  });

  test('takes the number nearest to 0, false, the first of several and the given order', async () => {
    const { error } = await failure((random) => {
      random.int(-9, 9);
      random.int(-9, -3);
      random.magnitude(5, 500);
      random.fraction();
      random.chance(99);
      random.pick(['a', 'b']);
      random.shuffle([1, 2, 3]);
      throw new Error('always');
    });
    expect(choices(error)).toEqual(["0, -3, 5, 0, false, 'a', 1, 2, 3"]);
  });

  test('shows notes in place of choices, also inside steps', async () => {
    const { error } = await failure((random) => {
      random.note('limit', { rate: random.int(3, 9) });
      for (const _ of random.steps(1, 5)) random.note('cost', random.int(2, 9));
      throw new Error('always');
    });
    expect(choices(error)).toEqual(['limit: { rate: 3 }', 'step 0: cost: 2']);
  });

  test('keeps the kind of its error while it shrinks', async () => {
    const { error } = await failure((random) => {
      const text = random.list(0, 9, () => 'x').join('');
      if (text.length < 3) throw new TypeError('the test itself fails');
      if (text.length > 4) throw new RangeError('the fault');
    });
    expect(error).toBeInstanceOf(RangeError);
    expect(choices(error)).toEqual(['[; ; ; ; ]']);
  });

  test('is shown unshrunk when it depends on more than its choices', async () => {
    let runs = 0;
    const { error } = await failure(() => {
      runs += 1;
      if (runs === 3) throw new Error('once');
    });
    expect(error.message).toBe(
      `Case 2 failed. DRL_SEED=${seed + 2} repeats it first. It passed when run again: not its choices alone decide.\nonce`,
    );
  });

  test('is the first case of a run from the seed that it names', async () => {
    const seen: number[] = [];
    const { error } = await failure((random) => {
      seen.push(random.int(0, 1_000_000));
      if (seen.length > 40) throw new Error('late');
    });
    expect(error.message).toContain(`DRL_SEED=${seed + 40} `);
    expect(new Random(seed + 40).int(0, 1_000_000)).toBe(seen[40]);
  });
});

test('cases run side by side, after `before`, until `until` says that there are enough', async () => {
  const seen: (string | number)[] = [];
  await check(
    {
      until: () => seen.length > 6,
      atOnce: 3,
      before: async () => void seen.push('clear'),
    },
    (_random, at) => void seen.push(at - seed),
  );
  expect(seen).toEqual(['clear', 0, 1, 2, 'clear', 3, 4, 5]);
});

test('lists and loops have every length between their bounds', async () => {
  const lengths = new Set<string>();
  await check(500, (random) => {
    lengths.add(`${random.list(1, 3, () => 0).length} ${[...random.steps(2, 4)].length}`);
    expect([...random.steps(5)]).toEqual([0, 1, 2, 3, 4]);
  });
  expect(lengths.size).toBe(9);
});
