import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { freePort, own, waitUntil } from '../servers/index.mjs';

export interface WorkerdOptions {
  /** A folder that holds the bundle `worker.mjs` and the configuration. */
  readonly folder: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** The port of the server that the worker connects to. */
  readonly redisPort: number;
}

/** A running worker: `get` requests a path and parses the answer as JSON. */
export interface Workerd {
  get(path: string): Promise<unknown>;
  close(): Promise<void>;
}

const ANSWERED_WITHIN_MS = 8_000;

/** @throws (rejects) with workerd's standard error, if it rejects the worker */
export async function startWorkerd(program: string, options: WorkerdOptions): Promise<Workerd> {
  const port = await freePort();
  const file = path.join(options.folder, `workerd-${port}.capnp`);
  writeFileSync(file, configuration(port, options));
  const child = spawn(program, ['serve', '--experimental', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  own(child);
  const said = text(child.stderr);
  const get = async (asked: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/${asked}`, {
      signal: AbortSignal.timeout(ANSWERED_WITHIN_MS),
    });
    return response.ok ? response.json() : response.status;
  };
  await waitUntil(
    'workerd answers or ends',
    async () => child.exitCode !== null || (await get('').catch(() => undefined)) === 'ready',
  );
  if (child.exitCode !== null) {
    throw new Error(await said);
  }
  return { get, close: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}

function configuration(port: number, options: WorkerdOptions): string {
  const flags = JSON.stringify(options.compatibilityFlags);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker", esModule = embed "worker.mjs")],
      compatibilityDate = "${options.compatibilityDate}",
      compatibilityFlags = ${flags},
      bindings = [
        (name = "PORT", text = "${options.redisPort}"),
        (name = "REDIS_URL", text = "redis://127.0.0.1:${options.redisPort}"),
        (name = "OBJECTS", durableObjectNamespace = "LimiterObject")
      ],
      durableObjectNamespaces = [(className = "LimiterObject", uniqueKey = "limiters")],
      durableObjectStorage = (inMemory = void),
      globalOutbound = "loopback"
    )),
    (name = "loopback", network = (allow = ["private", "local"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
`;
}
