import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

export const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

export interface Circumstances {
  readonly as?: 'root' | 'user';
  readonly env?: Record<string, string>;
}

/** A folder that is the whole PATH: only programs that the test writes into it exist. */
export class OwnPath {
  readonly folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-path-'));

  /** Copies `script` into the folder: Node also runs as another user, who may have no access to the clone. */
  constructor(script: string) {
    chmodSync(this.folder, 0o777);
    copyFileSync(script, path.join(this.folder, path.basename(script)));
  }

  program(name: string, body: string): void {
    writeFileSync(path.join(this.folder, name), `#!/bin/sh\n${body}\n`);
    chmodSync(path.join(this.folder, name), 0o755);
  }

  node(
    args: readonly string[],
    { as = 'user', env = {} }: Circumstances = {},
  ): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, args, {
      cwd: this.folder,
      encoding: 'utf8',
      env: { PATH: this.folder, ...env },
      ...(as === 'user' && isRoot ? { uid: nobody } : {}),
    });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
