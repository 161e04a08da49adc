import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RateLimiterError } from '../../src/errors.ts';
import { Connection } from '../../src/redis/connection.ts';
import { slotOf } from '../../src/redis/slot.ts';
import { ReplyError } from '../support/fake-client.ts';
import { EchoCall, echoScript } from './echo-script.ts';
import { FakePort } from './fake-port.ts';

// Immediates stay real: what is promised about them is their place among sockets and ticks.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function open(port = new FakePort()) {
  const connection = new Connection(port, echoScript);
  const call = (key = 'k', options?: ConstructorParameters<typeof EchoCall>[1]): EchoCall => {
    const made = new EchoCall(key, options);
    connection.submit(made);
    return made;
  };
  return { port, connection, call };
}

const immediate = () => new Promise((resolve) => setImmediate(resolve));

/** This turn of the loop and the next, so that what an immediate made has run as well. */
const turn = async (): Promise<void> => {
  await immediate();
  await immediate();
};
const pass = async (ms: number): Promise<void> => {
  vi.advanceTimersByTime(ms);
  await turn();
};

describe('waiting for the first attempt to connect', () => {
  test('ends when the attempt has, and when time is up; who waits leaves no listener behind', async () => {
    const port = new FakePort('connecting');
    const { connection } = open(port);
    const { listeners } = port;
    const ends: string[] = [];
    void connection.settled(50).then(() => ends.push('in time'));
    void connection.settled(5).then(() => ends.push('too late'));
    await pass(10);
    expect(ends).toEqual(['too late']);
    port.become('connecting');
    await turn();
    expect(ends).toEqual(['too late']);
    port.become('ready');
    await turn();
    expect(ends).toEqual(['too late', 'in time']);
    await connection.settled(50);
    expect(port.listeners).toBe(listeners);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('batches', () => {
  test('a lone call goes out on the next tick, without waiting for a timer', async () => {
    const { port, call } = open();
    const made = call('a');
    expect(port.sent).toHaveLength(0);
    await new Promise((resolve) => process.nextTick(resolve));
    expect(port.sent).toMatchObject([
      { command: 'EVALSHA', script: 'the sha1', keys: ['a'], key: 'a' },
    ]);
    port.sent[0]!.reply();
    await turn();
    expect(made).toMatchObject({ answer: 'answer to a', times: 1 });
  });

  test('where calls have come in company of late, the first waits for the others of its poll', async () => {
    const { port, call } = open();
    const tick = () => new Promise((resolve) => process.nextTick(resolve));
    const answered = async (): Promise<void> => {
      await turn();
      port.sent.splice(0).forEach((sent) => sent.reply());
      await turn();
    };
    ['a', 'b', 'c', 'd'].forEach((key) => call(key));
    await answered();
    ['a', 'b', 'c', 'd'].forEach((key) => call(key));
    await answered();
    call('first');
    await tick();
    call('second');
    expect(port.sent).toHaveLength(0);
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([['first', 'second']]);
    await answered();

    // And once they have come alone for a while, nobody is waited for.
    for (let i = 0; i < 10; i++) {
      call('alone');
      await answered();
    }
    call('a');
    await tick();
    call('b');
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
  });

  test('the calls of a turn go together, in order, in as many sends as they need', async () => {
    const { port, connection, call } = open();
    const calls = ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => call(key));
    expect(connection.inFlight).toBe(6);
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([
      ['a', 'b', 'c', 'd'],
      ['e', 'f'],
    ]);
    port.sent[1]!.reply();
    await turn();
    expect(calls.map(({ times }) => times)).toEqual([0, 0, 0, 0, 1, 1]);
    port.sent[0]!.reply();
    await turn();
    expect(calls.map(({ answer }) => answer)).toEqual(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => `answer to ${key}`),
    );
    expect(connection.inFlight).toBe(0);
  });

  test('while something is in flight, calls are gathered until sockets have been read', async () => {
    const { port, call } = open();
    call('a');
    await turn();
    call('b');
    await new Promise((resolve) => process.nextTick(resolve));
    call('c');
    expect(port.sent).toHaveLength(1);
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a'], ['b', 'c']]);
  });

  test('a thousand calls have one timer, and none once they are answered and due', async () => {
    const { port, call } = open();
    for (let i = 0; i < 1_000; i++) call(`k${i}`);
    await turn();
    expect(port.sent).toHaveLength(250);
    expect(vi.getTimerCount()).toBe(1);
    for (const sent of port.sent) sent.reply();
    await pass(250);
    await turn();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the deadline', () => {
  test.each([20, 250, 1_000])(
    'of %i ms holds for a client that never settles',
    async (timeoutMs) => {
      const { port, call } = open();
      const made = call('a', { timeoutMs });
      await turn();
      await pass(timeoutMs - 1);
      expect(made.times).toBe(0);
      await pass(1);
      expect(made).toMatchObject({ times: 1, reason: 'store_timeout' });
      expect(made.error!.message).toBe(`Redis did not answer within ${timeoutMs} ms`);
      port.sent[0]!.reply();
      await turn();
      expect(made.times).toBe(1);
    },
  );

  test('is the shortest of a batch', async () => {
    const { call } = open();
    const [patient, hasty] = [call('a', { timeoutMs: 500 }), call('b', { timeoutMs: 50 })];
    await turn();
    await pass(50);
    expect([patient.reason, hasty.reason]).toEqual(['store_timeout', 'store_timeout']);
  });

  test('an answer that comes between the timer and the next turn of the loop still counts', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    vi.advanceTimersByTime(250); // the timer has fired; what it set for the next turn has not
    expect(made.times).toBe(0);
    port.sent[0]!.reply();
    await turn();
    expect(made).toMatchObject({ answer: 'answer to a', times: 1 });
  });

  test('a loop that was blocked past it gives an answer a moment more, once', async () => {
    const { port, call } = open();
    const [read, lost] = [call('a'), call('b')];
    await turn();
    const first = port.sent[0]!;
    expect(first.keys).toEqual(['a', 'b']);
    const real = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => real() + 400);
    await pass(250);
    await turn();
    expect([read.times, lost.times]).toEqual([0, 0]);
    await pass(45);
    expect([read.reason, lost.reason]).toEqual(['store_timeout', 'store_timeout']);
    vi.mocked(performance.now).mockRestore();
  });
});

describe('a server that hangs', () => {
  test('is asked once per deadline, and everyone else is answered at once with one error', async () => {
    const { port, call } = open();
    const first = call('a');
    await turn();
    await pass(250);
    expect(first.reason).toBe('store_timeout');

    const refused = Array.from({ length: 5 }, (_, i) => call(`b${i}`));
    expect(refused.map(({ times }) => times)).toEqual([1, 1, 1, 1, 1]);
    expect(new Set(refused.map(({ error }) => error))).toEqual(new Set([first.error]));
    expect(port.sent).toHaveLength(1);

    await pass(250);
    const probe = call('c');
    const beside = call('d');
    await turn();
    expect([probe.times, beside.times]).toEqual([0, 1]);
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a'], ['c']]);

    port.sent[1]!.reply();
    await turn();
    expect(probe.answer).toBe('answer to c');
    const after = call('e');
    await turn();
    port.sent[2]!.reply();
    await turn();
    expect(after.answer).toBe('answer to e');
  });

  test.each(['a late reply', 'an error reply'])(
    '%s to what is long answered ends it',
    async (what) => {
      const { port, call } = open();
      const first = call('a');
      await turn();
      await pass(250);
      if (what === 'a late reply') port.sent[0]!.reply();
      else port.sent[0]!.reject(new ReplyError('BUSY Redis is busy'));
      await turn();
      const next = call('b');
      await turn();
      expect(port.sent.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
      expect([first.times, next.times]).toEqual([1, 0]);
    },
  );

  test('a missed deadline is no hang where another batch was answered meanwhile', async () => {
    const { port, call } = open();
    call('slow');
    await turn();
    await pass(100);
    call('quick');
    await turn();
    port.sent[1]!.reply();
    await pass(150);
    const next = call('next');
    await turn();
    expect(next.times).toBe(0);
    expect(port.sent).toHaveLength(3);
  });

  test('what is never settled counts as in flight until ten deadlines have passed', async () => {
    const { connection, call } = open();
    call('a');
    call('b');
    await turn();
    await pass(2_499);
    expect(connection.inFlight).toBe(2);
    await pass(2);
    expect(connection.inFlight).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('one node of a cluster is not the others', async () => {
    const port = new FakePort('ready', { cluster: true });
    const { call } = open(port);
    const keys = Array.from({ length: 40 }, (_, i) => `key:${i}`);
    const [even, odd] = [0, 1].map((half) => keys.filter((key) => slotOf(key) % 2 === half));
    call(even![0]);
    await turn();
    await pass(250);
    const refused = call(even![1]);
    const fine = call(odd![0]);
    await turn();
    expect([refused.reason, fine.times]).toEqual(['store_timeout', 0]);
    expect(port.sent.map(({ key }) => key)).toEqual([even![0], odd![0]]);
  });
});

describe('bounds', () => {
  test('past maxInFlight nothing is sent, and the answer comes in the same turn', async () => {
    const { port, connection, call } = open();
    const limit = { maxInFlight: 3 };
    const taken = ['a', 'b', 'c'].map((key) => call(key, limit));
    const over = [call('d', limit), call('e', limit)];
    expect(over.map(({ reason }) => reason)).toEqual(['overloaded', 'overloaded']);
    expect(over[0]!.error).toBe(over[1]!.error);
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a', 'b', 'c']]);
    port.sent[0]!.reply();
    await turn();
    expect(taken.every(({ times, error }) => times === 1 && error === undefined)).toBe(true);
    expect(connection.inFlight).toBe(0);
    const next = call('f', limit);
    await turn();
    expect(next.times).toBe(0);
  });
});

describe('an error', () => {
  test.each([
    ['OOM command not allowed when used memory', 'store_error', 'Redis refused: OOM'],
    ['NOPERM this user', 'store_error', 'Redis refused: NOPERM'],
    [
      'ERR Protocol error: unauthenticated multibulk length',
      'store_error',
      'Redis refused: NOAUTH',
    ],
    ['something unheard of', 'store_error', 'Redis refused: an error'],
  ])('that the server answers, %s', async (message, reason, told) => {
    const { port, connection, call } = open();
    const [one, other] = [call('a'), call('b')];
    await turn();
    const cause = new ReplyError(message);
    port.sent[0]!.reject(cause);
    await turn();
    expect(one).toMatchObject({ reason, times: 1, error: { message: told, cause } });
    expect(other.error).toBe(one.error);
    expect(connection.inFlight).toBe(0);
    expect(port.sent).toHaveLength(1);
  });

  test.each([
    ['the socket was closed', 'store_away'],
    ['Command timed out', 'store_timeout'],
    ['Timeout during operation', 'store_timeout'],
  ])('of the client itself, %s, is never followed by another send', async (message, reason) => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.sent[0]!.reject(new Error(message));
    await turn();
    expect(made).toMatchObject({ reason, times: 1 });
    expect(port.sent).toHaveLength(1);
  });

  test.each([undefined, null, 'text', 7, {}])('that is none, %j', async (thrown) => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.sent[0]!.reject(thrown);
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
  });

  test('that send throws at once', async () => {
    const { port, connection, call } = open();
    port.throws = new Error('The client is closed');
    const made = call('a');
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    expect(connection.inFlight).toBe(0);
  });

  test.each([undefined, null, 'OK', 5, {}, [], ['one', 'two', 'three']])(
    'a reply of another form, %j',
    async (reply) => {
      const { port, call } = open();
      const [one, other] = [call('a'), call('b')];
      await turn();
      port.sent[0]!.replyWith(reply);
      await turn();
      expect([one, other].map(({ reason, times }) => [reason, times])).toEqual([
        ['store_error', 1],
        ['store_error', 1],
      ]);
    },
  );
});

describe('NOSCRIPT', () => {
  const noscript = () => new ReplyError('NOSCRIPT No matching script. Please use EVAL.');

  test('sends the text, once, within the same deadline', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    await pass(200);
    port.sent[0]!.reject(noscript());
    await turn();
    expect(port.sent.map(({ command, script }) => [command, script])).toEqual([
      ['EVALSHA', 'the sha1'],
      ['EVAL', 'the text'],
    ]);
    await pass(50);
    expect(made).toMatchObject({ reason: 'store_timeout', times: 1 });
  });

  test('again, in answer to the text, is an error', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.sent[0]!.reject(noscript());
    await turn();
    port.sent[1]!.reject(noscript());
    await turn();
    expect(made).toMatchObject({ reason: 'store_error', times: 1 });
    expect(port.sent).toHaveLength(2);
  });

  test('too late for anyone who waited sends nothing', async () => {
    const { port, call } = open();
    call('a');
    await turn();
    await pass(250);
    port.sent[0]!.reject(noscript());
    await turn();
    expect(port.sent).toHaveLength(1);
  });

  test('that the client itself says proves nothing', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.sent[0]!.reject(new Error('NOSCRIPT'));
    await turn();
    expect(made.reason).toBe('store_away');
    expect(port.sent).toHaveLength(1);
  });
});

