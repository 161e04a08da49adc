import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { casesOf, Random, seed } from '../../kit/random.mjs';
import { loadEngine } from '../../kit/plans/engine.ts';
import type { Engine } from '../../kit/plans/engine.ts';
import { History } from '../../kit/plans/history.ts';
import type { Sent } from '../../kit/plans/history.ts';
import { KINDS } from '../../kit/plans/kinds.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { groupedByProduction, groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import type { Grouping } from '../../kit/twins/grouping.ts';
import { MapTable } from '../../kit/twins/map-table.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(40_000));
const HISTORIES_AT_ONCE = 16;

/** Calls of one instant, in one or several script calls. */
function groupings(sent: readonly Sent[], random: Random): { now: number; grouping: Grouping }[] {
  const groups: { now: number; grouping: Grouping }[] = [];
  for (let from = 0; from < sent.length;) {
    const { now } = sent[from]!;
    let to = from + 1;
    while (to < sent.length && sent[to]!.now === now && random.chance(80)) {
      to += 1;
    }
    const entries = sent.slice(from, to).map(({ entry }) => entry);
    const made = random.chance(50) ? groupedByProduction(entries) : [groupedOneByOne(entries)];
    groups.push(...made.map((grouping) => ({ now, grouping })));
    from = to;
  }
  return groups;
}

describe(`plans in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  let redis: RedisServer;
  let lua: LuaTwin;
  let engine: Engine;

  beforeAll(async () => {
    redis = await startRedis();
    lua = await LuaTwin.open(redis);
    engine = await loadEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
  });

  afterAll(async () => {
    await lua?.close();
    await redis?.close();
  });

  /** Sends a history under a namespace of its own, and compares each reply and each write. */
  async function follow(number: number, history: History): Promise<number> {
    const table = new MapTable();
    const awaited: Promise<void>[] = [];
    let marks = 0;
    const renamed = history.sent.map(({ entry, now }) => ({
      entry: { ...entry, key: `${number}:${entry.key}` },
      now,
    }));
    for (const { now, grouping } of groupings(renamed, new Random(seed + number))) {
      const reply = engine.decide(grouping.entries, now, table);
      const writes = table.takeWrites();
      const width = grouping.entries.reduce((sum, { shape }) => sum + shape.width, 1);
      marks += (reply.length - width) / 2;
      awaited.push(
        lua.decide(grouping, now).then((answer) => {
          const given = { number, now, reply: answer.reply, writes: [...answer.writes].sort() };
          return expect(given).toEqual({ number, now, reply, writes });
        }),
      );
    }
    await Promise.all(awaited);
    return marks;
  }

  const kinds = Object.entries(KINDS);

  test.each(kinds)('agree on %s', { timeout: 60_000 + STEPS }, async (_, kind) => {
    let steps = 0;
    let marks = 0;
    for (let number = 0; steps < STEPS / kinds.length; number += HISTORIES_AT_ONCE) {
      const histories = Array.from({ length: HISTORIES_AT_ONCE }, (__, i) => {
        const history = new History(engine, new Random(seed + number + i), kind);
        history.run();
        return history;
      });
      const told = await Promise.all(histories.map((each, i) => follow(number + i, each)));
      marks += told.reduce((sum, each) => sum + each, 0);
      steps += histories.reduce((sum, each) => sum + each.steps, 0);
      await lua.forget();
    }
    // A trace without charges that several lines count would prove little.
    expect(marks).toBeGreaterThan(steps / 100);
  });
});
