import { describe, expect, test } from 'vitest';
import { fixedWindow, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { Duration } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';

const START = Date.UTC(2026, 0, 1);

/** A clock, and the sleepers that have woken, each with the time that the clock showed. */
function withSleepers(...ms: readonly number[]) {
  const clock = new ManualClock();
  const woken: [ms: number, at: number][] = [];
  const cancel = ms.map((each) => clock.wakeAfter(each, () => woken.push([each, clock.now()])));
  return { clock, woken, cancel };
}

describe('ManualClock', () => {
  test.each<[what: string, by: Duration | number, ms: number]>([
    ['a duration in milliseconds', '250ms', 250],
    ['a duration in days', '2d', 172_800_000],
    ['seconds', 90, 90_000],
    ['a fraction of a second', 0.001, 1],
    ['nothing', 0, 0],
  ])('advances by %s', (_, by, ms) => {
    const clock = new ManualClock();
    clock.advance(by);
    expect(clock.now()).toBe(START + ms);
    expect(clock.nowMicros()).toBe((START + ms) * 1_000);
  });

  test.each([
    ['milliseconds', START + 7],
    ['a Date', new Date('2026-03-29T01:00:00Z')],
    ['an earlier instant', START - 3_600_000],
    ['the beginning of 1970', 0],
  ])('is set to %s', (_, time) => {
    const clock = new ManualClock();
    clock.set(time);
    expect(clock.now()).toBe(Number(time));
  });

  test.each([
    -1,
    1.5,
    Number.NaN,
    8_640_000_000_000_001,
    new Date('no date'),
    '2026-01-01' as unknown as Date,
  ])('refuses %j as a time, and keeps its own', (time) => {
    const clock = new ManualClock();
    expect(() => clock.set(time)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION',
        message: expect.stringContaining('`time` must be a Date or whole Unix milliseconds'),
      }),
    );
    expect(clock.now()).toBe(START);
  });

  test.each(['advance', 'set'] as const)('%s wakes due sleepers in the order of time', (verb) => {
    const { clock, woken } = withSleepers(300, 100, 200, 100, 400);
    if (verb === 'advance') clock.advance('300ms');
    else clock.set(START + 300);
    expect(woken).toEqual([
      [100, START + 100],
      [100, START + 100],
      [200, START + 200],
      [300, START + 300],
    ]);
  });

  test('set back wakes nobody; a sleeper wakes when the clock shows its instant', () => {
    const { clock, woken } = withSleepers(100);
    clock.set(START - 1_000);
    clock.advance('1099ms');
    expect(woken).toEqual([]);
    clock.advance('1ms');
    expect(woken).toEqual([[100, START + 100]]);
  });

  test('wakes the live sleepers among thousands that were cancelled, before and after they were due', () => {
    const { clock, woken, cancel } = withSleepers(
      ...Array.from({ length: 5_000 }, (_, i) => i + 1),
    );
    clock.advance('1000ms');
    cancel.forEach((call, i) => {
      if ((i + 1) % 1_000 !== 0) call();
    });
    cancel.forEach((call, i) => {
      if ((i + 1) % 1_000 !== 0) call();
    });
    expect(woken).toHaveLength(1_000);
    clock.advance('1h');
    expect(woken.slice(1_000).map(([ms]) => ms)).toEqual([2_000, 3_000, 4_000, 5_000]);
  });

  test('a day that is set again is the same day to a limiter', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock }),
      limits: [fixedWindow({ rate: 2, period: 'day', timeZone: 'Europe/Berlin' })],
    });
    await limiter.allow('id');
    clock.set(START + 86_400_000);
    expect((await limiter.allow('id')).remaining).toBe(1);
    clock.set(START + 43_200_000);
    expect((await limiter.peek('id')).remaining).toBe(1);
  });
});
