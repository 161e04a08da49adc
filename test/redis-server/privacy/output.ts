const CONSOLE = ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'table'] as const;

/**
 * Passes `onText` everything that this process prints or warns of, until the returned function is called. Still prints
 * it.
 */
export function watchOutput(onText: (what: string, text: string) => void): () => void {
  const undo: (() => void)[] = [];
  for (const name of CONSOLE) {
    const original = console[name];
    console[name] = (...args: unknown[]) => {
      onText('console', args.map(String).join(' '));
      Reflect.apply(original, console, args);
    };
    undo.push(() => (console[name] = original));
  }
  for (const stream of [process.stdout, process.stderr]) {
    const original = stream.write;
    stream.write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      onText('output', typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1'));
      return Reflect.apply(original, stream, [chunk, ...rest]);
    };
    undo.push(() => (stream.write = original));
  }
  const onWarning = (warning: Error): void => {
    onText('warning', `${warning.stack} ${warning.message}`);
    // As Node.js prints it where the tests do not keep it from that (quiet-warnings.ts).
    process.stderr.write(`${warning.name}: ${warning.message}\n`);
  };
  process.on('warning', onWarning);
  undo.push(() => process.off('warning', onWarning));
  return () => undo.forEach((each) => each());
}
