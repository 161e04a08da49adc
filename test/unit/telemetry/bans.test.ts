import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import { makeReader, METRICS } from '../../../src/telemetry/metrics.ts';

const BAN = { after: 1, within: '1h', for: '1h' } as const;

test('bans are counted by limit, those of shadows apart, and not of limits without `ban`', async () => {
  const limiter = new RateLimiter({
    store: new MemoryStore(),
    namespace: 'bans',
    blocks: true,
    limits: [
      tokenBucket({ name: 'plain', rate: 9, period: '1h' }),
      tokenBucket({ name: 'tried', rate: 1, period: '1h', shadow: true, ban: BAN }),
      tokenBucket({ name: 'banning', rate: 2, period: '1h', ban: BAN }),
    ],
  });
  for (let i = 0; i < 5; i++) await limiter.allow('id');
  const readings = makeReader([limiter])();
  const samplesOf = (name: string) =>
    METRICS.find(({ prometheus }) => prometheus === name)!
      .samples(readings)
      .map(({ labels, value }) => [labels.limit, value]);
  expect(samplesOf('drl_bans_total')).toEqual([
    ['tried', 0],
    ['banning', 1],
  ]);
  expect(samplesOf('drl_shadow_bans_total')).toEqual([
    ['tried', 1],
    ['banning', 0],
  ]);
});
