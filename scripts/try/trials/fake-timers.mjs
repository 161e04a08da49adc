/** @type {import('../trial.mjs').Trial} */
export const fakeTimers = {
  name: 'fake-timers',
  title:
    'vitest: the clock of docs/testing.md, `wait` on it, fake timers, and Redis beside fake timers',
  async run(trial) {
    const project = await trial.installed(['vitest', 'ioredis']);
    project.write('limit.test.js', TESTS);
    const { printed, output } = await project.run(['vitest', 'run', '--reporter=json'], {
      timeoutMs: 120_000,
    });
    /** @type {{ testResults: { assertionResults: { title: string, status: string, failureMessages: string[] }[] }[] }} */
    const report = printed.includes('{')
      ? JSON.parse(printed.slice(printed.indexOf('{')))
      : { testResults: [] };
    const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    trial.must(
      'vitest runs the file',
      results.length === 4,
      results.length === 4 ? '4 tests' : output.slice(-2_000),
    );
    for (const { title, status, failureMessages } of results) {
      trial.must(title, status === 'passed', failureMessages[0]?.split('\n')[0] ?? status);
    }
  },
};

const TESTS = `
import { afterEach, expect, test, vi } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';

afterEach(() => vi.useRealTimers());

test('a manual clock that is advanced gives units back', async () => {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 5, period: '10s' });
  await limiter.allow('a', { cost: 5 });
  expect((await limiter.allow('a')).allowed).toBe(false);
  clock.advance('2s');
  expect((await limiter.allow('a')).allowed).toBe(true);
});

test('a call that waits is woken by the manual clock', async () => {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 1, period: '30s' });
  await limiter.allow('a');
  const waiting = limiter.wait('a');
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance('30s');
  expect((await waiting).allowed).toBe(true);
});

test('fake timers that are advanced give units back', async () => {
  vi.useFakeTimers();
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '30s' });
  await limiter.allow('a');
  expect((await limiter.allow('a')).allowed).toBe(false);
  await vi.advanceTimersByTimeAsync(30_050);
  expect((await limiter.allow('a')).allowed).toBe(true);
});

test('Redis answers a limiter under fake timers', async () => {
  const limiter = new RateLimiter({ redis: process.env.REDIS_URL, rate: 1, period: '1h' });
  await limiter.ready();
  vi.useFakeTimers();
  const first = await limiter.allow('a');
  const second = await limiter.allow('a');
  vi.useRealTimers();
  expect([first.reason, second.reason]).toEqual(['within_limit', 'limited']);
  await limiter.close();
});
`;
