// @ts-check
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Child processes must not outlive this process, however it ends. Exit hooks and signal handlers do not run on SIGKILL
 * or a crash, and signal handlers would change how the host program reacts to Ctrl-C. So one small shell holds the
 * other end of a pipe. When this process is gone, the pipe ends, and the shell ends the processes on its list and
 * removes their folder.
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
    // Has its own session: Ctrl-C in a terminal reaches the whole foreground group, and the shell must survive it.
    detached: true,
    cwd: '/',
  });
  shell.unref();
  // The pipe to a child is a socket, though its type does not say so.
  if (shell.stdin instanceof Socket) shell.stdin.unref();
  shell.stdin.on('error', () => {});
  running = { folder, tell: (line) => shell.stdin.write(`${line}\n`) };
  return running;
}

/**
 * Makes an empty private folder, removed when this process ends at the latest.
 *
 * @param {string} name how its name begins
 */
export function privateFolder(name) {
  return mkdtempSync(join(reaper().folder, `${name}-`));
}

/**
 * Ends a child process when this process ends, however it ends.
 *
 * @template {import('node:child_process').ChildProcess} C
 * @param {C} child
 * @returns {C} the same child
 */
export function own(child) {
  const { pid } = child;
  if (pid === undefined) return child;
  reaper().tell(`own ${pid}`);
  // Takes the process off the list: its number may soon belong to another process.
  child.once('exit', () => reaper().tell(`gone ${pid}`));
  return child;
}
