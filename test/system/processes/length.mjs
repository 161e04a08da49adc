// @ts-check
/** `TEST_LONG=1` makes the tests of processes run as long as a release wants them, not as CI can wait for. */
export const isLong = process.env['TEST_LONG'] === '1';
