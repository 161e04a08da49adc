import type { ServerHttp2Stream } from 'node:http2';
import { clearInterval, setInterval } from '../base/timers.ts';

const CHECK_MS = 2_000;

/** `http2.constants.NGHTTP2_STREAM_STATE_IDLE`, without loading `node:http2`, which few servers need. */
const IDLE = 1;

/**
 * A stream found gone this many times in a row is given up. Until then its last bytes may be waiting for a slow
 * client, which looks the same.
 */
export const CHECKS_UNTIL_GONE = 5;

interface Awaited {
  readonly call: () => void;
  foundGone: number;
}

const awaited = new Map<ServerHttp2Stream, Awaited>();
let timer: NodeJS.Timeout | undefined;

/**
 * Calls `call` once, when an HTTP/2 stream has closed. Node never closes a stream if the client resets it without an
 * error (`NO_ERROR`) while the ended response waits for flow control. So open streams are also polled.
 */
export function whenClosed(stream: ServerHttp2Stream, call: () => void): void {
  awaited.set(stream, { call, foundGone: 0 });
  timer ??= setInterval(checkStreams, CHECK_MS).unref();
  stream.once('close', () => end(stream));
}

/** Exported for tests: the timer calls it. */
export function checkStreams(): void {
  for (const [stream, each] of awaited) {
    // The session reports a stream as idle once the stream is gone from its table.
    const isGone = stream.closed && stream.state?.state === IDLE;
    each.foundGone = isGone ? each.foundGone + 1 : 0;
    if (each.foundGone >= CHECKS_UNTIL_GONE) {
      end(stream);
    }
  }
}

function end(stream: ServerHttp2Stream): void {
  const each = awaited.get(stream);
  if (each === undefined) {
    return;
  }
  awaited.delete(stream);
  if (awaited.size === 0) {
    clearInterval(timer);
    timer = undefined;
  }
  each.call();
}
