import { durationToMs } from '../../base/duration.ts';
import { channelOf, readRefusalMessage } from '../../refusals/message.ts';
import type { RefusalMessage } from '../../refusals/message.ts';
import type { Given } from '../kit/command.ts';
import { CommandError, EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { readRedisOption, readTimeout } from '../kit/redis-options.ts';
import { openServer } from '../redis/server.ts';

const DAY_MS = 86_400_000;

/** Reads `--for`: how long to listen, in milliseconds. */
export function readListenFor(given: Given, fallback: number | undefined): number | undefined {
  const text = given.text('for');
  if (text === undefined) {
    return fallback;
  }
  const ms = durationToMs(text);
  if (ms === undefined || ms < 1 || ms > DAY_MS) {
    throw new UsageError(`--for must be a duration of at most a day, got '${text}'. Write 30s.`);
  }
  return ms;
}

/** Hears the messages of all processes, for so long or until Ctrl-C, and then throws. */
export async function listen(
  given: Given,
  io: Io,
  printer: Printer,
  forMs: number | undefined,
  hear: (message: RefusalMessage) => void,
): Promise<void> {
  if (given.words.length > 0) {
    throw new UsageError(`there is nothing to name, got '${given.words[0]}'. See --help.`);
  }
  const channel = channelOf(given.text('namespace') ?? 'rate-limit');
  const server = await openServer(readRedisOption(given, io), readTimeout(given));
  let timer: NodeJS.Timeout | undefined;
  try {
    const ended = new Promise<void>((resolve, reject) => {
      io.signal.addEventListener('abort', () => resolve(), { once: true });
      server.onLost(() => reject(new CommandError('the connection to Redis was lost.')));
      timer = forMs === undefined ? undefined : setTimeout(resolve, forMs);
    });
    ended.catch(() => {}); // it may be lost before it is awaited
    await server
      .subscribe(channel, (text) => {
        const message = readRefusalMessage(text);
        if (message !== undefined) {
          hear(message);
        }
      })
      .catch((error: unknown) => {
        throw new CommandError(
          `cannot subscribe to ${channel}: ${(error as Error).message}. A user needs +subscribe and &${channel}.`,
          EXIT.failed,
        );
      });
    printer.checkInterrupted();
    await ended;
    printer.checkInterrupted();
  } finally {
    clearTimeout(timer);
    await server.close();
  }
}
