/** What one key and one organisation may use: requests, tokens and money, in one decision. */
import process from 'node:process';
import { fixedWindow, tokenBucket } from 'distributed-rate-limiter';

export const limits = [
  tokenBucket({ name: 'requests', by: ['org', 'key'], unit: 'calls', rate: 60, period: '1m' }),
  tokenBucket({
    name: 'tokens',
    by: ['org', 'key'],
    unit: 'tokens',
    rate: 90_000,
    period: '1m',
    maxDebt: 20_000,
  }),
  // 9,000 dollars a month, in millionths of a dollar.
  fixedWindow({
    name: 'budget',
    by: 'org',
    unit: 'micros',
    rate: Number(process.env['BUDGET'] ?? 9_000_000_000),
    period: 'month',
    timeZone: 'Europe/Berlin',
  }),
];