describe('slots', () => {
  test.each([
    "CROSSSLOT Keys in request don't hash to the same slot",
    "ERR 'key1' and 'key2' not in the same slot",
    'ERR eval/evalsha command keys must be in same slot',
  ])('%s: is met once; from then on there is a call for each slot', async (refusal) => {
    const { port, call } = open();
    const calls = ['{a}1', '{b}1', '{a}2', '{b}2'].map((key) => call(key));
    await turn();
    expect(port.sent.map(({ keys }) => keys)).toEqual([['{a}1', '{b}1', '{a}2', '{b}2']]);
    port.sent[0]!.reject(new ReplyError(refusal));
    await turn();
    expect(port.sent.slice(1).map(({ keys, command }) => [command, keys])).toEqual([
      ['EVALSHA', ['{a}1', '{a}2']],
      ['EVALSHA', ['{b}1', '{b}2']],
    ]);
    for (const sent of port.sent.slice(1)) sent.reply();
    await turn();
    expect(calls.map(({ answer }) => answer)).toEqual(
      ['{a}1', '{b}1', '{a}2', '{b}2'].map((key) => `answer to ${key}`),
    );
    call('{a}3');
    call('{b}3');
    await turn();
    expect(port.sent.slice(3).map(({ keys }) => keys)).toEqual([['{a}3'], ['{b}3']]);
  });

  test('CROSSSLOT within one slot is an error like any other', async () => {
    const port = new FakePort('ready', { cluster: true });
    const { call } = open(port);
    const made = call('a');
    await turn();
    port.sent[0]!.reject(new ReplyError('CROSSSLOT'));
    await turn();
    expect(made.reason).toBe('store_error');
    expect(port.sent).toHaveLength(1);
  });

  const tryAgain = () => new ReplyError('TRYAGAIN Multiple keys request during rehashing of slot');

  test('TRYAGAIN, while a slot moves, is asked again until it is done', async () => {
    const { port, connection, call } = open(new FakePort('ready', { cluster: true }));
    const made = call('{a}1');
    await turn();
    for (let i = 0; i < 3; i++) {
      port.sent[i]!.reject(tryAgain());
      await turn();
      expect([made.times, connection.inFlight]).toEqual([0, 1]);
      await pass(20);
    }
    expect(port.sent.map(({ command, keys }) => [command, keys])).toEqual(
      Array.from({ length: 4 }, () => ['EVALSHA', ['{a}1']]),
    );
    port.sent[3]!.reply();
    await turn();
    expect(made).toMatchObject({ answer: 'answer to {a}1', times: 1 });
    expect(connection.inFlight).toBe(0);
  });

  test('TRYAGAIN to the end is a deadline like any other, and nothing is sent after it', async () => {
    const { port, connection, call } = open(new FakePort('ready', { cluster: true }));
    const made = call('{a}1');
    await turn();
    await pass(240);
    port.sent[0]!.reject(tryAgain());
    await turn();
    await pass(10);
    expect(made).toMatchObject({ reason: 'store_timeout', times: 1 });
    await pass(10);
    expect(port.sent).toHaveLength(1);
    expect(connection.inFlight).toBe(0);
    // It answers, so it does not hang.
    expect(call('{a}2').times).toBe(0);
  });

  test('TRYAGAIN, and then the connection is lost: answered at once, and nothing is sent', async () => {
    const { port, connection, call } = open(new FakePort('ready', { cluster: true }));
    const made = call('{a}1');
    await turn();
    port.sent[0]!.reject(tryAgain());
    await turn();
    port.become('away');
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    await pass(20);
    expect(port.sent).toHaveLength(1);
    expect(connection.inFlight).toBe(0);
  });

  test('what was split keeps its deadline and its place among what is in flight', async () => {
    const { port, connection, call } = open();
    const calls = ['{a}1', '{b}1'].map((key) => call(key));
    await turn();
    await pass(200);
    port.sent[0]!.reject(new ReplyError('CROSSSLOT'));
    await turn();
    expect(connection.inFlight).toBe(2);
    port.sent[1]!.reply();
    await turn();
    expect(connection.inFlight).toBe(1);
    await pass(50);
    expect(calls.map(({ times }) => times)).toEqual([1, 1]);
    expect(calls[1]!.reason).toBe('store_timeout');
  });

  test('calls of one turn to a cluster are one send per slot, each with a key of that slot', async () => {
    const port = new FakePort('ready', { cluster: true });
    const { call } = open(port);
    for (const key of ['{a}1', '{b}1', '{a}2']) call(key);
    await turn();
    expect(port.sent.map(({ keys, key }) => [keys, key])).toEqual([
      [['{a}1', '{a}2'], '{a}1'],
      [['{b}1'], '{b}1'],
    ]);
  });
});

