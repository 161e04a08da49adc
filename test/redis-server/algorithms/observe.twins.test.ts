import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { fixedWindow, tokenBucket } from 'distributed-rate-limiter';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import { attachReceipt, redeem } from '../../../src/limiter/refund-receipt.ts';
import { reserveDetails, settleDetails } from '../../../src/script/call-shape.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { decide } from '../../../src/script/decide.ts';
import { virtualScriptWith } from '../../kit/fakes/virtual-script.ts';
import { mutated } from '../../kit/mutants.ts';
import { LUA_MUTANTS } from '../../kit/observe/mutants.ts';
import { NO_CLOCK } from '../../kit/plans/engine.ts';
import { casesOf, check, Random, seed } from '../../kit/random.mjs';
import { groupedByProduction } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const CALLS = Number(process.env['DRL_STEPS'] ?? casesOf(20_000));
/** Courses in which a mistake must be noticed. */
const MOST = 200;
const START = Date.UTC(2026, 0, 1) * 1_000;
const SECOND = 1_000_000;
const VERBS = ['allow', 'allow', 'allow', 'peek', 'up_to', 'reserve', 'settle', 'reset'] as const;

/** Random calls and words of a provider, decided by both twins. */
class TwinTrace {
  readonly #random: Random;
  readonly #lua: LuaTwin;
  readonly #table = new MapTable();
  readonly #set: LimitSet;
  readonly #charges: { key: string; shape: Entry['shape']; reply: number[]; at: number }[] = [];
  #now = START;

  constructor(random: Random, namespace: string, lua: LuaTwin) {
    this.#random = random;
    this.#lua = lua;
    const limits = [
      tokenBucket({ rate: 1_000, period: '1s' }),
      fixedWindow({ name: 'w', rate: 9, period: '4s', shadow: random.chance(30) }),
    ];
    this.#set = new LimitSet(namespace, limits.slice(0, random.int(1, 2)), random.chance(30), {
      clock: NO_CLOCK,
      observes: true,
    });
  }

  async turn(seen: { calls: number; refunds: number }): Promise<void> {
    const random = this.#random;
    this.#now += random.pick([0, 1, 1_000, 100_000, 500_000, SECOND, 4 * SECOND, 9 * SECOND]);
    // A server's clock may step back.
    this.#now -= random.chance(3) ? random.pick([1, SECOND]) : 0;
    const entries = random.list(1, 5, () => this.#entry());
    for (const grouping of groupedByProduction(entries)) {
      const reply = decide(grouping.entries, this.#now, this.#table);
      const writes = this.#table.takeWrites();
      const answer = await this.#lua.decide(grouping, this.#now);
      assert.deepEqual(
        { lua: answer.reply, writes: [...answer.writes].sort() },
        { lua: reply, writes },
      );
      let at = 1;
      for (const { key, shape } of grouping.entries) {
        seen.calls += 1;
        seen.refunds += shape.verb === 'refund' ? 1 : 0;
        if (shape.verb === 'allow') {
          this.#charges.push({ key, shape, reply: reply as number[], at });
        }
        at += shape.width;
      }
    }
  }

  #entry(): Entry {
    const random = this.#random;
    const { key } = this.#set.locate(random.pick(['a', 'b']), undefined);
    if (random.chance(35)) {
      const [limit] = random.shuffle(this.#set.limits);
      const lasts = random.pick([1, 300_000, SECOND, 4 * SECOND, 9 * SECOND]);
      const window = random.pick([0, lasts, 4 * SECOND]);
      const left = random.pick([3, 0, 1, 7, 20]);
      const said = { left, lasts, quota: window > 0 ? random.int(1, 9) : 0, window };
      return { key, shape: this.#set.observeShape([{ limit: limit!, said }]) };
    }
    if (random.chance(20) && this.#charges.length > 0) {
      const decision = {};
      const [charge] = this.#charges.splice(-1 - random.int(0, 2), 1);
      if (charge !== undefined) {
        attachReceipt(decision, { ...charge, issuer: this, refunded: false });
        return redeem(decision, this);
      }
    }
    const verb = random.pick(VERBS);
    const shape = this.#set.shape(verb, random.int(0, 4));
    if (verb === 'reserve') {
      const record = `#r:${random.int(1, 4)}`;
      return { key, shape, record, details: reserveDetails(random.pick([1_000, 3_600_000])) };
    }
    if (verb === 'settle') {
      const record = `#r:${random.int(1, 4)}`;
      return { key, shape, record, details: settleDetails(random.int(0, 6), 1_000, true) };
    }
    return { key, shape };
  }
}

describe(`what a provider says, in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    `is counted and stored the same over ${CALLS} random calls`,
    { timeout: 60_000 + 3 * CALLS },
    async () => {
      const seen = { calls: 0, refunds: 0 };
      const run = { until: () => seen.calls >= CALLS, before: () => twin.lua.forget() };
      await check(run, async (random, at) => {
        const trace = new TwinTrace(random, `seed${at}`, twin.lua);
        for (const _ of random.steps(1, 40)) await trace.turn(seen);
      });
      expect(seen.refunds).toBeGreaterThan(CALLS / 100);
    },
  );

  test.each(Object.entries(LUA_MUTANTS))('differs where Lua %s', async (_, mutant) => {
    const include = mutant.file.replace('.lua', '');
    const { text } = virtualScriptWith({ [include]: mutated(mutant) });
    const lua = await LuaTwin.open(twin.redis, text);
    let noticed: unknown;
    for (let number = 0; number < MOST && noticed === undefined; number++) {
      await lua.forget();
      const trace = new TwinTrace(new Random(number), 'mutant', lua);
      try {
        for (let turn = 0; turn < 40; turn++) await trace.turn({ calls: 0, refunds: 0 });
      } catch (error) {
        noticed = error;
      }
    }
    await lua.close();
    expect(Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {})).toContain(
      'lua',
    );
  });
});
