import type { FieldNames } from '../../../src/cli/logs/entry.ts';
import type { LineSource } from '../../../src/cli/logs/lines.ts';
import { LogReader } from '../../../src/cli/logs/read-log.ts';
import type { LogFacts } from '../../../src/cli/logs/read-log.ts';
import { RequestList } from './requests.ts';
import type { Requests } from './requests.ts';

/** How a log is read, beyond what its first lines tell. */
export interface LogSettings {
  /** Undefined to find it out. */
  readonly format: string | undefined;
  /** Names of the fields of the caller and of the time; undefined for those that the format has. */
  readonly key: string | undefined;
  readonly time: string | undefined;
}

export interface ReadLog {
  readonly requests: Requests;
  readonly facts: LogFacts;
}

/** How far back a line may stand behind later requests, as on the command line. */
const WINDOW_MS = 60_000;
/** About 25 MB, and names beside them. */
const MOST_KEPT = 2_000_000;
const LONGEST_LINE = 1 << 20;

/** Reads a log as `replay` does. Of a longer log the first 2,000,000 requests are kept. */
export async function readLog(
  file: Blob & { readonly name?: string },
  { format, key, time }: LogSettings,
  onProgress: (share: number, lines: number) => void,
): Promise<ReadLog> {
  const named = { key, time };
  const fields: FieldNames = new Map(
    Object.entries(named).flatMap(([name, field]) => (field ? [[name, field] as const] : [])),
  );
  const source = openLines(file);
  const options = { format, fields, timeZone: 'UTC' };
  const reader = new LogReader(file.name ?? 'log', source, options, WINDOW_MS);
  const list = new RequestList(MOST_KEPT);
  let isFull = false;
  for await (const batch of reader.entries(() => {})) {
    for (const { at, caller } of batch) {
      isFull = !list.add(at, caller) || isFull;
    }
    onProgress(source.read / Math.max(1, file.size), reader.facts.lines);
    if (isFull) {
      break;
    }
  }
  return { requests: list.requests(), facts: { ...reader.facts, broken: reader.broken } };
}

/** The lines of a file. Gunzips by the first two bytes, whatever the name says. */
function openLines(file: Blob): LineSource {
  const source: Omit<LineSource, 'batches'> = {
    size: file.size,
    read: 0,
    brokenOff: undefined,
    tooLong: 0,
  };
  return Object.assign(source, { batches: linesOf(source, file) });
}

async function* linesOf(source: Omit<LineSource, 'batches'>, file: Blob): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest = '';
  let skips = false;
  try {
    for await (const chunk of await bytesOf(source, file)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop()!;
      if (skips && lines.length > 0) {
        lines.shift();
        skips = false;
      }
      if (skips || rest.length > LONGEST_LINE) {
        source.tooLong += skips ? 0 : 1;
        skips = true;
        rest = '';
      }
      if (lines.length > 0) {
        yield lines;
      }
    }
  } catch (error) {
    source.brokenOff = error instanceof Error ? error.message : String(error);
  }
  if (rest !== '' && !skips) {
    yield [rest];
  }
}

async function bytesOf(source: { read: number }, file: Blob): Promise<AsyncIterable<Uint8Array>> {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const counted = file.stream().pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        source.read += chunk.length;
        controller.enqueue(chunk);
      },
    }),
  );
  const isGzip = first === 0x1f && second === 0x8b;
  return chunksOf(isGzip ? counted.pipeThrough(new DecompressionStream('gzip')) : counted);
}

/** Safari's streams cannot be iterated themselves. */
async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    yield value;
  }
}
