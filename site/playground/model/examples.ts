import type { PageState } from './state.ts';

/** A scene to begin with, and what it shows. */
export interface Example extends PageState {
  readonly name: string;
  readonly story: string;
}

export const EXAMPLES: readonly [Example, ...Example[]] = [
  {
    name: 'At a window’s edge',
    story:
      'One caller sends 200 requests within 10 s, half of them before a full minute and half after. The fixed window starts over in between, so it lets all 200 pass. The sliding window keeps close to 100 a minute. The token bucket lets 20 pass at once, then one each 0.6 s.',
    policies: ['100/1m fixed', '100/1m sliding', '100/1m burst 20'],
    traffics: ['1 caller on 10s off 110s 20/1s'],
    length: '4m',
    seed: 978,
    watched: undefined,
    atMs: 60_000,
  },
  {
    name: 'Chance alone',
    story:
      'A hundred honest callers make 30 requests a minute on average, at random instants. All three limits let 60 a minute pass, twice as many. How many callers a limit refuses by chance alone depends on its burst.',
    policies: ['60/1m burst 3', '60/1m burst 6', '60/1m burst 12'],
    traffics: ['100 callers poisson 30/1m'],
    length: '10m',
    seed: 1,
    watched: undefined,
    atMs: undefined,
  },
  {
    name: 'A flood among honest callers',
    story:
      'Fifty callers keep to 30 requests a minute, and one sends 200 at once every 30 s. Each caller has a count of its own, so the limits refuse requests of the flood alone. How much of it passes differs.',
    policies: ['60/1m burst 10', '60/1m fixed', '60/1m log'],
    traffics: ['50 callers steady 30/1m', '1 caller bursts of 200 every 30s'],
    length: '5m',
    seed: 1,
    watched: 'caller-51',
    atMs: undefined,
  },
  {
    name: 'Two limits at once',
    story:
      'Three callers send 20 requests a second for 20 s, then pause for 40 s. The first policy bounds only the minute, so 200 requests pass at once and then none. The second bounds seconds too, so the same 200 are spread over the turn.',
    policies: ['200/1m sliding', '10/1s sliding, 200/1m sliding', '200/1m burst 10'],
    traffics: ['3 callers on 20s off 40s 20/1s'],
    length: '4m',
    seed: 1,
    watched: undefined,
    atMs: undefined,
  },
];
