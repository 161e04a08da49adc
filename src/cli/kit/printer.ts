import { EXIT, CommandError } from './io.ts';
import type { Io, Sink } from './io.ts';
import { wrap } from './wrap.ts';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const CODES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

/** Paints text, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/** The least time between two lines of progress. */
const PROGRESS_MS = 200;
const DEFAULT_WIDTH = 80;

/** Prints a command's result, remarks and progress, each where and how its reader wants it. */
export class Printer {
  /** Paints what goes to stdout. */
  readonly paint: Paint;
  readonly json: boolean;
  readonly #io: Io;
  readonly #quiet: boolean;
  readonly #paintRemark: Paint;
  #lastProgress = 0;
  #progressShown = false;

  constructor(io: Io, { json, quiet }: { json: boolean; quiet: boolean }) {
    this.#io = io;
    this.json = json;
    this.#quiet = quiet;
    this.paint = painter(io, io.stdout);
    this.#paintRemark = painter(io, io.stderr);
  }

  /** Breaks prose into lines that fit a terminal, of which it leaves `indent` free. In a pipe it stays one line. */
  fit(text: string, indent = 0): string {
    return this.#io.stdout.isTTY === true ? wrap(text, this.width - indent) : text;
  }

  /** The width to print to, in characters. */
  get width(): number {
    return Math.max(40, Math.min(widthOf(this.#io.stdout), 120));
  }

  print(text: string): void {
    this.clearProgress();
    this.#io.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Prints a value for programs, in place of everything that `print` prints. */
  printJson(value: unknown): void {
    this.print(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Says something about the input, on stderr. */
  remark(text: string): void {
    if (!this.#quiet) {
      this.clearProgress();
      this.#io.stderr.write(`${this.#paintRemark('dim', text)}\n`);
    }
  }

  /** Warns of something that makes the result less true. `quiet` does not hide it. */
  warn(text: string): void {
    this.clearProgress();
    this.#io.stderr.write(`${this.#paintRemark('yellow', 'warning:')} ${text}\n`);
  }

  /** Shows one line that the next one replaces; on terminals only. */
  progress(text: () => string): void {
    if (this.#quiet || this.#io.stderr.isTTY !== true) {
      return;
    }
    const now = performance.now();
    if (now - this.#lastProgress < PROGRESS_MS) {
      return;
    }
    this.#lastProgress = now;
    this.#progressShown = true;
    const width = widthOf(this.#io.stderr) - 1;
    this.#io.stderr.write(`\r\u001B[2K${text().slice(0, width)}`);
  }

  clearProgress(): void {
    if (this.#progressShown) {
      this.#progressShown = false;
      this.#io.stderr.write('\r\u001B[2K');
    }
  }

  /** Throws once Ctrl-C was pressed. */
  checkInterrupted(): void {
    if (this.#io.signal.aborted) {
      this.clearProgress();
      throw new CommandError('Interrupted.', EXIT.interrupted);
    }
  }
}

/** Text from elsewhere without what commands a terminal. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F]/g, '�');
}

/** A terminal that does not know its width says 0. */
function widthOf({ columns = 0 }: Sink): number {
  return columns === 0 ? DEFAULT_WIDTH : columns;
}

/** https://no-color.org and https://force-color.org; else a terminal that is not dumb gets colours. */
function painter({ env }: Io, sink: Sink): Paint {
  const { NO_COLOR: none = '', FORCE_COLOR: force } = env;
  const forced = force !== undefined && force !== '0' && force !== 'false';
  const refused = none !== '' || force === '0' || force === 'false';
  const colours = forced || (!refused && sink.isTTY === true && env['TERM'] !== 'dumb');
  return colours
    ? (style, text) => {
        const [on, off] = CODES[style];
        return `\u001B[${on}m${text}\u001B[${off}m`;
      }
    : (_style, text) => text;
}
