import { randomUUID } from 'node:crypto';
import { RateLimiter, RateLimiterError } from 'distributed-rate-limiter';
import type { OpenClient } from 'distributed-rate-limiter/testing';
import { afterEach, describe, expect, test } from 'vitest';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { waitUntil } from '../../kit/servers/index.mjs';

/** A client on a server that only this test uses. */
export interface Doomed {
  readonly client: OpenClient;
  readonly server: RedisServer;
  close(): Promise<unknown>;
}

const CODES = ['ERR_STORE_AWAY', 'ERR_STORE_TIMEOUT'];

/** However a client or its server ends, each call is settled: with a decision of Redis, or an error that says why not. */
export function declareEndings(title: string, open: () => Promise<Doomed>): void {
  describe(`${title}: no call is left without an answer`, () => {
    let doomed: Doomed | undefined;
    afterEach(async () => {
      await doomed?.close();
      doomed = undefined;
    });

    const start = async (): Promise<Doomed & { readonly limiter: RateLimiter }> => {
      const opened = (doomed = await open());
      const limiter = new RateLimiter({
        redis: opened.client.redis,
        namespace: `ends-${randomUUID()}`,
        rate: 1_000,
        period: '1h',
        failStrategy: 'throw',
        onError() {},
      });
      await limiter.ready();
      return { ...opened, limiter };
    };
    /** The codes of errors, or `decided`. */
    const settled = async (calls: readonly Promise<unknown>[]): Promise<Set<string>> => {
      const results = await Promise.allSettled(calls);
      return new Set(
        results.map((result) => {
          if (result.status === 'fulfilled') return 'decided';
          const { reason } = result as { reason: unknown };
          return reason instanceof RateLimiterError ? reason.code : String(reason);
        }),
      );
    };
    const fifty = (limiter: RateLimiter): Promise<unknown>[] =>
      Array.from({ length: 50 }, (_, i) => limiter.allow(`user:${i}`));

    test('calls made while the server hangs (SIGSTOP) are refused, and later ones are decided', async () => {
      const { limiter, server } = await start();
      await server.stop();
      expect(await settled(fifty(limiter))).toEqual(new Set(['ERR_STORE_TIMEOUT']));
      expect(await settled(fifty(limiter))).toEqual(new Set(['ERR_STORE_TIMEOUT']));
      await server.cont();
      await waitUntil('a decision', async () => (await settled(fifty(limiter))).has('decided'));
    });

    test('calls under way when the server is killed are refused, and so are later ones', async () => {
      const { limiter, server } = await start();
      await server.stop();
      const underWay = settled(fifty(limiter));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await server.kill();
      expect(CODES).toEqual(expect.arrayContaining([...(await underWay)]));
      for (let i = 0; i < 3; i++) {
        expect(CODES).toEqual(expect.arrayContaining([...(await settled(fifty(limiter)))]));
      }
    });

    test('calls under way when the client is closed are settled, and later ones refused', async () => {
      const { limiter, server, client } = await start();
      await server.stop();
      const underWay = settled(fifty(limiter));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await client.close();
      expect(CODES).toEqual(expect.arrayContaining([...(await underWay)]));
      await server.cont();
      expect(await settled(fifty(limiter))).toEqual(new Set(['ERR_STORE_AWAY']));
      expect(await settled(fifty(limiter))).toEqual(new Set(['ERR_STORE_AWAY']));
    });
  });
}
