import { expect, test } from 'vitest';
import { startSentinel, waitUntil } from '../../kit/servers/index.mjs';
import { BURST, LoadGroup } from './history.load.ts';
import { chargesOf, replay } from './history.replay.ts';
import { LOG, runNoMore } from './history.script.ts';

/** The proxy shares a processor with all processes that start here. Before this time a late answer is no partition. */
const PATIENT_MS = 60_000;

test('a history with writes lost in a promotion replays identically, counts its losses, and exceeds the limit by at most one burst', async () => {
  const group = await startSentinel();
  const { primary, replica, addresses: sentinels, name } = group;
  const load = new LoadGroup([
    { door: { sentinels, name }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'closed' },
  ]);
  try {
    // Calls reach both servers, and later only the one that dies.
    await load.going();
    await replica.stop();
    await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
    load.askFor('scarce');
    await load.exhausts();
    await runNoMore(primary);
    const died: string[] = await primary.command('LRANGE', LOG, 0, -1);
    await primary.kill();
    await replica.cont();
    await group.becomesPrimary(replica);
    await load.decides();
    await load.exhausts();
    await load.stop();

    const log: string[] = await replica.command('LRANGE', LOG, 0, -1);
    const common = died.findIndex((line, i) => line !== log[i]);
    expect(common).toBeGreaterThan(0);
    replay(died, load.known);
    const lost = chargesOf(died.slice(common), load.known);
    const charged = replay(log, load.known);
    expect(load.excesses(charged, lost)).toEqual([]);
    const scarce = load.admitted.get('scarce')!;
    console.log(
      `${load.summary(charged, lost)}; lost ${died.length - common} of ${died.length} script calls; one identity was admitted ${scarce} under a burst of ${BURST}`,
    );
    const noted = new Set([...died, ...log]);
    expect(load.answered.filter((line) => !noted.has(line))).toEqual([]);
    expect(lost.get(load.keyOf('scarce'))).toBe(BURST);
    expect(scarce).toBeGreaterThan(BURST);
  } finally {
    await load.close();
    await group.close();
  }
}, 60_000);

test('two histories of a partitioned primary replay identically, admit at most two bursts, and one of them is dropped', async () => {
  const group = await startSentinel({ proxied: true, downAfterMs: PATIENT_MS });
  const { primary, replica, addresses: sentinels, name } = group;
  const wire = group.wire!;
  // The first process reaches the primary directly; all others lose it.
  const seen = { [`${primary.host}:${wire.port}`]: { host: primary.host, port: primary.port } };
  const load = new LoadGroup([
    { door: { sentinels, name, seen }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'closed' },
  ]);
  try {
    for (const sentinel of group.sentinels) {
      // Sentinel makes a returning primary a replica after it has been master for four periods, each 2 s by default.
      await sentinel.command('SENTINEL', 'DEBUG', 'publish-period', 250, 'info-period', 500);
    }
    await load.going();
    await wire.stall();
    for (const sentinel of group.sentinels) {
      await sentinel.command('SENTINEL', 'SET', name, 'down-after-milliseconds', 1_000);
    }
    await group.becomesPrimary(replica);
    await load.decides();
    load.askFor('scarce');
    await load.exhausts();
    expect((await primary.info('replication'))['role'], 'still').toBe('master');

    await runNoMore(primary);
    const old: string[] = await primary.command('LRANGE', LOG, 0, -1);
    await wire.pass();
    await waitUntil('the old primary to follow', async () => {
      const { role, master_link_status: link } = await primary.info('replication');
      return role === 'slave' && link === 'up';
    });
    await load.decides();
    await load.exhausts();
    await load.stop();

    const log: string[] = await replica.command('LRANGE', LOG, 0, -1);
    const common = old.findIndex((line, i) => line !== log[i]);
    expect(common).toBeGreaterThan(0);
    replay(old, load.known);
    const parted = chargesOf(old.slice(common), load.known);
    const charged = replay(log, load.known);
    expect(load.excesses(charged, parted)).toEqual([]);
    const scarce = load.admitted.get('scarce')!;
    console.log(
      `${load.summary(charged, parted)}, on the side that gave way; one identity was admitted ${scarce} under a burst of ${BURST}`,
    );
    const noted = new Set([...old, ...log]);
    expect(load.answered.filter((line) => !noted.has(line))).toEqual([]);
    expect(parted.get(load.keyOf('scarce'))).toBe(BURST);
    expect(charged.get(load.keyOf('scarce'))).toBe(BURST);
    expect(scarce).toBeGreaterThan(BURST);
    await waitUntil('one history on both', async () => {
      const followed: string[] = await primary.command('LRANGE', LOG, 0, -1);
      return followed.length === log.length && followed.every((line, i) => line === log[i]);
    });
  } finally {
    await load.close();
    await group.close();
  }
}, 60_000);
