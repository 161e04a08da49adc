import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RateLimiterError } from '../../../src/base/errors.ts';
import { Connection } from '../../../src/redis/connection/connection.ts';
import { slotOf } from '../../../src/redis/connection/slot.ts';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { EchoCall, echoScript } from '../../kit/fakes/echo-script.ts';
import { FakePort } from '../../kit/fakes/fake-port.ts';

vi.mock(import('../../../src/base/timers.ts'), () => import('../../kit/fakes/live-timers.ts'));

// Immediates stay real: the promise about them is their order among sockets and ticks.
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

/** The hash of no script; with it the connection asks a server whether it answers. */
const QUESTION = '0'.repeat(40);

/** The timer that detects pauses of the process, for half a minute after the last traffic. */
const PULSE = 1;

const immediate = () => new Promise((resolve) => setImmediate(resolve));

/** Waits for this turn of the loop and the next, so that work scheduled by an immediate has run as well. */
const turn = async (): Promise<void> => {
  await immediate();
  await immediate();
};
/** A connection whose server has answered before. */
const started = async () => {
  const made = open();
  made.call('first');
  await turn();
  made.port.sent.splice(0).forEach((sent) => sent.reply());
  await turn();
  return made;
};
const pass = async (ms: number): Promise<void> => {
  vi.advanceTimersByTime(ms);
  await turn();
};

