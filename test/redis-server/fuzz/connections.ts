import { Connection } from '../../../src/redis/connection/connection.ts';
import { EchoCall, echoScript } from '../../kit/fakes/echo-script.ts';
import { FakePort } from '../../kit/fakes/fake-port.ts';
import { Random } from '../../kit/random.mjs';
import { Finding } from './area.ts';
import type { Area } from './area.ts';

/** Connections that run at once, so that their waits overlap. */
const SIDE_BY_SIDE = 40;
const CALLS = 25;
const DEADLINES_MS = [5, 20, 60, 400] as const;
/** A healthy server answers within this time. */
const ANSWER_MS = 10;
/** How late a timer may fire after its deadline, beside the time that the process lost for want of a processor. */
const MARGIN_MS = 2_000;
/** A timer of 1 ms that is later than this shows such a loss. */
const LOST_FROM_MS = 20;
const EARLY_MS = 2;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class TimedCall extends EchoCall {
  readonly #madeAt = performance.now();
  tookMs = -1;

  override settle(answer: unknown): void {
    super.settle(answer);
    this.tookMs = performance.now() - this.#madeAt;
  }

  override fail(error: NonNullable<EchoCall['error']>): void {
    super.fail(error);
    this.tookMs = performance.now() - this.#madeAt;
  }
}

type Weather = 'healthy' | 'slow' | 'losing';

/** One connection with calls of different deadlines. */
async function oneConnection(random: Random): Promise<void> {
  const weather = random.pick<Weather>(['healthy', 'slow', 'losing']);
  const port = new FakePort(random.chance(80) ? 'ready' : 'connecting');
  const connection = new Connection(port, echoScript);
  const calls: TimedCall[] = [];
  let lost = false;
  let answered = 0;
  let [servedAt, lostMs] = [performance.now(), 0];
  const serve = (): void => {
    const passedMs = performance.now() - servedAt;
    servedAt += passedMs;
    if (passedMs > LOST_FROM_MS) lostMs += passedMs;
    for (; answered < port.sent.length; answered++) {
      const sent = port.sent[answered]!;
      if (weather === 'slow' && random.chance(30)) continue;
      const delayMs = weather === 'slow' ? random.int(0, 100) : random.int(0, ANSWER_MS - 5);
      setTimeout(() => !lost && sent.reply(), delayMs);
    }
  };
  const serving = setInterval(serve, 1);
  if (port.state === 'connecting') setTimeout(() => port.become('ready'), random.int(0, 30));
  for (let i = 0; i < CALLS; i++) {
    const call = new TimedCall(`key-${i}`, { timeoutMs: random.pick(DEADLINES_MS) });
    calls.push(call);
    connection.submit(call);
    if (weather === 'losing' && random.chance(10) && port.state === 'ready') {
      port.become(random.pick(['connecting', 'away'] as const));
      setTimeout(
        () => port.become(random.pick(['ready', 'away', 'ready'] as const)),
        random.int(0, 40),
      );
    }
    if (random.chance(50)) await sleep(random.int(0, 6));
  }
  await sleep(450);
  for (let waited = 0; calls.some(({ times }) => times === 0) && waited < 6_000; waited += 50) {
    await sleep(50);
  }
  lost = true;
  clearInterval(serving);
  connection.end();

  const sends = port.sent
    .filter(({ command }) => command === 'EVALSHA')
    .flatMap(({ keys }) => keys);
  if (new Set(sends).size !== sends.length) throw new Finding('a call was sent twice', sends);
  for (const call of calls) {
    const { key, timeoutMs, times, reason, tookMs } = call;
    const shown = { weather, key, timeoutMs, times, reason, tookMs };
    if (call.times !== 1) throw new Finding(`a call was answered ${call.times} times`, shown);
    if (call.tookMs > 5_000 + MARGIN_MS + lostMs) {
      throw new Finding('a call was answered too late', shown);
    }
    if (call.reason === 'store_timeout') {
      const atOnce = call.tookMs < EARLY_MS;
      if (!atOnce && call.tookMs < call.timeoutMs - EARLY_MS) {
        throw new Finding("a call timed out by another call's deadline", shown);
      }
    }
  }
}

/** Calls of different deadlines share a client, whose server is slow and whose connection is lost and returns. */
export const connections: Area = {
  name: 'connections',
  percent: 2,

  open: () => ({
    async run(random) {
      const seeds = Array.from({ length: SIDE_BY_SIDE }, () => random.int(0, 2 ** 31));
      await Promise.all(seeds.map((seed) => oneConnection(new Random(seed))));
      return SIDE_BY_SIDE * CALLS;
    },
  }),
};
