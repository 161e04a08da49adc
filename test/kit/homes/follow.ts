import { agree, LateAnswers } from '../fakes/agreement.ts';
import type { Random } from '../random.mjs';
import { groupedByProduction } from '../twins/grouping.ts';
import type { LuaTwin } from '../twins/lua-twin.ts';
import { MapTable } from '../twins/map-table.ts';
import type { HomesEngine } from './engine.ts';
import { ReservationsTrace } from './reservations.ts';
import type { Seen } from './reservations.ts';
import { HomesTrace } from './trace.ts';
import type { Counts } from './trace.ts';

/** One course of calls in TypeScript, in Lua on a server, and by the oracle; rejects at the first difference. */
export async function followCalls(
  engine: HomesEngine,
  lua: LuaTwin,
  random: Random,
  namespace: string,
  counts: Counts,
): Promise<void> {
  const answers = new LateAnswers();
  const trace = new HomesTrace(engine, random, namespace, counts, { lua, answers });
  try {
    for (const _ of random.steps(1, 60)) {
      trace.turn();
    }
    trace.finish();
  } finally {
    await answers.all();
  }
}

/**
 * One course of reservations, which the model follows, and then all calls that were executed once more in TypeScript and
 * in Lua on a server, where nothing expires; rejects at the first difference.
 */
export async function followReservations(
  engine: HomesEngine,
  lua: LuaTwin,
  random: Random,
  namespace: string,
  seen: Seen,
): Promise<void> {
  const trace = new ReservationsTrace(engine, random, namespace, seen);
  for (const _ of random.steps(1, 60)) {
    await trace.step();
  }
  const table = new MapTable();
  const answers = new LateAnswers();
  for (const [i, { entry, now }] of trace.sent.entries()) {
    const [grouping] = groupedByProduction([entry]);
    const reply = engine.decide([entry], now, table);
    const writes = table.takeWrites();
    answers.add(lua.decide(grouping!, now), (theirs) => {
      agree(`call ${i}, ${entry.shape.verb}: reply of Lua`, theirs.reply, reply);
      agree(`call ${i}, ${entry.shape.verb}: writes of Lua`, [...theirs.writes].sort(), writes);
    });
  }
  await answers.all();
}