describe('batches', () => {
  test('sends a lone call on the next tick, without a timer', async () => {
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

  test('waits for more calls of the turn after recent batches, and not after lone calls', async () => {
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

    // After a while of lone calls a call is sent without waiting for others.
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

  test('sends the calls of a turn together, in order, in as many sends as needed', async () => {
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

  test('gathers calls until sockets have been read while a call is in flight', async () => {
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

  test('uses one timer for a thousand calls, and none once they are answered and due', async () => {
    const { port, call } = await started();
    for (let i = 0; i < 1_000; i++) call(`k${i}`);
    await turn();
    expect(port.sent).toHaveLength(250);
    expect(vi.getTimerCount()).toBe(1 + PULSE);
    for (const sent of port.sent) sent.reply();
    await pass(250);
    await turn();
    expect(vi.getTimerCount()).toBe(PULSE);
    await pass(31_000);
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
      expect(made.error!.message).toBe(`Redis did not answer within ${timeoutMs} ms.`);
      port.sent[0]!.reply();
      await turn();
      expect(made.times).toBe(1);
    },
  );

  test('counts for each call alone, beside a shorter one', async () => {
    const { port, call } = open();
    const [patient, hasty] = [call('a', { timeoutMs: 500 }), call('b', { timeoutMs: 50 })];
    await turn();
    await pass(50);
    expect([patient.times, hasty.reason]).toEqual([0, 'store_timeout']);
    port.sent.find(({ key }) => key === 'a')!.reply();
    await turn();
    expect(patient).toMatchObject({ answer: 'answer to a', times: 1 });
  });

  test('of one call never marks the server as hung for calls with longer deadlines', async () => {
    const { port, call } = open();
    call('a', { timeoutMs: 10 });
    await turn();
    await pass(10);
    const [hasty, patient] = [call('b', { timeoutMs: 10 }), call('c', { timeoutMs: 500 })];
    await turn();
    expect([hasty.reason, patient.times]).toEqual(['store_timeout', 0]);
    expect(port.sent.map(({ key }) => key)).toEqual(['a', 'c']);
  });

  test('is met by an answer between its timer and the next turn of the loop', async () => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    vi.advanceTimersByTime(250); // the timer has fired, but its callback for the next turn has not run
    expect(made.times).toBe(0);
    port.sent[0]!.reply();
    await turn();
    expect(made).toMatchObject({ answer: 'answer to a', times: 1 });
  });

  test('is extended once by a moment after the loop was blocked past it', async () => {
    const { port, call } = await started();
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
  test('is asked once per deadline, and other calls are answered at once with one error', async () => {
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
    '%s to an earlier call ends the hang',
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

  test('is not assumed after a missed deadline while another batch was answered', async () => {
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

  test('keeps unsettled calls in flight until ten deadlines have passed', async () => {
    const { connection, call } = open();
    call('a');
    call('b');
    await turn();
    await pass(2_499);
    expect(connection.inFlight).toBe(2);
    await pass(2);
    expect(connection.inFlight).toBe(0);
    expect(vi.getTimerCount()).toBe(PULSE);
  });

  test('does not make other nodes of a cluster hang', async () => {
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
  test('calls past maxInFlight are not sent, and are answered in the same turn', async () => {
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

describe('an error of a call', () => {
  test.each([
    ['OOM command not allowed when used memory', 'store_error', 'Redis refused: OOM.'],
    ['NOPERM this user', 'store_error', 'Redis refused: NOPERM.'],
    [
      'ERR Protocol error: unauthenticated multibulk length',
      'store_error',
      'Redis refused: NOAUTH.',
    ],
    ['something unheard of', 'store_error', 'Redis refused: an error.'],
  ])('is answered by the server: %s', async (message, reason, told) => {
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
  ])('raised by the client is never followed by a resend: %s', async (message, reason) => {
    const { port, call } = open();
    const made = call('a');
    await turn();
    port.sent[0]!.reject(new Error(message));
    await turn();
    expect(made).toMatchObject({ reason, times: 1 });
    expect(port.sent).toHaveLength(1);
  });

  test.each([undefined, null, 'text', 7, {}])(
    'that is not an Error counts as store_away: %j',
    async (thrown) => {
      const { port, call } = open();
      const made = call('a');
      await turn();
      port.sent[0]!.reject(thrown);
      await turn();
      expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    },
  );

  test('thrown by `send` fails the call at once', async () => {
    const { port, connection, call } = open();
    port.throws = new Error('The client is closed');
    const made = call('a');
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    expect(connection.inFlight).toBe(0);
  });

  test.each([undefined, null, 'OK', 5, {}, [], ['one', 'two', 'three']])(
    'fails the call when the reply is malformed: %j',
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

  test('resends the text once, within the same deadline', async () => {
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

  test('fails the call when it answers the text', async () => {
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

  test('sends nothing after the deadlines of its callers', async () => {
    const { port, call } = open();
    call('a');
    await turn();
    await pass(250);
    port.sent[0]!.reject(noscript());
    await turn();
    expect(port.sent).toHaveLength(1);
  });

  test('raised by the client itself is not followed by a resend', async () => {
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
  ])('splits calls by slot after the first refusal: %s', async (refusal) => {
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

  test('TRYAGAIN is resent until the slot has moved', async () => {
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

  test('TRYAGAIN ends at the deadline, and nothing is sent after it', async () => {
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
    // The server answers errors, so it does not hang.
    expect(call('{a}2').times).toBe(0);
  });

  test('TRYAGAIN is answered at once when the connection is lost, and nothing is sent', async () => {
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

  describe('a batch of several identities in one slot misses its deadline', () => {
    const [one, another] = ['{a}1', '{a}2'];
    /** On the node of their slot, in another slot. */
    const elsewhere = Array.from('bcdefghijklmnop').find(
      (key) => slotOf(key) % 2 === slotOf(one) % 2,
    )!;
    /** A connection whose node has answered before. */
    const start = async () => {
      const opened = open(new FakePort('ready', { cluster: true }));
      opened.call(elsewhere);
      await turn();
      opened.port.sent.splice(0)[0]!.reply();
      await turn();
      await pass(10);
      return opened;
    };
    const sentTogether = async ({ port, call }: ReturnType<typeof open>): Promise<unknown> => {
      port.sent.splice(0);
      call(one);
      call(another);
      await turn();
      const keys = port.sent.map((sent) => sent.keys);
      for (const sent of port.sent) sent.reply();
      await turn();
      return keys;
    };

    test('while its node answers others: for five seconds each identity of that slot is asked about alone', async () => {
      const opened = await start();
      const missed = [one, another].map((key) => opened.call(key));
      await turn();
      await pass(100);
      opened.call(elsewhere);
      await turn();
      opened.port.sent[1]!.reply();
      await pass(150);
      expect(missed.map(({ reason }) => reason)).toEqual(['store_timeout', 'store_timeout']);
      expect(await sentTogether(opened)).toEqual([[one], [another]]);
      await pass(4_990);
      expect(await sentTogether(opened)).toEqual([[one], [another]]);
      await pass(20);
      expect(await sentTogether(opened)).toEqual([[one, another]]);
    });

    test('while its node answers nothing: the node hangs, and its slots stay together', async () => {
      const opened = await start();
      opened.call(one);
      opened.call(another);
      await turn();
      await pass(250);
      opened.port.sent[0]!.reply(); // too late for its callers, and the end of the hang
      await turn();
      expect(await sentTogether(opened)).toEqual([[one, another]]);
    });

    test('a batch of one identity that misses its deadline says nothing about its slot', async () => {
      const opened = await start();
      opened.call(one);
      opened.call(one);
      await turn();
      await pass(100);
      opened.call(elsewhere);
      await turn();
      opened.port.sent[1]!.reply();
      await pass(150);
      expect(await sentTogether(opened)).toEqual([[one, another]]);
    });
  });

  test('split calls keep their deadline and count as in flight', async () => {
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
  test('holds calls while it is being made, and sends them when it is ready', async () => {
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

  test.each([
    [20, 1_000],
    [250, 2_500],
    [60_000, 5_000],
  ])(
    'holds a call with a deadline of %i ms for %i ms while it is first opened',
    async (timeoutMs, heldMs) => {
      const { port, connection, call } = open(new FakePort('connecting'));
      const made = call('a', { timeoutMs });
      await turn();
      await pass(heldMs - 1);
      expect(made.times).toBe(0);
      await pass(1);
      expect(made.reason).toBe('store_away');
      expect(connection.inFlight).toBe(0);
      const next = call('b', { timeoutMs });
      expect(next.reason).toBe('store_away');
      port.become('ready');
      await turn();
      expect(port.sent).toHaveLength(0);
    },
  );

  test('counts that time from when the client begins to connect', async () => {
    const port = new FakePort('connecting');
    port.attemptAt = performance.now() + 30_000; // a library is being loaded
    const { call } = open(port);
    const made = call('a');
    await pass(8_000);
    port.attemptAt = performance.now();
    port.become('connecting');
    await pass(2_499);
    expect(made.times).toBe(0);
    await pass(1);
    expect(made.reason).toBe('store_away');
  });

  test('takes no slow start of the process for an outage', async () => {
    const port = new FakePort('connecting');
    const { call } = open(port);
    const real = performance.now.bind(performance);
    const made = call('a');
    await turn();
    // Its clock runs five times as fast as its timers: the process gets a fifth of a processor.
    const begun = real();
    vi.spyOn(performance, 'now').mockImplementation(() => begun + 5 * (real() - begun));
    await pass(700);
    expect(performance.now() - begun).toBeGreaterThan(3_000);
    expect(made.times).toBe(0);
    port.become('ready');
    await pass(100);
    expect(made.times).toBe(0);
    port.sent[0]!.reply();
    await turn();
    expect(made.answer).toBe('answer to a');
    vi.restoreAllMocks();
  });

  test('counts the deadline of a held call from when it is ready', async () => {
    const { port, call } = open(new FakePort('connecting'));
    const made = call('a');
    await pass(2_000);
    port.become('ready');
    expect(port.sent).toHaveLength(1);
    await pass(249);
    expect(made.times).toBe(0);
    await pass(1);
    expect(made.reason).toBe('store_timeout');
  });

  test('waits for no further attempt after the first one failed', async () => {
    const { port, call } = open(new FakePort('connecting'));
    call('a');
    await turn();
    port.become('away');
    port.become('connecting');
    expect(call('b')).toMatchObject({ reason: 'store_away', times: 1 });
  });

  test('waits for a port that begins to connect after it was passed', async () => {
    const { port, call } = open(new FakePort('away'));
    expect(call('a').reason).toBe('store_away');
    port.become('connecting');
    const made = call('b');
    await turn();
    port.become('ready');
    port.sent[0]!.reply();
    await turn();
    expect(made.answer).toBe('answer to b');
  });

  test('fails held calls at once when it cannot be made', async () => {
    const { port, connection, call } = open(new FakePort('connecting'));
    const made = call('a');
    await turn();
    port.lastError = new Error('ECONNREFUSED');
    port.become('away');
    expect(made).toMatchObject({ reason: 'store_away', error: { cause: port.lastError } });
    expect(connection.inFlight).toBe(0);
    expect(port.sent).toHaveLength(0);
  });

  test('answers calls in the same turn with one error while it is away', async () => {
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

  test('sends nothing when it is lost within the turn of the call', async () => {
    const { port, call } = open();
    const made = call('a');
    port.become('away');
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1 });
    expect(port.sent).toHaveLength(0);
  });

  test('fails calls in flight at once when it is lost, and never resends them', async () => {
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

  describe('a connection that is lost while the client reconnects', () => {
    async function lose({ inMs }: { inMs?: number } = {}) {
      const made = open();
      const first = made.call('first');
      await turn();
      made.port.sent[0]!.reply();
      await turn();
      expect(first.times).toBe(1);
      made.port.attemptAt = inMs === undefined ? undefined : performance.now() + inMs;
      made.port.become('connecting');
      made.port.sent.splice(0);
      return made;
    }

    test('holds calls and sends them when it is ready again', async () => {
      const { port, call } = await lose();
      const made = call('a');
      await turn();
      expect([made.times, port.sent.length]).toEqual([0, 0]);
      port.become('ready');
      port.sent[0]!.reply();
      await turn();
      expect(made.answer).toBe('answer to a');
    });

    test('sends calls of the turn in which it was lost', async () => {
      const { port, call } = open();
      call('first');
      await turn();
      port.sent[0]!.reply();
      await turn();
      const made = call('a');
      port.become('connecting');
      await turn();
      expect(made.times).toBe(0);
      port.become('ready');
      expect(port.sent.map(({ key }) => key)).toEqual(['first', 'a']);
    });

    test('answers sent calls at once and never resends them', async () => {
      const { port, call } = open();
      call('first');
      await turn();
      port.sent[0]!.reply();
      const sent = call('a');
      await turn();
      port.become('connecting');
      expect(sent).toMatchObject({ reason: 'store_away', times: 1 });
      port.become('ready');
      await turn();
      expect(port.sent.map(({ key }) => key)).toEqual(['first', 'a']);
    });

    test('holds a call until the loss plus its deadline, and no longer', async () => {
      const { connection, call } = await lose();
      await pass(100);
      const [short, long] = [call('a', { timeoutMs: 150 }), call('b', { timeoutMs: 500 })];
      await pass(49);
      expect(short.times).toBe(0);
      await pass(1);
      expect([short.reason, long.times]).toEqual(['store_away', 0]);
      expect(call('c', { timeoutMs: 150 })).toMatchObject({ reason: 'store_away', times: 1 });
      await pass(350);
      expect(long.reason).toBe('store_away');
      expect(connection.inFlight).toBe(0);
    });

    test('answers in the same turn when the announced attempt comes too late', async () => {
      const { call } = await lose({ inMs: 250 });
      expect(call('a', { timeoutMs: 250 })).toMatchObject({ reason: 'store_away', times: 1 });
      expect(call('b', { timeoutMs: 300 }).times).toBe(0);
    });

    test('answers held calls when the attempt fails, and waits for no other', async () => {
      const { port, call } = await lose();
      const made = call('a');
      await turn();
      port.become('away');
      expect(made.reason).toBe('store_away');
      port.become('connecting');
      expect(call('b')).toMatchObject({ reason: 'store_away', times: 1 });
    });

    test('is away at once when nothing was ever answered on it', async () => {
      const { port, call } = open();
      port.become('connecting');
      expect(call('a')).toMatchObject({ reason: 'store_away', times: 1 });
    });

    test('is away at once when the server had stopped answering', async () => {
      const { port, call } = open();
      call('a');
      await turn();
      port.sent[0]!.reply();
      await turn();
      call('b');
      await turn();
      await pass(250);
      port.become('connecting');
      expect(call('c')).toMatchObject({ reason: 'store_away', times: 1 });
    });

    test('counts held calls as in flight', async () => {
      const { call } = await lose();
      call('a', { maxInFlight: 1 });
      expect(call('b', { maxInFlight: 1 })).toMatchObject({ reason: 'overloaded', times: 1 });
    });

    test('publishes a state only when an answered connection was lost', async () => {
      const { port } = open();
      const told: unknown[] = [];
      const listen = (message: unknown): void => void told.push(message);
      subscribe('distributed-rate-limiter:store', listen);
      port.become('connecting');
      unsubscribe('distributed-rate-limiter:store', listen);
      const proven = await lose();
      subscribe('distributed-rate-limiter:store', listen);
      proven.port.become('ready');
      unsubscribe('distributed-rate-limiter:store', listen);
      expect(told).toMatchObject([{ state: 'away' }, { state: 'ready' }]);
    });

    test('answers a call that waits for a retry', async () => {
      const { port, connection, call } = open();
      const made = call('{a}1');
      await turn();
      port.sent[0]!.reject(new ReplyError('TRYAGAIN Multiple keys request during rehashing'));
      await turn();
      port.become('connecting');
      await pass(20);
      expect(made).toMatchObject({ reason: 'store_away', times: 1 });
      expect([port.sent.length, connection.inFlight]).toEqual([1, 0]);
    });
  });

  describe('a connection after a pause of the process', () => {
    /** Advances the clock without its timers, as for a frozen process. */
    function freeze(ms: number): void {
      const real = performance.now.bind(performance);
      vi.spyOn(performance, 'now').mockImplementation(() => real() + ms);
    }
    afterEach(() => vi.restoreAllMocks());

    async function pause({ ms = 5_000 } = {}) {
      const made = open();
      made.call('first');
      await turn();
      made.port.sent[0]!.reply();
      await turn();
      made.port.sent.splice(0);
      freeze(ms);
      return made;
    }

    test('sends the first calls after the server has answered a probe that charges nothing', async () => {
      const { port, call } = await pause();
      const calls = [call('a'), call('b')];
      await turn();
      const later = call('c');
      await turn();
      expect(port.sent.map(({ script }) => script)).toEqual([QUESTION]);
      port.sent[0]!.reject(new ReplyError('NOSCRIPT No matching script'));
      await turn();
      expect(port.sent.slice(1).map(({ keys }) => keys)).toEqual([['a', 'b'], ['c']]);
      for (const sent of port.sent.slice(1)) sent.reply();
      await turn();
      expect([...calls, later].map(({ times }) => times)).toEqual([1, 1, 1]);
      call('d');
      await turn();
      expect(port.sent.at(-1)!.script).toBe('the sha1');
    });

    test('loses no call when it turns out to be gone', async () => {
      const { port, call } = await pause();
      const made = call('a');
      await turn();
      port.become('connecting');
      port.sent[0]!.reject(new Error('the socket was closed'));
      await turn();
      port.become('ready');
      expect(port.sent.map(({ script }) => script)).toEqual([QUESTION, 'the sha1']);
      port.sent[1]!.reply();
      await turn();
      expect(made.answer).toBe('answer to a');
    });

    test('loses no call when the client refuses before it reports the loss', async () => {
      const { port, call } = await pause();
      const made = call('a');
      await turn();
      port.sent[0]!.reject(new Error('the stream is not writable'));
      await turn();
      port.become('connecting');
      port.become('ready');
      await pass(20);
      expect(port.sent.map(({ script }) => script)).toEqual([QUESTION, 'the sha1']);
      port.sent[1]!.reply();
      await turn();
      expect(made.answer).toBe('answer to a');
    });

    test('fails the waiting calls when the client refuses twice', async () => {
      const { port, connection, call } = await pause();
      const made = call('a');
      await turn();
      port.sent[0]!.reject(new Error('the client is closed'));
      await turn();
      await pass(20);
      expect(made.times).toBe(0); // the connection may be lost, and the client has yet to report it
      port.sent[1]!.reject(new Error('the client is closed'));
      await turn();
      expect(made.reason).toBe('store_away');
      expect(connection.inFlight).toBe(0);
    });

    test('probes a silent server once, and calls keep their deadline', async () => {
      const { port, call } = await pause();
      const made = call('a');
      await turn();
      await pass(250 + 45); // after a pause the process waits a moment longer for answers
      expect(made.reason).toBe('store_timeout');
      expect(port.sent).toHaveLength(1);
    });

    test('takes an error reply as an answer', async () => {
      const { port, call } = await pause();
      call('a');
      await turn();
      port.sent[0]!.reject(new ReplyError('NOPERM this user may not'));
      await turn();
      expect(port.sent.at(-1)!.script).toBe('the sha1');
    });

    test('asks nothing after a pause of one second or less', async () => {
      const { port, call } = await pause({ ms: 1_000 });
      call('a');
      await turn();
      expect(port.sent.map(({ script }) => script)).toEqual(['the sha1']);
    });

    test.each([
      [29_000, 'the sha1'],
      [40_000, QUESTION],
    ])('after %i ms without traffic, sends first %s', async (ms, script) => {
      const { port, call } = open();
      call('first');
      await turn();
      port.sent[0]!.reply();
      for (let passed = 0; passed < ms; passed += 500) await pass(500);
      call('a');
      await turn();
      expect(port.sent[1]!.script).toBe(script);
    });
  });

  test('counts as away while a getter of the port throws', async () => {
    const port = new FakePort();
    const { call } = open(port);
    const cause = new Error('the port has a fault');
    vi.spyOn(port, 'state', 'get').mockImplementation(() => {
      throw cause;
    });
    const made = call('a');
    await turn();
    expect(made).toMatchObject({ reason: 'store_away', times: 1, error: { cause } });
    vi.restoreAllMocks();
  });

  test('becomes ready again during a loop of calls that are answered without the server', async () => {
    const { port, call } = open(new FakePort('away'));
    setImmediate(() => port.become('ready'));
    let turns = 0;
    do {
      const made = call('a');
      while (made.times === 0 && port.state === 'away') await turn();
      turns += 1;
    } while (port.state === 'away' && turns < 1_000_000);
    expect(port.state).toBe('ready');
  });

  test('ends a hang by reconnecting, because another server may answer', async () => {
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
  ])('an error from before %s is not the cause of a later hang or loss', async (_, recover) => {
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

  test("fails calls with the client's last error itself when a library is missing", () => {
    const port = new FakePort('away');
    port.lastError = new RateLimiterError('ERR_CLIENT_MISSING', 'npm install ioredis');
    const { call } = open(port);
    expect(call('a').error).toBe(port.lastError);
  });
});

describe('the nodes of a connection', () => {
  test('are those that serve a slot, without one that hung and is gone', async () => {
    const port = new FakePort('ready', { cluster: true });
    const { connection, call } = open(port);
    const keyOf = (parity: number): string =>
      ['a', 'b', 'c', 'd', 'e'].find((key) => slotOf(key) % 2 === parity)!;
    call(keyOf(0));
    call(keyOf(1));
    await turn();
    port.sent.find(({ keys }) => keys[0] === keyOf(0))!.reply();
    await pass(250);
    expect(connection.nodes).toEqual({ 'node-0': 'ready', 'node-1': 'hung' });
    port.nodeOf = (slot) => `node-${slot % 2 === 0 ? 0 : 2}`;
    expect(connection.nodes).toEqual({ 'node-0': 'ready' });
    call(keyOf(1));
    await turn();
    expect(connection.nodes).toEqual({ 'node-0': 'ready', 'node-2': 'ready' });
  });

  test('are those last known while the client knows none', async () => {
    const port = new FakePort('ready', { cluster: true });
    const { connection, call } = open(port);
    call('a');
    await turn();
    const { nodes } = connection;
    port.nodeOf = () => undefined;
    expect(connection.nodes).toEqual(nodes);
  });
});
