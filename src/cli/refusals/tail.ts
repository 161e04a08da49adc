import type { PublishedRefusal, RefusalMessage } from '../../refusals/message.ts';
import type { Command, Given } from '../kit/command.ts';
import { counted, lengthOf } from '../kit/figures.ts';
import { EXIT } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { printable } from '../kit/printer.ts';
import { REDIS_OPTIONS } from '../kit/redis-options.ts';
import { listen, readListenFor } from './listen.ts';

const { redis, namespace, timeout } = REDIS_OPTIONS;

export const tail: Command = {
  name: 'tail',
  summary: 'Print refusals as they happen',
  usage: '--redis <url> [options]',
  options: {
    redis: redis!,
    namespace: namespace!,
    timeout: timeout!,
    for: { type: 'string', value: '<duration>', help: 'How long to listen (default until Ctrl-C)' },
  },
  examples: [
    ['tail --redis redis://localhost:6379 --namespace api', 'Who is being refused, and by what?'],
    ['tail --namespace api --for 1m --json', 'A minute of them, one JSON value a line'],
  ],
  notes: [
    'Processes must publish their refusals: publishRefusals of distributed-rate-limiter/refusals. Callers are digests. Each process tells of at most 20 refusals a second, and how many it left out. With --json each line is a JSON value.',
  ],
  run,
};

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const forMs = readListenFor(given, undefined);
  await listen(given, io, printer, forMs, (message) => {
    for (const line of printer.json ? jsonLines(message) : lines(message, printer)) {
      printer.print(line);
    }
  });
  return EXIT.ok;
}

function jsonLines({ process, refusals, leftOut }: RefusalMessage): readonly string[] {
  return [
    ...refusals.map(({ at, ...refusal }) =>
      JSON.stringify({ time: new Date(at).toISOString(), process, ...refusal }),
    ),
    ...(leftOut > 0 ? [JSON.stringify({ process, leftOut })] : []),
  ];
}

function lines(
  { process, refusals, leftOut }: RefusalMessage,
  printer: Printer,
): readonly string[] {
  const { paint } = printer;
  const from = paint('dim', `process ${printable(process)}`);
  return [
    ...refusals.map((refusal) => `${lineOf(refusal, printer)}  ${from}`),
    ...(leftOut > 0
      ? [paint('yellow', `${counted(leftOut, 'further refusal')} left out  `) + from]
      : []),
  ];
}

function lineOf(
  { at, caller, reason, limitedBy, retryAfterMs }: PublishedRefusal,
  printer: Printer,
): string {
  const by = limitedBy.length === 0 ? '' : ` by ${limitedBy.map(printable).join(', ')}`;
  const wait = retryAfterMs === undefined ? '' : `, again in ${lengthOf(retryAfterMs)}`;
  const time = new Date(at).toISOString().slice(11, 23);
  return `${time} ${caller}… ${printer.paint('red', printable(reason))}${by}${wait}`;
}
