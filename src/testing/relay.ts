import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Faults } from './client-contract.ts';

/**
 * A TCP port in front of a server, which can be taken away and given back: the faults that `clientContract` needs. It
 * passes bytes on unchanged, so TLS works through it as well.
 */
export interface Relay extends Faults {
  /** Always `127.0.0.1`. */
  readonly host: string;
  readonly port: number;
  /** Ends every connection and frees the port. */
  close(): Promise<void>;
}

/**
 * Opens a relay on a free port of the loopback interface; `target` is a TCP address or the path of a socket.
 *
 * @example
 * const relay = await startRelay({ host: '127.0.0.1', port: 6379 });
 * const client = new Redis(relay.port, relay.host);
 * await relay.lose();    // as if the server were gone
 * await relay.restore();
 */
export async function startRelay(
  target: { readonly port: number; readonly host?: string } | { readonly path: string },
): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let stalled = false;

  const accept = (client: Socket): void => {
    const server = connect({ ...target });
    const pair = [client, server] as const;
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const [from, to] of [pair, [server, client] as const]) {
      from.setNoDelay(true);
      from
        .on('data', (bytes) => to.write(bytes))
        .on('error', end)
        .on('close', end);
      if (stalled) {
        from.pause();
      }
    }
  };
  const listen = async (port: number): Promise<Server> => {
    const server = createServer(accept).listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const refuse = (): void => {
    listener?.close();
    listener = undefined;
    for (const [client] of pairs) {
      client.destroy();
    }
  };

  let listener: Server | undefined = await listen(0);
  const { port } = listener.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    lose: refuse,
    stall: () => {
      stalled = true;
      for (const socket of [...pairs].flat()) {
        socket.pause();
      }
    },
    restore: async () => {
      stalled = false;
      for (const socket of [...pairs].flat()) {
        socket.resume();
      }
      listener ??= await listen(port);
    },
    close: async () => {
      const closed = listener === undefined ? undefined : once(listener, 'close');
      refuse();
      await closed;
    },
  };
}
