import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { RateLimiter } from 'distributed-rate-limiter';
import { buildRevision, releaseBefore } from '../../scripts/revision.mjs';
import { privateFolder, runWorkers, startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { HANDOVERS } from './handovers.ts';
import type { Side } from './handovers.ts';
import { lacks, ROWS } from './limits.mjs';
import type { Library } from './limits.mjs';
import type { Report, Task, Version } from './rolling.worker.mjs';

/** The revision to test beside this checkout; default: the newest release before it. */
const before = process.env['DRL_BEFORE'] || releaseBefore();

const PRESENT = new URL('../../dist', import.meta.url).href;

/** Each process is upgraded in turn, then rolled back in turn. */
const PHASES: readonly (readonly Version[])[] = [
  ['earlier'],
  ['earlier', 'present'],
  ['present'],
  ['earlier', 'present'],
  ['earlier'],
];
const VERSIONS: readonly Version[] = ['earlier', 'earlier', 'present', 'present'];
const CALLS = 60;
const IN_FLIGHT = 8;
const FLOW = { rate: 100, burst: 50 };
const PLACES = 5;

/** Calls of each phase for one identity. */
const asked = PHASES.map(
  (atWork) => CALLS * VERSIONS.filter((version) => atWork.includes(version)).length,
);

/** Units of the limits, chosen so that they run out in the middle of the deploy or of the last phase. */
const FILLED = {
  'in the middle of the deploy': asked[0]! + asked[1]! / 2,
  'in the middle of the last phase': sum(asked.slice(0, -1)) + asked.at(-1)! / 2,
};

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function comparedWith(limit: number, admitted: number): string {
  if (admitted === limit) return 'exactly the limit';
  return admitted < limit ? `${limit - admitted} less` : `${admitted - limit} BEYOND`;
}

interface Earlier {
  readonly before: string;
  readonly builds: Readonly<Record<Version, string>>;
  readonly libraries: Readonly<Record<Version, Library>>;
}

async function load(dist: string): Promise<Library> {
  return import(/* @vite-ignore */ `${dist}/index.js`) as Promise<Library>;
}

async function build(revision: string): Promise<Earlier> {
  const builds = { earlier: buildRevision(revision, privateFolder('before')), present: PRESENT };
  const libraries = { earlier: await load(builds.earlier), present: await load(builds.present) };
  return { before: revision, builds, libraries };
}

/** The earlier version, if any. Built here and not in a hook, because its exports decide which cases exist. */
const versions = before === undefined ? [] : [await build(before)];

test('this version exports everything that an earlier one exports', ({ skip }) => {
  if (versions.length === 0) {
    skip('git knows no `v*` tag before this checkout; `npm run compat -- <revision>` takes any');
  }
  for (const { libraries } of versions) {
    const exported = Object.keys(libraries.earlier);
    expect(exported).toContain('RateLimiter');
    expect(exported.filter((name) => !(name in libraries.present))).toEqual([]);
  }
});

describe.for(versions)(
  '$before and this version read what the other wrote',
  ({ before: name, libraries }) => {
    let redis: RedisServer;
    let clients: Readonly<Record<Version, Redis>>;
    let cases = 0;

    beforeAll(async () => {
      redis = await startRedis();
      const open = () => new Redis(redis.port, '127.0.0.1', { maxRetriesPerRequest: 0 });
      clients = { earlier: open(), present: open() };
    });
    afterAll(async () => {
      clients?.earlier.disconnect();
      clients?.present.disconnect();
      await redis?.close();
    });
    beforeEach(async () => {
      cases += 1;
      await redis.command('FLUSHALL');
      await redis.command('SCRIPT', 'FLUSH');
    });

    function sideOf(version: Version): Side {
      const library = libraries[version];
      return {
        library,
        limiter: (limits, blocks): RateLimiter =>
          new library.RateLimiter({
            redis: clients[version],
            namespace: `handed/${cases}`,
            limits,
            ...(blocks === true ? { blocks } : {}),
            failStrategy: 'throw',
            timeoutMs: 10_000,
          }),
      };
    }

    describe.each([
      ['earlier', 'present'],
      ['present', 'earlier'],
    ] as const)('from the %s to the %s one', (from, to) => {
      test.for(HANDOVERS.map((each) => [each.name, each] as const))(
        'the other version continues the state: %s',
        async ([, { needs, run }], { skip }) => {
          const missing = lacks(libraries.earlier, needs);
          if (missing.length > 0) skip(`${name} has no ${missing.join(', ')}`);
          await run(sideOf(from), sideOf(to), redis);
          for (const key of await redis.command('KEYS', '*')) {
            expect(await redis.command('PTTL', key), 'a TTL').toBeGreaterThan(0);
          }
        },
      );
    });
  },
);

describe.for(versions)(
  '$before and this version stay exact under load while one is deployed and rolled back',
  ({ before: name, builds, libraries: { earlier } }) => {
    let redis: RedisServer;
    let reports: Report[];
    let unknownScripts: number;
    const rows = ROWS.filter(({ needs }) => lacks(earlier, needs).length === 0);
    const subjects = rows.flatMap((row) =>
      Object.values(FILLED).map((units) => ({ row: row.name, units })),
    );
    const hasPlaces = lacks(earlier, ['concurrency', 'acquire']).length === 0;

    beforeAll(async () => {
      redis = await startRedis();
      const task: Task = {
        port: redis.port,
        builds,
        versions: VERSIONS,
        phases: PHASES,
        subjects,
        calls: CALLS,
        inFlight: IN_FLIGHT,
        flow: FLOW,
        places: hasPlaces ? PLACES : 0,
      };
      const worker = new URL('rolling.worker.mjs', import.meta.url);
      // A degraded decision throws and fails the worker, so none was degraded.
      reports = await runWorkers(worker, VERSIONS.length, task);
      const stats: string = await redis.command('INFO', 'errorstats');
      unknownScripts = Number(/errorstat_NOSCRIPT:count=(\d+)/.exec(stats)?.[1] ?? 0);
    });
    afterAll(() => redis?.close());

    test.for(
      ROWS.flatMap((row) =>
        Object.entries(FILLED).map(([when, units]) => [row.name, when, row, units] as const),
      ),
    )(
      '%s, used up %s: admits at most the limit plus one burst, and keeps what was used',
      ([row, , { needs, verb }, units], { skip }) => {
        const missing = lacks(earlier, needs);
        if (missing.length > 0) skip(`${name} has no ${missing.join(', ')}`);
        const place = subjects.findIndex((each) => each.row === row && each.units === units);
        const phases = PHASES.map((_, phase) =>
          reports.flatMap(({ seen }) => seen[phase]!.slice(place, place + 1)),
        );
        const admitted = phases.map((seen) => sum(seen.map((each) => each.admitted)));
        const total = sum(admitted);
        console.log(
          `${row}: ${total} of ${units} admitted, ${comparedWith(units, total)}; ` +
            `by phase ${admitted.join(' + ')} of ${asked.join(' + ')}`,
        );
        expect(total).toBeLessThanOrEqual(2 * units);
        // Unsettled reservations refuse other callers, and those do not call again.
        const pending = verb === 'reserve' ? 2 * IN_FLIGHT * VERSIONS.length : 0;
        expect(total).toBeGreaterThanOrEqual(units - pending);
        // The most units left in a later phase must not exceed the first answers of that phase.
        for (const [phase, seen] of phases.entries()) {
          const left = Math.max(0, units - sum(admitted.slice(0, phase)));
          for (const { most } of seen) expect(most, `phase ${phase}`).toBeLessThanOrEqual(left);
        }
      },
    );

    test('a refilling limit admits at most one burst plus its rate over all phases', () => {
      const flows = reports.map(({ flow }) => flow);
      const admitted = sum(flows.map((flow) => flow.admitted));
      const refused = sum(flows.map((flow) => flow.refused));
      // Both times are rounded to a millisecond.
      const lastedMs =
        Math.max(...flows.map(({ last }) => last)) -
        Math.min(...flows.map(({ first }) => first)) +
        2;
      const lawful = FLOW.burst + Math.floor((FLOW.rate * lastedMs) / 1_000);
      console.log(
        `${admitted} of at most ${lawful} in ${lastedMs} ms admitted, ${refused} refused: ` +
          comparedWith(lawful, admitted),
      );
      expect(admitted).toBeLessThanOrEqual(lawful + FLOW.burst);
      expect(refused).toBeGreaterThan(0);
    });

    test('a concurrency limit never has more holders than places over all phases', ({ skip }) => {
      if (!hasPlaces) skip(`${name} has no places`);
      const places = reports.map((report) => report.places);
      const most = Math.max(...places.map((each) => each.most));
      console.log(
        `${sum(places.map(({ worked }) => worked))} times a place was held, ` +
          `${sum(places.map(({ refused }) => refused))} times refused, at most ${most} of ${PLACES} at once`,
      );
      expect(most).toBeLessThanOrEqual(PLACES);
      for (const { worked } of places) expect(worked).toBeGreaterThan(0);
    });

    test('every key has a TTL after each phase', () => {
      expect(reports.flatMap((report) => report.keysWithoutTtl)).toEqual([]);
    });

    test('two versions of the script in one Redis are loaded again after each SCRIPT FLUSH, and no call fails', () => {
      expect(unknownScripts).toBeGreaterThan(PHASES.length);
    });
  },
);
