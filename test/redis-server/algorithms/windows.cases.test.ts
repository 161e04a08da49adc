import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const SECOND = 1_000_000;
/** A full day since the epoch, so that windows of every length used here begin there. */
const START = Date.UTC(2026, 0, 1) * 1_000;

/** At so many seconds from START the verb is asked for so many units, and this is said of it. */
type Step = readonly [
  seconds: number,
  verb: Verb,
  units: number,
  said: {
    readonly passes: boolean;
    readonly remaining: number;
    readonly retryS?: number;
    readonly resetS?: number;
    readonly granted?: number;
  },
];

const ok = (remaining: number, more = {}) => ({ passes: true, remaining, ...more });
const no = (remaining: number, retryS: number, more = {}) => ({
  passes: false,
  remaining,
  retryS,
  ...more,
});

const sliding = slidingWindow({ rate: 10, period: 60 });
const slidingDebt = slidingWindow({ rate: 10, period: 60, maxDebt: 5 });
const fixed = fixedWindow({ rate: 10, period: 60 });
const fixedDebt = fixedWindow({ rate: 10, period: 60, maxDebt: 5 });
const monthly = fixedWindow({ rate: 10, period: 'month' });

const CASES: readonly (readonly [what: string, limit: Limit, steps: readonly Step[]])[] = [
  [
    'a sliding window admits exactly its rate at once',
    sliding,
    [
      [0, 'allow', 10, ok(0, { resetS: 120 })],
      [0, 'allow', 1, no(0, 66)],
    ],
  ],
  [
    'half of the previous window counts when half of the current one has passed',
    sliding,
    [
      [59, 'allow', 10, ok(0)],
      [90, 'peek', 1, ok(5, { resetS: 30 })],
      [90, 'allow', 6, no(5, 6)],
      [96, 'allow', 6, ok(0)],
    ],
  ],
  [
    'a sliding window is empty after two periods',
    sliding,
    [
      [0, 'allow', 10, ok(0)],
      [120, 'peek', 1, ok(10, { resetS: 0 })],
    ],
  ],
  [
    'a sliding window grants what is left of it',
    sliding,
    [
      [0, 'allow', 7, ok(3)],
      [0, 'up_to', 9, ok(0, { granted: 3 })],
      [0, 'up_to', 9, no(0, 66, { granted: 0 })],
    ],
  ],
  [
    'a penalty drives a sliding window into debt up to maxDebt',
    slidingDebt,
    [
      [0, 'allow', 8, ok(2)],
      [0, 'penalize', 99, no(0, 84)],
      [84, 'peek', 1, ok(1)],
    ],
  ],
  [
    'a penalty counts the previous window too',
    slidingDebt,
    [
      [0, 'allow', 10, ok(0)],
      [90, 'penalize', 99, no(0, 36)],
      [126, 'peek', 1, ok(1)],
    ],
  ],
  [
    'a sliding window is unchanged by a step back of up to a second, and keeps its counts after a longer one',
    sliding,
    [
      [60, 'allow', 10, ok(0)],
      [59.5, 'allow', 1, no(0, 66.5)],
      [30, 'allow', 1, no(0, 36)],
    ],
  ],
  [
    'a reset forgets a sliding window',
    sliding,
    [
      [0, 'allow', 10, ok(0)],
      [0, 'reset', 1, ok(10)],
      [0, 'allow', 10, ok(0)],
    ],
  ],
  [
    'a fixed window admits its rate, then nothing until it ends',
    fixed,
    [
      [50, 'allow', 10, ok(0, { resetS: 10 })],
      [50, 'allow', 1, no(0, 10)],
      [59.999999, 'allow', 1, no(0, 0.000001)],
      [60, 'allow', 10, ok(0, { resetS: 60 })],
    ],
  ],
  [
    'a fixed window grants what is left of it',
    fixed,
    [
      [0, 'allow', 7, ok(3)],
      [0, 'up_to', 9, ok(0, { granted: 3 })],
      [1, 'up_to', 9, no(0, 59, { granted: 0 })],
    ],
  ],
  [
    'the debt of a fixed window ends with it',
    fixedDebt,
    [
      [0, 'allow', 8, ok(2)],
      [0, 'penalize', 99, no(0, 60)],
      [60, 'peek', 1, ok(10)],
    ],
  ],
  [
    'a fixed window keeps its count when the clock steps back',
    fixed,
    [
      [60, 'allow', 10, ok(0)],
      [59.5, 'allow', 1, no(0, 60.5)],
      [30, 'allow', 1, no(0, 30)],
    ],
  ],
  [
    'a month ends when the next begins',
    monthly,
    [
      [0, 'allow', 10, ok(0, { resetS: 31 * 86_400 })],
      [30 * 86_400, 'allow', 1, no(0, 86_400)],
      [31 * 86_400, 'allow', 1, ok(9, { resetS: 28 * 86_400 })],
    ],
  ],
];

describe('windows', () => {
  const twin = withLuaTwin(LuaTwin);

  async function follow(
    limit: Limit,
    steps: readonly Step[],
    answerOf: (entry: Entry, now: number) => Promise<readonly (number | string)[]>,
  ): Promise<void> {
    for (const [seconds, verb, units, { passes, remaining, retryS, resetS, granted }] of steps) {
      const now = START + Math.round(seconds * SECOND);
      const cost = verb === 'allow' || verb === 'peek' ? units : 1;
      const plan = limit.plan(cost, Math.floor(now / 1_000));
      const shape = makeShape(verb, units, [{ limit, plan, ...stateKeyOf(limit) }]);
      const reply = (await answerOf({ key: 'k', shape }, now)) as readonly number[];
      const at = `${verb} ${units} at ${seconds} s`;
      if (verb === 'reset') {
        continue;
      }
      const verdict = readVerdicts(shape, reply, 1)[0]!;
      expect([verdict.refused, verdict.remaining], at).toEqual([!passes, remaining]);
      expect(verdict.retryUs, at).toBe(Math.round((retryS ?? 0) * SECOND));
      if (resetS !== undefined) {
        expect(verdict.resetUs, at).toBe(resetS * SECOND);
      }
      if (granted !== undefined) {
        expect(reply[1], at).toBe(granted);
      }
    }
  }

  test.each(CASES)('the TypeScript twin decides the case: %s', async (_what, limit, steps) => {
    const table = new MapTable();
    await follow(limit, steps, async (entry, now) => decide([entry], now, table));
  });

  test.each(CASES)('the Lua twin decides the case: %s', async (_what, limit, steps) => {
    await twin.lua.forget();
    await follow(
      limit,
      steps,
      async (entry, now) => (await twin.lua.decide(groupedOneByOne([entry]), now)).reply,
    );
  });
});
