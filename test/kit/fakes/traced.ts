import type { TracingChannel } from 'node:diagnostics_channel';

/** Records every event of a tracing channel, in order, each with a copy of its message. */
export function traced<Message extends object>(
  channel: TracingChannel<unknown, Message>,
): { heard: [event: string, message: Message][]; end: () => unknown } {
  const heard: [string, Message][] = [];
  const note = (event: string) => (message: unknown) => {
    heard.push([event, { ...(message as Message) }]);
  };
  const subscribers = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  };
  channel.subscribe(subscribers);
  return { heard, end: () => channel.unsubscribe(subscribers) };
}
