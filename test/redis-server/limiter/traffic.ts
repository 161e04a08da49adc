import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { encodeCommand, readValue } from '../../kit/servers/resp.mjs';

/** Passes bytes on to a Redis server, and keeps those that clients send. */
export class Tap {
  readonly #sockets = new Set<Socket>();
  readonly #server;
  #sent: Buffer[] = [];

  constructor(redis: { readonly host: string; readonly port: number }) {
    this.#server = createServer({ noDelay: true }, (client) => {
      const server = connect({ host: redis.host, port: redis.port, noDelay: true });
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      }
      client.on('data', (bytes) => this.#sent.push(bytes));
      client.pipe(server).pipe(client);
    });
  }

  /** Resolves with its port. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** What was sent since the last call. */
  take(): Buffer {
    const bytes = Buffer.concat(this.#sent);
    this.#sent = [];
    return bytes;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }
}

/**
 * Reads commands from bytes.
 *
 * @throws if the bytes are not exactly these commands as the protocol writes them: equal commands are equal bytes
 */
export function commandsOf(bytes: Buffer): string[][] {
  const commands: string[][] = [];
  for (let at = 0; at < bytes.length;) {
    const read = readValue(bytes, at);
    if (read === undefined) {
      throw new Error('the bytes end within a command');
    }
    const command = (read.value as unknown[]).map(String);
    if (!encodeCommand(command).equals(bytes.subarray(at, read.end))) {
      throw new Error(`written in another way: ${bytes.toString('utf8', at, read.end)}`);
    }
    commands.push(command);
    at = read.end;
  }
  return commands;
}

/** What names a lease, or the record of a reservation. */
const RANDOM = /(?<=#r:)[\da-f]{32}|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/g;

/**
 * A command as a line of text. What differs from run to run, or with the script, has a name in its place: the script's
 * digest, instants and the window of a refund, random ids in the order in which they come.
 */
export function lineOf(command: readonly string[], ids: Map<string, string>): string {
  return command
    .map((argument) =>
      argument
        .replaceAll(/\b[\da-f]{40}\b/g, '<script>')
        .replaceAll(/\b1[78]\d{14}\b/g, '<micros>')
        .replaceAll(RANDOM, (id) => {
          const name = ids.get(id) ?? `<id ${ids.size + 1}>`;
          ids.set(id, name);
          return name;
        }),
    )
    .map((argument) => (/^[!-~]+$/.test(argument) ? argument : JSON.stringify(argument)))
    .join(' ')
    .replace(/(?<=<micros> )\d+$/, '<window>');
}
