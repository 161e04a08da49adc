import type { LogEntry } from './entry.ts';

/** Merges logs that are in the order of time each: those of several servers, or of one that began new files. */
export async function* merge(
  logs: readonly AsyncIterator<LogEntry[]>[],
): AsyncGenerator<LogEntry[]> {
  if (logs.length === 1) {
    for (;;) {
      const { value, done } = await logs[0]!.next();
      if (done === true) {
        return;
      }
      yield value;
    }
  }
  const heads = logs.map((log) => ({ log, batch: [] as readonly LogEntry[], at: 0 }));
  let open = heads;
  for (;;) {
    for (const head of open) {
      while (head.at >= head.batch.length) {
        const { value, done } = await head.log.next();
        if (done === true) {
          open = open.filter((each) => each !== head);
          break;
        }
        head.batch = value;
        head.at = 0;
      }
    }
    if (open.length === 0) {
      return;
    }
    const out: LogEntry[] = [];
    // Until the first batch is used up, no log can bring an earlier entry.
    for (;;) {
      let least = open[0]!;
      for (const head of open) {
        if (head.batch[head.at]!.at < least.batch[least.at]!.at) {
          least = head;
        }
      }
      out.push(least.batch[least.at]!);
      least.at += 1;
      if (least.at >= least.batch.length) {
        break;
      }
    }
    yield out;
  }
}
