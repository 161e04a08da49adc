import { execFile } from 'node:child_process';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build as esbuild } from 'esbuild';
import { build as rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packInto, unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { ensureClients } from '../installs/clients/install.mjs';
import { folderOfClient } from '../installs/clients/index.mjs';
import { startRedis } from '../kit/servers/index.mjs';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
/** Its native parts stay outside the bundle. */
const GLIDE = '@valkey/valkey-glide';
const external = [/^@valkey\/valkey-glide-/];

/** Code that opens a client of `library` at `host` and `port`. */
const ioredis =
  'new library.Redis({ host, port, maxRetriesPerRequest: 0, retryStrategy: () => 50 })';
const nodeRedis =
  'library.createClient({ socket: { host, port, reconnectStrategy: () => 50 }, disableOfflineQueue: true })';
const glide =
  'await library.GlideClient.createClient({ addresses: [{ host, port }], requestTimeout: 200 })';

interface TestedClient {
  readonly title: string;
  readonly name: string;
  readonly folder: string;
  readonly client: string;
}

const modules = path.join(root, 'node_modules');
const testedClients: readonly TestedClient[] = [
  ['ioredis 6', 'ioredis', path.join(modules, 'ioredis'), ioredis],
  ['ioredis 5', 'ioredis', folderOfClient('ioredis-5'), ioredis],
  ['iovalkey', 'iovalkey', folderOfClient('iovalkey'), ioredis],
  ['node-redis 6', 'redis', path.join(modules, 'redis'), nodeRedis],
  ['node-redis 5', 'redis', folderOfClient('redis-5'), nodeRedis],
  ['node-redis 4', 'redis', folderOfClient('redis-4'), nodeRedis],
  ['valkey-glide', GLIDE, folderOfClient(GLIDE), glide],
].map(([title, name, folder, client]) => ({ title, name, folder, client }) as TestedClient);

/**
 * Causes each kind of failure: an unknown script, an error reply, silence, and a lost connection. Two of the three
 * calls within the limit are charged on a server that has lost the script.
 */
const program = ({ name, client }: TestedClient, byUrl: boolean): string => `
import { connect } from 'node:net';
import { once } from 'node:events';
import { RateLimiter } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
${byUrl ? '' : `import * as exported from '${name}';`}

async function main() {
  const server = { host: '127.0.0.1', port: Number(process.argv[2]) };
  const tell = async (command) => {
    const socket = connect(server);
    socket.write(command + '\\r\\n');
    await once(socket, 'data');
    socket.destroy();
  };
  const relay = await startRelay(server);
  const { host, port } = relay;
${
  byUrl
    ? '  const redis = `redis://${host}:${port}`;'
    : `
  const library = exported.default ?? exported;
  const redis = ${client};
  redis.on?.('error', () => {});
  if (redis.isOpen === false) await redis.connect();`
}
  const limiter = new RateLimiter({
    redis, namespace: 'minified' + process.pid, rate: 3, period: '1h', timeoutMs: 400, onError() {},
  });
  const seen = [];
  const decide = async () => {
    const { reason, error } = await limiter.allow('user:12345');
    return error ? reason + ' ' + error.message : reason;
  };
  await tell('SCRIPT FLUSH');
  seen.push(await decide(), await decide());
  await tell('SCRIPT FLUSH');
  seen.push(await decide(), await decide());
  await tell('ACL SETUSER default -evalsha');
  seen.push(await decide());
  await tell('ACL SETUSER default +evalsha');
  seen.push(await decide());
  await relay.stall();
  seen.push(await decide());
  await relay.lose();
  await new Promise((resolve) => setTimeout(resolve, 200));
  seen.push(await decide());
  await relay.restore();
  let again = await decide();
  for (let i = 0; i < 200 && again.startsWith('store_'); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    again = await decide();
  }
  seen.push(again);
  console.log(JSON.stringify(seen));
  process.exit();
}
main();
`;

let folder = '';
let tarball = '';
beforeAll(() => {
  ensureClients();
  folder = newProject('packed');
  tarball = packInto(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(testedClients)('a program with $title', (tested) => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let project = '';
  beforeAll(async () => {
    redis = await startRedis();
    project = newProject('minified');
    unpackInto(project, tarball);
    writeFileSync(path.join(project, 'package.json'), '{ "name": "minified", "private": true }');
    linkLibraries(project, [tested.name], { [tested.name]: tested.folder });
    if (tested.name === GLIDE) {
      cpSync(path.dirname(tested.folder), path.join(project, 'node_modules', '@valkey'), {
        recursive: true,
        filter: (from) => !from.endsWith('valkey-glide'),
      });
    }
  });
  afterAll(async () => {
    rmSync(project, { recursive: true, force: true });
    await redis.close();
  });

  async function decisions(file: string): Promise<string[]> {
    const args = [path.join(project, file), String(redis.port)];
    const { stdout } = await run(process.execPath, args, { cwd: project });
    return JSON.parse(stdout.trim().split('\n').at(-1)!); // valkey-glide also logs to standard error
  }

  const ways = /^(?:io)?redis$/.test(tested.name) ? ['client', 'URL'] : ['client'];
  test.each(ways)(
    'decides by %s in minified bundles as without a bundler',
    async (way) => {
      const main = `by-${way}.mjs`;
      writeFileSync(path.join(project, main), program(tested, way === 'URL'));
      const plain = await decisions(main);
      expect(plain.slice(0, 7)).toEqual([
        'within_limit',
        'within_limit',
        'within_limit',
        'limited',
        'store_error Redis refused: NOPERM.',
        'limited',
        'store_timeout Redis did not answer within 400 ms.',
      ]);
      expect(plain.slice(8)).toEqual(['limited']);

      await esbuild({
        absWorkingDir: project,
        entryPoints: [main],
        outfile: `${way}.esbuild.cjs`,
        platform: 'node',
        bundle: true,
        minify: true,
        external: ['@valkey/valkey-glide-*'],
        logLevel: 'silent',
      });
      expect(await decisions(`${way}.esbuild.cjs`)).toEqual(plain);

      await rolldown({
        cwd: project,
        input: main,
        platform: 'node',
        external,
        onLog: () => {},
        output: {
          dir: path.join(project, way),
          format: 'cjs',
          minify: true,
          entryFileNames: 'main.cjs',
        },
      });
      expect(await decisions(`${way}/main.cjs`)).toEqual(plain);
    },
    60_000,
  );
});
