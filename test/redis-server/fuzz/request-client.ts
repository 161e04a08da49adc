import http from 'node:http';
import http2 from 'node:http2';
import type { Socket } from 'node:net';
import type { Random } from '../../kit/random.mjs';
import { END_MARK, STAGES, turns } from './request-server.ts';
import type { Life } from './request-server.ts';

/** A client's view of its request. */
export interface Asked {
  /** How the client disconnected, and at which stage; undefined if it stayed. */
  readonly cut: string | undefined;
  status?: number;
  complete: boolean;
}

interface Exchange {
  /** Settles when the client's side is closed. */
  readonly closed: Promise<void>;
  /** Ways in which the client may disconnect. */
  readonly cuts: Readonly<Record<string, () => unknown>>;
  read(): void;
  close(): void;
}

/** Sends one request, and reads its response or disconnects. */
export async function ask(port: number, path: string, life: Life, random: Random): Promise<Asked> {
  const stage =
    random.chance(45) || life.plan.handler === 'hangs' ? random.pick(STAGES) : undefined;
  const waits = random.int(0, 3);
  const paused = random.chance(30);
  const cuts =
    life.plan.version === 1
      ? ['destroy', 'reset', 'half']
      : ['cancel', 'no error', 'destroy', 'session'];
  const picked = random.pick(cuts);
  // Node does not close such a stream if its response waits for flow control. The guard needs seconds to find it.
  const how = picked === 'no error' && life.plan.handler === 'large' ? 'cancel' : picked;
  const seen: Asked = {
    cut: stage === undefined ? undefined : `${how} at ${stage}`,
    complete: false,
  };

  const exchange = (life.plan.version === 1 ? askOne : askTwo)(port, path, seen);
  if (!paused) exchange.read();
  if (stage !== undefined) {
    // A handler that hangs never gets beyond the first two stages.
    const last = life.plan.handler === 'hangs' && stage !== 'identified' ? 'handled' : stage;
    await Promise.race([life.reached(last), exchange.closed]);
    await turns(waits);
    life.progress.push(`client: ${how}`);
    exchange.cuts[how]!();
    // Cases that neither side notices, such as a stream waiting to be read.
    if (paused || how === 'no error') {
      await turns(2);
      exchange.close();
    }
  }
  exchange.read();
  await exchange.closed;
  life.progress.push('client: closed');
  exchange.close();
  return seen;
}

/** Other responses end differently: refusals, and the frameworks' answers to errors. */
function isWhole(status: number, body: string): boolean {
  return body.endsWith(END_MARK) || status === 204 || !/^(?:piece|$)/.test(body);
}

function askOne(port: number, path: string, seen: Asked): Exchange {
  const request = http.request({ host: '127.0.0.1', port, path, agent: false });
  let body = '';
  let read = (): void => {};
  let reading = false;
  request.on('error', () => {});
  request.on('response', (response) => {
    seen.status = response.statusCode!;
    response.setEncoding('latin1').on('error', () => {});
    response.on('end', () => {
      seen.complete = response.complete && isWhole(seen.status!, body);
    });
    read = () => void response.on('data', (piece: string) => (body += piece));
    if (reading) read();
  });
  request.end();
  const socket = (): Socket | null => request.socket;
  return {
    closed: new Promise((resolve) => request.once('close', resolve)),
    cuts: {
      destroy: () => request.destroy(),
      reset: () => socket()?.resetAndDestroy(),
      half: () => socket()?.end(),
    },
    read() {
      if (!reading) read();
      reading = true;
    },
    close: () => request.destroy(),
  };
}

function askTwo(port: number, path: string, seen: Asked): Exchange {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  const stream = session.request({ ':path': path });
  let body = '';
  stream.setEncoding('latin1').on('error', () => {});
  stream.on('response', (headers) => (seen.status = headers[':status']!));
  stream.on('end', () => {
    seen.complete = stream.rstCode === 0 && seen.status !== undefined && isWhole(seen.status, body);
  });
  let reading = false;
  const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;
  return {
    closed: new Promise((resolve) => stream.once('close', resolve)),
    cuts: {
      cancel: () => stream.close(NGHTTP2_CANCEL),
      'no error': () => stream.close(NGHTTP2_NO_ERROR),
      destroy: () => stream.destroy(),
      session: () => session.destroy(),
    },
    read() {
      if (!reading) stream.on('data', (piece: string) => (body += piece));
      reading = true;
    },
    close: () => session.destroy(),
  };
}
