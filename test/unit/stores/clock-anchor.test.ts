import { describe, expect, test } from 'vitest';
import { ClockAnchor, ClockAnchors } from '../../../src/stores/clock-anchor.ts';
import { check } from '../../kit/random.mjs';

const START = 1_800_000_000_000_000;

/** A process and a server whose clocks run at their own pace; time is in real microseconds. */
function pair(pace: { own: number; server: number }) {
  let real = 0;
  let stolen = 0;
  let stepped = 0;
  let walled = 0;
  const own = { nowMicros: () => Math.floor(real * pace.own) - stolen };
  const lead = (): number => (stolen + walled) / 1_000;
  return {
    own,
    anchors: new ClockAnchors(own, lead),
    server: () => START + stepped + Math.floor(real * pace.server),
    pass: (us: number) => (real += us),
    /** The process is stopped together with its monotonic clock, but not its wall clock. */
    stop: (us: number) => {
      real += us;
      stolen += us;
    },
    stepServer: (us: number) => (stepped += us),
    stepWall: (us: number) => (walled += us),
  };
}

describe('an anchor', () => {
  test('bounds the server clock on both sides, whatever the paces up to 4.5 % off, the way and the age', async () => {
    await check({ cases: 2_000 }, (random) => {
      const pace = {
        own: 1 + random.int(-45, 45) / 1_000,
        server: 1 + random.int(-45, 45) / 1_000,
      };
      const { own, server, pass } = pair(pace);
      pass(random.int(0, 1_000_000));
      const sent = own.nowMicros();
      pass(random.int(0, 200_000));
      const now = server();
      pass(random.int(0, 200_000));
      const anchor = new ClockAnchor(now, sent, own.nowMicros());
      for (let i = 0; i < 5; i++) {
        expect(anchor.earliest(own.nowMicros())).toBeLessThanOrEqual(server());
        expect(anchor.latest(own.nowMicros())).toBeGreaterThanOrEqual(server());
        pass(random.int(0, 2_000_000));
      }
    });
  });

  test('says the very instant of the reply, and one that is at most the way and a tenth later', () => {
    const anchor = new ClockAnchor(START, 1_000, 3_000);
    expect(anchor.earliest(3_000)).toBe(START);
    expect(anchor.latest(3_000)).toBe(START + Math.ceil(2_001 * 1.1));
    expect(anchor.earliest(103_001)).toBe(START + 90_000);
    expect(anchor.latest(100_999)).toBe(START + 110_001);
  });
});

describe('the anchors of a connection', () => {
  function heardOnce(way = 1_000) {
    const world = pair({ own: 1, server: 1 });
    let drops = 0;
    world.anchors.onDrop(() => (drops += 1));
    const hear = (node = ''): void => {
      const sent = world.own.nowMicros();
      world.pass(way);
      const now = world.server();
      world.pass(way);
      world.anchors.heard(node, now, sent);
    };
    world.pass(1_000);
    hear();
    return { ...world, hear, drops: () => drops };
  }

  test('are kept while both clocks run, for as long as there is no call', () => {
    const { anchors, pass, hear, drops } = heardOnce();
    for (let i = 0; i < 100; i++) {
      pass(i * 100_000);
      anchors.check();
      hear();
      expect(anchors.current).toBeDefined();
    }
    expect(drops()).toBe(0);
  });

  test.each([
    ['forward', 20_000],
    ['back', -20_000],
  ])(
    'are dropped by a reply after the server clock stepped %s, and learnt by the next call',
    (_, us) => {
      const { anchors, pass, stepServer, hear, drops } = heardOnce();
      stepServer(us);
      hear();
      expect([drops(), anchors.current]).toEqual([1, undefined]);
      pass(1);
      hear();
      expect([drops(), anchors.current]).toEqual([1, expect.any(ClockAnchor)]);
    },
  );

  test('are kept after a step of 3 ms, which slewing and rounding may look like', () => {
    const { stepServer, hear, drops } = heardOnce();
    stepServer(3_000);
    hear();
    stepServer(-3_000);
    hear();
    expect(drops()).toBe(0);
  });

  test('of two nodes are not compared, and of one node are', () => {
    const { anchors, stepServer, hear, drops } = heardOnce();
    stepServer(5_000_000);
    hear('10.0.0.2:6379');
    expect([drops(), anchors.current]).toEqual([0, expect.any(ClockAnchor)]);
    hear('');
    expect(drops()).toBe(1);
  });

  test('are dropped by the first look after the process was stopped with its monotonic clock', () => {
    const { anchors, stop, drops } = heardOnce();
    anchors.check();
    stop(99_000);
    anchors.check();
    expect(drops()).toBe(0);
    stop(2_000);
    anchors.check();
    expect(drops()).toBe(1);
    anchors.check();
    expect(drops()).toBe(1);
  });

  test('are dropped after the wall clock was set, either way', () => {
    for (const us of [101_000, -101_000]) {
      const { anchors, stepWall, drops } = heardOnce();
      stepWall(us);
      anchors.check();
      expect(drops()).toBe(1);
    }
  });

  test('are dropped after the clock of the process stepped back, as that of a memory store can', () => {
    const { anchors, pass, drops } = heardOnce();
    anchors.check();
    pass(-500);
    anchors.check();
    expect(drops()).toBe(1);
  });

  test('never begin with a reply to a call from before a drop: it may have waited anywhere', () => {
    const { anchors, own, server, pass, stop, hear } = heardOnce();
    const sent = own.nowMicros();
    const now = server();
    stop(10_000_000);
    anchors.heard('', now, sent);
    expect(anchors.current).toBeUndefined();
    pass(1);
    hear();
    expect(anchors.current).toBeDefined();
  });
});
