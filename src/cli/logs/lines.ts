import { isAscii } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CommandError } from '../kit/io.ts';

const NEWLINE = 0x0a;
const EMPTY: Buffer = Buffer.alloc(0);
const CHUNK = 1 << 18;
/** A longer line is no line of a log, and must not fill the memory. */
const LONGEST_LINE = 1 << 20;

interface Progress {
  /** Bytes read so far, compressed ones of a compressed log. */
  read: number;
  /** Why the log ended before its end, if it did. */
  brokenOff: string | undefined;
  /** Lines that were longer than 1 MiB, and left out. */
  tooLong: number;
}

/** A log that is being read. */
export interface LineSource extends Progress {
  /** Bytes in all; undefined for stdin. */
  readonly size: number | undefined;
  /** The lines of one chunk after the other, without their ends. */
  readonly batches: AsyncGenerator<string[]>;
}

/** Opens a log by its path, or stdin by `-`. Gunzips by the first two bytes, whatever the name says. */
export async function openLines(
  path: string,
  stdin: Readable,
  signal: AbortSignal,
): Promise<LineSource> {
  const isStdin = path === '-';
  let size: number | undefined;
  if (!isStdin) {
    try {
      const { size: bytes, ...facts } = await stat(path).then((found) => ({
        size: found.size,
        isDirectory: found.isDirectory(),
        isFile: found.isFile(),
      }));
      if (facts.isDirectory) {
        throw new CommandError(`${path} is a folder. Name its logs: ${path}/*.log`);
      }
      size = facts.isFile ? bytes : undefined;
    } catch (error) {
      throw error instanceof CommandError ? error : cannotRead(path, error);
    }
  }
  const input = isStdin ? stdin : createReadStream(path, { highWaterMark: CHUNK });
  const progress: Progress = { read: 0, brokenOff: undefined, tooLong: 0 };
  const batches = linesOf(progress, input, path, signal);
  return Object.assign(progress, { size, batches });
}

async function* linesOf(
  source: Progress,
  input: Readable,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<string[]> {
  let rest: Buffer = EMPTY;
  let skipping = false;
  let isFirst = true;
  const stop = (): void => void input.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of gunzipped(source, input)) {
      if (signal.aborted) {
        return;
      }
      const end = chunk.lastIndexOf(NEWLINE);
      if (end < 0) {
        rest = skipping ? EMPTY : Buffer.concat([rest, chunk]);
      } else {
        const whole = Buffer.concat([rest, chunk.subarray(0, end)]);
        const lines = textOf(isFirst ? withoutMark(whole) : whole).split('\n');
        isFirst = false;
        if (skipping) {
          lines.shift();
          skipping = false;
        }
        rest = Buffer.from(chunk.subarray(end + 1));
        if (lines.length > 0) {
          yield lines;
        }
      }
      if (rest.length > LONGEST_LINE) {
        source.tooLong += 1;
        skipping = true;
        rest = EMPTY;
      }
    }
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    if (!isGzipFault(error)) {
      throw cannotRead(path, error);
    }
    source.brokenOff = (error as Error).message;
  } finally {
    signal.removeEventListener('abort', stop);
    input.destroy();
  }
  if (rest.length > 0 && !skipping) {
    yield [textOf(isFirst ? withoutMark(rest) : rest)];
  }
}

/** Decodes whole lines. Most logs are ASCII, which is several times faster. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
}

/** The bytes without a byte order mark. */
function withoutMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

async function* gunzipped(source: Progress, input: Readable): AsyncGenerator<Buffer> {
  const counted = async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of input) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
      source.read += bytes.length;
      yield bytes;
    }
  };
  const chunks = counted();
  let start = Buffer.alloc(0);
  for (let next = await chunks.next(); ; next = await chunks.next()) {
    if (next.done !== true) {
      start = Buffer.concat([start, next.value]);
    }
    if (start.length >= 2 || next.done === true) {
      break;
    }
  }
  if (start[0] !== 0x1f || start[1] !== 0x8b) {
    if (start.length > 0) {
      yield start;
    }
    yield* chunks;
    return;
  }
  const gunzip = createGunzip({ chunkSize: CHUNK });
  const feed = async (): Promise<void> => {
    const write = async (bytes: Buffer): Promise<void> => {
      if (!gunzip.write(bytes) && !gunzip.destroyed) {
        await new Promise<void>((resolve) => {
          gunzip.once('drain', resolve).once('close', resolve);
        });
      }
    };
    await write(start);
    for await (const bytes of chunks) {
      if (gunzip.destroyed) {
        return;
      }
      await write(bytes);
    }
    gunzip.end();
  };
  const fed = feed().catch((error: unknown) => gunzip.destroy(error as Error));
  yield* gunzip as AsyncIterable<Buffer>;
  await fed;
}

function isGzipFault(error: unknown): boolean {
  return (error as { code?: string }).code?.startsWith('Z_') === true;
}

function cannotRead(path: string, error: unknown): CommandError {
  const { code, message } = error as Error & { code?: string };
  const why = code === 'ENOENT' ? 'there is no such file' : message;
  return new CommandError(`cannot read ${path === '-' ? 'stdin' : path}: ${why}.`);
}
