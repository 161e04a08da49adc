import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StoreError } from '../../../src/base/errors.ts';
import { Lane } from '../../../src/redis/connection/lane.ts';
import type { Batch } from '../../../src/redis/connection/batch.ts';

vi.mock(import('../../../src/base/timers.ts'), () => import('../../kit/fakes/live-timers.ts'));

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const error = new StoreError('store_timeout', 'too late');
const batchOf = (lane: Lane<string>): Batch<string> => ({
  lane,
  slot: -1,
  calls: ['a'],
  failed: undefined,
  encoded: { keys: [], args: [], taken: 1 },
  size: 1,
  timeoutMs: 100,
  sent: true,
  sentAt: performance.now(),
  dueAt: performance.now() + 100,
  lostMs: 0,
  graced: false,
  message: undefined,
});

test('a lane refuses nothing until a deadline has passed without any answer', () => {
  const lane = new Lane<string>('node');
  expect(lane.refusal(100)).toBeUndefined();
  const batch = batchOf(lane);
  vi.advanceTimersByTime(50);
  lane.answered();
  vi.advanceTimersByTime(50);
  expect(lane.missed(batch, error)).toBe(false);
  expect(lane.refusal(100)).toBeUndefined();
});

test('a hung lane sends one call per deadline until the server answers', () => {
  const lane = new Lane<string>('node');
  const batch = batchOf(lane);
  vi.advanceTimersByTime(100);
  expect(lane.missed(batch, error)).toBe(true);
  expect(lane.missed(batch, error)).toBe(false); // it began once
  const asked: boolean[] = [];
  for (let ms = 0; ms < 350; ms += 10) {
    asked.push(lane.refusal(100) === undefined);
    vi.advanceTimersByTime(10);
  }
  expect(asked.flatMap((let_through, i) => (let_through ? [i * 10] : []))).toEqual([100, 200, 300]);
  expect(lane.refusal(100)).toBe(error);
  expect(lane.answered()).toBe(true);
  expect(lane.answered()).toBe(false);
  expect(lane.refusal(100)).toBeUndefined();
});

test('queued calls are taken once, by slot and in order', () => {
  const lane = new Lane<string>('node');
  for (const [slot, call] of [
    [2, 'a'],
    [1, 'b'],
    [2, 'c'],
  ] as const) {
    lane.enqueue(slot, call);
  }
  expect([...lane.takeQueue()]).toEqual([
    [2, ['a', 'c']],
    [1, ['b']],
  ]);
  expect(lane.takeQueue().size).toBe(0);
});
