import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow } from 'distributed-rate-limiter';
import { decide } from '../../../src/script/decide.ts';
import { UNREADABLE } from '../../../src/script/home.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const NOW = Date.UTC(2026, 0, 1) * 1_000;
const HOUR = 3_600_000_000;
const INDEX = NOW / HOUR;

const SLIDING = slidingWindow({ rate: 10, period: '1h' });
const FIXED = fixedWindow({ rate: 10, period: '1h' });
const RESTS = (INDEX + 2) * HOUR;
const window = `${HOUR}:3`;

describe('stored windows that the library never writes', () => {
  const twin = withLuaTwin(LuaTwin);

  test.each([
    ['one readable window', SLIDING, `;=s${RESTS}:${HOUR}:${INDEX}:0:3`, 7 - 1],
    [
      'two windows of one period',
      SLIDING,
      `;=s${RESTS}:${HOUR}:${INDEX}:0:3,${HOUR}:${INDEX}:0:9`,
      UNREADABLE,
    ],
    [
      'one period in two spellings',
      SLIDING,
      `;=s${RESTS}:${HOUR}:${INDEX}:0:3,0${HOUR}:1:0:9`,
      UNREADABLE,
    ],
    [
      'an end that no clock reaches',
      SLIDING,
      `;=s${RESTS}:${HOUR}:${2 ** 53 / HOUR}:0:3`,
      UNREADABLE,
    ],
    ['an end beyond any TTL', SLIDING, `;=s${RESTS}:${HOUR}:9007199254740991:0:3`, UNREADABLE],
    ['no window', SLIDING, `;=s${RESTS}`, UNREADABLE],
    ['separators after the state', SLIDING, `;=s${RESTS}:${HOUR}:${INDEX}:0:3;;`, UNREADABLE],
    ['one readable fixed window', FIXED, `;=f${NOW + HOUR}:${window}`, 7 - 1],
    [
      'a fixed window with an end of its own',
      FIXED,
      `;=f${NOW + 2 * HOUR}:${window}:${NOW}:${NOW + HOUR}`,
      7 - 1,
    ],
    ['a window that starts at its end', FIXED, `;=f${NOW}:${window}:${NOW}`, UNREADABLE],
    ['a window longer than time', FIXED, `;=f${NOW + HOUR}:${2 * NOW}:3`, UNREADABLE],
    ['a calendar window without a start', FIXED, `;=f${NOW + HOUR}:day@UTC:3`, UNREADABLE],
    ['an empty start', FIXED, `;=f${NOW + HOUR}:${window}:`, UNREADABLE],
    ['a kind with a control character', FIXED, `;=f${NOW + HOUR}:a\0b:9:0`, UNREADABLE],
    [
      'two fixed windows of one kind',
      FIXED,
      `;=f${NOW + HOUR}:${window},${HOUR}:9:0:1`,
      UNREADABLE,
    ],
  ])('both twins read alike: %s', async (_, limit, state, expected) => {
    const shape = makeShape('allow', 1, [
      { limit, plan: limit.plan(1, NOW / 1_000), ...stateKeyOf(limit) },
    ]);
    const entry = { key: 'k', shape };
    const mine = decide([entry], NOW, new MapTable(new Map([['k', state]])));
    await twin.lua.put(new Map([['k', state]]));
    const theirs = await twin.lua.decideAside(groupedOneByOne([entry]), NOW);
    expect(theirs).toEqual(mine);
    const left =
      typeof mine[1] === 'string'
        ? mine[1]
        : limit.twin.read(shape.rules[0]!.plan, mine as number[], 1).remaining;
    expect(left).toBe(expected);
  });
});
