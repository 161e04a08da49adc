/** An obstacle to the demo, with what to do about it; printed without a stack trace. */
export class Problem extends Error {
  /** Exit code of the process: 2 for an invalid command line, 1 for everything else. */
  exitCode;

  /**
   * @param {string} message
   * @param {1 | 2} [exitCode]
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
