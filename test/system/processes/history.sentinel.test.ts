import { expect, test } from 'vitest';
import { startSentinel, waitUntil } from '../../kit/servers/index.mjs';
import { BURST, Crowd } from './history.crowd.ts';
import { chargesOf, replay } from './history.replay.ts';
import { LOG, runNoMore } from './history.script.ts';

/** The proxy shares a processor with all that starts here: before its time, a late answer of its is no partition. */
const PATIENT_MS = 60_000;

test('a history with writes lost in a promotion replays identically, counts its losses, and exceeds the limit by at most one burst', async () => {
  const group = await startSentinel();
  const { primary, replica, addresses: sentinels, name } = group;
  const crowd = new Crowd([
    { door: { sentinels, name }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'closed' },
  ]);
  try {
    // Calls reach both servers, and then only the one that dies.
    await crowd.going();
    await replica.stop();
    await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
    crowd.askFor('scarce');
    await crowd.exhausts();
    await runNoMore(primary);
    const died: string[] = await primary.command('LRANGE', LOG, 0, -1);
    await primary.kill();
    await replica.cont();
    await group.becomesPrimary(replica);
    await crowd.decides();
    await crowd.exhausts();
    await crowd.stop();

    const log: string[] = await replica.command('LRANGE', LOG, 0, -1);
    const common = died.findIndex((line, i) => line !== log[i]);
    expect(common).toBeGreaterThan(0);
    replay(died, crowd.known);
    const lost = chargesOf(died.slice(common), crowd.known);
    const charged = replay(log, crowd.known);
    expect(crowd.excesses(charged, lost)).toEqual([]);
    const scarce = crowd.admitted.get('scarce')!;
    console.log(
      `${crowd.summary(charged, lost)}; lost ${died.length - common} of ${died.length} script calls; one identity was admitted ${scarce} under a burst of ${BURST}`,
    );
    const noted = new Set([...died, ...log]);
    expect(crowd.answered.filter((line) => !noted.has(line))).toEqual([]);
    expect(lost.get(crowd.keyOf('scarce'))).toBe(BURST);
    expect(scarce).toBeGreaterThan(BURST);
  } finally {
    await crowd.close();
    await group.close();
  }
}, 60_000);

test('two histories of a partitioned primary replay identically, admit at most two bursts, and one of them is dropped', async () => {
  const group = await startSentinel({ proxied: true, downAfterMs: PATIENT_MS });
  const { primary, replica, addresses: sentinels, name } = group;
  const wire = group.wire!;
  // The first one has a way of its own to the primary that everybody else loses.
  const seen = { [`${primary.host}:${wire.port}`]: { host: primary.host, port: primary.port } };
  const crowd = new Crowd([
    { door: { sentinels, name, seen }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'open' },
    { door: { sentinels, name }, failStrategy: 'closed' },
  ]);
  try {
    for (const sentinel of group.sentinels) {
      // A primary that comes back is made a replica when it has said so for four periods, of 2 s else.
      await sentinel.command('SENTINEL', 'DEBUG', 'publish-period', 250, 'info-period', 500);
    }
    await crowd.going();
    await wire.stall();
    for (const sentinel of group.sentinels) {
      await sentinel.command('SENTINEL', 'SET', name, 'down-after-milliseconds', 1_000);
    }
    await group.becomesPrimary(replica);
    await crowd.decides();
    crowd.askFor('scarce');
    await crowd.exhausts();
    expect((await primary.info('replication'))['role'], 'still').toBe('master');

    await runNoMore(primary);
    const old: string[] = await primary.command('LRANGE', LOG, 0, -1);
    await wire.pass();
    await waitUntil('the old primary to follow', async () => {
      const { role, master_link_status: link } = await primary.info('replication');
      return role === 'slave' && link === 'up';
    });
    await crowd.decides();
    await crowd.exhausts();
    await crowd.stop();

    const log: string[] = await replica.command('LRANGE', LOG, 0, -1);
    const common = old.findIndex((line, i) => line !== log[i]);
    expect(common).toBeGreaterThan(0);
    replay(old, crowd.known);
    const parted = chargesOf(old.slice(common), crowd.known);
    const charged = replay(log, crowd.known);
    expect(crowd.excesses(charged, parted)).toEqual([]);
    const scarce = crowd.admitted.get('scarce')!;
    console.log(
      `${crowd.summary(charged, parted)}, on the side that gave way; one identity was admitted ${scarce} under a burst of ${BURST}`,
    );
    const noted = new Set([...old, ...log]);
    expect(crowd.answered.filter((line) => !noted.has(line))).toEqual([]);
    expect(parted.get(crowd.keyOf('scarce'))).toBe(BURST);
    expect(charged.get(crowd.keyOf('scarce'))).toBe(BURST);
    expect(scarce).toBeGreaterThan(BURST);
    await waitUntil('one history on both', async () => {
      const followed: string[] = await primary.command('LRANGE', LOG, 0, -1);
      return followed.length === log.length && followed.every((line, i) => line === log[i]);
    });
  } finally {
    await crowd.close();
    await group.close();
  }
}, 60_000);
