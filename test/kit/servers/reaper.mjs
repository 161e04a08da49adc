// @ts-check
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Whatever happens to this process, what it started must not outlive it. Exit hooks and signal handlers do not run
 * on SIGKILL or a crash, and signal handlers would change how the host program reacts to Ctrl-C. So one small shell
 * holds the other end of a pipe: when this process is gone, for whatever reason, the pipe ends, and the shell
 * ends the processes on its list and removes their folder.
 */
const REAPER = `
  trap '' INT TERM HUP
  pids=' '
  while read -r verb pid; do
    case $verb in
      own) pids="$pids$pid " ;;
      gone) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
    esac
  done
  for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
  rm -rf -- "$1"
`;

/** @typedef {{ folder: string, tell: (line: string) => void }} Reaper */

/** @type {Reaper | undefined} */
let running;

/** @returns {Reaper} */
function reaper() {
  if (running) return running;
  const folder = mkdtempSync(join(tmpdir(), 'redis-kit-'));
  const shell = spawn('/bin/sh', ['-c', REAPER, 'reaper', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own session: Ctrl-C in a terminal reaches the whole foreground group, and this one has to stay.
    detached: true,
    cwd: '/',
  });
  shell.unref();
  // A pipe to a child is a socket, though its type does not say so.
  if (shell.stdin instanceof Socket) shell.stdin.unref();
  shell.stdin.on('error', () => {});
  running = { folder, tell: (line) => shell.stdin.write(`${line}\n`) };
  return running;
}

/**
 * An empty private folder, removed at the latest when this process ends.
 *
 * @param {string} name how its name begins
 */
export function privateFolder(name) {
  return mkdtempSync(join(reaper().folder, `${name}-`));
}

/**
 * Makes sure that a child process ends when this process does, however this process ends.
 *
 * @template {import('node:child_process').ChildProcess} C
 * @param {C} child
 * @returns {C} the same child
 */
export function own(child) {
  const { pid } = child;
  if (pid === undefined) return child;
  reaper().tell(`own ${pid}`);
  // Without this line the number could by then belong to somebody else's process.
  child.once('exit', () => reaper().tell(`gone ${pid}`));
  return child;
}