describe('the connection', () => {
  test('while it is being made, calls are held, and sent when it stands', async () => {
    const { port, call } = open(new FakePort('connecting'));
    const made = call('a');
    await turn();
    expect(port.sent).toHaveLength(0);
    port.become('ready');
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a']]);
    port.sent[0]!.reply();
    await turn();
    expect(made.answer).toBe('answer to a');
  });

  test('that takes too long: calls are answered by their deadline, and never sent', async () => {
    const { port, connection, call } = open(new FakePort('connecting'));
    const made = call('a');
    await turn();
    await pass(250);
    expect(made.reason).toBe('store_timeout');
    expect(connection.inFlight).toBe(0);
    port.become('ready');
    await turn();
    expect(port.sent).toHaveLength(0);
  });

  test('that cannot be made: held calls are answered at once', async () => {
    const { port, connection, call } = open(new FakePort('connecting'));
    const made = call('a');
    await turn();
    port.lastError = new Error('ECONNREFUSED');
    port.become('away');
    expect(made).toMatchObject({ reason: 'store_away', error: { cause: port.lastError } });
    expect(connection.inFlight).toBe(0);
    expect(port.sent).toHaveLength(0);
  });

  test('that is away: the answer comes in the same turn, one error for all', async () => {
    const { port, call } = open(new FakePort('away'));
    const calls = [call('a'), call('b')];
    expect(calls.map(({ reason, times }) => [reason, times])).toEqual([
      ['store_away', 1],
      ['store_away', 1],
    ]);
    expect(calls[0]!.error).toBe(calls[1]!.error);
    await turn();
    expect(port.sent).toHaveLength(0);
  });

  test('that is away within the turn of the call: nothing is sent', async () => {
    const { port, call } = open();
    const made = call('a');
    port.become('away');
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    expect(port.sent).toHaveLength(0);
  });

  test('that is lost: what is under way is answered at once, and never sent again', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.become('away');
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    port.become('ready');
    await turn();
    expect(port.sent).toHaveLength(1);
    port.sent[0]!.reply();
    await turn();
    expect(made.times).toBe(1);
  });

  test('that comes back ends a hang: another server may answer', async () => {
    const { port, call } = open();
    call('a');
    await turn();
    await pass(250);
    port.become('away');
    port.become('ready');
    const made = call('b');
    await turn();
    expect(made.times).toBe(0);
    expect(port.sent.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
  });

  test.each([
    ['the connection stood again', (port: FakePort) => port.become('ready')],
    ['something was answered', (port: FakePort) => port.sent[0]!.reply()],
  ])('what it failed with before %s is no cause of a later hang or loss', async (_, recover) => {
    const { port, call } = open();
    call('a');
    await turn();
    port.lastError = new Error('of yesterday');
    recover(port);
    await turn();
    const hung = call('b');
    await turn();
    await pass(250);
    expect(hung).toMatchObject({ reason: 'store_timeout', error: { cause: undefined } });
    port.become('away');
    expect(call('c')).toMatchObject({ reason: 'store_away', error: { cause: undefined } });
    port.become('ready');
    port.lastError = new Error('of today');
    port.become('away');
    expect(call('d')).toMatchObject({ error: { cause: port.lastError } });
  });

  test('what it last failed with is the error itself where that is ours: a missing library', () => {
    const port = new FakePort('away');
    port.lastError = new RateLimiterError('ERR_CLIENT_MISSING', 'npm install ioredis');
    const { call } = open(port);
    expect(call('a').error).toBe(port.lastError);
  });

  test('settled() waits for the first attempt, and no longer than it was told to', async () => {
    const { port, connection } = open(new FakePort('connecting'));
    let done = 0;
    void connection.settled(1_000).then(() => (done += 1));
    await pass(999);
    expect(done).toBe(0);
    await pass(1);
    expect(done).toBe(1);
    void connection.settled(1_000).then(() => (done += 1));
    port.become('connecting');
    await turn();
    expect(done).toBe(1);
    port.become('away');
    await turn();
    expect(done).toBe(2);
    await connection.settled(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });
});
